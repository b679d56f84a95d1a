/** What the rows promise of domains, shown on the real device: its tables, and where it takes accesses. */

import { type ErrorCode, FaultFlag, IommuError, Protection, iova } from '@viommu/common';
import {
  type Endpoint,
  type FaultReport,
  attach,
  detach,
  flushIotlbAll,
  freeDomain,
  iotlbSync,
  iotlbSyncMap,
  iovaToPhys,
  mapPages,
  unmapPages,
} from '@viommu/driver';
import { Concurrency } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { OpenConcurrency, RealGuest, type RealGuestOptions } from './real-guest.ts';

const RW = Protection.READ | Protection.WRITE;

function guestWith(
  options: RealGuestOptions = {},
): RealGuest & { readonly first: Endpoint; readonly second: Endpoint } {
  const guest = new RealGuest(options);
  const [first, second] = [guest.driver.probeDevice([1]), guest.driver.probeDevice([2])];
  return Object.assign(guest, { first, second });
}

function codeOf(action: () => unknown): ErrorCode | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (!(error instanceof IommuError)) throw error;
    return error.code;
  }
}

describe('mapping', () => {
  it('S1.1 [A1] many pages wait for the sync, which notifies once', () => {
    const guest = guestWith();
    const { driver, transport, first } = guest;
    const domain = driver.allocPaging(first);
    attach(domain, first);
    const before = transport.notifications;
    for (let page = 0; page < 10; page += 1) mapPages(domain, page, 100 + page, 1, RW);
    expect(transport.notifications).toBe(before);
    expect(guest.reach(1, 3)).toBe(-1);
    domain.syncMap(0, 10);
    expect(transport.notifications).toBe(before + 1);
    expect(guest.reach(1, 3)).toBe(103);
    guest.verify();
  });

  it('S1.4 [A11] a MAP that finds no room on the device fails its sync, and no other', () => {
    const guest = guestWith({ device: { limits: { mappingsPerDomain: 2 } } });
    const domain = guest.driver.allocPaging(guest.first);
    attach(domain, guest.first);
    for (const page of [1, 2, 3]) mapPages(domain, page, page, 1, RW);
    iotlbSyncMap(domain, 1, 2);
    expect(codeOf(() => iotlbSyncMap(domain, 3, 1))).toBe('ENOMEM');
    expect(unmapPages(domain, 1, 3)).toBe(3);
    iotlbSync(domain);
    guest.verify();
    expect(domain.mappings.size).toBe(0);
  });

  it('S1.5 flush-all is over when every request queued so far is complete', () => {
    const guest = guestWith();
    const { driver, transport, first } = guest;
    expect(driver.capabilities).toEqual({
      deferredFlush: true,
      shadowOnFlush: false,
      cacheCoherency: true,
    });
    const domain = driver.allocPaging(first);
    attach(domain, first);
    for (let page = 0; page < 20; page += 1) mapPages(domain, page, page, 1, RW);
    domain.flushAll();
    const before = transport.notifications;
    for (let page = 0; page < 20; page += 2) unmapPages(domain, page, 1);
    // Nobody has told the device: this is what is deferred.
    expect([transport.notifications, guest.reach(1, 4)]).toEqual([before, 4]);
    domain.flushAll();
    expect([transport.notifications, guest.reach(1, 4)]).toEqual([before + 1, -1]);
    expect(driver.requests.inFlight).toBe(0);
    domain.flushAll();
    expect(transport.notifications).toBe(before + 1);
  });

  it('S1.8 [A6] without an endpoint nothing is sent, and the mappings stay', () => {
    const guest = guestWith();
    const { driver, transport, first } = guest;
    const domain = driver.allocPaging(first);
    const before = transport.notifications;
    for (const page of [1, 2, 3]) mapPages(domain, page, 10 * page, 1, RW);
    domain.syncMap(1, 3);
    unmapPages(domain, 2, 1);
    iotlbSync(domain);
    flushIotlbAll(domain);
    expect(transport.notifications).toBe(before);
    expect(driver.requests.inFlight).toBe(0);
    expect([1, 2, 3].map((page) => domain.translate(page))).toEqual([10, -1, 30]);
    guest.verify();
    expect(guest.done).toEqual([]);
  });

  it('S1.16 inside the aperture it succeeds, attached or not; outside it is EINVAL', () => {
    const guest = guestWith({ device: { inputRange: { start: 0x4000n, last: 0x9fffn } } });
    const domain = guest.driver.allocPaging(guest.first);
    for (const attached of [false, true]) {
      if (attached) attach(domain, guest.first);
      for (const [page, count] of [
        [3, 1],
        [3, 2],
        [9, 2],
        [10, 1],
        [0, 20],
        [0xf_ffff_ffff_ffff, 1],
      ] as const)
        expect(codeOf(() => mapPages(domain, page, 1, count, RW))).toBe('EINVAL');
      mapPages(domain, 4, 1, 6, RW);
      domain.syncMap(4, 6);
      guest.verify();
      expect(unmapPages(domain, 4, 6)).toBe(6);
      mapPages(domain, 4, 1, 1, RW);
      mapPages(domain, 9, 2, 1, Protection.READ);
      guest.verify();
      expect([unmapPages(domain, 4, 1), unmapPages(domain, 9, 1)]).toEqual([1, 1]);
    }
  });

  it('S1.16 [A19] half a mapping is not unmapped', () => {
    const guest = guestWith();
    const domain = guest.driver.allocPaging(guest.first);
    attach(domain, guest.first);
    expect(domain.mapPages(8, 100, 2, 2, RW)).toBe(4);
    guest.verify();
    expect(domain.unmapPages(8, 1, 2)).toBe(0);
    expect(domain.unmapPages(10, 2, 1)).toBe(0);
    guest.verify();
    expect(guest.reach(1, 11)).toBe(103);
    expect(domain.unmapPages(8, 2, 2)).toBe(4);
    guest.verify();
  });
});

