/** Freezing a driver and going on after whatever happened to its host: here that is a reset, or another host. */

import { ADDRESS_MAX, Protection } from '@viommu/common';
import type { IommuDeviceOptions } from '@viommu/device';
import {
  type Domain,
  type Endpoint,
  allocPaging,
  attach,
  detach,
  iotlbSyncMap,
  mapPages,
  unmapPages,
} from '@viommu/driver';
import { describe, expect, it } from 'vitest';
import { RealGuest, type RealGuestOptions, codeOf } from './real-guest.ts';

const RW = Protection.READ | Protection.WRITE;

interface Frozen {
  readonly guest: RealGuest;
  readonly endpoints: readonly [Endpoint, Endpoint, Endpoint];
  readonly domains: readonly [Domain, Domain];
  /** The device's tables before. */
  readonly before: string[];
}

/** Two domains with five mappings, the second with two endpoints and the larger number; then freeze. */
function frozen(options: RealGuestOptions = {}): Frozen {
  const guest = new RealGuest(options);
  const { driver } = guest;
  const endpoints = [
    driver.probeDevice([1]),
    driver.probeDevice([2, 3]),
    driver.probeDevice([4]),
  ] as const;
  const domains = [driver.allocPaging(endpoints[0]), driver.allocPaging(endpoints[0])] as const;
  for (const page of [10, 20]) mapPages(domains[0], page, page, 1, RW);
  for (const page of [5, 6, 7]) mapPages(domains[1], page, 100 + page, 1, Protection.READ);
  attach(domains[1], endpoints[1]);
  attach(domains[1], endpoints[2]);
  attach(domains[0], endpoints[0]);
  const before = guest.tables();
  expect(before).toHaveLength(7);
  driver.freeze();
  guest.done.length = 0;
  return { guest, endpoints, domains, before };
}

