/** The driver as the IOMMU core sees it: `IommuInstance`, `IommuEndpoint`, `IommuDomain`. */

import {
  type IommuDomain,
  type IommuEndpoint,
  type IommuInstance,
  Protection,
  RegionKind,
  Status,
} from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { MSI, RESERVED, list, region } from './helper/property.ts';
import { ATTACH, DETACH, MAP, PROBE, UNMAP, codeOf, setUp, type Setup } from './helper/setup.ts';

const RW = Protection.READ | Protection.WRITE;

/** The core's view, and the device behind it. */
function setUpOps(): Omit<Setup, 'driver'> & { instance: IommuInstance; driver: Setup['driver'] } {
  const setup = setUp();
  return { ...setup, instance: setup.driver };
}

/** A domain of somebody else's driver. */
const FOREIGN_DOMAIN: IommuDomain = {
  type: 'paging',
  pageSizeBitmap: 0x1000n,
  aperture: undefined,
  mapPages: () => 0,
  unmapPages: () => 0,
  translate: () => -1,
  syncMap() {},
  sync() {},
  flushAll() {},
  isStuck: () => false,
  setFaultHandler() {},
  free() {},
};
const FOREIGN_ENDPOINT: IommuEndpoint = {
  name: 'foreign',
  domain: null,
  reservedRegions: () => [],
  attach() {},
  detach() {},
  release() {},
};

describe('an instance', () => {
  it('S1.5 says what it can do: deferred flushes, coherency, and nothing about shadow tables', () => {
    const { instance } = setUpOps();
    expect(instance.capabilities).toEqual({
      deferredFlush: true,
      cacheCoherency: true,
      shadowOnFlush: false,
    });
    expect([instance.name, instance.grouping]).toEqual(['virtio-iommu', 'each']);
    expect(setUp({}, { name: 'viommu0' }).driver.name).toBe('viommu0');
  });

  it('takes a firmware specifier of exactly one cell', () => {
    const { instance } = setUpOps();
    expect(instance.endpointIdOf?.([0xffff_ffff])).toBe(0xffff_ffff);
    for (const cells of [[], [1, 2], [-1], [2 ** 32], [0.5]])
      expect(codeOf(() => instance.endpointIdOf?.(cells))).toBe('EINVAL');
  });

  it('S1.15 makes domains for endpoints of its own only', () => {
    const { instance } = setUpOps();
    const stranger = setUpOps().instance.probeDevice([8], 'stranger');
    for (const endpoint of [stranger, FOREIGN_ENDPOINT]) {
      expect(codeOf(() => instance.allocPaging(endpoint))).toBe('EINVAL');
      expect(codeOf(() => instance.allocIdentity([endpoint]))).toBe('EINVAL');
    }
    expect(codeOf(() => instance.allocIdentity([]))).toBe('EINVAL');
    expect(instance.allocPaging(instance.probeDevice([8], 'own')).type).toBe('paging');
  });

  it('gives endpoints the names that it is told', () => {
    const { instance, driver } = setUpOps();
    expect(instance.probeDevice([8], 'disk').name).toBe('disk');
    expect(driver.probeDevice([9]).name).toBe('endpoint 9');
  });
});

