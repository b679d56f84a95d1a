/** The addresses of devices that are not for free use, and how a group lists them. */

import type { DeviceRegion, RegionKind } from '@viommu/common';
import type { Device } from './device.ts';
import type { Firmware } from './probe.ts';

/** The regions of one device, as its IOMMU and the firmware name them, ascending. */
export function reservedRegions(device: Device, firmware: Firmware | undefined): DeviceRegion[] {
  const regions = device.iommu?.endpoint?.reservedRegions() ?? [];
  if (firmware !== undefined) regions.push(...firmware.regionsOf(device));
  return regions.sort(compareRegions);
}

/**
 * One list of many regions, by start and then by kind: regions of one kind that overlap or touch are one.
 *
 * Regions of different kinds stay apart, even if they overlap. The protection of joined ones is that of the first.
 */
export function mergeRegions(regions: readonly DeviceRegion[]): DeviceRegion[] {
  const merged: DeviceRegion[] = [];
  const latest = new Map<RegionKind, number>();
  for (const region of regions.toSorted(compareRegions)) {
    const at = latest.get(region.kind);
    const before = at === undefined ? undefined : merged[at];
    if (at === undefined || before === undefined || region.start > before.last + 1n) {
      latest.set(region.kind, merged.push(region) - 1);
    } else if (region.last > before.last) {
      merged[at] = { ...before, last: region.last };
    }
  }
  return merged;
}

/** The text of the `reserved_regions` attribute: a line for each region. */
export function formatRegions(regions: readonly DeviceRegion[]): string {
  return regions
    .map(({ start, last, kind }) => `${hex(start)} ${hex(last)} ${KIND_NAMES[kind]}\n`)
    .join('');
}

/** By {@link RegionKind}. Who reads the attribute need not care who maps a doorbell. */
const KIND_NAMES = ['direct', 'direct-relaxable', 'reserved', 'msi', 'msi'] as const;

function compareRegions(a: DeviceRegion, b: DeviceRegion): number {
  if (a.start !== b.start) return a.start < b.start ? -1 : 1;
  return a.kind - b.kind;
}

function hex(address: bigint): string {
  return `0x${address.toString(16).padStart(16, '0')}`;
}
