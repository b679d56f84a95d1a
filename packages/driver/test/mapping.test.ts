import {
  ADDRESS_MAX,
  IommuFeature,
  MapRequest,
  PAGE_MAX,
  Status,
  UnmapRequest,
  guestPhysical,
  iova,
} from '@viommu/common';
import {
  type Domain,
  Protection,
  allocPaging,
  attach,
  flushIotlbAll,
  iotlbSync,
  iotlbSyncMap,
  iovaToPhys,
  mapPages,
  mapRange,
  unmapPages,
  unmapRange,
} from '@viommu/driver';
import { describe, expect, it } from 'vitest';
import { MSI, RESERVED, list, region } from './helper/property.ts';
import { ALL_FEATURES, type SeenRequest, without } from './helper/scripted-device.ts';
import { MAP, type Setup, UNMAP, codeOf, ofType, setUp } from './helper/setup.ts';

const { READ, WRITE, MMIO, CACHE, NOEXEC, PRIV } = Protection;
const RW = READ | WRITE;

/** A domain with an endpoint in it, whose device has seen nothing since. */
function setUpDomain(...args: Parameters<typeof setUp>): Setup & { domain: Domain } {
  const setup = setUp(...args);
  const endpoint = setup.driver.probeDevice([8]);
  const domain = allocPaging(endpoint);
  attach(domain, endpoint);
  setup.device.seen.length = 0;
  setup.device.notifications = 0;
  return { ...setup, domain };
}

function pages(domain: Domain): [number, number][] {
  const found: [number, number][] = [];
  domain.mappings.forEach((start, last) => found.push([start, last]));
  return found;
}

function mapped({ view }: SeenRequest): ReturnType<typeof MapRequest.read> {
  return MapRequest.read(view);
}

function unmapped({ view }: SeenRequest): [bigint, bigint] {
  const { virtStart, virtEnd } = UnmapRequest.read(view);
  return [virtStart, virtEnd];
}

