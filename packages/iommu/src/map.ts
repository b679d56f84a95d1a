/** Mapping into a domain with the largest blocks that fit. Hot: pages are plain numbers and nothing is allocated. */

import { IommuError, PAGE_MAX, PAGE_SIZE, addressAt, offsetInPage, pageOf } from '@viommu/common';
import type { Domain } from './domain.ts';

/**
 * Maps pages and waits until the device knows.
 *
 * @throws {IommuError} `EINVAL` if the domain is not for mapping, or something is no multiple of its smallest block;
 * `ENODEV` while it is unfinalised; whatever the driver refused with. Nothing stays mapped.
 */
export function mapRange(
  domain: Domain,
  startPage: number,
  physPage: number,
  pageCount: number,
  protection: number,
): void {
  mapNoSync(domain, startPage, physPage, pageCount, protection);
  syncMap(domain, startPage, pageCount);
}

/** {@link mapRange} without waiting: {@link syncMap} has to follow, for this range or a larger one. */
export function mapNoSync(
  domain: Domain,
  startPage: number,
  physPage: number,
  pageCount: number,
  protection: number,
): void {
  check(domain, startPage, physPage, pageCount);
  const { ops } = domain;
  const blocks = domain.blocks();
  let done = 0;
  try {
    while (done < pageCount) {
      const start = startPage + done;
      const phys = physPage + done;
      const left = pageCount - done;
      const at = largestBlock(blocks, start, phys, left);
      const block = blocks[at]!; // `check` saw that the smallest block divides everything.
      const next = blocks[at + 1];
      const count = Math.floor(untilNext(next, start, phys, left) / block);
      const mapped = ops.mapPages(start, phys, block, count, protection);
      if (mapped <= 0) throw new IommuError('EIO', 'The IOMMU mapped nothing and did not say why.');
      done += mapped;
    }
  } catch (error) {
    // Whatever passes through: a parked context starts again.
    if (done > 0) undo(domain, startPage, done);
    throw error;
  }
}

/** Waits until the device knows what was mapped; if it refused some of it, nothing of the range stays. */
export function syncMap(domain: Domain, startPage: number, pageCount: number): void {
  try {
    domain.ops.syncMap(startPage, pageCount);
  } catch (error) {
    undo(domain, startPage, pageCount);
    throw error;
  }
}

/** Maps runs of pages one behind the other and waits once. @throws {IommuError} as {@link mapRange} */
export function mapRuns(
  domain: Domain,
  startPage: number,
  runs: PageRuns,
  protection: number,
): void {
  mapRunsNoSync(domain, startPage, runs, protection);
  syncMap(domain, startPage, runs.pageCount);
}

/** {@link mapRuns} without waiting, as {@link mapNoSync}. */
export function mapRunsNoSync(
  domain: Domain,
  startPage: number,
  runs: PageRuns,
  protection: number,
): void {
  let done = 0;
  try {
    for (let at = 0; at < runs.length; at += 1) {
      const count = runs.pageCountAt(at);
      mapNoSync(domain, startPage + done, runs.physPageAt(at), count, protection);
      done += count;
    }
  } catch (error) {
    if (done > 0) undo(domain, startPage, done);
    throw error;
  }
}

/** Unmaps pages and waits until no device reaches them. Returns how many were unmapped. @throws {IommuError} `EIO` */
export function unmapRange(domain: Domain, startPage: number, pageCount: number): number {
  const unmapped = unmapFast(domain, startPage, pageCount);
  if (unmapped > 0) domain.ops.sync();
  return unmapped;
}

/**
 * {@link unmapRange} without waiting: unless it returns 0, {@link syncUnmap} has to follow, at once or in a flush.
 *
 * A range that is no multiple of the smallest block gives 0, as does one that starts at no mapping.
 */
export function unmapFast(domain: Domain, startPage: number, pageCount: number): number {
  const smallest = domain.blocks()[0];
  if (!domain.paging || smallest === undefined) return 0;
  if (!divides(smallest, startPage) || !divides(smallest, pageCount)) return 0;
  let done = 0;
  // In smallest blocks: how the range was cut when it was mapped also depends on what it was mapped to, and one mapping
  // goes as one.
  while (done < pageCount) {
    const left = pageCount - done;
    const unmapped = domain.ops.unmapPages(startPage + done, smallest, left / smallest);
    if (unmapped <= 0) break;
    done += unmapped;
  }
  return done;
}

/** Waits until nothing that was unmapped so far is reachable. @throws {IommuError} `EIO` */
export function syncUnmap(domain: Domain): void {
  domain.ops.sync();
}

/** Physically contiguous pieces of memory, in order. Reused by its owner. */
export class PageRuns {
  /** Number of runs. */
  length = 0;
  /** Pages of all runs. */
  pageCount = 0;
  // Pages come first, counts behind them: typed, so that a page above 2^31 is no object.
  #runs: Float64Array = new Float64Array(2 * 64);

