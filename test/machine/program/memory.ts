/** What several programs do with memory and mappings. */

import { type Iova, PAGE_SIZE, guestPhysical, iova, pageOf } from '@viommu/common';
import { type Domain, Protection, iotlbSyncMap, mapPages } from '@viommu/driver';
import type { GuestContext } from '@viommu/machine';

export const READ_WRITE: number = Protection.READ | Protection.WRITE;

/** A buffer whose pages are scattered over memory and lie side by side for an endpoint. */
export interface Buffer {
  readonly iova: Iova;
  readonly bytes: number;
  /** Each page, in the order of the IOVAs. */
  readonly pages: readonly Uint8Array[];
}

/** Makes a buffer of `count` pages at `at` and maps it page by page, so that every page is a mapping of its own. */
export function mapBuffer(
  context: GuestContext,
  domain: Domain,
  at: bigint,
  count: number,
  protection: number = READ_WRITE,
): Buffer {
  const base = context.memory.allocate(2 * count * PAGE_SIZE);
  const pages: Uint8Array[] = [];
  for (let page = 0; page < count; page += 1) {
    // Every other page, the last one first.
    const physical = guestPhysical(base + BigInt(2 * (count - 1 - page) * PAGE_SIZE));
    mapPages(domain, pageOf(at) + page, pageOf(physical), 1, protection);
    pages.push(context.memory.bytes(physical, PAGE_SIZE));
  }
  iotlbSyncMap(domain, pageOf(at), count);
  return { iova: iova(at), bytes: count * PAGE_SIZE, pages };
}

/** Fills a buffer with bytes that have no short period. */
export function fill({ pages }: Buffer, seed: number): void {
  let state = seed;
  for (const page of pages)
    for (let at = 0; at < page.length; at += 1) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) | 0;
      page[at] = state >>> 16;
    }
}

/** A copy of what a buffer holds. */
export function contents({ pages, bytes }: Buffer): Uint8Array {
  const all = new Uint8Array(bytes);
  for (const [index, page] of pages.entries()) all.set(page, index * PAGE_SIZE);
  return all;
}
