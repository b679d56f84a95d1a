/**
 * The bytes of every request in a long, mixed life of the driver: section "Device operations", driver side. What the
 * driver mapped is kept in a table of the test's own.
 */

import {
  AttachRequest,
  DetachRequest,
  IommuFeature,
  MapFlag,
  MapRequest,
  UnmapRequest,
} from '@viommu/common';
import {
  Protection,
  allocIdentity,
  allocPaging,
  attach,
  detach,
  flushIotlbAll,
  iotlbSync,
  mapPages,
  unmapPages,
} from '@viommu/driver';
import { describe, expect, it } from 'vitest';
import type { SeenRequest } from './helper/scripted-device.ts';
import {
  ATTACH,
  DETACH,
  MAP,
  PROBE,
  type Setup,
  UNMAP,
  codeOf,
  ofType,
  setUp,
} from './helper/setup.ts';

const { READ, WRITE, MMIO, NOEXEC } = Protection;
const RW = READ | WRITE;
/** Linear congruence with the constants of Numerical Recipes; the seed is the first value. */
const random = (seed: number): (() => number) => {
  let state = seed;
  return () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
};

/** Three endpoints that wander between two domains and a bypass domain while pages are mapped and unmapped. */
function mixedLife(seed: number, config?: { bypass: boolean }): Setup {
  // A small ring, so that memory for requests is used again and again.
  const setup = setUp({ queueSizes: [8, 8] }, config);
  const { driver } = setup;
  const endpoints = [8, 9, 10].map((id) => driver.probeDevice([id, id + 100]));
  const domains = [allocPaging(endpoints[0]!), allocPaging(endpoints[0]!)]; // There are three.
  const identity = allocIdentity(endpoints);
  const next = random(seed);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)]!; // Below the length.
  for (let step = 0; step < 400; step += 1) {
    const page = Math.floor(next() * 40);
    const count = 1 + Math.floor(next() * 4);
    const choice = next();
    if (choice < 0.4)
      codeOf(() =>
        mapPages(pick(domains), page, page, count, pick([READ, WRITE, RW, RW | MMIO, RW | NOEXEC])),
      );
    else if (choice < 0.7) unmapPages(pick([...domains, identity]), page, count * 2);
    else if (choice < 0.85) attach(pick([...domains, identity]), pick(endpoints));
    else if (choice < 0.9) detach(pick(endpoints));
    else driver.requests.syncReq();
  }
  driver.remove();
  return setup;
}

const SEEDS = [1, 2, 3];

/** What the requests so far amount to on a device that grants them. */
class Shadow {
  /** By number, those that have endpoints: whether one reaches everything there, and else the last address by the first. */
  readonly domains = new Map<
    number,
    { bypass: boolean; endpoints: Set<number>; mappings: Map<bigint, bigint> }
  >();

  follow({ type, view }: SeenRequest): void {
    if (type === ATTACH) {
      const { domain, endpoint, flags } = AttachRequest.read(view);
      this.#leave(endpoint, domain);
      const entry = this.domains.get(domain) ?? {
        bypass: (flags & 1) !== 0,
        endpoints: new Set(),
        mappings: new Map(),
      };
      entry.endpoints.add(endpoint);
      this.domains.set(domain, entry);
    }
    if (type === DETACH) this.#leave(DetachRequest.read(view).endpoint);
    if (type === MAP) {
      const { domain, virtStart, virtEnd } = MapRequest.read(view);
      this.domains.get(domain)?.mappings.set(virtStart, virtEnd);
    }
    if (type === UNMAP) {
      const { domain, virtStart, virtEnd } = UnmapRequest.read(view);
      const mappings = this.domains.get(domain)?.mappings;
      for (const start of mappings?.keys() ?? [])
        if (start >= virtStart && start <= virtEnd) mappings?.delete(start);
    }
  }

  #leave(endpoint: number, except?: number): void {
    for (const [id, { endpoints }] of this.domains)
      if (id !== except && endpoints.delete(endpoint) && endpoints.size === 0)
        this.domains.delete(id);
  }
}

