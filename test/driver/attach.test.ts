/** What the rows promise of endpoints: attaching them, what is reserved for them, their faults; on the real device. */

import { Concurrency, FaultFlag, Protection, RegionKind, iova } from '@viommu/common';
import {
  type FaultReport,
  attach,
  detach,
  freeDomain,
  iotlbSyncMap,
  iovaToPhys,
  mapPages,
  unmapPages,
} from '@viommu/driver';
import { describe, expect, it } from 'vitest';
import { codeOf, guestOfTwo } from './real-guest.ts';

const RW = Protection.READ | Protection.WRITE;

describe('attaching', () => {
  it('S1.10 [A7] the first endpoint brings every mapping along, in one sync', () => {
    const guest = guestOfTwo();
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
    const guest = guestOfTwo();
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
    const [one, other] = [0, 1].map(() => guestOfTwo({ driver: { concurrency } }));
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
    const guest = guestOfTwo({ device: { limits: { mappings: 3 } } });
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
    const guest = guestOfTwo();
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
    const guest = guestOfTwo();
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

describe('what the host reserves', () => {
  const reserved = [
    { start: 0x1000n, last: 0x1fffn, type: 'reserved' },
    { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' },
  ] as const;

  it('S1.22 [A12] is learnt with PROBE and cannot be mapped', () => {
    const guest = guestOfTwo({ device: { endpoints: [{ id: 1, reserved }, { id: 2 }] } });
    const { driver, first, second } = guest;
    const { RESERVED, MSI, SW_MSI } = RegionKind;
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
    const guest = guestOfTwo();
    const [window] = guest.first.reservedRegions();
    expect(window).toEqual({
      start: 0x800_0000n,
      last: 0x80f_ffffn,
      kind: RegionKind.SW_MSI,
      protection: Protection.WRITE | Protection.NOEXEC | Protection.MMIO,
    });
    const domain = guest.driver.allocPaging(guest.first);
    attach(domain, guest.first);
    mapPages(domain, 0x8000, 0xfee00, 1, window?.protection ?? 0);
    domain.syncMap(0x8000, 1);
    guest.verify();
  });

  it('S1.24 [A16] identity as a bypass domain: every address leads to itself', () => {
    const guest = guestOfTwo();
    const identity = guest.driver.allocIdentity([guest.first, guest.second]);
    expect(guest.driver.allocIdentity([guest.second])).toBe(identity);
    for (const endpoint of [guest.first, guest.second]) endpoint.attach(identity);
    expect([guest.reach(1, 0), guest.reach(2, 0xf_ffff_ffff_ffff)]).toEqual([
      0, 0xf_ffff_ffff_ffff,
    ]);
    expect(identity.translate(77)).toBe(77);
    expect(codeOf(() => identity.mapPages(1, 1, 1, 1, RW))).toBe('ENODEV');
    guest.verify();
    // It is one for all: whoever is done with it leaves it to the others.
    identity.free();
    expect(guest.reach(2, 7)).toBe(7);
    for (const endpoint of [guest.first, guest.second]) endpoint.detach();
    guest.verify();
    expect(guest.done.slice(-2)).toEqual(['detach 1 from 0', 'detach 2 from 0']);
    identity.free();
    guest.first.attach(identity);
    expect(guest.reach(1, 5)).toBe(5);
  });

  it('S1.24 [A15] identity as mappings: all but what is reserved for any of the endpoints', () => {
    const guest = guestOfTwo({
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
    const guest = guestOfTwo({ driver: { onFault: (report) => reports.push(report) } });
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
