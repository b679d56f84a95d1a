import { type ErrorCode, IommuError } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import {
  DEFAULT_LIMITS,
  Iommu,
  IommuDevice,
  type IommuDeviceOptions,
  MAPPINGS_MAX,
} from '../src/index.ts';

function failure(make: () => unknown): IommuError | undefined {
  try {
    make();
  } catch (error) {
    if (error instanceof IommuError) return error;
    throw error;
  }
  return undefined;
}

const region = (start: bigint, last: bigint, type: 'reserved' | 'msi' = 'reserved') => ({
  start,
  last,
  type,
});

describe('options of a device', () => {
  const wrong: readonly [string, IommuDeviceOptions, ErrorCode][] = [
    ['an empty page size mask', { pageSizeMask: 0n }, 'EINVAL'],
    [
      'an input range that ends before it starts',
      { inputRange: { start: 2n, last: 1n } },
      'EINVAL',
    ],
    ['an input range beyond 64 bits', { inputRange: { start: 0n, last: 1n << 64n } }, 'EOVERFLOW'],
    ['a domain range that ends before it starts', { domainRange: { first: 2, last: 1 } }, 'EINVAL'],
    ['a domain range beyond 32 bits', { domainRange: { first: 0, last: 2 ** 32 } }, 'EINVAL'],
    ['a probe size that is none', { probeSize: -1 }, 'EINVAL'],
    ['a probe size beyond all measure', { probeSize: 2 ** 32 }, 'EINVAL'],
    ['an endpoint number that is none', { endpoints: [{ id: 0.5 }] }, 'EINVAL'],
    ['an endpoint number beyond 32 bits', { endpoints: [{ id: 2 ** 32 }] }, 'EINVAL'],
    ['the same endpoint twice', { endpoints: [{ id: 1 }, { id: 1 }] }, 'EINVAL'],
    [
      'more endpoints than the limit',
      { endpoints: [{ id: 1 }, { id: 2 }], limits: { endpoints: 1 } },
      'ENOSPC',
    ],
    [
      'a region that ends before it starts',
      { endpoints: [{ id: 1, reserved: [region(2n, 1n)] }] },
      'EINVAL',
    ],
    [
      'regions that overlap',
      { endpoints: [{ id: 1, reserved: [region(5n, 9n), region(0n, 5n)] }] },
      'EINVAL',
    ],
    [
      'two regions for interrupts',
      { endpoints: [{ id: 1, reserved: [region(5n, 9n, 'msi'), region(0n, 4n, 'msi')] }] },
      'EINVAL',
    ],
    ['a limit of nothing', { limits: { domains: 0 } }, 'EINVAL'],
    ['a limit that is no number', { limits: { mappingsPerDomain: Number.NaN } }, 'EINVAL'],
    ['a limit above the largest', { limits: { mappings: MAPPINGS_MAX + 1 } }, 'EINVAL'],
    ['a queue size that is no power of two', { queueSize: 48 }, 'EINVAL'],
    ['half a descriptor', { queueSize: 47.5, features: { packed: true } }, 'EINVAL'],
    ['a queue size beyond the standard', { queueSize: 65536 }, 'EINVAL'],
    ['no queue size', { queueSize: 0 }, 'EINVAL'],
  ];
  for (const [name, options, code] of wrong) {
    it(`refuses ${name}, in one sentence`, () => {
      const error = failure(() => new IommuDevice(options));
      expect(error?.code).toBe(code);
      expect(error?.message).toMatch(/^[A-Z][^\n]*\.$/u);
    });
  }

  it('has a default for everything', () => {
    const device = new IommuDevice();
    expect(device.deviceId).toBe(23);
    expect(device.queueSizesMax).toEqual([256, 256]);
    expect(device.config).toHaveLength(40);
    expect(device.iommu).toMatchObject({
      pageSizeMask: 0xffff_ffff_ffff_f000n,
      inputRange: { start: 0n, last: 0xffff_ffff_ffff_ffffn },
      domainRange: { first: 0, last: 0xffff_ffff },
      bypass: false,
      endpoints: [],
      domains: [],
      limits: DEFAULT_LIMITS,
    });
  });

  it('takes any queue size with packed rings, which split ones of that device need not fill', () => {
    const device = new IommuDevice({ queueSize: 47, features: { packed: true } });
    expect(device.queueSizesMax).toEqual([47, 47]);
  });

  it('offers nothing unasked that costs a driver more than it gives', () => {
    const offered = (features: IommuDeviceOptions['features']): bigint[] => {
      const bits = new IommuDevice(features === undefined ? {} : { features }).offeredFeatures;
      return [3n, 28n, 29n, 34n, 35n, 38n, 40n].map((bit) => (bits >> bit) & 1n);
    };
    expect(offered(undefined)).toEqual([0n, 1n, 1n, 0n, 1n, 0n, 1n]);
    expect(offered({ packed: true, notificationData: true })).toEqual([0n, 1n, 1n, 1n, 1n, 1n, 1n]);
    const none = { indirect: false, eventIndex: false, inOrder: false, ringReset: false };
    expect(offered(none)).toEqual([0n, 0n, 0n, 0n, 0n, 0n, 0n]);
  });

  it('takes limits one by one', () => {
    expect(new Iommu({ limits: { domains: 7 } }).limits).toEqual({ ...DEFAULT_LIMITS, domains: 7 });
  });

  it('leaves the endpoints as they were when one more is refused', () => {
    const iommu = new Iommu({ endpoints: [{ id: 1 }] });
    expect(failure(() => iommu.plug({ id: 1 }))?.code).toBe('EINVAL');
    iommu.plug({ id: 2 });
    expect(iommu.endpoints).toEqual([1, 2]);
  });
});
