/** A guest with one device behind one domain, and what the device would do with the addresses it gets. */

import { Concurrency, type Context, type Range } from '@viommu/common';
import { type BootOptions, DEFAULT_BOOT_OPTIONS } from '../src/boot-option.ts';
import { BouncePool } from '../src/bounce-pool.ts';
import { Device, type DeviceOptions } from '../src/device.ts';
import type { DmaCookie } from '../src/dma-cookie.ts';
import { Direction, DmaAddress, type DmaOps, ScatterEntry } from '../src/dma-ops.ts';
import { Domain, type DomainType } from '../src/domain.ts';
import { CoreLog } from '../src/log.ts';
import { DmaSetup, type DmaSetupOptions } from '../src/setup-dma-ops.ts';
import { ArrayRam } from './array-ram.ts';
import { ManualClock } from './manual-clock.ts';
import {
  READ,
  ScriptedDomain,
  WHOLE_APERTURE,
  WRITE,
  scriptedInstance,
} from './scripted-domain.ts';

export const RAM_PAGE = 0x40000;
export const cpu0: Context = { cpu: 0 };
export const cpu1: Context = { cpu: 1 };

export interface WorldOptions {
  readonly type?: DomainType;
  readonly device?: Partial<DeviceOptions>;
  readonly aperture?: Range;
  readonly boot?: Partial<BootOptions>;
  readonly poolSlots?: number;
  readonly deferredFlush?: boolean;
  readonly setup?: Partial<DmaSetupOptions>;
}

export function createWorld(options: WorldOptions = {}) {
  const { type = 'DMA', aperture = WHOLE_APERTURE, poolSlots = 256 } = options;
  const lines: string[] = [];
  const concurrency = new Concurrency();
  const clock = new ManualClock();
  const log = new CoreLog({ warn: (line) => void lines.push(line) });
  const ram = new ArrayRam(RAM_PAGE, 1024);
  const boot = { ...DEFAULT_BOOT_OPTIONS, ...options.boot };
  const firstPage = ram.allocatePages(poolSlots / 2);
  const pool = new BouncePool({ ram, log, clock, firstPage, slots: poolSlots, areas: 2 });
  const layer = new DmaSetup({
    concurrency,
    clock,
    log,
    cpus: 2,
    boot,
    ram,
    pool,
    ...options.setup,
  });
  const iommu = new ScriptedDomain(concurrency, aperture);
  const domain = new Domain(scriptedInstance(options.deferredFlush), iommu, type);
  const device = makeDevice(options.device);
  layer.initDomain(domain, device);
  layer.setupOps(device, domain);
  const { cookie } = domain;
  if (cookie === undefined || device.dmaOps === undefined) throw new Error('not set up');
  const user = new DmaUser(device, device.dmaOps, ram);
  return { concurrency, clock, log, lines, ram, pool, layer, iommu, domain, device, cookie, user };
}

export type World = ReturnType<typeof createWorld>;

export function makeDevice(options: Partial<DeviceOptions> = {}): Device {
  return new Device({ name: 'disk0', bus: 'platform', dmaMask: 2n ** 64n - 1n, ...options });
}

/** A driver with one buffer address at hand. */
export class DmaUser {
  readonly device: Device;
  readonly ops: DmaOps;
  readonly ram: ArrayRam;

  constructor(device: Device, ops: DmaOps, ram: ArrayRam) {
    this.device = device;
    this.ops = ops;
    this.ram = ram;
  }

  map(
    page: number,
    offset: number,
    size: number,
    direction: Direction = Direction.BIDIRECTIONAL,
    context: Context = cpu0,
    attributes = 0,
  ): DmaAddress | undefined {
    const into = new DmaAddress();
    const { ops, device } = this;
    const mapped = ops.map(context, device, page, offset, size, direction, attributes, into);
    return mapped ? into : undefined;
  }

  /** A mapping that has to work. */
  mapped(page: number, offset: number, size: number, direction?: Direction): DmaAddress {
    const address = this.map(page, offset, size, direction);
    if (address === undefined) throw new Error('DMA_MAPPING_ERROR');
    return address;
  }

  unmap(
    address: DmaAddress,
    size: number,
    direction: Direction = Direction.BIDIRECTIONAL,
    context: Context = cpu0,
    attributes = 0,
  ): void {
    const { page, offset } = address;
    this.ops.unmap(context, this.device, page, offset, size, direction, attributes);
  }

  mapList(list: ScatterEntry[], direction: Direction = Direction.BIDIRECTIONAL, context = cpu0) {
    return this.ops.mapList(context, this.device, list, list.length, direction, 0);
  }

  unmapList(list: ScatterEntry[], direction: Direction = Direction.BIDIRECTIONAL, context = cpu0) {
    this.ops.unmapList(context, this.device, list, list.length, direction, 0);
  }

  fill(page: number, offset: number, size: number, value: number): void {
    this.ram.bytes(page, offset, size).fill(value);
  }

  bytes(page: number, offset: number, size: number): number[] {
    return [...this.ram.bytes(page, offset, size)];
  }
}

/** An entry of a list. */
export function piece(page: number, offset: number, sizeBytes: number): ScatterEntry {
  return Object.assign(new ScatterEntry(), { page, offset, sizeBytes });
}

/** The segments of a mapped list. */
export function segmentsOf(
  list: readonly ScatterEntry[],
): [page: number, offset: number, size: number][] {
  return list
    .filter(({ dmaSizeBytes }) => dmaSizeBytes > 0)
    .map(({ dmaPage, dmaOffset, dmaSizeBytes }) => [dmaPage, dmaOffset, dmaSizeBytes]);
}

/** The device reads a page that it was given; an error if it cannot. */
export function deviceRead(
  { iommu, ram }: World,
  page: number,
  offset: number,
  size: number,
): number[] {
  const phys = iommu.reach(page, READ);
  if (phys === undefined) throw new Error(`the device cannot read page ${page}`);
  return [...ram.bytes(phys, offset, size)];
}

/** The device fills a part of a page that it was given; an error if it cannot. */
export function deviceWrite(
  { iommu, ram }: World,
  page: number,
  offset: number,
  size: number,
  value: number,
): void {
  const phys = iommu.reach(page, WRITE);
  if (phys === undefined) throw new Error(`the device cannot write page ${page}`);
  ram.bytes(phys, offset, size).fill(value);
}

/** True if nobody has an address of the domain, once all that waits has been given back. */
export function isIdle(cookie: DmaCookie): boolean {
  cookie.drain();
  cookie.space.flushCaches();
  return !cookie.space.usedWithin(cookie.space.firstPage, cookie.lastPage);
}
