import { ADDRESS_MAX, IommuFeature, PAGE_MAX, RegionKind, iova } from '@viommu/common';
import {
  Protection,
  allocIdentity,
  allocPaging,
  attach,
  detach,
  freeDomain,
  iotlbSync,
  iotlbSyncMap,
  iovaToPhys,
  mapPages,
  unmapPages,
} from '@viommu/driver';
import { describe, expect, it } from 'vitest';
import { MSI, RESERVED, list, property, region } from './helper/property.ts';
import { ALL_FEATURES, without } from './helper/scripted-device.ts';
import { ATTACH, MAP, PROBE, codeOf, setUp } from './helper/setup.ts';

const RW = Protection.READ | Protection.WRITE;
const NO_BYPASS = without(ALL_FEATURES, IommuFeature.BYPASS_CONFIG);

describe('probing a device', () => {
  it('S1.22 [A12] (6.6) keeps the regions that the device reports, and needs no window of its own', () => {
    const { driver, device } = setUp({ config: { probeSize: 96 } });
    const properties = list(
      96,
      region(MSI, 0xfee0_0000n, 0xfeef_ffffn),
      property(0x7ff, 4),
      region(RESERVED, 0x1000n, 0x1fffn),
    );
    device.script = () => ({ properties });
    const endpoint = driver.probeDevice([8, 9]);
    expect(device.types).toEqual([PROBE]);
    expect(device.seen[0]?.view.getUint32(4, true)).toBe(8);
    expect(endpoint.reservedRegions()).toMatchObject([
      { start: 0x1000n, last: 0x1fffn, kind: RegionKind.RESERVED },
      { start: 0xfee0_0000n, last: 0xfeef_ffffn, kind: RegionKind.MSI },
    ]);
    expect(driver.log.counters.propertySkipped).toBe(1);
  });

  it('S1.23 [A13] without a window of the device’s own there is one at 0x8000000', () => {
    const { driver, device } = setUp();
    device.script = () => ({ properties: list(64, region(RESERVED, 0x9000_0000n, 0x9000_0fffn)) });
    const regions = driver.probeDevice([8]).reservedRegions();
    expect(regions).toEqual([
      {
        start: 0x800_0000n,
        last: 0x800_0000n + 0x10_0000n - 1n,
        kind: RegionKind.SW_MSI,
        protection: Protection.WRITE | Protection.NOEXEC | Protection.MMIO,
      },
      { start: 0x9000_0000n, last: 0x9000_0fffn, kind: RegionKind.RESERVED, protection: 0 },
    ]);
  });

  it('S1.22 [A14] fails with what is wrong with the list, and leaves no endpoint', () => {
    const { driver, device } = setUp();
    device.script = () => ({ properties: list(64, region(RESERVED, 2n, 1n)) });
    expect(codeOf(() => driver.probeDevice([8]))).toBe('EOVERFLOW');
    device.script = () => ({ properties: list(64, property(1, 61)) });
    expect(codeOf(() => driver.probeDevice([8]))).toBe('EINVAL');
    device.script = () => ({ status: 6 });
    expect(codeOf(() => driver.probeDevice([8]))).toBe('ENOENT');
    expect(driver.endpoints.size).toBe(0);
  });

  it('fails with EINVAL for a device without numbers, or with numbers that are none', () => {
    const { driver, device } = setUp();
    for (const ids of [[], [-1], [2 ** 32], [1.5]])
      expect(codeOf(() => driver.probeDevice(ids))).toBe('EINVAL');
    expect(device.seen).toEqual([]);
  });

  it('iommu.drv.probe.reserved-zero', () => {
    const { driver, device } = setUp();
    driver.probeDevice([0xffff_ffff]);
    expect(device.seen[0]?.bytes.subarray(0, 8)).toEqual(
      Uint8Array.of(5, 0, 0, 0, 255, 255, 255, 255),
    );
    expect(device.seen[0]?.bytes.subarray(8)).toEqual(new Uint8Array(64));
  });

  it('(6.5) asks nothing if the device has no room for properties, or no PROBE', () => {
    for (const options of [
      { config: { probeSize: 0 } },
      { offered: without(ALL_FEATURES, IommuFeature.PROBE) },
    ]) {
      const { driver, device } = setUp(options);
      expect(driver.probeDevice([8]).regions).toEqual([]);
      expect(device.seen).toEqual([]);
    }
  });

  it('iommu.drv.resv.unknown-subtype: counted once per endpoint', () => {
    const { driver, device } = setUp();
    device.script = () => ({ properties: list(64, region(0x7f, 0x1000n, 0x1fffn)) });
    driver.probeDevice([8]);
    expect(driver.log.counters.subtypeUnknown).toBe(1);
  });
});

