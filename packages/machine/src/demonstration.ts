/**
 * The guest program of `viommu run` without one of your own: what an IOMMU does, step by step, with figures.
 *
 * Each step is reported as an event and checked by the program itself; a step that does not come out as it should
 * throws. The machine has a copy engine called `engine`: see `demonstrationMachine`.
 */

import {
  FaultFlag,
  FaultReason,
  type GuestPhysical,
  IommuError,
  type Iova,
  PAGE_SIZE,
  guestPhysical,
  iova,
  pageOf,
} from '@viommu/common';
import {
  type Domain,
  type FaultReport,
  type IommuDriver,
  Protection,
  allocPaging,
  attach,
  iotlbSync,
  iotlbSyncMap,
  mapPages,
  unmapPages,
} from '@viommu/driver';
import type { CopyEngine, CopyResult } from './copy-engine.ts';
import type { DemonstrationEvent } from './demonstration-event.ts';
import type { GuestContext } from './guest.ts';
import type { MachineOptions } from './options.ts';

const ENDPOINT = 8;
const ENGINE = 'engine';
/** Where x86 has its interrupt messages. */
const MSI = { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' } as const;

/** What machine the demonstration needs. */
export const demonstrationMachine: MachineOptions = {
  device: {
    endpoints: [{ id: ENDPOINT, reserved: [MSI] }],
    inputRange: { start: 0n, last: (1n << 48n) - 1n },
    domainRange: { first: 1, last: 0xffff },
  },
  endpoints: { [ENGINE]: { kind: 'copy', id: ENDPOINT } },
  // It brings the driver up by itself, to be told about faults.
  driver: 'manual',
};

/** Far beyond RAM: nobody can take these addresses for physical ones. */
const SOURCE = iova(0x10_0000_0000n);
const TARGET = iova(0x20_0000_0000n);
const READ_ONLY = iova(0x30_0000_0000n);
const SCRATCH = iova(0x40_0000_0000n);
const HOLE = iova(0x50_0000_0000n);

const PIECES = 32;
const PIECE_PAGES = 2;
const BYTES = PIECES * PIECE_PAGES * PAGE_SIZE;
const SPEED_BATCHES = [1, 64] as const;
/** What is measured, and what goes before it: a program runs slowly until it has been compiled. */
const SPEED_REQUESTS = 16_384;
const WARM_UP_REQUESTS = 32_768;
/** Each of the two ends after this long at the latest, on a machine that has no processor to spare. */
const SPEED_MS = 300;

const READ_WRITE = Protection.READ | Protection.WRITE;

/** Runs the demonstration. @throws {IommuError} `EIO` if anything does not come out as it should. */
export default function demonstrate(context: GuestContext): void {
  new Demonstration(context).run();
}

/** A buffer in pieces that do not lie side by side. */
interface Scattered {
  readonly pieces: readonly GuestPhysical[];
}

class Demonstration {
  readonly #context: GuestContext;
  readonly #driver: IommuDriver;
  readonly #engine: CopyEngine;
  /** What the device reported and nobody has looked at. */
  readonly #faults: FaultReport[] = [];
  readonly #source: Scattered;
  readonly #target: Scattered;

  constructor(context: GuestContext) {
    this.#context = context;
    this.#driver = context.startDriver({
      onFault: (fault) => this.#faults.push(fault),
      // Its lines would say what the steps say.
      logger: { warn: () => undefined },
    });
    this.#engine = context.copyEngine(ENGINE);
    this.#source = this.#scatter();
    this.#target = this.#scatter();
  }

  run(): void {
    const driver = this.#driver;
    this.#report({
      step: 'device',
      features: driver.features,
      pageSizeBitmap: driver.pageSizeBitmap,
      aperture: driver.aperture,
    });
    const endpoint = driver.probeDevice([ENDPOINT], ENGINE);
    const regions = endpoint.regions.map(({ type, start, last }) => ({ type, start, last }));
    this.#report({ step: 'probe', endpoint: ENDPOINT, regions });
    check(regions.length === 1, 'the endpoint has one reserved region');

    const blocked = this.#engine.copy({ from: SOURCE, to: TARGET, length: PAGE_SIZE });
    const reason = this.#refused(blocked, 'read', SOURCE);
    this.#report({ step: 'blocked', endpoint: ENDPOINT, reason });

    const domain = allocPaging(endpoint);
    attach(domain, endpoint);
    this.#report({ step: 'attach', endpoint: ENDPOINT, domain: domain.id ?? 0 });
    this.#map(domain);
    this.#transfer('out', SOURCE, TARGET, this.#source, this.#target);
    this.#transfer('back', TARGET, SOURCE, this.#target, this.#source);
    this.#provoke(domain);
    this.#interrupt();
    this.#unmap(domain);
    this.#mapAndUnmap(domain, 1, WARM_UP_REQUESTS);
    for (const batch of SPEED_BATCHES) this.#measure(domain, batch);
    driver.remove();
  }

  /** Maps both buffers with one notification. */
  #map(domain: Domain): void {
    const { transport, clock } = this.#context;
    const begun = clock.now();
    const before = transport.notifications;
    for (const [at, { pieces }] of [
      [SOURCE, this.#source],
      [TARGET, this.#target],
    ] as const)
      for (const [index, piece] of pieces.entries())
        mapPages(domain, pageOf(at) + index * PIECE_PAGES, pageOf(piece), PIECE_PAGES, READ_WRITE);
    iotlbSyncMap(domain, pageOf(SOURCE), PIECES * PIECE_PAGES);
    iotlbSyncMap(domain, pageOf(TARGET), PIECES * PIECE_PAGES);
    this.#report({
      step: 'map',
      pieces: PIECES,
      bytes: BYTES,
      source: SOURCE,
      target: TARGET,
      requests: 2 * PIECES,
      notifications: transport.notifications - before,
      microseconds: 1000 * (clock.now() - begun),
    });
  }

  /** Has the endpoint move a buffer, and looks whether it arrived. */
  #transfer(
    direction: 'out' | 'back',
    from: Iova,
    to: Iova,
    source: Scattered,
    target: Scattered,
  ): void {
    const { clock } = this.#context;
    this.#fill(source, direction === 'out' ? 1 : 2);
    this.#fill(target, 3);
    const checksum = this.#checksum(source);
    check(checksum !== this.#checksum(target), 'the buffers differ before the transfer');
    const begun = clock.now();
    const result = this.#engine.copy({ from, to, length: BYTES });
    const microseconds = 1000 * (clock.now() - begun);
    check(result.ok && result.copied === BYTES, 'the endpoint may read and write what is mapped');
    check(this.#checksum(target) === checksum, 'every byte arrives');
    check(this.#checksum(source) === checksum, 'no byte of the source changes');
    this.#report({ step: 'transfer', direction, bytes: BYTES, checksum, microseconds });
  }

  /** Lets the endpoint try what it must not. */
  #provoke(domain: Domain): void {
    const { memory } = this.#context;
    const page = memory.allocate(PAGE_SIZE);
    memory.bytes(page, PAGE_SIZE).fill(0x55);
    mapPages(domain, pageOf(READ_ONLY), pageOf(page), 1, Protection.READ);
    iotlbSyncMap(domain, pageOf(READ_ONLY), 1);

    const write = this.#engine.copy({ from: SOURCE, to: READ_ONLY, length: 64 });
    this.#reportFault(write, 'write', READ_ONLY, 'the page is mapped for reading only');
    const untouched = memory.bytes(page, PAGE_SIZE).every((byte) => byte === 0x55);
    check(untouched, 'a refused write changes nothing');
    const read = this.#engine.copy({ from: HOLE, to: TARGET, length: 64 });
    this.#reportFault(read, 'read', HOLE, 'nothing is mapped there');
    unmapPages(domain, pageOf(READ_ONLY), 1);
    iotlbSync(domain);
    memory.free(page);
  }

  #reportFault(result: CopyResult, access: 'read' | 'write', address: Iova, why: string): void {
    const reason = this.#refused(result, access, address);
    this.#report({ step: 'fault', access, address, reason, why });
  }

  /** Has the endpoint write where its interrupts go. */
  #interrupt(): void {
    const data = 0x4051;
    const [first] = this.#source.pieces;
    check(first !== undefined, 'a buffer has a piece');
    this.#context.memory.bytes(first, 4).set([data & 0xff, data >>> 8, 0, 0]);
    const to = iova(MSI.start + 0x20n);
    const result = this.#engine.copy({ from: SOURCE, to, length: 4 });
    check(result.ok, 'the endpoint may send interrupts');
    this.#report({ step: 'interrupt', address: to, data });
  }

  /** Unmaps everything, and has the endpoint try again. */
  #unmap(domain: Domain): void {
    const { transport } = this.#context;
    const pages = PIECES * PIECE_PAGES;
    const before = transport.notifications;
    check(unmapPages(domain, pageOf(SOURCE), pages) === pages, 'the source is unmapped as a whole');
    check(unmapPages(domain, pageOf(TARGET), pages) === pages, 'and so is the target');
    iotlbSync(domain);
    const notifications = transport.notifications - before;
    const checksum = this.#checksum(this.#target);
    const late = this.#engine.copy({ from: SOURCE, to: TARGET, length: BYTES });
    const reason = this.#refused(late, 'read', SOURCE);
    check(this.#checksum(this.#target) === checksum, 'nothing arrives after the unmap');
    this.#report({ step: 'unmap', bytes: 2 * BYTES, requests: 2, notifications, reason });
  }

  /** Says how fast requests are answered, `batch` at a time. */
  #measure(domain: Domain, batch: number): void {
    const { transport, clock } = this.#context;
    const before = transport.notifications;
    const begun = clock.now();
    const requests = this.#mapAndUnmap(domain, batch, SPEED_REQUESTS);
    this.#report({
      step: 'speed',
      batch,
      requests,
      notifications: transport.notifications - before,
      seconds: (clock.now() - begun) / 1000,
    });
  }

  /** Maps and unmaps the same pages again and again; returns the number of requests. */
  #mapAndUnmap(domain: Domain, batch: number, requestsMax: number): number {
    const { clock } = this.#context;
    const [piece] = this.#source.pieces;
    check(piece !== undefined, 'a buffer has a piece');
    const page = pageOf(SCRATCH);
    const physical = pageOf(piece);
    const end = clock.now() + SPEED_MS;
    let requests = 0;
    while (requests < requestsMax && clock.now() < end) {
      for (let index = 0; index < batch; index += 1)
        mapPages(domain, page + index, physical, 1, READ_WRITE);
      iotlbSyncMap(domain, page, batch);
      for (let index = 0; index < batch; index += 1) unmapPages(domain, page + index, 1);
      iotlbSync(domain);
      requests += 2 * batch;
    }
    return requests;
  }

  /** Checks that an access was refused, and reported once; returns the reason that the report gives. */
  #refused(result: CopyResult, access: 'read' | 'write', address: Iova): string {
    check(!result.ok && result.reason === 'fault', 'the endpoint is refused');
    check(
      result.access === access && result.address === address,
      'the engine says what was refused',
    );
    while (this.#driver.serveEvents() > 0);
    const [fault, ...others] = this.#faults.splice(0);
    check(fault !== undefined && others.length === 0, 'the device reports it once');
    const flag = access === 'read' ? FaultFlag.READ : FaultFlag.WRITE;
    const told = fault.address === address && fault.endpointId === ENDPOINT;
    check(told && (fault.flags & flag) !== 0, 'the report says what was refused');
    return nameOf(fault.reason);
  }

  /** Every other piece of a stretch of memory, in an order that nobody would guess. */
  #scatter(): Scattered {
    const { memory } = this.#context;
    const bytes = PIECE_PAGES * PAGE_SIZE;
    const base = memory.allocate(2 * PIECES * bytes);
    const pieces = Array.from({ length: PIECES }, (_, index) =>
      guestPhysical(base + BigInt(2 * bytes * ((index * 13 + 5) % PIECES))),
    );
    return { pieces };
  }

  /** Writes a pattern without a period, a different one for every seed. */
  #fill({ pieces }: Scattered, seed: number): void {
    let state = seed;
    for (const piece of pieces) {
      const bytes = this.#context.memory.bytes(piece, PIECE_PAGES * PAGE_SIZE);
      for (let at = 0; at < bytes.length; at += 1) {
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
        bytes[at] = state >>> 24;
      }
    }
  }

  /** FNV-1a over the bytes in the order in which the endpoint sees them. */
  #checksum({ pieces }: Scattered): number {
    let hash = 0x811c_9dc5;
    for (const piece of pieces)
      for (const byte of this.#context.memory.bytes(piece, PIECE_PAGES * PAGE_SIZE))
        hash = Math.imul(hash ^ byte, 0x0100_0193);
    return hash >>> 0;
  }

  #report(event: DemonstrationEvent): void {
    this.#context.report(event);
  }
}

function nameOf(reason: FaultReason): string {
  return Object.entries(FaultReason).find(([, value]) => value === reason)?.[0] ?? String(reason);
}

function check(condition: boolean, claim: string): asserts condition {
  if (!condition) throw new IommuError('EIO', `This does not hold: ${claim}.`);
}
