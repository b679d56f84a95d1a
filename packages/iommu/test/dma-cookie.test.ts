import { type DeviceRegion, PAGE_MAX, Protection, RegionKind } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import type { PciFunction } from '../src/device.ts';
import { Direction, type DmaOps } from '../src/dma-ops.ts';
import { Domain } from '../src/domain.ts';
import {
  DmaUser,
  RAM_PAGE,
  type WorldOptions,
  cpu0,
  createWorld,
  isIdle,
  makeDevice,
} from './dma-world.ts';
import { ScriptedDomain, scriptedInstance } from './scripted-domain.ts';

const PAGE = RAM_PAGE + 512;
const BELOW_4G = 0xf_ffff;

const PCI: PciFunction = {
  segment: 0,
  bus: 0,
  devfn: 8,
  multifunction: false,
  isolated: true,
  aliases: [],
  upstream: undefined,
};

function region(
  firstPage: number,
  lastPage: number,
  kind: RegionKind = RegionKind.RESERVED,
): DeviceRegion {
  const protection = Protection.READ;
  return {
    start: BigInt(firstPage) * 4096n,
    last: BigInt(lastPage) * 4096n + 4095n,
    kind,
    protection,
  };
}

/** A guest whose firmware reserves addresses for its devices, by name. */
function createWithRegions(regions: Record<string, DeviceRegion[]>, options: WorldOptions = {}) {
  const firmware = {
    describe: () => undefined,
    regionsOf: ({ name }: { name: string }) => regions[name] ?? [],
  };
  return createWorld({ ...options, setup: { firmware } });
}

const code = (expected: string) => expect.objectContaining({ code: expected });