describe('attaching', () => {
  it('S1.10 [A7] the first endpoint brings every mapping along, in one sync', () => {
    const guest = guestWith();
    const { driver, transport, first, second } = guest;
    const domain = driver.allocPaging(first);
    for (const page of [30, 10, 20]) mapPages(domain, page, page + 1, 1, RW);
    const before = transport.notifications;
    attach(domain, first);
    // ATTACH and MAPs.
    expect(transport.notifications).toBe(before + 2);
    expect([10, 20, 30].map((page) => guest.reach(1, page))).toEqual([11, 21, 31]);
    guest.done.length = 0;
    attach(domain, second);
    expect(guest.done).toEqual([`attach 2 to ${domain.id}`]);
    expect(guest.reach(2, 30)).toBe(31);
    guest.verify();
  });

  it('S1.11 [A8] what the device forgets with the last endpoint comes back, less what was unmapped', () => {
    const guest = guestWith();
    const domain = guest.driver.allocPaging(guest.first);
    for (const page of [10, 20, 30]) mapPages(domain, page, page, 1, RW);
    attach(domain, guest.first);
    detach(guest.first);
    expect(guest.device.iommu.usage.mappings).toBe(0);
    expect(guest.reach(1, 10)).toBe(-1);
    expect(iovaToPhys(domain, iova(0xa000n))).toBe(0xa000n);
    expect(unmapPages(domain, 20, 1)).toBe(1);
    attach(domain, guest.second);
    expect([10, 20, 30].map((page) => guest.reach(2, page))).toEqual([10, -1, 30]);
    guest.verify();
  });

  it('S1.15 [A17] to a domain of another IOMMU is EINVAL, and another domain will do', () => {
    const concurrency = new Concurrency();
    const [one, other] = [0, 1].map(() => guestWith({ driver: { concurrency } }));
    if (one === undefined || other === undefined) throw new Error('two guests');
    const domain = one.driver.allocPaging(one.first);
    expect(codeOf(() => other.first.attach(domain))).toBe('EINVAL');
    expect([...one.done, ...other.done]).toEqual([]);
    expect([domain.attached.size, other.first.domain]).toEqual([0, null]);
    other.first.attach(other.driver.allocPaging(other.first));
    expect(other.first.domain).not.toBeNull();
    other.verify();
  });

  it('S1.25 moves an endpoint, and a refused move leaves it where it was', () => {
    const guest = guestWith({ device: { limits: { mappings: 3 } } });
    const { driver, first } = guest;
    const [old, next] = [driver.allocPaging(first), driver.allocPaging(first)];
    for (const page of [1, 2]) mapPages(old, page, page, 1, RW);
    for (const page of [5, 6, 7, 8]) mapPages(next, page, page, 1, RW);
    attach(old, first);
    // The fourth of its mappings finds no room, so that the replay fails.
    expect(codeOf(() => attach(next, first))).toBe('ENOMEM');
    expect([first.domain, old.attached.size, next.attached.size]).toEqual([old, 1, 0]);
    expect([guest.reach(1, 1), guest.reach(1, 5)]).toEqual([1, -1]);
    guest.verify();
    unmapPages(next, 8, 1);
    attach(next, first);
    expect([guest.reach(1, 1), guest.reach(1, 5)]).toEqual([-1, 5]);
    expect([old.attached.size, next.attached.size]).toEqual([0, 1]);
    guest.verify();
  });

  it('S1.25 [A18] all numbers of a device go together or not at all', () => {
    const guest = guestWith();
    const { driver } = guest;
    // There is no endpoint 99.
    const split = driver.probeDevice([3, 99]);
    const domain = driver.allocPaging(split);
    expect(codeOf(() => attach(domain, split))).toBe('ENOENT');
    expect(guest.device.iommu.domainOf(3)).toBeUndefined();
    expect([split.domain, split.stuck, domain.attached.size]).toEqual([null, false, 0]);
    const pair = driver.probeDevice([4, 5]);
    attach(domain, pair);
    expect([4, 5].map((id) => guest.device.iommu.domainOf(id))).toEqual([domain.id, domain.id]);
    detach(pair);
    guest.verify();
  });

  it('S1.26 [A24] a device that falls silent is given up, and everything later fails at once', () => {
    const guest = guestWith();
    const { driver, first, second } = guest;
    const domain = driver.allocPaging(first);
    attach(domain, first);
    guest.alive = false;
    mapPages(domain, 1, 1, 1, RW);
    expect(codeOf(() => iotlbSyncMap(domain, 1, 1))).toBe('EIO');
    const { nowMs } = guest;
    expect(codeOf(() => mapPages(domain, 2, 2, 1, RW))).toBe('EIO');
    expect(codeOf(() => attach(domain, second))).toBe('EIO');
    expect(codeOf(() => driver.freeze())).toBe('EIO');
    expect(unmapPages(domain, 1, 1)).toBe(0);
    expect([guest.nowMs, driver.state]).toEqual([nowMs, 'broken']);
  });
});