describe('reserved bytes', () => {
  it('iommu.drv.req.head-reserved-zero: bytes 1 to 3 of every request', () => {
    for (const seed of SEEDS) {
      const { device } = mixedLife(seed);
      expect(new Set(device.types)).toEqual(new Set([ATTACH, DETACH, MAP, UNMAP, PROBE]));
      for (const { bytes } of device.seen) expect([...bytes.subarray(1, 4)]).toEqual([0, 0, 0]);
    }
  });

  it('iommu.drv.detach.reserved-zero: bytes 12 to 19', () => {
    for (const seed of SEEDS) {
      const detaches = ofType(mixedLife(seed).device, DETACH);
      expect(detaches.length).toBeGreaterThan(5);
      for (const { bytes } of detaches)
        expect([...bytes.subarray(12)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    }
  });

  it('iommu.drv.map.flags-undefined-zero: bits 3 and up', () => {
    for (const seed of SEEDS) {
      const flags = ofType(mixedLife(seed).device, MAP).map(
        ({ view }) => MapRequest.read(view).flags,
      );
      expect(flags.filter((bits) => (bits & ~7) !== 0)).toEqual([]);
      expect(new Set(flags)).toEqual(new Set([1, 2, 3, 7]));
    }
  });
});

describe('the configuration', () => {
  it('iommu.drv.config.bypass-write-value: what is written is 0 or 1', () => {
    for (const bypass of [true, false]) {
      const { device } = mixedLife(1, { bypass });
      expect(device.configWrites.map(({ value }) => value)).toEqual([bypass ? 1 : 0]);
    }
  });
});

describe('ATTACH', () => {
  it('iommu.drv.attach.no-bypass-flag-existing-normal: later requests for a domain have the flag of the first', () => {
    let joined = 0;
    for (const seed of SEEDS) {
      const shadow = new Shadow();
      for (const request of mixedLife(seed).device.seen) {
        if (request.type === ATTACH) {
          const { domain, flags } = AttachRequest.read(request.view);
          if (shadow.domains.get(domain)?.bypass === false) {
            expect(flags & 1).toBe(0);
            joined += 1;
          }
        }
        shadow.follow(request);
      }
    }
    expect(joined).toBeGreaterThan(20);
  });

  it('iommu.drv.attach.unisolated-same-domain: numbers of one device go to one domain', () => {
    const { driver, device } = setUp();
    const endpoint = driver.probeDevice([8, 9]);
    for (const domain of [
      allocPaging(endpoint),
      allocPaging(endpoint),
      allocIdentity([endpoint]),
    ]) {
      attach(domain, endpoint);
      const last = ofType(device, ATTACH)
        .slice(-2)
        .map(({ view }) => AttachRequest.read(view));
      expect(last.map((request) => request.endpoint)).toEqual([8, 9]);
      expect(last.map((request) => request.domain)).toEqual([domain.id, domain.id]);
    }
  });
});

describe('MAP and UNMAP', () => {
  it('iommu.drv.init.map-unmap-capable: with MAP_UNMAP accepted both are sent', () => {
    const { driver, device } = setUp();
    const endpoint = driver.probeDevice([8]);
    const domain = allocPaging(endpoint);
    attach(domain, endpoint);
    expect(driver.has(IommuFeature.MAP_UNMAP)).toBe(true);
    mapPages(domain, 1, 1, 1, RW);
    unmapPages(domain, 1, 1);
    iotlbSync(domain);
    expect(device.types.slice(-2)).toEqual([3, 4]);
  });

  it('iommu.drv.map.mmio-flag-for-registers: a register window is mapped with MMIO', () => {
    const { driver, device } = setUp();
    const endpoint = driver.probeDevice([8]);
    const domain = allocPaging(endpoint);
    attach(domain, endpoint);
    mapPages(domain, 1, 0xfe000, 1, RW | MMIO);
    mapPages(domain, 2, 2, 1, RW);
    flushIotlbAll(domain);
    const flags = ofType(device, MAP).map(({ view }) => MapRequest.read(view).flags & MapFlag.MMIO);
    expect(flags).toEqual([4, 0]);
  });

  it('iommu.drv.unmap.not-on-bypass-domain: none names a bypass domain', () => {
    for (const seed of SEEDS) {
      const { device } = mixedLife(seed);
      const bypass = new Set(
        ofType(device, ATTACH)
          .map(({ view }) => AttachRequest.read(view))
          .flatMap(({ domain, flags }) => ((flags & 1) !== 0 ? [domain] : [])),
      );
      expect(bypass.size).toBe(1);
      const unmapped = ofType(device, UNMAP).map(({ view }) => UnmapRequest.read(view).domain);
      expect(unmapped.filter((domain) => bypass.has(domain))).toEqual([]);
    }
  });

  it('iommu.drv.unmap.covers-contiguous-mappings: each names mappings without a hole between them', () => {
    let several = 0;
    for (const seed of SEEDS) {
      const shadow = new Shadow();
      for (const request of mixedLife(seed).device.seen) {
        if (request.type === UNMAP) {
          const { domain, virtStart, virtEnd } = UnmapRequest.read(request.view);
          const mappings = shadow.domains.get(domain)?.mappings;
          let at = virtStart;
          let covered = 0;
          for (; at <= virtEnd; covered += 1) {
            const last = mappings?.get(at);
            if (last === undefined) throw new Error(`nothing is mapped at ${at}`);
            at = last + 1n;
          }
          expect(at).toBe(virtEnd + 1n);
          if (covered > 1) several += 1;
        }
        shadow.follow(request);
      }
    }
    expect(several).toBeGreaterThan(5);
  });
});
