/**
 * What the driver's side of a split queue knows of its descriptors: which are free, and which chain the others are in.
 *
 * The device cannot reach any of it, and nothing in it was read from shared memory.
 */

import { Descriptor, DescriptorFlag, assert } from '@viommu/common';
import type { BufferList } from './buffer-list.ts';
import {
  DescriptorTable,
  IndirectTables,
  type IndirectTablesOptions,
  type TableContent,
} from './descriptor-table.ts';
import type { GuestMemory } from './guest-memory.ts';
import type { ChainState } from './queue-state.ts';

const { NEXT, INDIRECT } = DescriptorFlag;
/** In place of a token: the descriptor is no head in flight. */
const FREE = -1;

/**
 * The words of a descriptor's entry, all in one array, as a request touches most of them. All but `NEXT_ID` have a
 * meaning for heads only.
 */
const ENTRY_SHIFT = 3;
/** The caller's token while the chain is in flight, else FREE. */
const TOKEN = 0;
/** The descriptor behind this one, in its chain or among the free ones. */
const NEXT_ID = 1;
/** The last descriptor of the chain, and how many there are. */
const LAST = 2;
const COUNT = 3;
/** Bytes in the writable buffers. */
const WRITABLE = 4;
/** The list that the chain describes, 0 if none, and its revision. */
const LIST = 5;
const REVISION = 6;
/** The index of the chain in the available ring. */
const POSITION = 7;

/** The chains of one split queue. */
export class SplitChainBook {
  readonly #table: DescriptorTable;
  readonly #indirect: IndirectTables | undefined;
  readonly #entries: Int32Array;
  /**
   * Free descriptors are first freed first taken. A chain gives back its descriptors in a row and takes them in a row,
   * so that a head which is the first free one has those of its last chain behind it.
   */
  #freeFirst = 0;
  #freeLast: number;
  #freeCount: number;

  /**
   * `table` is the position of the descriptor table.
   *
   * @throws {IommuError} `EFAULT` if the indirect tables lie outside memory.
   */
  constructor(
    memory: GuestMemory,
    table: number,
    size: number,
    indirect: IndirectTablesOptions | undefined,
    content: TableContent,
  ) {
    this.#table = new DescriptorTable(memory, table, size, content);
    if (indirect !== undefined)
      this.#indirect = new IndirectTables(memory, indirect, size, content);
    this.#entries = new Int32Array(size << ENTRY_SHIFT);
    for (let id = 0; id < size; id += 1) this.#entries[(id << ENTRY_SHIFT) | TOKEN] = FREE;
    this.#link(Array.from({ length: size }, (_, id) => id));
    this.#freeLast = size - 1;
    this.#freeCount = size;
  }