describe('domains', () => {
  it('iommu.drv.req.domain-range: only numbers of the range are used, the lowest first', () => {
    const { driver, device } = setUp({
      offered: NO_BYPASS,
      config: { domainRangeStart: 5, domainRangeEnd: 6 },
    });
    const endpoint = driver.probeDevice([8]);
    const domains = [allocPaging(endpoint), allocPaging(endpoint)];
    expect(domains.map(({ id }) => id)).toEqual([5, 6]);
    expect(codeOf(() => allocPaging(endpoint))).toBe('ENOSPC');
    for (const domain of domains) attach(domain, endpoint);
    expect(device.seen.slice(1).map(({ view }) => view.getUint32(4, true))).toEqual([5, 6]);
    const [five] = domains;
    if (five === undefined) throw new Error('two domains');
    freeDomain(five);
    expect(allocPaging(endpoint).id).toBe(5);
  });

  it('one number only is the bypass domain’s', () => {
    const { driver } = setUp({ config: { domainRangeStart: 7, domainRangeEnd: 7 } });
    const endpoint = driver.probeDevice([8]);
    expect(allocIdentity([endpoint]).id).toBe(7);
    expect(codeOf(() => allocPaging(endpoint))).toBe('ENOSPC');
  });

  it('S1.9 [A23] without an IOMMU: nothing can be mapped, nothing fails that does nothing', () => {
    const { driver, device } = setUp();
    const domain = driver.allocPaging(null);
    expect(codeOf(() => mapPages(domain, 1, 1, 1, RW))).toBe('ENODEV');
    expect(unmapPages(domain, 1, 1)).toBe(0);
    expect(iovaToPhys(domain, iova(0x1000n))).toBeNull();
    iotlbSyncMap(domain, 1, 1);
    iotlbSync(domain);
    expect([domain.pageSizeBitmap, domain.aperture]).toEqual([0n, undefined]);

    const endpoint = driver.probeDevice([8]);
    attach(domain, endpoint);
    expect(domain.id).toBe(1);
    expect(domain.pageSizeBitmap).toBe(0xffff_ffff_ffff_f000n);
    expect(domain.aperture).toEqual({ start: 0n, last: ADDRESS_MAX });
    mapPages(domain, 1, 1, 1, RW);
    iotlbSyncMap(domain, 1, 1);
    expect(device.types).toEqual([PROBE, ATTACH, MAP]);
  });

  it('S1.14 [A23] if it cannot be put on the endpoint’s IOMMU it stays without one', () => {
    const coarse = setUp({ config: { pageSizeMask: 0x1_0000n } });
    const domain = coarse.driver.allocPaging(null);
    const endpoint = coarse.driver.probeDevice([8]);
    expect(codeOf(() => attach(domain, endpoint))).toBe('ENODEV');
    expect(domain.instance).toBeUndefined();
    const fine = setUp();
    attach(domain, fine.driver.probeDevice([8]));
    expect(domain.instance).toBe(fine.driver);
  });

  it('cannot be freed while an endpoint is in them, nor used afterwards', () => {
    const { driver } = setUp();
    const endpoint = driver.probeDevice([8]);
    const domain = allocPaging(endpoint);
    attach(domain, endpoint);
    expect(codeOf(() => freeDomain(domain))).toBe('EBUSY');
    detach(endpoint);
    freeDomain(domain);
    freeDomain(domain);
    expect(codeOf(() => attach(domain, endpoint))).toBe('EINVAL');
    expect(codeOf(() => mapPages(domain, 1, 1, 1, RW))).toBe('ENODEV');
    expect(allocPaging(endpoint).id).toBe(1);
    expect(allocPaging(endpoint).id).toBe(2);
  });
});

