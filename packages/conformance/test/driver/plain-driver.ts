/**
 * A second driver: as plain as can be, one request at a time, written from the standard and from nothing of
 * `@viommu/driver`. It shows that the suite holds more than one driver for right, and each of its habits can be made a
 * wrong one.
 */

import {
  AttachRequest,
  DetachRequest,
  FaultRecord,
  MapRequest,
  MmioRegister as R,
  ProbeRequest,
  RequestTail,
  RequestType,
  UnmapRequest,
} from '@viommu/common';
import { readBytes, writeBytes } from '../../src/ring/bytes.ts';
import { PackedRing } from '../../src/ring/packed-ring.ts';
import { SplitRing } from '../../src/ring/split-ring.ts';
import type { TestRing } from '../../src/ring/test-ring.ts';
import type {
  DriverAction,
  DriverEnvironment,
  DriverOutcome,
  DriverTarget,
} from '../../src/driver-target.ts';
import type { TargetRegion } from '../../src/target.ts';
import { type PlainConfig, readConfig } from './config-reader.ts';
import { type Habits, RIGHT } from './habit.ts';

const OK: DriverOutcome = { result: 'ok' };
const no = (reason: string): DriverOutcome => ({ result: 'refused', reason });
const IDLE_MAX = 5;

interface Domain {
  readonly id: number;
  readonly bypass: boolean;
  readonly endpoints: Set<number>;
  mappings: { start: bigint; last: bigint }[];
}

export class PlainDriver implements DriverTarget {
  readonly #habits: Habits;
  #env!: DriverEnvironment; // `start` comes before everything.
  #features = 0n;
  #config!: PlainConfig; // likewise
  #free = 0n;
  #requests: TestRing | undefined;
  #events: TestRing | undefined;
  readonly #eventAt = new Map<number, bigint>();
  readonly #regions = new Map<number, readonly TargetRegion[]>();
  readonly #domainOf = new Map<number, Domain>();
  readonly #named = new Map<string, Domain>();
  readonly #used = new Set<number>();
  #faults: { endpoint: number; address?: bigint }[] = [];
  #lost = false;
  #status = 0;

  constructor(habits: Partial<Habits> = {}) {
    this.#habits = { ...RIGHT, ...habits };
  }

