/**
 * Descriptors that a driver writes, with a copy that the device cannot reach.
 *
 * The copy is what the driver goes by. It also makes rings fast: a descriptor that would not change is not written
 * again, so that its cache line stays with the device.
 */

import { Descriptor, type GuestPhysical, IommuError } from '@viommu/common';
import type { GuestMemory } from './guest-memory.ts';
import { clearArea } from './queue-area.ts';

const { addr, len, flags } = Descriptor.offset;
/** In the last word of a descriptor that is not known: a bit that no driver sets, so that it is written in any case. */
const UNKNOWN = 0x8;

/** What a table finds in memory: nothing of its own, which it clears, or what an earlier one wrote, which it keeps. */
export type TableContent = 'cleared' | 'kept';

/** A table of descriptors in guest memory. */
export class DescriptorTable {
  readonly #memory: GuestMemory;
  readonly #position: number;
  readonly #low: Int32Array;
  readonly #high: Int32Array;
  readonly #length: Int32Array;
  readonly #lastWord: Int32Array;

  constructor(
    memory: GuestMemory,
    position: number,
    count: number,
    content: TableContent = 'cleared',
  ) {
    this.#memory = memory;
    this.#position = position;
    this.#low = new Int32Array(count);
    this.#high = new Int32Array(count);
    this.#length = new Int32Array(count);
    this.#lastWord = new Int32Array(count);
    if (content === 'cleared') clearArea(memory, position, count * Descriptor.size);
    else this.#lastWord.fill(UNKNOWN);
  }

  /** Writes descriptor `index`, unless it is there already: four signed words. */
  set(index: number, low: number, high: number, length: number, lastWord: number): void {
    if (
      this.#lastWord[index] === lastWord &&
      this.#low[index] === low &&
      this.#length[index] === length &&
      this.#high[index] === high
    )
      return;
    this.#low[index] = low;
    this.#high[index] = high;
    this.#length[index] = length;
    this.#lastWord[index] = lastWord;
    const at = this.#position + index * Descriptor.size;
    this.#memory.setUint32(at + addr, low);
    this.#memory.setUint32(at + addr + 4, high);
    this.#memory.setUint32(at + len, length);
    this.#memory.setUint32(at + flags, lastWord);
  }
}

/** Memory for indirect tables, one for each descriptor of the ring. */
export interface IndirectTablesOptions {
  /** `size * buffersPerChain * 16` bytes, aligned to 16. */
  readonly address: GuestPhysical;
  /** What the device calls that address; the same if absent. */
  readonly deviceAddress?: bigint;
  /** Longer chains take direct descriptors. */
  readonly buffersPerChain: number;
}

/** The indirect tables of one ring. */
export class IndirectTables {
  /** The most buffers of a chain that goes into a table: no chain is longer than its ring. */
  readonly buffersMax: number;
  readonly entries: DescriptorTable;
  readonly #entriesPerTable: number;
  readonly #low: number;
  readonly #high: number;

  /** @throws {IommuError} `EFAULT` if the tables lie outside memory. */
  constructor(
    memory: GuestMemory,
    { address, deviceAddress = address, buffersPerChain }: IndirectTablesOptions,
    size: number,
    content: TableContent = 'cleared',
  ) {
    this.buffersMax = Math.min(buffersPerChain, size);
    this.#entriesPerTable = buffersPerChain;
    this.#low = Number(deviceAddress & 0xffff_ffffn);
    this.#high = Number(deviceAddress >> 32n);
    const count = size * buffersPerChain;
    const position = memory.locate(
      Number(address & 0xffff_ffffn),
      Number(address >> 32n),
      count * Descriptor.size,
    );
    if (position < 0)
      throw new IommuError('EFAULT', 'The indirect tables of a queue are outside memory.');
    this.entries = new DescriptorTable(memory, position, count, content);
  }

  /** Index in `entries` of the first descriptor of table `index`. */
  first(index: number): number {
    return index * this.#entriesPerTable;
  }

  /** Low half, signed, of the device's address of table `index`. */
  low(index: number): number {
    return (this.#low + this.first(index) * Descriptor.size) | 0;
  }

  /** High half, likewise, of the device's address of table `index`. */
  high(index: number): number {
    const carry = this.#low + this.first(index) * Descriptor.size > 0xffff_ffff ? 1 : 0;
    return (this.#high + carry) | 0;
  }
}
