/** What the rows promise of domains and their mappings, on the real device: its tables, and where it takes accesses. */

import { Concurrency, Protection, iova } from '@viommu/common';
import {
  attach,
  flushIotlbAll,
  iotlbSync,
  iotlbSyncMap,
  iovaToPhys,
  mapPages,
  unmapPages,
} from '@viommu/driver';
import { describe, expect, it } from 'vitest';
import { OpenConcurrency, codeOf, guestOfTwo } from './real-guest.ts';

const RW = Protection.READ | Protection.WRITE;

describe('mapping', () => {
  it('S1.1 [A1] many pages wait for the sync, which notifies once', () => {
    const guest = guestOfTwo();
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
    const guest = guestOfTwo({ device: { limits: { mappingsPerDomain: 2 } } });
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
    const guest = guestOfTwo();
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
    const guest = guestOfTwo();
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
    const guest = guestOfTwo({ device: { inputRange: { start: 0x4000n, last: 0x9fffn } } });
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
    const guest = guestOfTwo();
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

describe('a domain', () => {
  it('S1.13 made for a device is complete at once', () => {
    const guest = guestOfTwo({
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
    const guest = guestOfTwo();
    const before = guest.transport.notifications;
    const domain = guest.driver.allocPaging(null);
    domain.syncMap(0, 100);
    domain.sync();
    domain.flushAll();
    expect([domain.unmapPages(1, 1, 1), domain.translate(1)]).toEqual([0, -1]);
    expect(guest.transport.notifications).toBe(before);
  });

  it('S1.14 [A23] of no device yet maps nothing until the first attach, and everything after it', () => {
    const guest = guestOfTwo();
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
    const [one, other] = [0, 1].map(() => guestOfTwo({ driver: { concurrency } }));
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
    const guest = guestOfTwo();
    const domain = guest.driver.allocPaging(null);
    guest.at('finalise:beforeId', () => guest.second.attach(domain));
    guest.first.attach(domain);
    expect([...domain.attached].length).toBe(2);
    expect(guest.concurrency.parked).toBeGreaterThan(0);
    guest.verify();
  });

  it('S1.27 [A21] of each of two IOMMUs has the sizes and the aperture of its own', () => {
    const coarse = guestOfTwo({
      device: { pageSizeMask: 0x20_1000n, inputRange: { start: 0x1000n, last: 0xf_ffffn } },
    });
    const fine = guestOfTwo({ device: { pageSizeMask: 0x1_0200n } });
    const large = guestOfTwo({ device: { pageSizeMask: 0x1_0000n } });
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