describe('the addresses of a domain', () => {
  it("S1.22 never come from reserved regions, with their partial pages, nor from those of the hardware's doorbells", () => {
    const regions = [
      region(8, 9),
      { ...region(11, 11), start: 11n * 4096n + 4095n, last: 12n * 4096n },
      region(14, 14, RegionKind.MSI),
      region(3, 4, RegionKind.DIRECT),
      region(6, 6, RegionKind.SW_MSI),
    ];
    const aperture = { start: 0n, last: 16n * 4096n - 1n };
    const { user, cookie } = createWithRegions({ disk0: regions }, { aperture });
    const pages = [];
    for (let address; (address = user.map(PAGE + pages.length, 0, 4096));) pages.push(address.page);
    expect(pages).toEqual([15, 13, 10, 7, 6, 5, 2, 1]);
    expect(cookie.space.usedWithin(8, 9)).toBe(false);
  });

  it('S1.22 never are windows through which PCI functions reach each other', () => {
    const aperture = { start: 0n, last: 8n * 4096n - 1n };
    const pci = { ...PCI, hostWindows: [{ start: 0x3000n, last: 0x6fffn }] };
    const { user } = createWorld({ aperture, device: { pci } });
    const pages = [];
    for (let address; (address = user.map(PAGE + pages.length, 0, 4096));) pages.push(address.page);
    expect(pages).toEqual([7, 2, 1]);
  });

  it('S1.22 a device that joins later brings its regions; addresses that only lie in caches do not matter', () => {
    const late = [region(0x7000, 0x7fff)];
    const { user, layer, domain, cookie } = createWithRegions(
      { net0: late },
      { type: 'DMA-FQ', device: { dmaMask: 0x7fff_ffffn >> 4n } },
    );
    const address = user.mapped(PAGE, 0, 4096);
    expect(address.page).toBe(0x7fff);
    const net = makeDevice({ name: 'net0' });
    expect(() => layer.initDomain(domain, net)).toThrow(code('EBUSY'));
    expect(cookie.devices.has(net)).toBe(false);
    // Parked first, then in a cache.
    user.unmap(address, 4096);
    layer.initDomain(domain, net);
    expect(cookie.devices.has(net)).toBe(true);
    expect(user.mapped(PAGE, 0, 4096).page).toBe(0x6fff);
    // Saying it again changes nothing, although addresses are in use.
    layer.initDomain(domain, net);
  });

  it('S1.22 a refused device changes nothing', () => {
    const regions = [region(0x100, 0x1ff), region(0x7ff, 0x7ff)];
    const world = createWithRegions({ net0: regions }, { device: { dmaMask: 0x7f_ffffn } });
    const { user, layer, domain, cookie } = world;
    const held = user.mapped(PAGE, 0, 4096);
    expect(() => layer.initDomain(domain, makeDevice({ name: 'net0' }))).toThrow(code('EBUSY'));
    user.unmap(held, 4096);
    expect(isIdle(cookie)).toBe(true);
    world.device.dmaLastPage = 0x1ff;
    expect(user.mapped(PAGE, 0, 4096).page).toBe(0x1ff);
  });

  it('S1.22 a device whose window misses the aperture is refused', () => {
    const { layer, domain } = createWorld({ aperture: { start: 0x10_0000n, last: 0x1f_ffffn } });
    const device = makeDevice({ name: 'net0' });
    device.dmaWindow = { start: 0x20_0000n, last: 0x2f_ffffn };
    expect(() => layer.initDomain(domain, device)).toThrow(code('EFAULT'));
    device.dmaWindow = { start: 0x1f_ffffn, last: 0x2f_ffffn };
    layer.initDomain(domain, device);
  });

  it('S1.22 the granule and the start of a domain do not change', () => {
    const { layer, domain, iommu, concurrency } = createWorld();
    iommu.aperture = { start: 0x10_0000n, last: 0x1f_ffffn };
    expect(() => layer.initDomain(domain, makeDevice())).toThrow(code('EFAULT'));
    const large = new ScriptedDomain(concurrency, iommu.aperture, 0x1_0000n);
    const other = new Domain(scriptedInstance(), large, 'DMA');
    expect(() => layer.initDomain(other, makeDevice())).toThrow(code('EFAULT'));
    expect(other.cookie).toBe(undefined);
    const unfinalised = new ScriptedDomain(concurrency, iommu.aperture, 0n);
    const third = new Domain(scriptedInstance(), unfinalised, 'DMA');
    expect(() => layer.initDomain(third, makeDevice())).toThrow(code('ENODEV'));
  });

  it('S1.22 never include page 0, nor pages that the aperture has only in part', () => {
    const aperture = { start: 1n, last: 3n * 4096n + 5n };
    const later = createWorld({ aperture: { start: 0x1001n, last: 0x3fffn } });
    expect([later.cookie.space.firstPage, later.user.mapped(PAGE, 0, 4096).page]).toEqual([2, 3]);
    const { user } = createWorld({ aperture });
    expect([user.mapped(PAGE, 0, 4096).page, user.mapped(PAGE, 0, 4096).page]).toEqual([2, 1]);
    expect(user.map(PAGE, 0, 4096)).toBe(undefined);
    const whole = createWorld();
    expect(whole.user.mapped(PAGE, 0, 4096).page).toBe(PAGE_MAX);
  });

  it('S1.22 are below 4 GiB for PCI devices, until there are none [C8]', () => {
    const aperture = { start: BigInt(BELOW_4G - 3) * 4096n, last: 2n ** 64n - 1n };
    const { user, device, log, lines, cookie } = createWorld({ aperture, device: { pci: PCI } });
    const low = Array.from({ length: 4 }, () => user.mapped(PAGE, 0, 4096));
    expect(low.map(({ page }) => page)).toEqual([
      BELOW_4G,
      BELOW_4G - 1,
      BELOW_4G - 2,
      BELOW_4G - 3,
    ]);
    expect(user.mapped(PAGE, 0, 4096).page).toBeGreaterThan(BELOW_4G);
    expect([device.prefer32Bit, log.counters.highAddresses, lines.length]).toEqual([false, 1, 1]);
    for (const address of low) user.unmap(address, 4096);
    cookie.space.flushCaches();
    expect(user.mapped(PAGE, 0, 4096).page).toBeGreaterThan(BELOW_4G);
    expect(log.counters.highAddresses).toBe(1);
  });

  it('S1.22 are anywhere for other devices, for PCI devices if the command line says so, and within a small mask', () => {
    expect(createWorld().user.mapped(PAGE, 0, 4096).page).toBeGreaterThan(BELOW_4G);
    const pci = { pci: PCI };
    const forced = createWorld({ device: pci, boot: { forceDac: true } });
    expect(forced.user.mapped(PAGE, 0, 4096).page).toBeGreaterThan(BELOW_4G);
    const small = createWorld({ device: { ...pci, dmaMask: 0xff_ffffn } });
    expect(small.user.mapped(PAGE, 0, 4096).page).toBe(0xfff);
    expect(small.device.prefer32Bit).toBe(true);
  });

  it('S1.22 below 4 GiB that lie unused in caches are not taken from there before going above', () => {
    const aperture = { start: BigInt(BELOW_4G) * 4096n, last: 2n ** 64n - 1n };
    const { user, device } = createWorld({ aperture, device: { pci: PCI } });
    const { ops, ram } = user;
    const low = user.mapped(PAGE, 0, 4096);
    user.unmap(low, 4096);
    const other = new DmaUser(device, ops, ram);
    const context = { cpu: 1 };
    expect(other.map(PAGE, 0, 4096, Direction.BIDIRECTIONAL, context)?.page).toBeGreaterThan(
      BELOW_4G,
    );
    expect(user.mapped(PAGE, 0, 4096).page).toBe(low.page);
  });
});

describe('the last addresses of a domain', () => {
  it('S1.22 are found in the caches of other processors', () => {
    const { user } = createWorld({ aperture: { start: 0x1000n, last: 0x1fffn } });
    user.unmap(user.mapped(PAGE, 0, 4096), 4096);
    expect(user.map(PAGE, 0, 4096, Direction.TO_DEVICE, { cpu: 1 })?.page).toBe(1);
  });
});

