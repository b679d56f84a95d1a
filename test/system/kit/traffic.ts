/**
 * Traffic on a disk whose every byte is known: what each block holds follows from its number and from how often it was
 * written, and every byte that comes back is compared, and those beside it, too.
 */

import { type BlkDriver, BlkRequestType } from '@viommu/blk';
import { addressAt, guestPhysical } from '@viommu/common';
import { ScatterEntry } from '@viommu/iommu';
import type { GuestRam, GuestSystem } from '@viommu/machine';

const { IN, OUT } = BlkRequestType;
const PAGE = 4096;
const GUARD = 0xa5;
const WAIT_MS = 10_000;
/** Where buffers begin in their pages; one after the other. */
const OFFSETS = [0, 512, 100, 3000];

export interface TrafficOptions {
  readonly system: GuestSystem;
  readonly memory: GuestRam;
  readonly driver: BlkDriver;
  readonly blockBytes?: number;
  /** Blocks that are used, from the start of the disk; all of them if absent. */
  readonly blocks?: number;
  readonly depth?: number;
  /** What the bytes follow from, and the order of blocks: as the bytes if absent. */
  readonly seed?: number;
  readonly order?: number;
  /** By block: how often it was written already, and should have been. */
  readonly generations?: Uint32Array;
  readonly issued?: Uint32Array;
}

/** The bytes of a block, as it is after so many writes; zeros before the first. */
export function blockBytes(into: Int32Array, seed: number, block: number, times: number): void {
  if (times === 0) {
    into.fill(0);
    return;
  }
  let state = Math.imul(seed ^ Math.imul(block + 1, 0x9e37_79b1), 0x85eb_ca6b) ^ times;
  for (let at = 0; at < into.length; at += 1) {
    state = (Math.imul(state, 0x0019_660d) + 0x3c6e_f35f) | 0;
    into[at] = state;
  }
}

/** A request that is under way. */
interface Flight {
  readonly buffer: number;
  readonly block: number;
  /** What it writes, as the number of the write; 0 if it reads. */
  readonly times: number;
}

export class Traffic {
  driver: BlkDriver;
  requests = 0;
  /** Requests that failed. */
  errors = 0;
  /** Reads that brought other bytes than those written, or touched others beside them. */
  wrong = 0;
  /** By block: how often it was written. */
  readonly generations: Uint32Array;
  /** By block: the last write that was sent. If that failed, nobody knows what the block holds of those since. */
  readonly issued: Uint32Array;
  readonly blocks: number;
  readonly #system: GuestSystem;
  readonly #bytes: number;
  readonly #sectors: number;
  readonly #seed: number;
  readonly #expected: Int32Array;
  readonly #expectedBytes: Uint8Array;
  readonly #pages: readonly number[];
  readonly #views: readonly Uint8Array[];
  readonly #free: number[] = [];
  readonly #flights: Map<number, Flight> = new Map();
  readonly #busy: Set<number> = new Set();
  readonly #list: readonly ScatterEntry[] = [new ScatterEntry(), new ScatterEntry()];
  #random: number;
  #turn = 0;

  constructor(options: TrafficOptions) {
    const { system, memory, driver, depth = 8, seed = 1 } = options;
    const bytes = options.blockBytes ?? PAGE;
    this.driver = driver;
    this.#system = system;
    this.#bytes = bytes;
    this.#sectors = bytes / 512;
    this.#seed = seed;
    this.#random = (options.order ?? seed) | 1;
    this.blocks = options.blocks ?? Math.floor(driver.capacity / this.#sectors);
    this.generations = options.generations ?? new Uint32Array(this.blocks);
    this.issued = options.issued ?? this.generations.slice();
    this.#expected = new Int32Array(bytes / 4);
    this.#expectedBytes = new Uint8Array(this.#expected.buffer);
    const pages = Math.ceil(bytes / PAGE) + 2;
    this.#pages = Array.from({ length: depth }, () => system.ram.allocatePages(pages));
    this.#views = this.#pages.map((page) =>
      memory.bytes(guestPhysical(addressAt(page, 0)), pages * PAGE),
    );
    for (let buffer = 0; buffer < depth; buffer += 1) this.#free.push(buffer);
  }

  /** Blocks of which nobody knows what they hold. */
  get doubtful(): number {
    return this.generations.reduce(
      (sum, times, at) => sum + (times === this.issued[at] ? 0 : 1),
      0,
    );
  }

