/** Memory that a device needs at its own address at all times, so that what firmware set up goes on working. */

import {
  type DeviceRegion,
  IommuError,
  RegionKind,
  alignOutward,
  contains,
  pageOf,
} from '@viommu/common';
import type { Device } from './device.ts';
import type { Domain } from './domain.ts';
import type { CoreLog } from './log.ts';
import { mapRange, unmapRange } from './map.ts';

/** A region has to be mapped to itself in a domain that does not reach it: no later try can succeed. */
export class ApertureConflict extends IommuError {
  constructor(message: string) {
    super('EINVAL', message);
  }
}

/** Consecutive pages, mapped to themselves. */
export interface DirectRun {
  readonly startPage: number;
  readonly pageCount: number;
  /** Bits of `Protection`. */
  readonly protection: number;
}

/**
 * Maps a device's direct regions into a domain of the DMA layer, and notes that the device has some.
 *
 * What is mapped to itself already, for another device of the group, stays as it is. Returns what was added.
 *
 * @throws {ApertureConflict} if a region lies outside of the domain; {@link IommuError} `EINVAL` if one of its addresses
 * leads elsewhere, `ENODEV` if the domain is unfinalised, or what mapping failed with. Then nothing was added.
 */
export function createDirectMappings(
  domain: Domain,
  device: Device,
  regions: readonly DeviceRegion[],
  log: CoreLog,
): DirectRun[] {
  if (device.iommu !== undefined && regions.some(({ kind }) => kind === RegionKind.DIRECT))
    device.iommu.requireDirect = true;
  const direct = regions.filter(({ kind }) => kind <= RegionKind.DIRECT_RELAXABLE);
  if (!domain.dmaApi || direct.length === 0) return [];
  const added: DirectRun[] = [];
  try {
    for (const piece of directPieces(domain, device, direct, log)) {
      for (const run of unmappedRuns(domain, piece)) {
        mapRange(domain, run.startPage, run.startPage, run.pageCount, run.protection);
        added.push(run);
      }
    }
  } catch (error) {
    removeDirectMappings(domain, added);
    throw error;
  }
  return added;
}

/** Removes what {@link createDirectMappings} added. */
export function removeDirectMappings(domain: Domain, runs: readonly DirectRun[]): void {
  for (const { startPage, pageCount } of runs) {
    try {
      unmapRange(domain, startPage, pageCount);
    } catch (error) {
      // The device is broken; the caller has a better error to tell.
      if (!(error instanceof IommuError)) throw error;
    }
  }
}

/** The pages of all regions, each once, ascending, with what any of the regions allows. */
function directPieces(
  domain: Domain,
  device: Device,
  regions: readonly DeviceRegion[],
  log: CoreLog,
): DirectRun[] {
  const { aperture } = domain.ops;
  const blockPages = domain.blocks()[0];
  if (aperture === undefined || blockPages === undefined)
    throw new IommuError('ENODEV', 'The domain waits for its first device.');
  const runs: DirectRun[] = [];
  for (const region of regions) {
    const { start, last } = alignOutward(region, BigInt(blockPages) << 12n);
    if (contains(aperture, { start, last })) {
      const startPage = pageOf(start);
      const pageCount = pageOf(last) - startPage + 1;
      runs.push({ startPage, pageCount, protection: region.protection });
      continue;
    }
    const text = `${device.name} has a direct region from 0x${region.start.toString(16)} on`;
    if (region.kind === RegionKind.DIRECT)
      throw new ApertureConflict(`${text}, which its IOMMU does not reach.`);
    log.warn('directSkipped', `${text}, which its IOMMU does not reach`);
  }
  return cut(runs);
}

/** Cuts runs that may overlap at each other's ends. */
function cut(runs: readonly DirectRun[]): DirectRun[] {
  const ends = new Set<number>();
  for (const { startPage, pageCount } of runs) ends.add(startPage).add(startPage + pageCount);
  const pieces: DirectRun[] = [];
  let startPage = 0;
  for (const end of [...ends].sort((a, b) => a - b)) {
    let protection = 0;
    let covered = false;
    for (const run of runs) {
      if (run.startPage >= end || run.startPage + run.pageCount <= startPage) continue;
      protection |= run.protection;
      covered = true;
    }
    const before = pieces.at(-1);
    const pageCount = end - startPage;
    if (before?.protection === protection && before.startPage + before.pageCount === startPage)
      pieces[pieces.length - 1] = { ...before, pageCount: before.pageCount + pageCount };
    else if (covered) pieces.push({ startPage, pageCount, protection });
    startPage = end;
  }
  return pieces;
}

/** What of a piece leads nowhere yet. @throws {IommuError} `EINVAL` if some of it leads elsewhere. */
function unmappedRuns(domain: Domain, piece: DirectRun): DirectRun[] {
  const step = domain.blocks()[0]!; // The caller saw that there is one.
  const end = piece.startPage + piece.pageCount;
  const { protection } = piece;
  const runs: DirectRun[] = [];
  let startPage = piece.startPage;
  for (let page = startPage; page < end; page += step) {
    const target = domain.ops.translate(page);
    if (target < 0) continue;
    if (target !== page) throw new IommuError('EINVAL', 'A direct region is mapped elsewhere.');
    if (page > startPage) runs.push({ startPage, pageCount: page - startPage, protection });
    startPage = page + step;
  }
  if (end > startPage) runs.push({ startPage, pageCount: end - startPage, protection });
  return runs;
}
