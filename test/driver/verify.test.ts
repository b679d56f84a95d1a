/** Any calls in any order, on the real device: after each the invariants of guest and device hold. */

import { IommuError, Protection } from '@viommu/common';
import {
  type Domain,
  type Endpoint,
  attach,
  detach,
  iotlbSyncMap,
  mapPages,
  unmapPages,
  verify,
} from '@viommu/driver';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RealGuest } from './real-guest.ts';

const RW = Protection.READ | Protection.WRITE;
const DOMAINS = 4;
const ENDPOINTS = 3;

const step = fc.record({
  kind: fc.constantFrom(
    ...(['map', 'map', 'map', 'map', 'map', 'map', 'map', 'map', 'unmap', 'unmap'] as const),
    ...(['attach', 'attach', 'attach', 'attach', 'detach', 'detach'] as const),
    ...(['replace', 'release', 'freeze', 'identity'] as const),
  ),
  domain: fc.nat(DOMAINS - 1),
  endpoint: fc.nat(ENDPOINTS - 1),
  page: fc.nat(40),
  count: fc.integer({ min: 1, max: 4 }),
});
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

/** A guest with a few domains and endpoints; the first endpoint has two numbers, the second a reserved region. */
class Stream {
  readonly guest: RealGuest = new RealGuest({
    device: {
      endpoints: [
        { id: 1 },
        { id: 2, reserved: [{ start: 0x7000n, last: 0x8fffn, type: 'reserved' }] },
        { id: 3 },
        { id: 4 },
      ],
      inputRange: { start: 0x1000n, last: 0x2_7fffn },
      limits: { mappings: 12 },
    },
    driver: { requestQueueSize: 8 },
  });
  readonly endpoints: Endpoint[] = Array.from({ length: ENDPOINTS }, (_, n) => this.probe(n));
  readonly domains: Domain[] = Array.from(
    { length: DOMAINS },
    (_, n) => this.guest.driver.allocPaging(n === 0 ? null : this.endpoints[0]!), // There are some.
  );
  /** What calls failed with. */
  readonly errors: Set<string> = new Set();

  probe(index: number): Endpoint {
    return this.guest.driver.probeDevice(index === 0 ? [1, 4] : [index + 1]);
  }

  /** One call; what it fails with is the caller's business. */
  attempt(step: Step): void {
    try {
      this.act(step);
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      this.errors.add(error.code);
    }
  }

  act({ kind, domain: d, endpoint: e, page, count }: Step): void {
    const { driver } = this.guest;
    const domain = this.domains[d]!; // Below the count, as is the endpoint.
    const endpoint = this.endpoints[e]!;
    if (kind === 'map') {
      mapPages(domain, page, page * 3, count, RW);
      try {
        iotlbSyncMap(domain, page, count);
      } catch (error) {
        // As the core does.
        unmapPages(domain, page, count);
        throw error;
      }
    } else if (kind === 'unmap') unmapPages(domain, page, count);
    else if (kind === 'attach') attach(domain, endpoint);
    else if (kind === 'detach') detach(endpoint);
    else if (kind === 'identity') attach(driver.allocIdentity([endpoint]), endpoint);
    else if (kind === 'release') {
      endpoint.release();
      this.endpoints[e] = this.probe(e);
    } else if (kind === 'replace') {
      domain.free();
      this.domains[d] = driver.allocPaging(count > 2 ? null : endpoint);
    } else {
      driver.freeze();
      if (count > 2) this.guest.systemReset();
      driver.restore();
    }
  }
}