  start(env: DriverEnvironment): DriverOutcome {
    const h = this.#habits;
    this.#env = env;
    this.#free = env.window.start;
    if (this.#read(R.MagicValue) !== 0x7472_6976 || this.#read(R.Version) !== 2)
      return no('no device');
    if (this.#read(R.DeviceID) !== 23) return no('no IOMMU');
    if (h.resetFirst) {
      this.#write(R.Status, 0);
      for (let reads = 0; h.awaitReset && reads < 1000 && this.#read(R.Status) !== 0; reads += 1);
    }
    for (const step of h.steps) this.#write(R.Status, step);
    let offered = 0n;
    for (const word of [0, 1]) {
      this.#write(R.DeviceFeaturesSel, word);
      offered |= BigInt(this.#read(R.DeviceFeatures)) << BigInt(32 * word);
    }
    this.#features = h.accept(offered);
    if (!this.#has(32) || !this.#has(2)) return this.#fail('features are missing');
    for (const word of [0, 1]) {
      this.#write(R.DriverFeaturesSel, word);
      this.#write(R.DriverFeatures, Number((this.#features >> BigInt(32 * word)) & 0xffff_ffffn));
    }
    this.#write(R.Status, 0xb);
    if (h.readBack && (this.#read(R.Status) & 8) === 0) return this.#fail('features are refused');
    this.#config = readConfig(
      (offset) => this.#read(offset),
      (bit) => this.#has(bit) || h.readAll,
      h.generation,
    );
    const { granule, first, last, domainFirst, domainLast, probeSize } = this.#config;
    if (granule === 0n || last < first || domainLast < domainFirst || probeSize > 0x1_0000)
      return this.#fail('the configuration makes no sense');
    this.#requests = this.#queue(0);
    this.#events = this.#queue(1);
    if (this.#requests === undefined || this.#events === undefined) return this.#fail('no queues');
    const events = this.#events;
    if (h.earlyNotify) this.#notify(0);
    this.#write(R.Status, 0xf);
    for (let turn = 0; turn < events.size; turn += 1) this.#post(events, this.#allocate(24));
    this.#notify(1);
    return OK;
  }

  perform(action: DriverAction): DriverOutcome {
    if (this.#requests === undefined) return no('it has no device');
    switch (action.kind) {
      case 'probe':
        this.#regions.delete(action.endpoint);
        return this.#probe(action.endpoint);
      case 'attach':
        return this.#attach(action);
      case 'detach':
        return this.#detach(action.endpoint);
      case 'map':
        return this.#map(action);
      case 'unmap':
        return this.#unmap(action);
      case 'interrupt':
        return this.#interrupt();
      case 'bypass':
        if (!this.#has(6) && !this.#habits.bypassAlways) return no('there is no such field');
        this.#env.registers.write(
          R.Config + 0x24,
          this.#habits.bypassWidth,
          this.#habits.bypass(action.value),
        );
        return OK;
      case 'remove':
        if (this.#habits.resetAtEnd) {
          this.#write(R.Status, 0);
          void this.#read(R.Status);
        }
        this.#requests = undefined;
        return OK;
      default:
        return { result: 'unsupported' };
    }
  }

  takeFaults(): readonly { readonly endpoint: number; readonly address?: bigint }[] {
    return this.#faults.splice(0);
  }

  dispose(): void {}

  #probe(endpoint: number): DriverOutcome {
    const { probeSize } = this.#config;
    if (!this.#has(4) || probeSize === 0) {
      this.#regions.set(endpoint, []);
      return { result: 'ok', reserved: [] };
    }
    const h = this.#habits;
    const bytes = h.bytes(ProbeRequest.encode({ type: RequestType.PROBE, endpoint }));
    const answer = this.#send(bytes, probeSize + h.probeRoom);
    if (answer === undefined) return no('PROBE failed');
    const regions = h.parse(answer.subarray(0, probeSize));
    if (regions === undefined) return no('the properties make no sense');
    this.#regions.set(endpoint, regions);
    return { result: 'ok', reserved: regions };
  }

  #attach(action: Extract<DriverAction, { kind: 'attach' }>): DriverOutcome {
    const { endpoint, domain: name } = action;
    const bypass = action.bypass === true;
    const h = this.#habits;
    if (h.probeFirst && !this.#regions.has(endpoint)) {
      const outcome = this.#probe(endpoint);
      if (outcome.result !== 'ok') return outcome;
    }
    if (bypass && !this.#has(6)) return no('there are no bypass domains');
    const key = bypass ? 'bypass' : name;
    let domain = key === undefined ? undefined : this.#named.get(key);
    if (domain === undefined || domain.endpoints.size === 0) {
      const id = this.#freeId();
      if (id === undefined) return no('no domain is left');
      domain = { id, bypass, endpoints: new Set(), mappings: [] };
      this.#used.add(id);
      if (key !== undefined) this.#named.set(key, domain);
    }
    const flags = h.attachFlags(bypass, domain.endpoints.size);
    const request = { type: RequestType.ATTACH, domain: domain.id, endpoint, flags };
    const old = this.#domainOf.get(endpoint);
    if (this.#send(h.bytes(AttachRequest.encode(request)), 4) === undefined) {
      if (domain.endpoints.size === 0) this.#used.delete(domain.id);
      return no('ATTACH failed');
    }
    if (old !== undefined && old !== domain) this.#leave(endpoint, old);
    domain.endpoints.add(endpoint);
    this.#domainOf.set(endpoint, domain);
    return OK;
  }

  #detach(endpoint: number): DriverOutcome {
    const domain = this.#domainOf.get(endpoint);
    if (domain === undefined) return no('it is in no domain');
    const request = { type: RequestType.DETACH, domain: domain.id, endpoint };
    const done = this.#send(this.#habits.bytes(DetachRequest.encode(request)), 4);
    if (done === undefined) return no('DETACH failed');
    this.#leave(endpoint, domain);
    return OK;
  }

  #leave(endpoint: number, domain: Domain): void {
    domain.endpoints.delete(endpoint);
    this.#domainOf.delete(endpoint);
    if (domain.endpoints.size > 0) return;
    this.#used.delete(domain.id);
    domain.mappings = [];
  }

  #map(action: Extract<DriverAction, { kind: 'map' }>): DriverOutcome {
    const { endpoint, iova, phys, bytes, write, read = true, mmio = false } = action;
    const h = this.#habits;
    const domain = this.#domainOf.get(endpoint);
    if (domain === undefined || (domain.bypass && !h.mapBypass))
      return no('it cannot be mapped into');
    const { granule, first, last: end } = this.#config;
    const last = iova + bytes - 1n;
    if ((iova | phys | bytes) % granule !== 0n) return no('it is not made of pages');
    if (h.checkRange && (iova < first || last > end)) return no('it is outside the range');
    if (mmio && !this.#has(5) && h.checkMmio) return no('there is no flag for registers');
    if (domain.mappings.some((one) => one.start <= last && one.last >= iova))
      return no('it is mapped');
    const regions = [...domain.endpoints].flatMap((one) => this.#regions.get(one) ?? []);
    if (regions.some((one) => one.start <= last && one.last >= iova)) return no('it is reserved');
    const request = {
      type: RequestType.MAP,
      domain: domain.id,
      virtStart: iova,
      virtEnd: h.mapEnd(iova, last),
      physStart: phys,
      flags: h.mapFlags((read ? 1 : 0) | (write ? 2 : 0) | (mmio ? 4 : 0)),
    };
    if (!h.canMap || this.#send(h.bytes(MapRequest.encode(request)), 4) === undefined)
      return no('MAP failed');
    domain.mappings.push({ start: iova, last });
    return OK;
  }

  #unmap({ endpoint, iova, bytes }: Extract<DriverAction, { kind: 'unmap' }>): DriverOutcome {
    const h = this.#habits;
    const domain = this.#domainOf.get(endpoint);
    if (domain === undefined || (domain.bypass && !h.mapBypass)) return no('it cannot be unmapped');
    const last = iova + bytes - 1n;
    const inside = domain.mappings.filter(({ start, last: end }) => start >= iova && end <= last);
    const size = inside.reduce((sum, { start, last: end }) => sum + end - start + 1n, 0n);
    if (size !== bytes && h.unmapKnown) return no('not all of it is mapped');
    const [virtStart, virtEnd] = h.unmapRange(iova, last, this.#config.granule);
    const request = { type: RequestType.UNMAP, domain: domain.id, virtStart, virtEnd };
    if (this.#send(h.bytes(UnmapRequest.encode(request)), 4) === undefined)
      return no('UNMAP failed');
    domain.mappings = domain.mappings.filter((one) => !inside.includes(one));
    return OK;
  }

  #interrupt(): DriverOutcome {
    const h = this.#habits;
    const bits = this.#read(R.InterruptStatus);
    if (bits !== 0) this.#write(R.InterruptACK, h.acknowledge(bits));
    const events = this.#events;
    for (let turn = 0; events !== undefined && turn < 100; turn += 1) {
      const taken = events.take();
      if (taken === undefined) break;
      const address = this.#eventAt.get(taken.id);
      if (address === undefined) break;
      this.#eventAt.delete(taken.id);
      const bytes = readBytes(this.#env.memory, address, FaultRecord.size);
      if (h.repost) this.#post(events, address);
      if (taken.length < FaultRecord.size && h.checkEventLength) continue;
      const fault = h.fault(FaultRecord.read(new DataView(bytes.buffer)));
      if (fault !== undefined) this.#faults.push(fault);
    }
    this.#notify(1);
    return OK;
  }

  /** Sends one request and waits. The writable bytes, or `undefined` if it failed. */
  #send(readable: Uint8Array, writable: number): Uint8Array | undefined {
    const ring = this.#requests;
    const { memory } = this.#env;
    const h = this.#habits;
    if (ring === undefined || this.#lost) return undefined;
    if (this.#free > this.#env.window.start + 0x7_0000n)
      this.#free = this.#env.window.start + 0x2_0000n;
    const at = this.#allocate(readable.length);
    const answerAt = this.#allocate(writable);
    writeBytes(memory, at, readable);
    // OK stands there only where a wrong driver puts it.
    writeBytes(memory, answerAt, new Uint8Array(writable).fill(h.prefill));
    const buffers = [
      { address: at, length: readable.length, writable: false },
      { address: answerAt, length: writable, writable: true },
    ];
    const id = ring.offer(h.order(buffers));
    this.#notify(0);
    for (let idle = 0; !ring.ready();) {
      if (!this.#env.work()) idle += 1;
      if (idle > IDLE_MAX && h.patience) this.#lost = true;
      if (this.#lost || (this.#read(R.Status) & 0x44) !== 4) {
        this.#lost = true;
        return undefined;
      }
    }
    const taken = ring.take();
    if (taken?.id !== id && h.checkId) {
      this.#lost = true;
      return undefined;
    }
    const answer = readBytes(memory, answerAt, writable);
    const tail = RequestTail.read(new DataView(answer.buffer), writable - RequestTail.size);
    const complete = taken?.length === writable || !h.checkLength;
    return complete && h.success(tail.status, tail.reserved) ? answer : undefined;
  }

  #queue(index: number): TestRing | undefined {
    this.#write(R.QueueSel, index);
    const max = this.#read(R.QueueSizeMax);
    // A request takes two descriptors.
    if (max < (index === 0 ? 2 : 1)) return undefined;
    const packed = this.#has(34);
    const size = this.#habits.queueSize(packed ? max : 2 ** Math.floor(Math.log2(max)));
    const start = this.#allocate(26 * size + 256) + this.#habits.ringOffset;
    const ring = packed
      ? new PackedRing(this.#env.memory, start, size)
      : new SplitRing(this.#env.memory, start, size);
    const { descriptorArea, driverArea, deviceArea } = ring.layout;
    this.#write(R.QueueSize, size);
    for (const [register, area] of [
      [R.QueueDescLow, descriptorArea],
      [R.QueueDriverLow, driverArea],
      [R.QueueDeviceLow, deviceArea],
    ] as const) {
      this.#write(register, Number(area & 0xffff_ffffn));
      this.#write(register + 4, Number(area >> 32n));
    }
    this.#write(R.QueueReady, 1);
    return ring;
  }

  #post(events: TestRing, address: bigint): void {
    this.#eventAt.set(
      events.offer([{ address, length: FaultRecord.size, writable: true }]),
      address,
    );
  }

  #notify(queue: number): void {
    const ring = queue === 0 ? this.#requests : this.#events;
    const unwanted =
      ring instanceof SplitRing
        ? (ring.deviceFlags() & 1) !== 0
        : ring instanceof PackedRing && ring.deviceSuppression().flags === 1;
    if (!unwanted && this.#habits.notify) this.#write(R.QueueNotify, queue);
  }

  #freeId(): number | undefined {
    const { domainFirst, domainLast } = this.#config;
    for (let id = this.#habits.firstDomain(domainFirst); id <= domainLast; id += 1)
      if (!this.#used.has(id)) return id;
    return undefined;
  }

  #fail(reason: string): DriverOutcome {
    if (this.#habits.giveUp) this.#write(R.Status, this.#status | 0x80);
    return no(reason);
  }

  #has(bit: number): boolean {
    return ((this.#features >> BigInt(bit)) & 1n) === 1n;
  }

  #allocate(bytes: number): bigint {
    const at = (this.#free + 4095n) & -4096n;
    this.#free = at + BigInt(bytes);
    return at;
  }

  #read(offset: number): number {
    return this.#env.registers.read(offset, 4);
  }

  #write(offset: number, value: number): void {
    if (offset === R.Status) this.#status = value;
    this.#env.registers.write(offset, 4, value);
  }
}
