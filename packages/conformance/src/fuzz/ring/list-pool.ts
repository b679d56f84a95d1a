/** Lists of buffers that a driver uses again and again: as they are, longer by one, or as others. */

import { guestPhysical } from '@viommu/common';
import { BufferList } from '@viommu/ring';
import type { Random } from '../random.ts';
import type { PlainBuffer } from './plain.ts';
import { type Setting, drawBuffers } from './setting.ts';

const LISTS = 4;
/** Buffers of the longest list, in larger rings. */
const LIST_MAX = 70;

export interface Listed {
  readonly list: BufferList;
  buffers: readonly PlainBuffer[];
}

export class ListPool {
  /** True if lists come back mostly as they are. */
  readonly steady: boolean;
  readonly #setting: Setting;
  readonly #random: Random;
  readonly #lists: readonly Listed[];

  constructor(setting: Setting, random: Random) {
    this.#setting = setting;
    this.#random = random;
    this.steady = random.once(2);
    this.#lists = Array.from({ length: LISTS }, () => ({
      list: new BufferList(Math.min(setting.size, LIST_MAX) + 2),
      buffers: [],
    }));
  }

  draw(): Listed {
    const listed = this.#random.pick(this.#lists);
    if (listed.buffers.length === 0 || this.#random.once(this.steady ? 40 : 2))
      this.#change(listed);
    return listed;
  }

  #change(listed: Listed): void {
    const random = this.#random;
    const { list } = listed;
    const most = Math.min(this.#setting.size, LIST_MAX) + (random.once(20) ? 2 : 0);
    let added = drawBuffers(random, this.#setting, most);
    if (list.count > 0 && list.count < most && random.once(3)) {
      added = added.slice(-1).map((buffer) => ({ ...buffer, writable: true }));
      listed.buffers = [...listed.buffers, ...added];
    } else {
      list.clear();
      listed.buffers = added;
    }
    for (const { address, length, writable } of added)
      if (writable) list.addWritable(guestPhysical(address), length);
      else list.addReadable(guestPhysical(address), length);
  }
}