describe('an endpoint', () => {
  it('S1.22 [A12] lists its regions anew each time', () => {
    const { instance, device } = setUpOps();
    device.script = () => ({ properties: list(64, region(RESERVED, 0x9000_0000n, 0x9000_0fffn)) });
    const plain = instance.probeDevice([8], 'plain');
    device.script = () => ({ properties: list(64, region(MSI, 0xfee0_0000n, 0xfeef_ffffn)) });
    const own = instance.probeDevice([9], 'own');
    const kinds = (endpoint: IommuEndpoint): number[] =>
      endpoint.reservedRegions().map(({ kind }) => kind);
    expect(kinds(plain)).toEqual([RegionKind.SW_MSI, RegionKind.RESERVED]);
    plain.reservedRegions().pop();
    expect(kinds(plain)).toHaveLength(2);
    expect(kinds(own)).toEqual([RegionKind.MSI]);
  });

  it('S1.15 [A17] refuses a domain of another driver softly, and sends nothing', () => {
    const { instance, device } = setUpOps();
    const endpoint = instance.probeDevice([8], 'disk');
    const other = setUpOps();
    const foreign = other.instance.allocPaging(other.instance.probeDevice([8], 'disk'));
    device.seen.length = 0;
    for (const domain of [FOREIGN_DOMAIN, foreign])
      expect(codeOf(() => endpoint.attach(domain))).toBe('EINVAL');
    expect(device.seen).toEqual([]);
    endpoint.attach(instance.allocPaging(endpoint));
    expect(endpoint.domain?.type).toBe('paging');
  });

  it('is attached, detached and released by its methods', () => {
    const { instance, device, driver } = setUpOps();
    const endpoint = instance.probeDevice([8], 'disk');
    endpoint.attach(instance.allocPaging(endpoint));
    endpoint.detach();
    expect(endpoint.domain).toBeNull();
    endpoint.attach(instance.allocIdentity([endpoint]));
    expect(endpoint.domain?.type).toBe('identity');
    endpoint.release();
    expect(driver.endpoints.size).toBe(0);
    expect(device.types).toEqual([PROBE, ATTACH, DETACH, ATTACH, DETACH]);
    instance.probeDevice([9], 'in no domain');
    driver.remove();
    expect(driver.endpoints.size).toBe(0);
  });
});

describe('a domain', () => {
  it('S1.1 maps blocks with one request, syncs, unmaps and flushes', () => {
    const { instance, device } = setUpOps();
    const endpoint = instance.probeDevice([8], 'disk');
    const domain = instance.allocPaging(endpoint);
    endpoint.attach(domain);
    device.seen.length = 0;
    expect(domain.mapPages(512, 1024, 512, 3, RW)).toBe(1536);
    expect([511, 512, 2047, 2048].map((page) => domain.translate(page))).toEqual([
      -1, 1024, 2559, -1,
    ]);
    domain.syncMap(512, 1536);
    expect(domain.unmapPages(512, 512, 2)).toBe(0);
    expect(domain.unmapPages(512, 512, 3)).toBe(1536);
    domain.sync();
    expect(device.types).toEqual([MAP, UNMAP]);
    device.script = () => ({ status: Status.NOMEM });
    domain.mapPages(0, 0, 1, 1, RW);
    expect(codeOf(() => domain.syncMap(0, 1))).toBe('ENOMEM');
    device.script = () => undefined;
    expect(domain.unmapPages(0, 1, 1)).toBe(1);
    domain.flushAll();
    expect(codeOf(() => domain.free())).toBe('EBUSY');
    endpoint.detach();
    domain.free();
    expect(codeOf(() => domain.mapPages(0, 0, 1, 1, RW))).toBe('ENODEV');
  });

  it('knows which ranges the device may still reach', () => {
    const { instance, device } = setUpOps();
    const endpoint = instance.probeDevice([8], 'disk');
    const domain = instance.allocPaging(endpoint);
    endpoint.attach(domain);
    for (const page of [4, 5, 9]) domain.mapPages(page, page, 1, 1, RW);
    domain.sync();
    expect(domain.isStuck(0, 100)).toBe(false);
    device.script = ({ type }) => (type === UNMAP ? { status: Status.IOERR } : undefined);
    for (const page of [4, 9]) domain.unmapPages(page, 1, 1);
    domain.sync();
    expect([0, 4, 5, 8, 9, 10].map((page) => domain.isStuck(page, 1))).toEqual([
      false,
      true,
      false,
      false,
      true,
      false,
    ]);
    expect([domain.isStuck(0, 4), domain.isStuck(0, 5), domain.isStuck(5, 4)]).toEqual([
      false,
      true,
      false,
    ]);
    // With the last endpoint the device forgets everything; if it does not let go, nothing is certain.
    endpoint.detach();
    expect(domain.isStuck(0, 100)).toBe(false);
    endpoint.attach(domain);
    domain.unmapPages(5, 1, 1);
    device.script = ({ type }) => (type === DETACH ? { status: Status.IOERR } : undefined);
    endpoint.detach();
    expect(domain.isStuck(50, 1)).toBe(true);
    // With an endpoint in it, what is unmapped is unmapped on the device.
    endpoint.attach(domain);
    expect(domain.isStuck(50, 1)).toBe(false);
  });
});