describe('mapping', () => {
  it('S1.1 [A1] ten pages and a sync: one notification, ten MAPs in the order of the calls', () => {
    const { device, domain } = setUpDomain();
    const order = [5, 3, 9, 1, 7, 0, 8, 2, 6, 4];
    for (const page of order) mapPages(domain, page, 100 + page, 1, RW);
    expect(device.notifications).toBe(0);
    iotlbSyncMap(domain, 0, 10);
    expect(device.notifications).toBe(1);
    expect(ofType(device, MAP).map(mapped)).toMatchObject(
      order.map((page) => ({
        domain: domain.id,
        virtStart: BigInt(page) * 4096n,
        virtEnd: BigInt(page) * 4096n + 4095n,
        physStart: BigInt(100 + page) * 4096n,
        flags: 3,
      })),
    );
  });

  it('S1.8 [A6] without an endpoint nothing goes to the device, and the guest knows its mappings', () => {
    const { driver, device } = setUp();
    const domain = allocPaging(driver.probeDevice([8]));
    device.seen.length = 0;
    device.notifications = 0;
    // What somebody else has queued is no business of this domain either.
    driver.requests.addUnmap(undefined, 99, 0, 0);
    for (const page of [1, 2, 3]) mapPages(domain, page, 10 * page, 1, RW);
    iotlbSyncMap(domain, 1, 3);
    iotlbSync(domain);
    flushIotlbAll(domain);
    for (const page of [1, 2, 3])
      expect(iovaToPhys(domain, iova(BigInt(page) * 4096n + 0x123n))).toBe(
        BigInt(page) * 40960n + 0x123n,
      );
    expect(iovaToPhys(domain, iova(0x4000n))).toBeNull();
    expect(device.notifications).toBe(0);
    device.serve();
    expect(device.seen).toEqual([]);
  });

  it('one call is one mapping and one MAP, of any size', () => {
    const { device, domain } = setUpDomain();
    mapPages(domain, 0x10, 0x20, 1000, RW);
    flushIotlbAll(domain);
    expect(pages(domain)).toEqual([[0x10, 0x10 + 999]]);
    expect(ofType(device, MAP).map(mapped)).toMatchObject([
      { virtStart: 0x1_0000n, virtEnd: 0x1_0000n + 4096n * 1000n - 1n, physStart: 0x2_0000n },
    ]);
  });

  it('iommu.drv.map.end-after-start (4.1, 4.3): also for one page, and for all of them', () => {
    const { device, domain } = setUpDomain();
    mapPages(domain, 7, 7, 1, RW);
    flushIotlbAll(domain);
    unmapPages(domain, 7, 1);
    mapPages(domain, 0, 0, PAGE_MAX + 1, RW);
    flushIotlbAll(domain);
    const requests = ofType(device, MAP).map(mapped);
    expect(requests).toMatchObject([
      { virtStart: 0x7000n },
      { virtStart: 0n, virtEnd: ADDRESS_MAX },
    ]);
    for (const { virtStart, virtEnd } of requests) expect(virtEnd > virtStart).toBe(true);
    expect(codeOf(() => mapPages(domain, 7, 7, 0, RW))).toBe('EINVAL');
    expect(codeOf(() => mapPages(domain, 7, 7, -1, RW))).toBe('EINVAL');
  });

  it.each([
    [READ, 1],
    [WRITE, 2],
    [RW, 3],
    [RW | MMIO, 7],
    [RW | CACHE | NOEXEC | PRIV, 3],
    [WRITE | NOEXEC | MMIO, 6],
  ])('iommu.drv.map.read-flag-for-readable: protection %i is flags %i', (protection, flags) => {
    const { device, domain } = setUpDomain();
    mapPages(domain, 1, 1, 1, protection);
    flushIotlbAll(domain);
    expect(device.seen.map(mapped)).toMatchObject([{ flags }]);
  });

  it('a protection without access, or with bits nobody knows, is EINVAL', () => {
    const { device, domain } = setUpDomain();
    for (const protection of [0, CACHE, NOEXEC | PRIV, 64 | READ, -1])
      expect(codeOf(() => mapPages(domain, 1, 1, 1, protection))).toBe('EINVAL');
    flushIotlbAll(domain);
    expect(device.seen).toEqual([]);
    expect(pages(domain)).toEqual([]);
  });

  it('iommu.drv.map.mmio-flag-needs-feature', () => {
    const { device, domain } = setUpDomain({ offered: without(ALL_FEATURES, IommuFeature.MMIO) });
    expect(codeOf(() => mapPages(domain, 1, 1, 1, RW | MMIO))).toBe('EINVAL');
    flushIotlbAll(domain);
    expect(device.seen).toEqual([]);
  });

  it('iommu.drv.req.input-range: nothing outside the range is mapped or unmapped', () => {
    const { device, domain } = setUpDomain({
      config: { inputRangeStart: 0x1000n, inputRangeEnd: 0xff_ffffn },
    });
    for (const [page, count] of [
      [0, 1],
      [0, 2],
      [0xfff, 2],
      [0x1000, 1],
      [0, 0x2000],
    ] as const) {
      expect(codeOf(() => mapPages(domain, page, 1, count, RW))).toBe('EINVAL');
      expect(unmapPages(domain, page, count)).toBe(0);
    }
    mapPages(domain, 1, 1, 1, RW);
    mapPages(domain, 0xfff, 1, 1, RW);
    expect(unmapPages(domain, 1, 0x5000)).toBe(1);
    expect(unmapPages(domain, 0xfff, 0x5000)).toBe(1);
    flushIotlbAll(domain);
    for (const { virtStart, virtEnd } of device.seen.map(({ view }) => UnmapRequest.read(view))) {
      expect(virtStart).toBeGreaterThanOrEqual(0x1000n);
      expect(virtEnd).toBeLessThanOrEqual(0xff_ffffn);
    }
    expect(device.types).toEqual([MAP, MAP, UNMAP, UNMAP]);
  });

  it('a target beyond the last address is EINVAL', () => {
    const { domain } = setUpDomain();
    expect(codeOf(() => mapPages(domain, 0, PAGE_MAX, 2, RW))).toBe('EINVAL');
    expect(codeOf(() => mapPages(domain, 0, -1, 1, RW))).toBe('EINVAL');
    mapPages(domain, 0, PAGE_MAX, 1, RW);
  });

  it('what is mapped already is EEXIST, and nothing changes', () => {
    const { device, domain } = setUpDomain();
    mapPages(domain, 5, 5, 4, RW);
    for (const [page, count] of [
      [5, 4],
      [4, 2],
      [8, 1],
      [0, 100],
    ] as const)
      expect(codeOf(() => mapPages(domain, page, 0, count, RW))).toBe('EEXIST');
    mapPages(domain, 4, 4, 1, RW);
    mapPages(domain, 9, 9, 1, RW);
    flushIotlbAll(domain);
    expect(ofType(device, MAP)).toHaveLength(3);
    expect(pages(domain)).toEqual([
      [4, 4],
      [5, 8],
      [9, 9],
    ]);
  });

  it.each([
    ['RESERVED', RESERVED],
    ['MSI', MSI],
    ['of unknown type', 0x7f],
  ])('iommu.drv.resv.no-map-in-region (6.11): %s', (_, subtype) => {
    const { driver, device } = setUp();
    device.script = () => ({ properties: list(64, region(subtype, 0x800_0800n, 0x80f_f000n)) });
    const endpoint = driver.probeDevice([8]);
    device.script = () => undefined;
    const domain = allocPaging(endpoint);
    attach(domain, endpoint);
    for (const [page, count] of [
      [0x8000, 1],
      [0x7fff, 2],
      [0x80ff, 1],
      [0x8050, 1],
      [0, 0x1_0000],
    ] as const)
      expect(codeOf(() => mapPages(domain, page, 0, count, RW))).toBe('EINVAL');
    mapPages(domain, 0x7fff, 0, 1, RW);
    mapPages(domain, 0x8100, 0, 1, RW);
  });

  it('a request that cannot be queued leaves no mapping', () => {
    const { driver, domain } = setUpDomain();
    driver.requests.giveUp('the test says so');
    expect(codeOf(() => mapPages(domain, 1, 1, 1, RW))).toBe('EIO');
    expect(pages(domain)).toEqual([]);
  });
});

