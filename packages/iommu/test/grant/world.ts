/** A front-end and a hypervisor around one grant table, with pages that are only numbers. */

import { CoreLog } from '../../src/log.ts';
import { Device } from '../../src/device.ts';
import { DmaAddress } from '../../src/dma-ops.ts';
import { ENTRY_WORDS, GrantEntry } from '../../src/grant/entry.ts';
import { GrantDma } from '../../src/grant/dma.ts';
import { GrantHypervisor } from '../../src/grant/hypervisor.ts';
import { GrantTable } from '../../src/grant/table.ts';
import type { GuestRam } from '../../src/guest-ram.ts';

export const GUEST = 5;
export const BACKEND = 1;

/** Gives out pages from 0x100 on and remembers which are out. */
export class PageBook implements GuestRam {
  readonly firstPage = 0;
  readonly lastPage = 0xfff;
  readonly out: Map<number, number> = new Map();
  #next = 0x100;

  allocatePages(pageCount: number): number {
    const page = this.#next;
    this.#next += pageCount;
    this.out.set(page, pageCount);
    return page;
  }

  freePages(startPage: number): void {
    if (!this.out.delete(startPage)) throw new Error(`page ${startPage} is not out`);
  }

  copy(): never {
    throw new Error('grants move no bytes');
  }

  clear(): void {
    // Pages are only numbers here.
  }
}

/** Everything of one test. `entries` is the number of references, those below 8 included. */
export function grantWorld(entries = 64) {
  const words = new Int32Array(new SharedArrayBuffer(entries * ENTRY_WORDS * 4));
  const table = new GrantTable({ words });
  const hypervisor = new GrantHypervisor();
  hypervisor.addGranter(GUEST, words);
  const ram = new PageBook();
  const log = new CoreLog();
  const dma = new GrantDma({ table, ram, log, backend: BACKEND });
  const device = new Device({ name: 'disk', bus: 'platform' });
  const entry = (ref: number) => GrantEntry.read(new DataView(words.buffer), ref * GrantEntry.size);
  return { words, table, hypervisor, ram, log, dma, device, entry, into: new DmaAddress() };
}
