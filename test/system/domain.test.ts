/** Domains of the virtio-iommu at work under a disk: what is sent when, what is kept, and what comes back. */

import { BlkRequestType } from '@viommu/blk';
import { IommuError } from '@viommu/common';
import { verify } from '@viommu/driver';
import {
  Direction,
  DmaAddress,
  type DmaOps,
  Domain,
  ScatterEntry,
  attachGroup,
  detachGroup,
} from '@viommu/iommu';
import type { GuestSystem, SystemDisk } from '@viommu/machine';
import { describe, expect, it } from 'vitest';
import { ENDPOINT, FINE, disks, driverOf, exercise, trafficOn } from './kit/disks.ts';
import type { OneThread } from './kit/one-thread.ts';
import { syncAlways } from './kit/sync-always.ts';

const CONTEXT = { cpu: 0 };
const { FROM_DEVICE } = Direction;

interface Setup {
  readonly machine: OneThread;
  readonly system: GuestSystem;
  readonly disk: SystemDisk;
  readonly domain: Domain;
  readonly dma: DmaOps;
}

function setUp(commandLine: string): Setup {
  const machine = disks();
  const system = machine.system({ commandLine });
  const disk = machine.plug(system, 'iommu');
  const domain = disk.device.group?.domain;
  if (domain === undefined) throw new Error('The disk has no domain.');
  return { machine, system, disk, domain, dma: driverOf(disk).dma };
}

const queueOf = ({ domain }: Setup): NonNullable<Domain['cookie']>['flushQueue'] =>
  domain.cookie?.flushQueue;

/** Maps a page of its own and gives the address. */
function mapPage({ dma, disk, system }: Setup, page = system.ram.allocatePages(1)): number {
  const into = new DmaAddress();
  if (!dma.map(CONTEXT, disk.device, page, 0, 4096, FROM_DEVICE, 0, into))
    throw new Error('Not mapped.');
  return into.page;
}

function unmapPage({ dma, disk }: Setup, page: number): void {
  dma.unmap(CONTEXT, disk.device, page, 0, 4096, FROM_DEVICE, 0);
}

describe('a lazy domain on the real device', () => {
  it('S1.5, S1.6 defers unmaps until 10 ms are over, and gives no address out before [C12]', () => {
    const at = setUp('iommu.strict=0');
    const { machine, system } = at;
    const { transport } = machine.context;
    const mappings = machine.device.iommu.usage.mappings;
    const before = transport.notifications;
    const page = system.ram.allocatePages(1);
    const addresses = Array.from({ length: 100 }, () => mapPage(at, page));
    expect(transport.notifications - before).toBe(100);
    for (const address of addresses) unmapPage(at, address);
    expect(transport.notifications - before).toBe(100);
    // The disk still reaches them.
    expect(machine.device.iommu.usage.mappings).toBe(mappings + 100);
    expect(queueOf(at)).toMatchObject({ mode: 'percpu', parkedRanges: 100, flushesStarted: 0 });
    machine.pass(system, 9);
    expect(queueOf(at)).toMatchObject({ parkedRanges: 100, flushesStarted: 0 });
    machine.pass(system, 1);
    expect(transport.notifications - before).toBe(101);
    expect(queueOf(at)).toMatchObject({ parkedRanges: 0, flushesFinished: 1 });
    expect(machine.device.iommu.usage.mappings).toBe(mappings);
    // Now they are anybody's, and once they are unmapped again they are nobody's.
    const again = Array.from({ length: 100 }, () => mapPage(at, page));
    expect(new Set(again)).toEqual(new Set(addresses));
    for (const address of again) unmapPage(at, address);
    const others = Array.from({ length: 100 }, () => mapPage(at, page));
    expect(others.filter((address) => again.includes(address))).toEqual([]);
    verify(system.driver, machine.device.iommu);
  });

  it('S1.6 flushes when a queue of 256 is full, and only what was unmapped before [C13]', () => {
    const at = setUp('iommu.strict=0');
    const page = at.system.ram.allocatePages(1);
    const addresses = Array.from({ length: 256 }, () => mapPage(at, page));
    for (const address of addresses.slice(0, 255)) unmapPage(at, address);
    expect(queueOf(at)).toMatchObject({ parkedRanges: 255, flushesStarted: 0 });
    unmapPage(at, addresses[255] ?? 0);
    expect(queueOf(at)).toMatchObject({ parkedRanges: 1, flushesFinished: 1 });
    // The last one is not free yet.
    for (let count = 0; count < 255; count += 1) expect(mapPage(at, page)).not.toBe(addresses[255]);
    verify(at.system.driver, at.machine.device.iommu);
  });

  it('S1.6 has one queue for all that waits a second, if asked', () => {
    const at = setUp('iommu.strict=0 iommu.fq=single');
    const { machine, system } = at;
    const page = system.ram.allocatePages(1);
    for (let count = 0; count < 1000; count += 1) unmapPage(at, mapPage(at, page));
    expect(queueOf(at)).toMatchObject({ mode: 'single', size: 32_768, parkedRanges: 1000 });
    machine.pass(system, 999);
    expect(queueOf(at)).toMatchObject({ parkedRanges: 1000, flushesStarted: 0 });
    machine.pass(system, 1);
    expect(queueOf(at)).toMatchObject({ parkedRanges: 0, flushesStarted: 1 });
    expect(exercise(machine, system, at.disk)).toEqual(FINE);
  });
});