describe('a MAP that the device refuses', () => {
  it('S1.4 [A11] fails the sync of its range, and unmapping clears both sides', () => {
    const { device, domain } = setUpDomain();
    mapPages(domain, 1, 1, 1, RW);
    mapPages(domain, 2, 2, 1, RW);
    device.script = (request) =>
      request.type === MAP && mapped(request).virtStart === 0x2000n
        ? { status: Status.NOMEM }
        : undefined;
    expect(codeOf(() => iotlbSyncMap(domain, 1, 2))).toBe('ENOMEM');
    expect(codeOf(() => iotlbSyncMap(domain, 1, 2))).toBeUndefined();
    expect(unmapPages(domain, 1, 2)).toBe(2);
    iotlbSync(domain);
    expect(pages(domain)).toEqual([]);
    expect(device.model.domains.get(domain.id ?? -1)?.mappings.size).toBe(0);
  });

  it('S1.4 fails the sync with what was refused first', () => {
    const { device, domain } = setUpDomain();
    const statuses = [Status.OK, Status.FAULT, Status.NOMEM];
    device.script = (_, index) => ({ status: statuses[index] ?? Status.OK });
    for (const page of [3, 2, 1]) mapPages(domain, page, page, 1, RW);
    expect(codeOf(() => iotlbSyncMap(domain, 1, 3))).toBe('EFAULT');
  });

  it('S1.4 is kept for the sync of its own range, whoever synced first', () => {
    const { device, domain } = setUpDomain();
    device.script = ({ type }) => (type === MAP ? { status: Status.NOMEM } : undefined);
    mapPages(domain, 1, 1, 1, RW);
    mapPages(domain, 5, 5, 4, RW);
    flushIotlbAll(domain);
    iotlbSyncMap(domain, 2, 3);
    expect(codeOf(() => iotlbSyncMap(domain, 8, 10))).toBe('ENOMEM');
    expect(codeOf(() => iotlbSyncMap(domain, 0, 100))).toBe('ENOMEM');
    expect(domain.failedMaps).toEqual([]);
  });

  it('and that is unmapped before anybody asks fails nobody', () => {
    const { device, domain } = setUpDomain();
    device.script = ({ type }) => (type === MAP ? { status: Status.NOMEM } : undefined);
    mapPages(domain, 1, 1, 1, RW);
    flushIotlbAll(domain);
    unmapPages(domain, 1, 1);
    expect(domain.failedMaps).toEqual([]);
    mapPages(domain, 2, 2, 1, RW);
    unmapPages(domain, 2, 1);
    flushIotlbAll(domain);
    expect(domain.failedMaps).toEqual([]);
  });

  it('S1.26 [A24] of a lost device: EIO, and later maps EIO at once', () => {
    const { driver, device, domain, clock } = setUpDomain();
    mapPages(domain, 1, 1, 1, RW);
    device.alive = false;
    expect(codeOf(() => iotlbSyncMap(domain, 1, 1))).toBe('EIO');
    expect(driver.state).toBe('broken');
    const before = clock.nowMs;
    expect(codeOf(() => mapPages(domain, 2, 2, 1, RW))).toBe('EIO');
    expect(codeOf(() => iotlbSync(domain))).toBe('EIO');
    expect(unmapPages(domain, 1, 1)).toBe(0);
    expect(pages(domain)).toEqual([[1, 1]]);
    expect(clock.nowMs).toBe(before);
  });
});

