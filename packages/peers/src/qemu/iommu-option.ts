/** The options by which QEMU's virtio-iommu becomes what a case wishes, as far as a version has them. */

import { VirtioFeature, hasFeature } from '@viommu/common';
import type { TargetWish } from '@viommu/conformance';

/** Options that turn a feature on or off, by bit. */
const FEATURE_OPTIONS: ReadonlyMap<number, string> = new Map([
  [VirtioFeature.INDIRECT_DESC, 'indirect_desc'],
  [VirtioFeature.EVENT_IDX, 'event_idx'],
  [VirtioFeature.ACCESS_PLATFORM, 'iommu_platform'],
  [VirtioFeature.RING_PACKED, 'packed'],
  [VirtioFeature.IN_ORDER, 'in_order'],
  [VirtioFeature.RING_RESET, 'queue_reset'],
]);

/** Names of granules by their size. */
const GRANULES: ReadonlyMap<bigint, string> = new Map([
  [0x1000n, '4k'],
  [0x2000n, '8k'],
  [0x4000n, '16k'],
  [0x1_0000n, '64k'],
]);

/** Widths of an address that the input range can be given as. */
const WIDTHS = { min: 32, max: 64 } as const;

/** The options for a wish; a part of it that `known` has no option for is left out. */
export function iommuOptionsOf(
  wish: TargetWish,
  known: ReadonlySet<string>,
): Readonly<Record<string, string>> {
  const { withFeatures = 0n, withoutFeatures = 0n, bypass, pageSizeMask, inputRange } = wish;
  const options: Record<string, string> = {};
  for (const [bit, name] of FEATURE_OPTIONS) {
    if (hasFeature(withFeatures, bit)) options[name] = 'on';
    if (hasFeature(withoutFeatures, bit)) options[name] = 'off';
  }
  if (bypass !== undefined) options['boot-bypass'] = bypass ? 'on' : 'off';
  const granule = pageSizeMask === undefined ? undefined : granuleName(pageSizeMask);
  if (granule !== undefined) options['granule'] = granule;
  const width = inputRange?.start === 0n ? widthOf(inputRange.last) : undefined;
  if (width !== undefined) options['aw-bits'] = String(width);
  return Object.fromEntries(Object.entries(options).filter(([name]) => known.has(name)));
}

/** The name of a granule, if the device would have exactly this mask with it. */
function granuleName(mask: bigint): string | undefined {
  const granule = mask & -mask;
  return BigInt.asUintN(64, -granule) === mask ? GRANULES.get(granule) : undefined;
}

function widthOf(last: bigint): number | undefined {
  for (let width = WIDTHS.min; width <= WIDTHS.max; width += 1)
    if (last === (1n << BigInt(width)) - 1n) return width;
  return undefined;
}
