/**
 * Accesses by endpoints, judged by memory: whether a pattern arrived where it should, and nowhere else.
 */

import { ADDRESS_MAX, type Range, range } from '@viommu/common';
import { readBytes, writeBytes } from '../ring/bytes.ts';
import type { DeviceTarget, DmaDirection, DmaOutcome, TargetEndpoint } from '../target.ts';
import { Skipped } from '../verdict.ts';
import type { Arena } from './arena.ts';
import type { Transcript } from './transcript.ts';

/** Where pages begin if nothing is in the way. */
const FIRST = 0x10_0000n;

export interface Access {
  readonly outcome: DmaOutcome;
  /** True if the bytes went to, or came from, the place that was asked about. */
  readonly reached: boolean;
}

export class Dma {
  readonly #target: DeviceTarget;
  readonly #arena: Arena;
  readonly #transcript: Transcript;
  #pattern = 0;
  #firstPage: bigint | undefined;

  constructor(target: DeviceTarget, arena: Arena, transcript: Transcript) {
    this.#target = target;
    this.#arena = arena;
    this.#transcript = transcript;
  }

  /** The endpoints that are present and can be made to access memory. */
  get endpoints(): readonly TargetEndpoint[] {
    return this.#target.dma === undefined
      ? []
      : this.#target.endpoints.filter(({ role, dma }) => role === 'present' && dma !== undefined);
  }

  /** The first or a later endpoint that can do DMA; the case is skipped without it. */
  endpoint(index = 0): number {
    const endpoint = this.endpoints[index];
    if (endpoint === undefined)
      throw new Skipped(
        index === 0
          ? 'no endpoint of the target can be made to access memory'
          : `only ${index} of the target's endpoints can be made to access memory`,
      );
    return endpoint.id;
  }

  /** Fresh, zeroed pages of 4096 bytes that accesses can reach: the guest-physical address of the first. */
  pages(count = 1): bigint {
    const at = this.#arena.allocatePages(count);
    writeBytes(this.#target.memory, at, new Uint8Array(4096 * count));
    return at;
  }

  /** One access, as it is. */
  access(endpoint: number, direction: DmaDirection, iova: bigint, bytes: Uint8Array): DmaOutcome {
    this.#checkReach(endpoint, iova, bytes.length);
    const outcome = this.#target.dma?.(endpoint, direction, iova, bytes);
    if (outcome === undefined)
      throw new Skipped('endpoints of the target cannot be made to access memory');
    this.#transcript.note(
      `endpoint ${endpoint}: ${direction} of ${bytes.length} bytes at 0x${iova.toString(16)}: ${outcome}`,
    );
    return outcome;
  }

  /** Writes a new pattern at `iova`: did it arrive at `phys`, which held something else? */
  write(endpoint: number, iova: bigint, phys: bigint, length = 8): Access {
    const bytes = this.#next(length);
    writeBytes(this.#target.memory, phys, new Uint8Array(length));
    const outcome = this.access(endpoint, 'write', iova, bytes);
    const found = readBytes(this.#target.memory, phys, length);
    return this.#told(`write reached 0x${phys.toString(16)}`, outcome, same(found, bytes));
  }

  /** Reads at `iova`, with a new pattern at `phys`: was that what came? */
  read(endpoint: number, iova: bigint, phys: bigint, length = 8): Access {
    const bytes = this.#next(length);
    writeBytes(this.#target.memory, phys, bytes);
    const got = new Uint8Array(length);
    const outcome = this.access(endpoint, 'read', iova, got);
    return this.#told(`read saw 0x${phys.toString(16)}`, outcome, same(got, bytes));
  }

  /** Where `count` pages of `granule` bytes can be mapped and accessed by every endpoint. */
  firstPage(granule: bigint, count: number, input: Range): bigint {
    this.#firstPage ??= this.#findPages(granule, count, input);
    return this.#firstPage;
  }

  #findPages(granule: bigint, count: number, input: Range): bigint {
    const last = this.endpoints.reduce(
      (least, { dma }) => (dma?.last !== undefined && dma.last < least ? dma.last : least),
      input.last,
    );
    const room = granule * BigInt(count);
    const align = (address: bigint): bigint => (address + granule - 1n) & -granule;
    const { start, bytes } = this.#target.window;
    // Not over the suite's own memory either: an access that is not translated must not hit a ring.
    const regions = this.#target.endpoints
      .flatMap(({ reserved = [] }) => reserved.map((region) => ({ ...region })))
      .concat({ start, last: start + BigInt(bytes) - 1n, type: 'reserved' })
      .toSorted((one, other) => (one.start < other.start ? -1 : 1));
    let at = align(input.start > FIRST ? input.start : FIRST);
    // Where the input range ends early, from its start on.
    if (at + room - 1n > last) at = align(input.start);
    for (const region of regions) {
      const pages = range(at, at + room - 1n);
      if (region.start <= pages.last && region.last >= pages.start) at = align(region.last + 1n);
    }
    if (at + room - 1n > last) throw new Skipped(`there is no room for ${count} pages to map`);
    return at;
  }

  /** Skips the case if the endpoint cannot make such an access. */
  #checkReach(id: number, iova: bigint, length: number): void {
    const dma = this.#target.endpoints.find((endpoint) => endpoint.id === id)?.dma;
    const { last = ADDRESS_MAX, align = 1, bytesMax = 4096 } = dma ?? {};
    if (iova + BigInt(length) - 1n > last || length > bytesMax)
      throw new Skipped(`endpoint ${id} does not reach ${length} bytes at 0x${iova.toString(16)}`);
    if (iova % BigInt(align) !== 0n || length % align !== 0)
      throw new Skipped(`accesses of endpoint ${id} are in units of ${align} bytes`);
  }

  #told(what: string, outcome: DmaOutcome, reached: boolean): Access {
    this.#transcript.note(`${what}: ${reached ? 'yes' : 'no'}`);
    return { outcome, reached };
  }

  #next(length: number): Uint8Array {
    this.#pattern += 1;
    const seed = this.#pattern;
    return Uint8Array.from({ length }, (_, index) => 1 + ((seed * 37 + index * 11) % 255));
  }
}

function same(one: Uint8Array, other: Uint8Array): boolean {
  return one.every((byte, index) => byte === other[index]);
}