describe('lazy domains', () => {
  it('S1.5 have a queue for each processor, or one if flushes are dear, or what the command line says', () => {
    const modeOf = (options: WorldOptions, shadowOnFlush = false) => {
      const { layer, concurrency } = createWorld(options);
      const iommu = new ScriptedDomain(concurrency, { start: 0n, last: 2n ** 64n - 1n });
      const domain = new Domain(scriptedInstance(true, shadowOnFlush), iommu, 'DMA-FQ');
      layer.initDomain(domain, makeDevice());
      const queue = domain.cookie?.flushQueue;
      return [queue?.mode, queue?.size, queue?.timeoutMs];
    };
    expect(modeOf({})).toEqual(['percpu', 256, 10]);
    expect(modeOf({}, true)).toEqual(['single', 32_768, 1000]);
    expect(
      modeOf({ boot: { flushQueue: 'single', flushQueueSize: 4, flushQueueTimeoutMs: 7 } }),
    ).toEqual(['single', 4, 7]);
  });

  it('S1.5 are strict if the IOMMU cannot defer flushes, or there is no queue for them', () => {
    for (const options of [{ deferredFlush: false }, { boot: { flushQueueSize: 3 } }]) {
      const { domain, cookie, user, iommu } = createWorld({ type: 'DMA-FQ', ...options });
      expect([domain.type, cookie.flushQueue]).toEqual(['DMA', undefined]);
      user.unmap(user.mapped(PAGE, 0, 4096), 4096);
      expect(iommu.table.size).toBe(0);
    }
  });

  it('S4.13 a queue that cannot be built leaves the domain strict', () => {
    const { layer, domain, cookie, user, iommu } = createWorld({ boot: { flushQueueSize: 3 } });
    expect(() => layer.buildQueue(domain)).toThrow(code('EINVAL'));
    layer.publishQueue(domain);
    expect([domain.type, cookie.flushQueue]).toEqual(['DMA', undefined]);
    user.unmap(user.mapped(PAGE, 0, 4096), 4096);
    expect(iommu.table.size).toBe(0);
  });

  it('S1.5 end without a flush: nothing waits, and no timer is left', () => {
    const { layer, domain, user, iommu, clock, cookie } = createWorld({ type: 'DMA-FQ' });
    user.unmap(user.mapped(PAGE, 0, 4096), 4096);
    expect(clock.pending).toBe(1);
    layer.endDomain(domain);
    clock.advance(1000);
    expect([clock.pending, iommu.traffic.notifications, domain.cookie]).toEqual([0, 1, undefined]);
    expect(cookie.flushQueue?.parkedRanges).toBe(0);
    layer.endDomain(domain);
  });

  it('S1.5 can be drained', () => {
    const { user, cookie, iommu } = createWorld({ type: 'DMA-FQ' });
    user.unmap(user.mapped(PAGE, 0, 4096), 4096);
    expect([cookie.drain(), cookie.flushQueue?.parkedRanges, iommu.table.size]).toEqual([
      true,
      0,
      0,
    ]);
    user.unmap(user.mapped(PAGE, 0, 4096), 4096);
    iommu.script.broken = true;
    expect([cookie.drain(), cookie.flushQueue?.parkedRanges]).toEqual([false, 1]);
  });
});

describe('the operations of a device', () => {
  it('S3.12 a device without IOMMU, or whose addresses are left alone, needs no mapping for its buffers [B10]', () => {
    const { layer, concurrency, iommu } = createWorld();
    const identity = new Domain(scriptedInstance(), iommu, 'identity');
    for (const domain of [undefined, identity]) {
      const device = makeDevice();
      layer.setupOps(device, domain);
      expect(device.dmaOps).toBe(layer.direct);
      const into = { page: 0, offset: 0 };
      expect(device.dmaOps?.map(cpu0, device, PAGE, 5, 10, 3, 0, into)).toBe(true);
      expect(into).toEqual({ page: PAGE, offset: 5 });
    }
    expect([iommu.traffic.maps, concurrency.parked]).toEqual([0, 0]);
  });

  it('S3.12 all devices of a domain share its operations; grants stay what they are without one', () => {
    const { layer, domain, user } = createWorld();
    const other = makeDevice({ name: 'net0' });
    layer.setupOps(other, domain);
    expect(other.dmaOps).toBe(user.ops);
    expect(domain.cookie?.devices.has(other)).toBe(true);
    const grant = makeDevice();
    const dmaOps = { kind: 'grant' } as DmaOps; // Only compared.
    grant.dmaOps = dmaOps;
    layer.setupOps(grant, undefined);
    expect(grant.dmaOps).toBe(dmaOps);
  });

  it('S3.12 a device that cannot use its domain keeps its operations, with a warning', () => {
    const { layer, domain, log } = createWorld({
      aperture: { start: 0x10_0000n, last: 0x1f_ffffn },
    });
    const device = makeDevice({ name: 'net0' });
    layer.setupOps(device, undefined);
    device.dmaWindow = { start: 0x20_0000n, last: 0x2f_ffffn };
    layer.setupOps(device, domain);
    expect([device.dmaOps, log.counters.dmaSetupFailed]).toEqual([layer.direct, 1]);
  });
});