describe('freeze and restore', () => {
  it.each([
    ['a system reset', (guest: RealGuest) => guest.systemReset()],
    ['another host of the same kind', (guest: RealGuest) => guest.systemReset({})],
    ['nothing', () => {}],
  ])('S1.11 [A25] after %s the device has what it had', (_, happens) => {
    const { guest, before, endpoints } = frozen();
    happens(guest);
    guest.done.length = 0;
    guest.driver.restore();
    expect(guest.tables()).toEqual(before);
    // Domains in the order of their numbers, and each after all of its endpoints.
    expect(guest.done).toEqual([
      'attach 1 to 1',
      'map 1: 10-10',
      'map 1: 20-20',
      'attach 2 to 2',
      'attach 3 to 2',
      'attach 4 to 2',
      'map 2: 5-5',
      'map 2: 6-6',
      'map 2: 7-7',
    ]);
    guest.verify();
    expect(guest.driver.state).toBe('live');
    // And everything works as before, faults too.
    const domain = endpoints[0].domain;
    if (domain === null) throw new Error('attached');
    mapPages(domain, 30, 30, 1, RW);
    domain.syncMap(30, 1);
    expect([guest.reach(1, 30), guest.reach(1, 31)]).toEqual([30, -1]);
    expect(guest.driver.serveEvents()).toBe(1);
    guest.verify();
  });

  it('S1.11 [A25] bypass domains come back too, and detached ones stay away', () => {
    const guest = new RealGuest();
    const { driver } = guest;
    const [first, second] = [driver.probeDevice([1]), driver.probeDevice([2])];
    attach(driver.allocIdentity([first]), first);
    const kept = allocPaging(second);
    mapPages(kept, 1, 1, 1, RW);
    attach(kept, second);
    detach(second);
    driver.freeze();
    guest.systemReset();
    driver.restore();
    expect(guest.done).toEqual(['attach 1 to 0']);
    expect(guest.reach(1, 99)).toBe(99);
    attach(kept, second);
    guest.verify();
  });

  it('S1.11 [A25] a frozen driver sends nothing, keeps what it knows, and says EBUSY', () => {
    const { guest, domains, endpoints } = frozen();
    const { driver, transport } = guest;
    const [first, second] = domains;
    const before = transport.notifications;
    expect(driver.state).toBe('frozen');
    expect(codeOf(() => mapPages(first, 40, 40, 1, RW))).toBe('EBUSY');
    expect(first.translate(40)).toBe(-1);
    expect(unmapPages(first, 10, 1)).toBe(0);
    expect(first.translate(10)).toBe(10);
    expect(codeOf(() => attach(second, endpoints[0]))).toBe('EBUSY');
    expect(codeOf(() => driver.probeDevice([7]))).toBe('EBUSY');
    expect(codeOf(() => driver.freeze())).toBe('EBUSY');
    expect(codeOf(() => driver.resetRequestQueue())).toBe('EBUSY');
    iotlbSyncMap(first, 10, 1);
    // Domains without endpoints are the guest's alone.
    const idle = driver.allocPaging(endpoints[0]);
    mapPages(idle, 1, 1, 1, RW);
    expect(unmapPages(idle, 1, 1)).toBe(1);
    // A device that goes away meanwhile is not brought back.
    detach(endpoints[0]);
    expect(transport.notifications).toBe(before);
    expect(driver.requests.inFlight).toBe(0);
    guest.systemReset();
    driver.restore();
    expect(guest.tables().filter((line) => line.startsWith('domain'))).toEqual(['domain 2: 2,3,4']);
    guest.verify();
  });

  it.each<[string, IommuDeviceOptions]>([
    ['the page sizes', { pageSizeMask: 0x20_1000n }],
    ['the addresses', { inputRange: { start: 0n, last: 0xffff_ffffn } }],
    ['the lowest addresses', { inputRange: { start: 0x1000n, last: ADDRESS_MAX } }],
    ['the domain numbers', { domainRange: { first: 0, last: 100 } }],
    ['the lowest domain numbers', { domainRange: { first: 1, last: 0xffff_ffff } }],
    ['the probe size', { probeSize: 256 }],
    ['the queues', { queueSize: 128 }],
  ])('S1.11 [A25] EINVAL, and broken, if %s are not what they were', (_, options) => {
    const { guest, domains } = frozen();
    guest.systemReset(options);
    expect(codeOf(() => guest.driver.restore())).toBe('EINVAL');
    expect(guest.driver.state).toBe('broken');
    expect(codeOf(() => mapPages(domains[0], 40, 40, 1, RW))).toBe('EIO');
    expect(codeOf(() => guest.driver.restore())).toBe('EINVAL');
  });

  it('S1.11 [A25] broken, too, if a feature is missing or a mapping is refused', () => {
    const one = frozen();
    one.guest.systemReset({ features: { mmio: false } });
    expect(codeOf(() => one.guest.driver.restore())).toBe('ENODEV');
    const two = frozen();
    two.guest.systemReset({ limits: { mappings: 4 } });
    expect(codeOf(() => two.guest.driver.restore())).toBe('ENOMEM');
    for (const { guest } of [one, two]) expect(guest.driver.state).toBe('broken');
  });

  it('S1.11 [A25] the bypass option closes the gap until the endpoints are back', () => {
    const device = { bypass: true };
    const { guest } = frozen({ device, driver: { bypass: false } });
    expect(guest.configWrites).toHaveLength(1);
    guest.systemReset();
    expect(guest.reach(5, 1)).toBe(1);
    guest.driver.restore();
    expect(guest.configWrites).toHaveLength(2);
    expect(guest.reach(5, 1)).toBe(-1);
  });

  it('S1.11 [A25] waits for what is in flight, and for a call that is under way', () => {
    const guest = new RealGuest();
    const { driver } = guest;
    const endpoint = driver.probeDevice([1]);
    const domain = driver.allocPaging(endpoint);
    mapPages(domain, 1, 1, 1, RW);
    guest.at('attach:afterSend', () => driver.freeze());
    attach(domain, endpoint);
    expect([driver.state, endpoint.domain]).toEqual(['frozen', domain]);
    expect(guest.reach(1, 1)).toBe(1);
    guest.systemReset();
    driver.restore();
    mapPages(domain, 2, 2, 1, RW);
    driver.freeze();
    expect(guest.reach(1, 2)).toBe(2);
  });

  it('S1.11 [A25] forgets failures and doubts that the reset has cleared away', () => {
    const guest = new RealGuest({ device: { limits: { mappings: 1 } } });
    const { driver } = guest;
    const endpoint = driver.probeDevice([1]);
    const domain = driver.allocPaging(endpoint);
    attach(domain, endpoint);
    for (const page of [1, 2]) mapPages(domain, page, page, 1, RW);
    driver.freeze();
    expect(domain.failedMaps).toHaveLength(1);
    guest.systemReset({ limits: {} });
    driver.restore();
    expect(domain.failedMaps).toEqual([]);
    expect(guest.reach(1, 2)).toBe(2);
    guest.verify();
  });

  it('S1.11 [A25] forgets that the device did not let a domain go', () => {
    const guest = new RealGuest();
    const { driver } = guest;
    const endpoint = driver.probeDevice([1]);
    const domain = driver.allocPaging(endpoint);
    attach(domain, endpoint);
    guest.device.iommu.unplug(1);
    detach(endpoint);
    expect(driver.log.counters.detachFailed).toBe(1);
    expect(domain.isStuck(1, 1)).toBe(true);
    driver.freeze();
    guest.systemReset();
    driver.restore();
    expect(domain.isStuck(1, 1)).toBe(false);
    domain.free();
    expect(driver.allocPaging(null).id).toBeUndefined();
    expect(driver.allocPaging(endpoint).id).toBe(1);
  });

  it('S1.11 [A25] a driver that is not frozen cannot be restored; a removed one is gone', () => {
    const { guest } = frozen();
    guest.driver.restore();
    expect(codeOf(() => guest.driver.restore())).toBe('EINVAL');
    guest.driver.freeze();
    guest.driver.remove();
    expect(guest.driver.state).toBe('removed');
    expect(codeOf(() => guest.driver.restore())).toBe('EINVAL');
    expect(codeOf(() => guest.driver.freeze())).toBe('EIO');
  });

  it('S1.11 [A25] again and again takes no more memory, and loses no report', () => {
    const reports: unknown[] = [];
    const { guest, endpoints } = frozen({ driver: { onFault: (report) => reports.push(report) } });
    guest.driver.restore();
    for (let round = 1; round <= 100; round += 1) {
      guest.reach(1, 99);
      guest.driver.freeze();
      guest.systemReset();
      guest.driver.restore();
      expect(reports).toHaveLength(round);
    }
    guest.verify();
    expect(guest.memoryInUse).toBeLessThan(0x1_8000);
    expect(endpoints.map(({ domain }) => domain?.id)).toEqual([1, 2, 2]);
  });
});