  /** The first page of a run. */
  physPageAt(at: number): number {
    return this.#runs[2 * at]!; // Only asked below `length`.
  }

  /** The pages of a run. */
  pageCountAt(at: number): number {
    return this.#runs[2 * at + 1]!; // Only asked below `length`.
  }

  clear(): void {
    this.length = 0;
    this.pageCount = 0;
  }

  /** Adds pages behind the others; joined with the last run if they follow it in memory. */
  add(physPage: number, pageCount: number): void {
    const last = this.length - 1;
    this.pageCount += pageCount;
    if (last >= 0 && this.physPageAt(last) + this.pageCountAt(last) === physPage) {
      this.#runs[2 * last + 1]! += pageCount; // It exists.
      return;
    }
    if (2 * this.length === this.#runs.length) this.#grow();
    this.#runs[2 * this.length] = physPage;
    this.#runs[2 * this.length + 1] = pageCount;
    this.length += 1;
  }

  #grow(): void {
    const runs = new Float64Array(2 * this.#runs.length);
    runs.set(this.#runs);
    this.#runs = runs;
  }
}

/** {@link mapRange} with addresses. @throws {IommuError} as that; `EINVAL` for parts of pages */
export function map(
  domain: Domain,
  iova: bigint,
  phys: bigint,
  sizeBytes: bigint,
  protection: number,
): void {
  if (((iova | phys | sizeBytes) & BigInt(PAGE_SIZE - 1)) !== 0n)
    throw new IommuError('EINVAL', 'Addresses and sizes of mappings are multiples of a page.');
  mapRange(domain, pageOf(iova), pageOf(phys), pageOf(sizeBytes), protection);
}

/** {@link unmapRange} with addresses and bytes; 0 for parts of pages. @throws {IommuError} `EIO` */
export function unmap(domain: Domain, iova: bigint, sizeBytes: bigint): bigint {
  if (((iova | sizeBytes) & BigInt(PAGE_SIZE - 1)) !== 0n) return 0n;
  return addressAt(unmapRange(domain, pageOf(iova), pageOf(sizeBytes)), 0);
}

/** Where an address leads; `undefined` if nowhere. Address 0 is a place like any other. */
export function translate(domain: Domain, iova: bigint): bigint | undefined {
  const page = domain.ops.translate(pageOf(iova));
  return page < 0 ? undefined : addressAt(page, offsetInPage(iova));
}

function check(domain: Domain, startPage: number, physPage: number, pageCount: number): void {
  if (!domain.paging) throw new IommuError('EINVAL', 'The domain has no mappings of its own.');
  const smallest = domain.blocks()[0];
  if (smallest === undefined)
    throw new IommuError('ENODEV', 'The domain waits for its first device.');
  if (
    pageCount <= 0 ||
    !divides(smallest, startPage) ||
    !divides(smallest, physPage) ||
    !divides(smallest, pageCount)
  )
    throw new IommuError(
      'EINVAL',
      'A mapping is a whole number of the smallest blocks, 1 or more.',
    );
  if (startPage + pageCount - 1 > PAGE_MAX || physPage + pageCount - 1 > PAGE_MAX)
    throw new IommuError('EINVAL', 'A mapping ends at the last address.');
}

/** The index of the largest block not above `left` that divides both pages. */
function largestBlock(
  blocks: readonly number[],
  start: number,
  phys: number,
  left: number,
): number {
  let at = 0;
  // Blocks are powers of two, so that the first that does not fit ends the search.
  for (let larger = 1; larger < blocks.length; larger += 1) {
    const block = blocks[larger]!; // Below `length`.
    if (block > left || !divides(block, start) || !divides(block, phys)) break;
    at = larger;
  }
  return at;
}

/**
 * Pages to map in smaller blocks before the `next` larger ones can take over; all if they never do.
 *
 * They can if both addresses are equally far from a boundary and at least one larger block fits behind it.
 */
function untilNext(next: number | undefined, start: number, phys: number, left: number): number {
  if (next === undefined || next > left) return left;
  const past = remainder(start, next);
  if (past !== remainder(phys, next)) return left;
  const distance = next - past;
  return distance + next <= left ? distance : left;
}

/** True if a power of two divides a page number. */
function divides(block: number, page: number): boolean {
  return block === 1 || remainder(page, block) === 0;
}

/** What a power of two leaves of a page number. */
function remainder(page: number, block: number): number {
  // Bit operations take the low 32 bits of any whole number below 2^53, and are faster than a remainder.
  return block <= 0x4000_0000 ? page & (block - 1) : page % block;
}

/** Takes back what a call that fails has mapped. The failure is the caller's news, not the wait's. */
function undo(domain: Domain, startPage: number, pageCount: number): void {
  try {
    unmapRange(domain, startPage, pageCount);
  } catch (error) {
    if (!(error instanceof IommuError)) throw error;
  }
}