  /** Gives the buffers back. */
  end(): void {
    for (const page of this.#pages) this.#system.ram.freePages(page);
  }

  /** Writes every block once; waits for all. */
  writeAll(): void {
    for (let block = 0; block < this.blocks; block += 1) this.#go(block, true);
    this.settle();
  }

  /** Reads every block once; waits for all. */
  readAll(): void {
    for (let block = 0; block < this.blocks; block += 1) this.#go(block, false);
    this.settle();
  }

  /** Reads and writes blocks at random; some are under way when it returns. */
  mix(requests: number): void {
    for (let done = 0; done < requests; done += 1) {
      const block = this.random(this.blocks);
      this.#go(block, this.random(2) === 0);
    }
  }

  /** Waits for all that is under way. */
  settle(): void {
    while (this.#flights.size > 0) this.#reap();
  }

  /** Below `limit`. */
  random(limit: number): number {
    this.#random = Math.imul(this.#random ^ (this.#random >>> 15), 0x2c1b_3c6d);
    this.#random = (this.#random + 0x6d2b_79f5) | 0;
    return ((this.#random ^ (this.#random >>> 13)) >>> 0) % limit;
  }

  #go(block: number, writes: boolean): void {
    while (this.#free.length === 0 || this.#busy.has(block)) this.#reap();
    const buffer = this.#free.pop()!; // Not empty.
    const view = this.#views[buffer]!; // One for each buffer.
    const offset = this.#offsetOf(buffer);
    view.fill(GUARD);
    const times = writes ? this.issued[block]! + 1 : 0; // A block.
    if (writes) {
      this.issued[block] = times;
      blockBytes(this.#expected, this.#seed, block, times);
      view.set(this.#expectedBytes, offset);
    }
    for (;;) {
      const token = this.#submit(buffer, block, writes, offset);
      if (typeof token === 'number') {
        this.#flights.set(token, { buffer, block, times });
        this.#busy.add(block);
        return;
      }
      // No room, in the ring or to bounce in: some has to come back first.
      if ((token !== 'EBUSY' && token !== 'ENOMEM') || this.#flights.size === 0) {
        this.errors += 1;
        this.#free.push(buffer);
        return;
      }
      this.#reap();
    }
  }

  /** In one piece, or in two that lie apart. */
  #submit(buffer: number, block: number, writes: boolean, offset: number): number | string {
    const { driver } = this;
    const { context } = this.#system;
    const page = this.#pages[buffer]!; // A buffer.
    const sector = block * this.#sectors;
    const type = writes ? OUT : IN;
    if ((this.#turn += 1) % 2 === 0 || this.#bytes > driver.pieceBytesMax)
      return driver.submit(context, type, sector, page, offset, this.#bytes);
    const [first, second] = this.#list as [ScatterEntry, ScatterEntry]; // Two were made.
    const part = this.#bytes / 2;
    const at = offset + part;
    Object.assign(first, { page, offset, sizeBytes: part });
    Object.assign(second, {
      page: page + Math.floor(at / PAGE),
      offset: at % PAGE,
      sizeBytes: this.#bytes - part,
    });
    return driver.submitList(context, type, sector, this.#list, 2);
  }

  #reap(): void {
    const { driver } = this;
    if (!driver.wait(WAIT_MS) && driver.lost === undefined)
      throw new Error('The disk stands still.');
    const { context } = this.#system;
    for (let token = driver.reap(context); token >= 0; token = driver.reap(context))
      this.#finish(token);
    this.#system.poll();
  }

  #finish(token: number): void {
    const flight = this.#flights.get(token);
    if (flight === undefined)
      throw new Error(`The driver tells of token ${token}, which is not ours.`);
    const { buffer, block, times } = flight;
    this.#flights.delete(token);
    this.#busy.delete(block);
    this.requests += 1;
    if (this.driver.error !== undefined) {
      this.errors += 1;
    } else if (times > 0) this.generations[block] = times;
    else if (!this.#right(buffer, block)) this.wrong += 1;
    this.#free.push(buffer);
  }

  #right(buffer: number, block: number): boolean {
    const view = this.#views[buffer]!; // A buffer.
    const offset = this.#offsetOf(buffer);
    const end = offset + this.#bytes;
    if (view[end] !== GUARD || (offset > 0 && view[offset - 1] !== GUARD)) return false;
    const from = this.generations[block]!; // A block.
    const last = this.issued[block]!; // Likewise.
    for (let times = from; times <= last; times += 1)
      if (this.#equals(view, offset, block, times)) return true;
    return false;
  }

  #equals(view: Uint8Array, offset: number, block: number, times: number): boolean {
    blockBytes(this.#expected, this.#seed, block, times);
    const found = Buffer.from(view.buffer, view.byteOffset + offset, this.#bytes);
    return found.equals(this.#expectedBytes);
  }

  #offsetOf(buffer: number): number {
    return OFFSETS[buffer % OFFSETS.length]!; // Below the length.
  }
}
