/**
 * Keeps a disk busy with a number of requests, and checks everything that it reads.
 *
 * What a request costs besides the disk is kept small: stamps in place of whole blocks, nothing allocated.
 */

import type { BlkDriver } from '@viommu/blk';
import { BlkRequestType } from '@viommu/blk';
import { type Clock, type Context, IommuError, PAGE_SIZE } from '@viommu/common';
import type { GuestPages } from '../guest-pages.ts';
import type { GuestSystem } from '../guest-system.ts';
import { Histogram } from './histogram.ts';
import { Pattern, type WorkloadName } from './pattern.ts';
import { SECTOR_BYTES, Stamps } from './stamp.ts';

const { IN, OUT } = BlkRequestType;
const WAIT_MS = 5000;
/** This part of the requests in flight. */
const TOGETHER = 4;
/** A block whose content nobody knows. */
const UNKNOWN = 0;

/** What a workload needs of a disk's driver, and of the kernel. */
export type WorkloadDriver = Pick<
  BlkDriver,
  'submit' | 'kick' | 'wait' | 'reap' | 'outstanding' | 'capacity' | 'error' | 'lost'
>;
export interface WorkloadSystem extends Pick<GuestSystem, 'context' | 'poll'> {
  readonly ram: Pick<GuestPages, 'firstPage' | 'allocatePages'>;
}

export interface WorkloadOptions {
  readonly system: WorkloadSystem;
  readonly driver: WorkloadDriver;
  readonly clock: Clock;
  /** All of the guest's RAM, by words. */
  readonly ram: Int32Array;
  readonly blockBytes: number;
  readonly depth: number;
  readonly seed: number;
  /** The most slots of the driver for requests. */
  readonly tokens: number;
}

/** A disk's requests, and what its blocks should hold. */
export class Workload {
  readonly latency: Histogram = new Histogram();
  requests = 0;
  errors = 0;
  sectorsChecked = 0;
  mismatches = 0;
  readonly #system: WorkloadSystem;
  readonly #driver: WorkloadDriver;
  readonly #clock: Clock;
  readonly #context: Context;
  readonly #stamps: Stamps;
  readonly #pattern: Pattern;
  readonly #blockBytes: number;
  readonly #blockSectors: number;
  /** The most requests that are taken back, and sent anew, between two looks at the others. */
  readonly #together: number;
  /** By block: the generation that was written last. */
  readonly #generations: Uint32Array;
  /** Buffers: their pages and words, and those that are free. */
  readonly #pages: Int32Array;
  readonly #words: readonly Int32Array[];
  readonly #free: Int32Array;
  #freeCount: number;
  /** By token: buffer, block, whether it writes, when it began. */
  readonly #buffers: Int32Array;
  readonly #blocks: Int32Array;
  readonly #writes: Uint8Array;
  readonly #begun: Float64Array;

  /** @throws {IommuError} `ENOMEM` without room for buffers, `EINVAL` for a disk with too few blocks. */
  constructor(options: WorkloadOptions) {
    const { system, driver, clock, ram, blockBytes, depth, seed, tokens } = options;
    this.#system = system;
    this.#driver = driver;
    this.#clock = clock;
    this.#context = system.context;
    this.#stamps = new Stamps(seed);
    this.#together = Math.ceil(depth / TOGETHER);
    this.#blockBytes = blockBytes;
    this.#blockSectors = blockBytes / SECTOR_BYTES;
    const blocks = Math.floor(driver.capacity / this.#blockSectors);
    if (blocks <= depth)
      throw new IommuError(
        'EINVAL',
        `A disk of ${blocks} blocks is too small for ${depth} requests.`,
      );
    this.#pattern = new Pattern(blocks, seed);
    this.#generations = new Uint32Array(blocks);
    const pages = Math.ceil(blockBytes / PAGE_SIZE);
    const { firstPage } = system.ram;
    this.#pages = Int32Array.from({ length: depth }, () => system.ram.allocatePages(pages));
    if (this.#pages.includes(-1))
      throw new IommuError('ENOMEM', `The guest has no room for ${depth} buffers.`);
    this.#words = Array.from(this.#pages, (page) => {
      const at = ((page - firstPage) * PAGE_SIZE) / 4;
      return ram.subarray(at, at + blockBytes / 4);
    });
    this.#free = Int32Array.from({ length: depth }, (_, index) => index);
    this.#freeCount = depth;
    this.#buffers = new Int32Array(tokens);
    this.#blocks = new Int32Array(tokens);
    this.#writes = new Uint8Array(tokens);
    this.#begun = new Float64Array(tokens);
  }