  /** Takes descriptors for a chain of `buffers` and describes it. Returns its head, or -1 if there are too few. */
  begin(buffers: BufferList, token: number, position: number): number {
    const entries = this.#entries;
    const head = this.#freeFirst;
    const entry = head << ENTRY_SHIFT;
    // A list that comes back to the head it had, unchanged, is described there already.
    if (
      entries[entry | REVISION] !== buffers.revision ||
      entries[entry | LIST] !== buffers.serial
    ) {
      const count = this.#slotsOf(buffers);
      if (this.#freeCount < count) return FREE;
      this.#describe(head, buffers, count);
    }
    const left = this.#freeCount - entries[entry | COUNT]!; // Below the size, as all of these.
    if (left < 0) return FREE;
    this.#freeCount = left;
    this.#freeFirst = entries[(entries[entry | LAST]! << ENTRY_SHIFT) | NEXT_ID]!;
    entries[entry | TOKEN] = token;
    entries[entry | POSITION] = position;
    return head;
  }

  /** Takes a chain back, its descriptors in a row. */
  end(head: number): void {
    const entries = this.#entries;
    const entry = head << ENTRY_SHIFT;
    entries[entry | TOKEN] = FREE;
    if (this.#freeCount === 0) this.#freeFirst = head;
    else entries[(this.#freeLast << ENTRY_SHIFT) | NEXT_ID] = head;
    this.#freeLast = entries[entry | LAST]!; // A head, as in all of these.
    this.#freeCount += entries[entry | COUNT]!;
  }

  /** The token of the chain in flight that begins with `head`, which is below the size; else -1. */
  token(head: number): number {
    return this.#entries[(head << ENTRY_SHIFT) | TOKEN]!;
  }

  /** The position that the last chain of `head` was given. */
  position(head: number): number {
    return this.#entries[(head << ENTRY_SHIFT) | POSITION]!;
  }

  /** Bytes in the writable buffers of the last chain of `head`. */
  writableBytes(head: number): number {
    return this.#entries[(head << ENTRY_SHIFT) | WRITABLE]! >>> 0;
  }

  /** By descriptor: the token of the chain in flight that it is the head of, else -1. */
  tokens(): Int32Array {
    return this.#entries.filter((_, index) => (index & ((1 << ENTRY_SHIFT) - 1)) === TOKEN);
  }

  /** Free descriptors, first those that are taken first. */
  free(): number[] {
    return this.#row(this.#freeFirst, this.#freeCount);
  }

  /** The chain in flight that begins with `head`. */
  chain(head: number): ChainState {
    const slots = this.#entries[(head << ENTRY_SHIFT) | COUNT]!; // A head.
    const ids = this.#row(head, slots);
    return { token: this.token(head), writableBytes: this.writableBytes(head), ids, slots };
  }

  /** Goes on with what another book has told; the state was checked. */
  goOn(free: readonly number[], chains: readonly ChainState[], firstPosition: number): void {
    const entries = this.#entries;
    this.#link(free);
    this.#freeFirst = free[0] ?? 0;
    this.#freeLast = free.at(-1) ?? 0;
    this.#freeCount = free.length;
    for (const [index, { token, writableBytes, ids, slots }] of chains.entries()) {
      const entry = ids[0]! << ENTRY_SHIFT; // A chain has a descriptor.
      this.#link(ids);
      entries[entry | TOKEN] = token;
      entries[entry | LAST] = ids.at(-1)!; // Likewise.
      entries[entry | COUNT] = slots;
      entries[entry | WRITABLE] = writableBytes;
      entries[entry | POSITION] = (firstPosition + index) & 0xffff;
    }
  }

  /** Descriptors that a chain takes: one if it goes into an indirect table. */
  #slotsOf({ count }: BufferList): number {
    if (count === 0) assert(false, 'a chain has a buffer');
    const tables = this.#indirect;
    return tables !== undefined && count > 1 && count <= tables.buffersMax ? 1 : count;
  }

  /** Describes a chain in the `count` descriptors that are free next, of which `head` is the first. */
  #describe(head: number, buffers: BufferList, count: number): void {
    const entry = head << ENTRY_SHIFT;
    const tables = this.#indirect;
    if (tables !== undefined && count < buffers.count) this.#describeTable(head, buffers, tables);
    else this.#describeChain(head, buffers);
    this.#entries[entry | LIST] = buffers.serial;
    this.#entries[entry | REVISION] = buffers.revision;
    this.#entries[entry | COUNT] = count;
    this.#entries[entry | WRITABLE] = buffers.writableBytes;
  }

  #describeChain(head: number, buffers: BufferList): void {
    let id = head;
    for (let buffer = 0; buffer < buffers.count; buffer += 1) {
      const next = this.#entries[(id << ENTRY_SHIFT) | NEXT_ID]!; // Below the size.
      describe(this.#table, id, buffers, buffer, next);
      this.#entries[(id << ENTRY_SHIFT) | LIST] = 0; // As a head it has to be described anew.
      this.#entries[(head << ENTRY_SHIFT) | LAST] = id;
      id = next;
    }
  }

  /** Likewise, in the indirect table of `head`. */
  #describeTable(head: number, buffers: BufferList, tables: IndirectTables): void {
    const { count } = buffers;
    const first = tables.first(head);
    for (let buffer = 0; buffer < count; buffer += 1)
      describe(tables.entries, first + buffer, buffers, buffer, buffer + 1);
    this.#entries[(head << ENTRY_SHIFT) | LAST] = head;
    this.#table.set(head, tables.low(head), tables.high(head), count * Descriptor.size, INDIRECT);
  }

  /** `count` descriptors, each behind the one before, from `first` on. */
  #row(first: number, count: number): number[] {
    let next = first;
    return Array.from({ length: count }, () => {
      const id = next;
      next = this.#entries[(id << ENTRY_SHIFT) | NEXT_ID]!; // Below the size.
      return id;
    });
  }

  /** Puts each of `ids` behind the one before. */
  #link(ids: readonly number[]): void {
    for (const [index, id] of ids.entries())
      this.#entries[(id << ENTRY_SHIFT) | NEXT_ID] = ids[index + 1] ?? 0;
  }
}

/** Describes one buffer of a chain in entry `index`; `next` is where the following one goes. */
function describe(
  table: DescriptorTable,
  index: number,
  buffers: BufferList,
  buffer: number,
  next: number,
): void {
  const { words } = buffers;
  const at = buffer * 4;
  const flags = words[at + 3]! >>> 16; // Below the count, as the others.
  table.set(
    index,
    words[at]!,
    words[at + 1]!,
    words[at + 2]!,
    (flags & NEXT) === 0 ? flags : flags | (next << 16),
  );
}
