/** What a disk needs of its memory beyond what a queue does: the memory itself, to read and write storage with. */

import { type Access, type GuestMemory, TranslatedMemory, ViewList } from '@viommu/ring';

/** As in `TranslatedMemory`. */
export interface DataMemory {
  faulted: boolean;
  readonly fatal: boolean;
  dropBuffers(): void;
  release(): void;
  pieces(position: number, length: number, access: Access, into: ViewList): boolean;
  newViewList(): ViewList;
  getUint32(position: number): number;
  setUint8(position: number, value: number): void;
}

/** Guest memory that may be used as it is. */
class PlainMemory implements DataMemory {
  faulted = false;
  readonly fatal = false;
  readonly #view: DataView;

  constructor(view: DataView) {
    this.#view = view;
  }

  dropBuffers(): void {}

  release(): void {}

  pieces(position: number, length: number, _access: Access, into: ViewList): boolean {
    into.add(position, length);
    return true;
  }

  newViewList(): ViewList {
    return new ViewList(this.#view);
  }

  getUint32(position: number): number {
    return this.#view.getUint32(position, true);
  }

  setUint8(position: number, value: number): void {
    this.#view.setUint8(position, value);
  }
}

/** The memory of a session; `undefined` if it is reached by calls only. */
export function dataMemory(memory: GuestMemory): DataMemory | undefined {
  if (memory instanceof TranslatedMemory) return memory;
  return memory.view === undefined ? undefined : new PlainMemory(memory.view);
}