describe('unmapping', () => {
  it('S1.16 [A19] half a mapping: nothing happens', () => {
    const { device, domain } = setUpDomain();
    mapPages(domain, 4, 4, 4, RW);
    flushIotlbAll(domain);
    for (const [page, count] of [
      [4, 2],
      [6, 2],
      [5, 1],
      [0, 5],
      [5, 100],
    ] as const)
      expect(unmapPages(domain, page, count)).toBe(0);
    flushIotlbAll(domain);
    expect(device.types).toEqual([MAP]);
    expect(pages(domain)).toEqual([[4, 7]]);
  });

  it('iommu.drv.unmap.end-on-boundary: a run whose last mapping would be cut stays whole', () => {
    const { device, domain } = setUpDomain();
    mapPages(domain, 0, 0, 1, RW);
    mapPages(domain, 1, 1, 2, RW);
    flushIotlbAll(domain);
    expect(unmapPages(domain, 0, 2)).toBe(0);
    flushIotlbAll(domain);
    expect(ofType(device, UNMAP)).toEqual([]);
  });

  it('iommu.drv.unmap.covers-contiguous-mappings [A20]: up to the first hole', () => {
    const { device, domain } = setUpDomain();
    mapPages(domain, 0, 0, 1, RW);
    mapPages(domain, 2, 2, 1, RW);
    expect(unmapPages(domain, 0, 3)).toBe(1);
    flushIotlbAll(domain);
    expect(ofType(device, UNMAP).map(unmapped)).toEqual([[0n, 0xfffn]]);
    expect(pages(domain)).toEqual([[2, 2]]);
  });

  it('S1.16 [A20] the first page of three, where the second is not mapped', () => {
    const { driver, device, domain } = setUpDomain();
    mapPages(domain, 0, 0, 1, RW);
    mapPages(domain, 2, 2, 1, RW);
    driver.requests.syncReq();
    device.seen.length = 0;
    expect(domain.unmapPages(0, 1, 3)).toBe(1);
    domain.sync();
    expect(device.seen.map(unmapped)).toEqual([[0n, 0xfffn]]);
    expect([0, 1, 2].map((page) => domain.translate(page))).toEqual([-1, -1, 2]);
  });

  it('iommu.drv.unmap.start-on-boundary: several mappings in a row go with one request', () => {
    const { device, domain } = setUpDomain();
    for (const page of [10, 11, 13, 14]) mapPages(domain, page, page, 1, RW);
    mapPages(domain, 12, 12, 1, RW);
    expect(unmapPages(domain, 10, 4)).toBe(4);
    flushIotlbAll(domain);
    expect(ofType(device, UNMAP).map(unmapped)).toEqual([[0xa000n, 0xdfffn]]);
    expect(pages(domain)).toEqual([[14, 14]]);
  });

  it('where nothing begins: 0', () => {
    const { device, domain } = setUpDomain();
    expect(unmapPages(domain, 0, 10)).toBe(0);
    mapPages(domain, 5, 5, 1, RW);
    expect(unmapPages(domain, 4, 10)).toBe(0);
    flushIotlbAll(domain);
    expect(ofType(device, UNMAP)).toEqual([]);
  });

  it('is not waited for until somebody syncs', () => {
    const { device, domain } = setUpDomain();
    mapPages(domain, 1, 1, 1, RW);
    unmapPages(domain, 1, 1);
    expect(device.notifications).toBe(0);
    iotlbSync(domain);
    expect(device.notifications).toBe(1);
    expect(device.types).toEqual([MAP, UNMAP]);
  });

  it('that the device refuses is counted, and its range kept', () => {
    const { driver, device, domain } = setUpDomain();
    for (const page of [1, 2, 4, 8]) mapPages(domain, page, page, 1, RW);
    flushIotlbAll(domain);
    device.script = ({ type }) => (type === UNMAP ? { status: Status.DEVERR } : undefined);
    for (const page of [1, 4, 8, 2]) unmapPages(domain, page, 1);
    iotlbSync(domain);
    expect(domain.unmapFailures).toBe(4);
    expect(driver.log.counters.unmapFailed).toBe(4);
    expect(domain.stuckRanges.toSorted((a, b) => a.startPage - b.startPage)).toEqual([
      { startPage: 1, lastPage: 2 },
      { startPage: 4, lastPage: 4 },
      { startPage: 8, lastPage: 8 },
    ]);
    expect(pages(domain)).toEqual([]);
  });
});

