/** The guest memory that one driver instance holds: rings, request slots, event buffers. */

import { type GuestPhysical, IommuError } from '@viommu/common';
import type { GuestMemory } from '@viommu/ring';
import type { DmaPages } from './platform.ts';

/** A piece of memory as the device and as the driver name it. */
export interface DmaPiece {
  readonly address: GuestPhysical;
  /** Where it lies in the guest memory. */
  readonly position: number;
}

/** Takes pieces one by one and gives all of them back at once. */
export class DmaMemory {
  readonly memory: GuestMemory;
  readonly #pages: DmaPages;
  readonly #taken: Set<GuestPhysical> = new Set();

  constructor(memory: GuestMemory, pages: DmaPages) {
    this.memory = memory;
    this.#pages = pages;
  }

  /**
   * Takes memory and clears it.
   *
   * @throws {IommuError} `ENOMEM` from the allocator, `EFAULT` if what it gave lies outside the guest memory.
   */
  take(sizeBytes: number, alignment: number): DmaPiece {
    const address = this.#pages.allocate(sizeBytes, alignment);
    this.#taken.add(address);
    const low = Number(address & 0xffff_ffffn);
    const position = this.memory.locate(low, Number(address >> 32n), sizeBytes);
    if (position < 0)
      throw new IommuError('EFAULT', 'The memory given to the driver is no guest memory.');
    this.memory.write(position, new Uint8Array(sizeBytes), 0, sizeBytes);
    return { address, position };
  }

  /** Gives one piece back; only when the device does not know it, or no longer. */
  giveBack({ address }: DmaPiece): void {
    this.#taken.delete(address);
    this.#pages.free?.(address);
  }

  /** Gives everything back; only when the device has been reset. */
  release(): void {
    for (const address of this.#taken) this.#pages.free?.(address);
    this.#taken.clear();
  }
}