describe('a domain', () => {
  it('S1.13 made for a device is complete at once', () => {
    const guest = guestWith({
      device: {
        pageSizeMask: 0x20_1000n,
        inputRange: { start: 0n, last: 0xfff_ffffn },
        domainRange: { first: 7, last: 9 },
      },
    });
    const domain = guest.driver.allocPaging(guest.first);
    expect(domain).toMatchObject({
      type: 'paging',
      id: 8, // 7 is that of the bypass domain.
      pageSizeBitmap: 0x20_1000n,
      aperture: { start: 0n, last: 0xfff_ffffn },
      instance: guest.driver,
    });
    mapPages(domain, 5, 6, 1, RW);
    expect(iovaToPhys(domain, iova(0x5123n))).toBe(0x6123n);
    attach(domain, guest.first);
    expect(guest.reach(1, 5)).toBe(6);
  });

  it('S1.9 [A23] of no device yet: syncs and flushes do nothing, and do not fail', () => {
    const guest = guestWith();
    const before = guest.transport.notifications;
    const domain = guest.driver.allocPaging(null);
    domain.syncMap(0, 100);
    domain.sync();
    domain.flushAll();
    expect([domain.unmapPages(1, 1, 1), domain.translate(1)]).toEqual([0, -1]);
    expect(guest.transport.notifications).toBe(before);
  });

  it('S1.14 [A23] of no device yet maps nothing until the first attach, and everything after it', () => {
    const guest = guestWith();
    const domain = guest.driver.allocPaging(null);
    expect([domain.pageSizeBitmap, domain.aperture]).toEqual([0n, undefined]);
    expect(codeOf(() => domain.mapPages(1, 1, 1, 1, RW))).toBe('ENODEV');
    guest.first.attach(domain);
    expect(domain.pageSizeBitmap).toBe(guest.driver.pageSizeBitmap);
    expect(domain.aperture).toEqual(guest.driver.aperture);
    domain.mapPages(1, 9, 1, 1, RW);
    domain.syncMap(1, 1);
    expect(guest.reach(1, 1)).toBe(9);
    guest.verify();
  });

  /** Two first attaches of one domain, at two IOMMUs, the second in the middle of the first. */
  function firstAttaches(concurrency: Concurrency): string[] {
    const [one, other] = [0, 1].map(() => guestWith({ driver: { concurrency } }));
    if (one === undefined || other === undefined) throw new Error('two guests');
    const domain = one.driver.allocPaging(null);
    const outcomes: string[] = [];
    const tell = (name: string, action: () => void): void => {
      const code = codeOf(action);
      outcomes.push(`${name} ${code ?? 'succeeds'}`);
    };
    one.at('finalise:beforeId', () => tell('other', () => other.first.attach(domain)));
    tell('one', () => one.first.attach(domain));
    for (const { driver } of [one, other])
      outcomes.push(`${[...driver.domains].filter(({ type }) => type === 'paging').length} domain`);
    return outcomes;
  }

  it('S1.14 [A23] of two first attaches one finalises it, and the other is refused', () => {
    expect(firstAttaches(new Concurrency())).toEqual([
      'other EINVAL',
      'one succeeds',
      '1 domain',
      '0 domain',
    ]);
    // Without locks it ends up at both.
    expect(firstAttaches(new OpenConcurrency()).slice(2)).toEqual(['1 domain', '1 domain']);
  });

  it('S1.14 [A23] two first attaches at one IOMMU both succeed', () => {
    const guest = guestWith();
    const domain = guest.driver.allocPaging(null);
    guest.at('finalise:beforeId', () => guest.second.attach(domain));
    guest.first.attach(domain);
    expect([...domain.attached].length).toBe(2);
    expect(guest.concurrency.parked).toBeGreaterThan(0);
    guest.verify();
  });

  it('S1.27 [A21] of each of two IOMMUs has the sizes and the aperture of its own', () => {
    const coarse = guestWith({
      device: { pageSizeMask: 0x20_1000n, inputRange: { start: 0x1000n, last: 0xf_ffffn } },
    });
    const fine = guestWith({ device: { pageSizeMask: 0x1_0200n } });
    const large = guestWith({ device: { pageSizeMask: 0x1_0000n } });
    const domains = [coarse, fine].map((guest) => guest.driver.allocPaging(guest.first));
    expect(domains.map(({ pageSizeBitmap }) => pageSizeBitmap)).toEqual([0x20_1000n, 0x1_1000n]);
    expect(domains.map(({ aperture }) => aperture?.last)).toEqual([0xf_ffffn, 2n ** 64n - 1n]);
    for (const [index, guest] of [coarse, fine].entries()) {
      const domain = domains[index]!; // As many.
      attach(domain, guest.first);
      mapPages(domain, 1, 5, 1, RW);
      expect(codeOf(() => mapPages(domain, 0x200, 5, 1, RW))).toBe(
        index === 0 ? 'EINVAL' : undefined,
      );
      guest.verify();
      expect(guest.reach(1, 1)).toBe(5);
    }
    // Pages larger than ours: the IOMMU is there, and nothing can be mapped.
    expect(codeOf(() => large.driver.allocPaging(large.first))).toBe('ENODEV');
  });
});

