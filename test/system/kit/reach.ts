/**
 * Maps and unmaps pages for an endpoint that writes to every address it ever had, and looks whether it gets anywhere
 * where it must not: a page that is out of its reach keeps what the guest wrote into it.
 */

import type { IommuDomain } from '@viommu/common';
import { Device, Direction, DmaAddress, type DmaOps, ScatterEntry } from '@viommu/iommu';
import type { GuestContext, GuestSystem } from '@viommu/machine';
import { ProberRegister } from '../endpoint/prober.ts';

const { BIDIRECTIONAL } = Direction;
const PAGE = 4096;
const SAFE = 0x0051_afe0;
/** Pages that are mapped at a time, and addresses that the endpoint tries. */
const AT_ONCE = 24;
/** One of so many turns maps page by page; the others map lists. */
const SINGLES = 8;
const LISTED = 64;
const CONTEXT = { cpu: 0 };

export interface Reached {
  readonly operations: number;
  /** Accesses that went to an address in use, and those that were refused. */
  readonly hits: number;
  readonly refusals: number;
  /** Pages that were written to after their unmap had returned, until the flush if the domain is lazy. */
  readonly late: number;
  /** Pages that were written to when nothing could reach them any more. */
  readonly violations: number;
  /** Addresses that were given out before the flush after their unmap. */
  readonly reused: number;
  readonly flushes: number;
}

/** A page that the endpoint may still reach. */
interface Limbo {
  readonly page: number;
  /** The last flush that had begun when it was unmapped. */
  readonly flush: number;
}

/** Adds the prober to the device tree. */
export function withProber(endpoint: number): (source: string) => string {
  return (source) =>
    source.replace(/\};\s*$/, `  prober { iommus = <&viommu ${endpoint}>; };\n};\n`);
}

/** `operations` is maps and unmaps, each counted. */
export function reach(context: GuestContext, system: GuestSystem, operations: number): Reached {
  const node = system.firmware.tree.find('/prober');
  if (node === undefined) throw new Error('The tree has no prober.');
  // Its addresses fit into a word.
  const device = new Device({ name: 'prober', bus: 'platform', node, dmaMask: 0xffff_ffffn });
  system.core.addDevice(device);
  system.core.bind(device, { name: 'prober' });
  const { dmaOps } = device;
  const domain = device.group?.domain;
  if (dmaOps?.kind !== 'iommu' || domain === undefined) throw new Error('It is not translated.');
  const watch = new FlushWatch(domain.ops);
  const run = new Run(context, system, device, dmaOps, domain.type === 'DMA-FQ', watch);
  const reached = run.go(operations);
  system.core.removeDevice(device);
  return reached;
}

/** Counts flushes on its own account. */
class FlushWatch {
  started = 0;
  finished = 0;

  constructor(ops: IommuDomain) {
    const flushAll = ops.flushAll.bind(ops);
    ops.flushAll = () => {
      this.started += 1;
      const number = this.started;
      flushAll();
      this.finished = number;
    };
  }
}

