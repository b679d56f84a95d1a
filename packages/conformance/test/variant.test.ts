/** Devices that are right in other ways than ours is by default: the suite must find nothing. */

import {
  type TargetWish,
  type VirtioDeviceParts,
  createCore,
  runConformance,
  virtioDeviceTarget,
} from '@viommu/conformance';
import { describe, expect, it } from 'vitest';

/** INPUT_RANGE, DOMAIN_RANGE, PROBE, MMIO, BYPASS_CONFIG, INDIRECT_DESC, EVENT_IDX, RING_PACKED, IN_ORDER, RING_RESET. */
const FEATURES = [0, 1, 4, 5, 6, 28, 29, 34, 35, 40];

const variants: Readonly<Record<string, () => VirtioDeviceParts>> = {
  'small, with few domains, mappings and descriptors, and odd pages': () => {
    const wish: TargetWish = {
      pageSizeMask: 0xffff_ffff_ffff_fe00n,
      inputRange: { start: 0x10_0000n, last: 0x2f_ffffn },
      domainRange: { first: 0xffff_ff00, last: 0xffff_ffff },
      queueSize: 4,
    };
    return createCore(wish, { batchUsed: true, limits: { mappingsPerDomain: 60, domains: 3 } });
  },
  'bare, without any feature that can be left out': () =>
    createCore({ withoutFeatures: FEATURES.reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n) }),
  'without endpoints': () => ({ ...createCore({}), endpoints: [] }),
};

describe('a device conforms that is', () => {
  it.each(Object.entries(variants))('%s', async (name, create) => {
    // Whatever a case wishes, it gets this one.
    const { results } = await runConformance(virtioDeviceTarget(name, create));
    const found = results.filter(({ result }) => result === 'fail' || result === 'warn');
    expect(found.map(({ id, evidence }) => [id, ...evidence].join('\n'))).toEqual([]);
    expect(results.filter(({ result }) => result === 'pass').length).toBeGreaterThan(20);
  });
});