describe('with addresses', () => {
  it('the same in bytes', () => {
    const { device, domain } = setUpDomain();
    const start = iova(0xffff_ffff_ffff_0000n);
    expect(mapRange(domain, start, guestPhysical(0x4000_0000n), 0x1_0000n, RW)).toBe(0x1_0000n);
    expect(iovaToPhys(domain, iova(ADDRESS_MAX))).toBe(0x4000_ffffn);
    expect(iovaToPhys(domain, iova(start - 1n))).toBeNull();
    expect(unmapRange(domain, start, 0x1_0000n)).toBe(0x1_0000n);
    flushIotlbAll(domain);
    expect(device.seen.map(unmapped)).toEqual([
      [start, ADDRESS_MAX],
      [start, ADDRESS_MAX],
    ]);
  });

  it('that are not whole pages: EINVAL, and 0 when unmapping', () => {
    const { domain } = setUpDomain();
    const page = guestPhysical(0x1000n);
    expect(codeOf(() => mapRange(domain, iova(0x1001n), page, 0x1000n, RW))).toBe('EINVAL');
    expect(codeOf(() => mapRange(domain, iova(0x1000n), guestPhysical(1n), 0x1000n, RW))).toBe(
      'EINVAL',
    );
    expect(codeOf(() => mapRange(domain, iova(0x1000n), page, 0xfffn, RW))).toBe('EINVAL');
    expect(codeOf(() => mapRange(domain, iova(0x1000n), page, 0n, RW))).toBe('EINVAL');
    expect(codeOf(() => mapRange(domain, iova(0n), page, -0x1000n, RW))).toBe('EINVAL');
    mapRange(domain, iova(0x1000n), page, 0x1000n, RW);
    expect(unmapRange(domain, iova(0x1000n), 0x1001n)).toBe(0n);
    expect(unmapRange(domain, iova(0x1001n), 0xfffn)).toBe(0n);
    expect(unmapRange(domain, iova(0x1000n), 0n)).toBe(0n);
    expect(unmapRange(domain, iova(0x1000n), -0x1000n)).toBe(0n);
  });
});