/** What must not go unnoticed. */
const WRONG: readonly [title: string, spoil: (guest: RealGuest, domain: Domain) => void][] = [
  ['a mapping that the device lacks', (_, domain) => domain.mappings.insert(50, 50, 1, RW)],
  ['a mapping that only the device has', (_, domain) => domain.mappings.remove(10, 10)],
  [
    'a mapping that leads elsewhere',
    (_, domain) => {
      domain.mappings.remove(10, 10);
      domain.mappings.insert(10, 10, 11, RW);
    },
  ],
  [
    'a mapping with other flags',
    (_, domain) => {
      domain.mappings.remove(10, 10);
      domain.mappings.insert(10, 10, 10, 1);
    },
  ],
  ['a mapping outside the aperture', (_, domain) => domain.mappings.insert(2 ** 52, 2 ** 52, 1, 1)],
  ['an endpoint that the device has elsewhere', ({ device }) => device.iommu.attach(9, 1, 0)],
  ['an endpoint that the device has nowhere', ({ device }) => device.iommu.detach(1, 1)],
  ['an endpoint that the device alone knows', ({ device }) => device.iommu.attach(9, 5, 0)],
  [
    'an endpoint that points nowhere',
    (_, domain) => {
      for (const endpoint of domain.attached) endpoint.domain = null;
    },
  ],
  ['an endpoint that a domain has lost', (_, domain) => domain.leave([...domain.attached][0]!)], // There is one.
  ['a domain that is not known', ({ driver }, domain) => driver.domains.delete(domain)],
  [
    'two domains of one number',
    ({ driver }, domain) => {
      driver.allocPaging(null).settle(driver);
      for (const other of driver.domains) other.id = domain.id;
    },
  ],
  [
    'a number outside the range',
    ({ driver }) => {
      const other = driver.allocPaging(null);
      other.settle(driver);
      Object.assign(other, { id: 2 ** 32 });
    },
  ],
];

describe('the invariants of driver and device', () => {
  it('S1.12 [A9] [A10] hold after every step of any stream of calls', () => {
    let mapped = 0;
    const errors = new Set<string>();
    fc.assert(
      fc.property(fc.array(step, { minLength: 40, maxLength: 120, size: 'max' }), (steps) => {
        const stream = new Stream();
        for (const one of steps) {
          stream.attempt(one);
          stream.guest.verify();
          mapped = Math.max(mapped, stream.guest.device.iommu.usage.mappings);
        }
        for (const error of stream.errors) errors.add(error);
      }),
      { seed: 20_265, numRuns: 60 },
    );
    expect(mapped).toBe(12);
    expect([...errors].toSorted()).toEqual(
      expect.arrayContaining(['EBUSY', 'EEXIST', 'EINVAL', 'ENODEV', 'ENOMEM']),
    );
  });

  it('S1.12 [A9] [A10] hold also when other contexts come in at race points', () => {
    let parked = 0;
    fc.assert(
      fc.property(
        fc.array(fc.tuple(step, step), { minLength: 20, maxLength: 80, size: 'max' }),
        (pairs) => {
          const stream = new Stream();
          for (const [one, other] of pairs) {
            // What takes an endpoint away is kept out by the lock of its group, which is not here.
            const meets = one.endpoint !== other.endpoint;
            if (meets) stream.guest.at(undefined, () => stream.attempt(other));
            stream.attempt(one);
            stream.guest.concurrency.hook = undefined;
            stream.guest.verify();
          }
          parked += stream.guest.concurrency.parked;
        },
      ),
      { seed: 20_266, numRuns: 60 },
    );
    expect(parked).toBeGreaterThan(150);
  });

  it.each(WRONG)('S1.12 are broken by %s, and this is noticed', (_, spoil) => {
    const guest = new RealGuest();
    const endpoint = guest.driver.probeDevice([1]);
    guest.driver.probeDevice([5]);
    const domain = guest.driver.allocPaging(endpoint);
    mapPages(domain, 10, 10, 1, RW);
    attach(domain, endpoint);
    guest.verify();
    spoil(guest, domain);
    expect(() => guest.verify()).toThrow(expect.objectContaining({ name: 'AssertionError' }));
  });

  it('S1.12 are looked at only when nothing is in flight', () => {
    const guest = new RealGuest();
    const endpoint = guest.driver.probeDevice([1]);
    const domain = guest.driver.allocPaging(endpoint);
    attach(domain, endpoint);
    mapPages(domain, 1, 1, 1, RW);
    verify(guest.driver);
    expect(() => verify(guest.driver, guest.device.iommu)).toThrow('in flight');
  });
});