describe('identity domains', () => {
  function identity(
    config: { inputRangeStart?: bigint; inputRangeEnd?: bigint },
    ...properties: Uint8Array[][]
  ): [startPage: number, lastPage: number][] {
    const { driver, device } = setUp({ offered: NO_BYPASS, config: { ...config, probeSize: 240 } });
    let probed = 0;
    device.script = () => {
      probed += 1;
      return { properties: list(240, ...(properties[probed - 1] ?? [])) };
    };
    const count = Math.max(1, properties.length);
    const endpoints = Array.from({ length: count }, (_, n) => driver.probeDevice([n]));
    const domain = allocIdentity(endpoints);
    const found: [number, number][] = [];
    domain.mappings.forEach((start, last, phys, flags) => {
      expect(phys).toBe(start);
      expect(flags).toBe(RW);
      found.push([start, last]);
    });
    for (const endpoint of endpoints) {
      device.script = () => undefined;
      attach(domain, endpoint);
    }
    expect(device.model.domains.get(domain.id ?? -1)?.mappings.size ?? 0).toBe(found.length);
    return found;
  }

  it('S1.24 [A15] one reserved region in 4 GiB leaves two mappings', () => {
    expect(
      identity({ inputRangeEnd: 0xffff_ffffn }, [region(RESERVED, 0x800_0000n, 0x80f_ffffn)]),
    ).toEqual([
      [0, 0x7fff],
      [0x8100, 0xf_ffff],
    ]);
  });

  it('S1.24 [A15] all 64 bits, rounding, overlaps, and regions of every endpoint', () => {
    expect(identity({})).toEqual([[0, PAGE_MAX]]);
    expect(
      identity(
        { inputRangeStart: 0x1001n, inputRangeEnd: 0xf_fffen },
        [region(MSI, 0n, 0x2000n), region(RESERVED, 0x5fffn, 0x6000n)],
        [region(RESERVED, 0x6800n, 0x8000n), region(RESERVED, 0x7000n, 0x7001n)],
      ),
    ).toEqual([
      [3, 4],
      [9, 0xfe],
    ]);
    expect(identity({}, [region(RESERVED, 0x1000n, ADDRESS_MAX)])).toEqual([[0, 0]]);
    expect(identity({ inputRangeEnd: 0xfffn }, [region(RESERVED, 0x1000n, 0x2000n)])).toEqual([
      [0, 0],
    ]);
    expect(identity({ inputRangeEnd: 0xfffn }, [region(RESERVED, 0n, 0x2000n)])).toEqual([]);
    expect(identity({ inputRangeEnd: 0x1fffn }, [region(RESERVED, 0x9000n, 0x9fffn)])).toEqual([
      [0, 1],
    ]);
  });

  it('S1.24 [A16] with BYPASS_CONFIG it is one domain of the device, flagged, with the first number', () => {
    const { driver, device } = setUp({ config: { domainRangeStart: 5, domainRangeEnd: 20 } });
    const endpoint = driver.probeDevice([8]);
    const domain = allocIdentity([endpoint]);
    expect(allocIdentity([endpoint])).toBe(domain);
    attach(domain, endpoint);
    detach(endpoint);
    expect(device.seen.slice(1).map(({ bytes }) => [...bytes])).toEqual([
      [1, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
      [2, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]);
    expect(allocPaging(endpoint).id).toBe(6);
    freeDomain(domain);
    expect(allocIdentity([endpoint])).toBe(domain);
    attach(domain, endpoint);
    expect(endpoint.domain).toBe(domain);
    // Whoever is done with it knows nothing of others.
    freeDomain(domain);
    expect(endpoint.domain).toBe(domain);
  });

  it('iommu.drv.map.not-on-bypass-domain: nor anything else', () => {
    const { driver, device } = setUp();
    const endpoint = driver.probeDevice([8]);
    const domain = allocIdentity([endpoint]);
    attach(domain, endpoint);
    expect(codeOf(() => mapPages(domain, 1, 1, 1, RW))).toBe('ENODEV');
    expect(unmapPages(domain, 1, 1)).toBe(0);
    iotlbSync(domain);
    expect(device.types).toEqual([PROBE, ATTACH]);
    expect(iovaToPhys(domain, iova(0x1234n))).toBe(0x1234n);
  });

  it('S1.22 a reserved region that is mapped keeps an endpoint out', () => {
    const { driver, device } = setUp({ offered: NO_BYPASS });
    const first = driver.probeDevice([8]);
    const domain = allocIdentity([first]);
    device.script = () => ({ properties: list(64, region(MSI, 0xfee0_0000n, 0xfeef_ffffn)) });
    const second = driver.probeDevice([9]);
    device.script = () => undefined;
    attach(domain, first);
    expect(codeOf(() => attach(domain, second))).toBe('EINVAL');
    expect(codeOf(() => allocIdentity([]))).toBe('EINVAL');
  });
});