describe('what the host reserves', () => {
  const reserved = [
    { start: 0x1000n, last: 0x1fffn, type: 'reserved' },
    { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' },
  ] as const;

  it('S1.22 [A12] is learnt with PROBE and cannot be mapped', () => {
    const guest = guestWith({ device: { endpoints: [{ id: 1, reserved }, { id: 2 }] } });
    const { driver, first, second } = guest;
    const [RESERVED, MSI, SW_MSI] = [2, 3, 4];
    expect(first.reservedRegions().map(({ start, kind }) => [start, kind])).toEqual([
      [0x1000n, RESERVED],
      [0xfee0_0000n, MSI],
    ]);
    expect(second.reservedRegions().map(({ start, kind }) => [start, kind])).toEqual([
      [0x800_0000n, SW_MSI],
    ]);
    const domain = driver.allocPaging(second);
    attach(domain, second);
    mapPages(domain, 1, 1, 1, RW);
    expect(codeOf(() => attach(domain, first))).toBe('EINVAL');
    unmapPages(domain, 1, 1);
    attach(domain, first);
    for (const page of [1, 0xfee00, 0xfeeff])
      expect(codeOf(() => mapPages(domain, page, 1, 1, RW))).toBe('EINVAL');
    mapPages(domain, 0, 1, 1, RW);
    mapPages(domain, 0x8000, 1, 1, RW);
    guest.verify();
  });

  it('S1.23 [A13] without a window for doorbells the guest has one, and can map it', () => {
    const guest = guestWith();
    const [window] = guest.first.reservedRegions();
    expect(window).toEqual({
      start: 0x800_0000n,
      last: 0x80f_ffffn,
      kind: 4,
      protection: Protection.WRITE | Protection.NOEXEC | Protection.MMIO,
    });
    const domain = guest.driver.allocPaging(guest.first);
    attach(domain, guest.first);
    mapPages(domain, 0x8000, 0xfee00, 1, window?.protection ?? 0);
    domain.syncMap(0x8000, 1);
    guest.verify();
  });

  it('S1.24 [A16] identity as a bypass domain: every address leads to itself', () => {
    const guest = guestWith();
    const identity = guest.driver.allocIdentity([guest.first, guest.second]);
    expect(guest.driver.allocIdentity([guest.second])).toBe(identity);
    for (const endpoint of [guest.first, guest.second]) endpoint.attach(identity);
    expect([guest.reach(1, 0), guest.reach(2, 0xf_ffff_ffff_ffff)]).toEqual([
      0, 0xf_ffff_ffff_ffff,
    ]);
    expect(identity.translate(77)).toBe(77);
    expect(codeOf(() => identity.mapPages(1, 1, 1, 1, RW))).toBe('ENODEV');
    guest.verify();
    expect(codeOf(() => identity.free())).toBe('EBUSY');
    for (const endpoint of [guest.first, guest.second]) endpoint.detach();
    guest.verify();
    expect(guest.done.slice(-2)).toEqual(['detach 1 from 0', 'detach 2 from 0']);
    identity.free();
    guest.first.attach(identity);
    expect(guest.reach(1, 5)).toBe(5);
  });

  it('S1.24 [A15] identity as mappings: all but what is reserved for any of the endpoints', () => {
    const guest = guestWith({
      device: {
        features: { bypassConfig: false },
        inputRange: { start: 0n, last: 0xffff_ffffn },
        endpoints: [
          { id: 1, reserved: [{ start: 0x800_0000n, last: 0x80f_ffffn, type: 'reserved' }] },
          { id: 2, reserved },
        ],
      },
    });
    const identity = guest.driver.allocIdentity([guest.first, guest.second]);
    for (const endpoint of [guest.first, guest.second]) endpoint.attach(identity);
    expect(
      [0, 1, 2, 0x7fff, 0x8000, 0x80ff, 0x8100, 0xf_ffff].map((page) => guest.reach(1, page)),
    ).toEqual([0, -1, 2, 0x7fff, -1, -1, 0x8100, 0xf_ffff]);
    guest.verify();
    freeDomain(guest.driver.allocPaging(guest.first));
  });
});

describe('faults', () => {
  it('S3.13 [A22] an access that the driver did not allow is stopped and told to its domain', () => {
    const reports: FaultReport[] = [];
    const guest = guestWith({ driver: { onFault: (report) => reports.push(report) } });
    const domain = guest.driver.allocPaging(guest.first);
    attach(domain, guest.first);
    const told: unknown[] = [];
    domain.setFaultHandler((endpoint, address, flags) => {
      told.push([endpoint, address, flags]);
      return 'EFAULT';
    });
    expect(guest.reach(1, 0x123)).toBe(-1);
    while (guest.driver.serveEvents() > 0);
    expect(told).toEqual([[guest.first, 0x12_3000n, FaultFlag.READ | FaultFlag.ADDRESS]]);
    expect(reports.map(({ outcome }) => outcome)).toEqual(['EFAULT']);
    domain.setFaultHandler(undefined);
    guest.reach(1, 0x124);
    while (guest.driver.serveEvents() > 0);
    expect(told).toHaveLength(1);
    expect(reports.at(-1)?.outcome).toBe('ENOSYS');
  });
});