describe('what a measured run shows', () => {
  const PIECES = 16;
  const REQUESTS = 300;

  /** Requests of scattered pages, one after the other; the notifications of all. */
  function count(at: Setup): number {
    const { machine, system, disk } = at;
    const driver = driverOf(disk);
    const page = system.ram.allocatePages(2 * PIECES);
    // No two lie side by side, so that each is a mapping of its own.
    const list = Array.from({ length: PIECES }, (_, index) =>
      Object.assign(new ScatterEntry(), { page: page + 2 * index, sizeBytes: 4096 }),
    );
    const before = machine.context.transport.notifications;
    for (let request = 0; request < REQUESTS; request += 1) {
      const token = driver.submitList(CONTEXT, BlkRequestType.IN, 0, list, PIECES);
      expect(token).toBeTypeOf('number');
      driver.wait(100);
      expect(driver.reap(CONTEXT)).toBe(token);
    }
    return machine.context.transport.notifications - before;
  }

  it('S1.7, S1.2 is one notification for a list where each map has its own, and hardly any for unmaps', () => {
    const each = setUp('iommu.strict=1');
    syncAlways(each.domain.ops);
    expect(count(each)).toBe(REQUESTS * (PIECES + 1));
    expect(count(setUp('iommu.strict=1'))).toBe(REQUESTS * 2);
    // A full queue is flushed once.
    expect(count(setUp('iommu.strict=0'))).toBe(REQUESTS + 1);
  });
});

describe('a domain that loses its last endpoint', () => {
  it('S1.10, S1.11 keeps the mappings of a live disk, and brings back all but those that went meanwhile [A7] [A8]', () => {
    const at = setUp('iommu.strict=1');
    const { machine, system, disk, domain } = at;
    const { iommu } = machine.device;
    const { group } = disk.device;
    const endpoint = disk.device.iommu?.endpoint;
    if (group === undefined || endpoint === undefined) throw new Error('The disk has no group.');
    expect(exercise(machine, system, disk)).toEqual(FINE);
    const stays = mapPage(at);
    const goes = mapPage(at);
    const number = iommu.domainOf(ENDPOINT) ?? -1;
    const starts = (of: number): number[] =>
      [...iommu.mappings(of)].map(({ virt }) => Number(virt.start / 4096n));
    const had = starts(number);
    expect(had).toEqual(expect.arrayContaining([stays, goes]));

    const other = new Domain(domain.instance, system.driver.allocPaging(endpoint), 'unmanaged');
    machine.resting.add('iommu');
    attachGroup(other, group);
    expect(iommu.domains).not.toContain(number);
    // The guest still knows them all, and may change them: nothing is sent.
    expect([stays, goes].every((page) => domain.ops.translate(page) >= 0)).toBe(true);
    const sent = machine.context.transport.notifications;
    unmapPage(at, goes);
    const comes = mapPage(at);
    expect(machine.context.transport.notifications).toBe(sent);

    detachGroup(other, group);
    const now = starts(iommu.domainOf(ENDPOINT) ?? -1);
    expect(now).toEqual(
      [...new Set([...had.filter((page) => page !== goes), comes])].toSorted((a, b) => a - b),
    );
    verify(system.driver, iommu);
    // The rings are where they were: the disk goes on.
    machine.resting.clear();
    expect(exercise(machine, system, disk)).toEqual(FINE);
    other.ops.free();
  });
});

describe('an IOMMU that fails under a disk', () => {
  it('S1.4 refuses MAPs: requests fail with ENOMEM, nothing stays mapped, and the disk goes on [A11]', () => {
    const at = setUp('iommu.strict=1');
    const { machine, system, disk, domain } = at;
    const before = machine.device.iommu.usage.mappings;
    const traffic = trafficOn(machine, system, disk);
    traffic.writeAll();
    const syncMap = domain.ops.syncMap.bind(domain.ops);
    let refused = 0;
    domain.ops.syncMap = (startPage, pageCount) => {
      syncMap(startPage, pageCount);
      if ((refused += 1) % 3 === 0) throw new IommuError('ENOMEM', 'The test refuses.');
    };
    traffic.mix(100);
    traffic.settle();
    expect(refused).toBeGreaterThan(50);
    domain.ops.syncMap = syncMap;
    traffic.readAll();
    expect(traffic.wrong).toBe(0);
    expect(machine.device.iommu.usage.mappings).toBe(before);
    verify(system.driver, machine.device.iommu);
  });
});
