/** Mapping into a domain with the largest blocks that fit. Hot: pages are plain numbers and nothing is allocated. */

import type { Domain } from './domain.ts';

/**
 * Maps pages and waits until the device knows.
 *
 * @throws {IommuError} `EINVAL` if the domain is not for mapping, or something is no multiple of its smallest block;
 * `ENODEV` while it is unfinalised; whatever the driver refused with. Nothing stays mapped.
 */
export declare function mapRange(
  domain: Domain,
  startPage: number,
  physPage: number,
  pageCount: number,
  protection: number,
): void;

/** {@link mapRange} without waiting. */
export declare function mapNoSync(
  domain: Domain,
  startPage: number,
  physPage: number,
  pageCount: number,
  protection: number,
): void;

/** Maps runs of pages one behind the other and waits once. @throws {IommuError} as {@link mapRange} */
export declare function mapRuns(
  domain: Domain,
  startPage: number,
  runs: PageRuns,
  protection: number,
): void;

/** Unmaps pages and waits until no device reaches them. Returns the number of pages that were mapped. */
export declare function unmapRange(domain: Domain, startPage: number, pageCount: number): number;

/** {@link unmapRange} without waiting: unless it returns 0, {@link syncUnmap} has to follow. */
export declare function unmapFast(domain: Domain, startPage: number, pageCount: number): number;

/** Waits until nothing that was unmapped so far is reachable. @throws {IommuError} `EIO` */
export declare function syncUnmap(domain: Domain): void;

/** Physically contiguous pieces of memory, in order. Reused by its owner. */
export declare class PageRuns {
  /** Number of runs. */
  readonly length: number;
  /** Pages of all runs. */
  readonly pageCount: number;
  clear(): void;
  /** Adds pages behind the others; joined with the last run if they follow it in memory. */
  add(physPage: number, pageCount: number): void;
}
