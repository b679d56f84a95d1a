/** Drives real disks in one way after the other: all blocks there and back, then something goes wrong. */

import { BlkRequestType } from '@viommu/blk';
import { addressAt, guestPhysical } from '@viommu/common';
import type { FaultReport } from '@viommu/driver';
import { type GuestContext, GuestSystem, type SystemOptions } from '@viommu/machine';
import { driverOf } from '../kit/disks.ts';
import { Traffic } from '../kit/traffic.ts';

/** One way of driving a disk. */
export interface Way {
  readonly disk: string;
  readonly system: SystemOptions;
  /** Changes the domain's type to lazy in the middle. */
  readonly goesLazy?: boolean;
  /** The kernel hands out an address that it was not given. */
  readonly strays?: boolean;
}

export interface PolicyArgs {
  readonly ways: readonly Way[];
}

/** What came of one. */
export interface PolicyResult {
  readonly kind: string;
  readonly requests: number;
  readonly errors: number;
  readonly wrong: number;
  readonly type: string | undefined;
  /** By block: how often it was written. */
  readonly generations: readonly number[];
  readonly stray: Stray | undefined;
}

/** What became of a request with an address of nobody's. */
export interface Stray {
  readonly address: bigint;
  readonly error: string | undefined;
  readonly lost: string | undefined;
  /** Bytes of the victim's pages that are not what they were. */
  readonly changed: number;
  readonly faults: readonly { readonly endpoint: number; readonly address: bigint | undefined }[];
}

const CONTEXT = { cpu: 0 };
const ROOT = { administrator: true };
const SECRET = 0x5e;
/** From the address that it was given, so many pages on: addresses are given out from the top. */
const ASTRAY_PAGES = -0x1000;

export default function program(context: GuestContext): PolicyResult[] {
  const { ways } = context.args as PolicyArgs; // What the test passes.
  const generations = new Map<string, Uint32Array>();
  return ways.map((way) => {
    const known = generations.get(way.disk) ?? new Uint32Array(64);
    generations.set(way.disk, known);
    return drive(context, way, known);
  });
}

function drive(context: GuestContext, way: Way, generations: Uint32Array): PolicyResult {
  const faults: FaultReport[] = [];
  const onFault = (report: FaultReport): void => void faults.push(report);
  const system = new GuestSystem(context, { ...way.system, driver: { onFault } });
  const disk = system.plugDisk(way.disk);
  const driver = driverOf(disk);
  const { memory } = context;
  const traffic = new Traffic({ system, memory, driver, generations, blocks: 64, seed: 3 });
  traffic.readAll();
  traffic.writeAll();
  traffic.mix(150);
  const { group } = disk.device;
  if (way.goesLazy === true) system.core.directory.write(`${group?.path}/type`, 'DMA-FQ\n', ROOT);
  traffic.mix(150);
  traffic.readAll();
  const stray = way.strays === true ? goAstray(context, system, disk, faults) : undefined;
  if (stray !== undefined) traffic.readAll();
  traffic.end();
  const { requests, errors, wrong } = traffic;
  const type = group?.domain?.type;
  const result = { kind: driver.dma.kind, requests, errors, wrong, type, stray };
  system.unplugDisk(disk);
  return { ...result, generations: [...generations] };
}

/** A write of a page, to which the disk is told another address; then everything is as it was. */
function goAstray(
  context: GuestContext,
  system: GuestSystem,
  disk: ReturnType<GuestSystem['plugDisk']>,
  faults: FaultReport[],
): Stray {
  const driver = driverOf(disk);
  const { dma } = driver;
  const page = system.ram.allocatePages(16);
  const bytes = context.memory.bytes(guestPhysical(addressAt(page, 0)), 16 * 4096).fill(SECRET);
  const usual = { map: dma.map.bind(dma), unmap: dma.unmap.bind(dma) };
  let address = 0n;
  dma.map = (caller, device, from, offset, size, direction, attributes, into) => {
    if (dma.kind === 'iommu') {
      usual.map(caller, device, from, offset, size, direction, attributes, into);
      into.page += ASTRAY_PAGES;
    } else Object.assign(into, { page: from, offset });
    address = addressAt(into.page, into.offset);
    return true;
  };
  dma.unmap = (caller, device, at, offset, size, direction, attributes) => {
    if (dma.kind !== 'iommu') return;
    usual.unmap(caller, device, at - ASTRAY_PAGES, offset, size, direction, attributes);
  };
  // Of a block that nobody reads afterwards.
  driver.submit(CONTEXT, BlkRequestType.OUT, 64 * 8, page, 0, 4096);
  driver.wait(5000);
  driver.reap(CONTEXT);
  const { error, lost } = driver;
  Object.assign(dma, usual);
  while (system.driver.serveEvents() > 0);
  if (lost !== undefined) driver.reset(CONTEXT);
  const changed = bytes.reduce((sum, byte) => sum + (byte === SECRET ? 0 : 1), 0);
  system.ram.freePages(page);
  const told = faults.map((fault) => ({ endpoint: fault.endpointId, address: fault.address }));
  return { address, error, lost, changed, faults: told };
}