class Run {
  late = 0;
  violations = 0;
  reused = 0;
  readonly #context: GuestContext;
  readonly #system: GuestSystem;
  readonly #device: Device;
  readonly #dma: DmaOps;
  readonly #lazy: boolean;
  readonly #watch: FlushWatch;
  readonly #words: Int32Array;
  /** Pages out of reach, each with {@link SAFE} in it. */
  readonly #safe: number[] = [];
  readonly #limbo: Limbo[] = [];
  /** By address: the last flush that had begun when it was unmapped. */
  readonly #unmapped: Map<number, number> = new Map();
  readonly #into: DmaAddress = new DmaAddress();
  readonly #list: readonly ScatterEntry[] = Array.from(
    { length: AT_ONCE },
    () => new ScatterEntry(),
  );

  constructor(
    context: GuestContext,
    system: GuestSystem,
    device: Device,
    dma: DmaOps,
    lazy: boolean,
    watch: FlushWatch,
  ) {
    this.#context = context;
    this.#system = system;
    this.#device = device;
    this.#dma = dma;
    this.#lazy = lazy;
    this.#watch = watch;
    const { memory } = context;
    const bytes = memory.bytes(memory.base, memory.size);
    this.#words = new Int32Array(bytes.buffer, bytes.byteOffset, memory.size / 4);
  }

  go(operations: number): Reached {
    const { ram } = this.#system;
    const { port } = this.#context.endpoint('prober');
    const list = ram.allocatePages(1);
    const pages = this.#lazy ? 1024 : 2 * AT_ONCE;
    const first = ram.allocatePages(pages);
    for (let page = first; page < first + pages; page += 1) this.#secure(page);
    const before = [ProberRegister.HITS, ProberRegister.REFUSALS].map((at) => port.read(at, 4));
    port.write(ProberRegister.LIST, 4, list);
    port.write(ProberRegister.COUNT, 4, LISTED);
    const turns = Math.ceil(operations / 2 / AT_ONCE);
    for (let turn = 0; turn < turns; turn += 1) {
      const taken = Array.from({ length: AT_ONCE }, () => this.#take());
      const single = turn % SINGLES === 0;
      const addresses = single ? taken.map((page) => this.#map(page)) : this.#mapList(taken);
      for (const [index, address] of addresses.entries()) {
        const slot = (turn * AT_ONCE + index) % LISTED;
        Atomics.store(this.#words, this.#at(list) + slot, address);
      }
      if (!single)
        this.#dma.unmapList(CONTEXT, this.#device, this.#list, AT_ONCE, BIDIRECTIONAL, 0);
      for (const [index, page] of taken.entries()) {
        const address = addresses[index] ?? 0;
        if (single) this.#unmap(address);
        this.#leave(page, address);
      }
      this.#settle();
      this.#system.poll();
    }
    port.write(ProberRegister.COUNT, 4, 0);
    while (this.#lazy && this.#limbo.length > 0) {
      this.#system.poll();
      this.#settle();
    }
    for (let left = pages; left > 0; left -= 1) this.#take();
    const after = [ProberRegister.HITS, ProberRegister.REFUSALS].map((at) => port.read(at, 4));
    ram.freePages(first);
    ram.freePages(list);
    const { late, violations, reused } = this;
    const [hits = 0, refusals = 0] = after.map((value, at) => (value - (before[at] ?? 0)) >>> 0);
    const flushes = this.#watch.finished;
    return { operations, hits, refusals, late, violations, reused, flushes };
  }

  #map(page: number): number {
    const into = this.#into;
    if (!this.#dma.map(CONTEXT, this.#device, page, 0, PAGE, BIDIRECTIONAL, 0, into))
      throw new Error('A page is not mapped.');
    this.#check(into.page);
    return into.page;
  }

  #mapList(pages: readonly number[]): number[] {
    const list = this.#list;
    for (const [index, page] of pages.entries())
      Object.assign(list[index] ?? {}, { page, offset: 0, sizeBytes: PAGE });
    const segments = this.#dma.mapList(CONTEXT, this.#device, list, AT_ONCE, BIDIRECTIONAL, 0);
    if (typeof segments !== 'number') throw new Error('A list is not mapped.');
    const first = list[0]?.dmaPage ?? 0;
    const addresses = pages.map((_, index) => first + index);
    for (const address of addresses) this.#check(address);
    return addresses;
  }

  #unmap(address: number): void {
    this.#dma.unmap(CONTEXT, this.#device, address, 0, PAGE, BIDIRECTIONAL, 0);
  }

  /** An address was given out: nothing may lead from it to what was there before. */
  #check(address: number): void {
    const flush = this.#unmapped.get(address);
    if (this.#lazy && flush !== undefined && this.#watch.finished <= flush) this.reused += 1;
  }

  /** The unmap of a page has returned. */
  #leave(page: number, address: number): void {
    this.#unmapped.set(address, this.#watch.started);
    Atomics.store(this.#words, this.#at(page), 0);
    this.#limbo.push({ page, flush: this.#watch.started });
  }

  /** Pages become safe when nothing leads to them: after the unmap, or after a flush that began later. */
  #settle(): void {
    const limbo = this.#limbo;
    while (limbo.length > 0) {
      const { page, flush } = limbo[0]!; // Not empty.
      if (this.#lazy && this.#watch.finished <= flush) return;
      limbo.shift();
      if (Atomics.load(this.#words, this.#at(page)) !== 0) this.late += 1;
      this.#secure(page);
    }
  }

  #secure(page: number): void {
    Atomics.store(this.#words, this.#at(page), SAFE);
    this.#safe.push(page);
  }

  /** The page that has been safe for the longest. */
  #take(): number {
    while (this.#safe.length === 0) {
      this.#system.poll();
      this.#settle();
    }
    const page = this.#safe.shift()!; // Not empty.
    if (Atomics.load(this.#words, this.#at(page)) !== SAFE) this.violations += 1;
    return page;
  }

  #at(page: number): number {
    return ((page - this.#system.ram.firstPage) * PAGE) / 4;
  }
}