  /** Writes or reads every block once. @throws {IommuError} `EIO` if the disk does not answer, as in {@link run}. */
  sweep(what: 'read' | 'write'): void {
    this.#pattern.sweep(what);
    this.#go(Infinity);
  }

  /** Works for so long; nothing is in flight afterwards. */
  run(workload: WorkloadName, milliseconds: number): void {
    this.#pattern.use(workload);
    this.#go(this.#clock.now() + milliseconds);
  }

  #go(end: number): void {
    const driver = this.#driver;
    const context = this.#context;
    for (;;) {
      while (this.#freeCount > 0 && this.#clock.now() < end && this.#pattern.next()) this.#submit();
      if (driver.outstanding === 0) return;
      if (!driver.wait(WAIT_MS))
        throw new IommuError('EIO', driver.lost ?? 'The disk stands still.');
      // Not all that are done: each may take as long as the disk takes for another one, which must not run dry.
      for (let left = this.#together; left > 0; left -= 1) {
        const token = driver.reap(context);
        if (token < 0) break;
        this.#finish(token);
      }
      this.#system.poll();
    }
  }

  /** Sends the request that was chosen. There is a buffer for it. */
  #submit(): void {
    const { block, writes } = this.#pattern;
    const sectors = this.#blockSectors;
    const sector = block * sectors;
    this.#freeCount -= 1;
    const buffer = this.#free[this.#freeCount]!; // One was free.
    const words = this.#words[buffer]!; // A buffer.
    if (writes) {
      this.#stamps.write(words, sector, sectors, this.#generations[block]! + 1); // A block.
    } else this.#stamps.wipe(words, sectors);
    const begun = this.#clock.now();
    const type = writes ? OUT : IN;
    const page = this.#pages[buffer]!; // A buffer.
    const token = this.#driver.submit(this.#context, type, sector, page, 0, this.#blockBytes);
    if (typeof token === 'string') throw new IommuError(token, 'A request was not taken.');
    this.#buffers[token] = buffer;
    this.#blocks[token] = block;
    this.#writes[token] = writes ? 1 : 0;
    this.#begun[token] = begun;
  }

  /** A request is over, in one way or the other. */
  #finish(token: number): void {
    const { error } = this.#driver;
    // Of a token that was taken, as the others.
    this.latency.add(1000 * (this.#clock.now() - this.#begun[token]!));
    const buffer = this.#buffers[token]!;
    const block = this.#blocks[token]!;
    const generation = this.#generations[block]!;
    this.requests += 1;
    if (error !== undefined) {
      this.errors += 1;
      // A write that failed may have been done.
      if (this.#writes[token] === 1) this.#generations[block] = UNKNOWN;
    } else if (this.#writes[token] === 1) this.#generations[block] = generation + 1;
    else if (generation !== UNKNOWN) {
      const sectors = this.#blockSectors;
      const words = this.#words[buffer]!;
      this.sectorsChecked += sectors;
      this.mismatches += this.#stamps.wrong(words, block * sectors, sectors, generation);
    }
    this.#pattern.done(block);
    this.#free[this.#freeCount] = buffer;
    this.#freeCount += 1;
  }
}
