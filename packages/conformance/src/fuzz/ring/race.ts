/**
 * Two real threads: one rewrites requests, or any byte that the other side may write, while this one has them handled.
 * What comes of it is not known, but what may not: an access outside, an answer that is none, a mapping that no mixture
 * of the written requests asks for, books that contradict themselves, work without an end.
 */

import { Worker } from 'node:worker_threads';
import {
  IommuFeature,
  MapRequest,
  Status,
  VirtioFeature,
  featureSet,
  guestPhysical,
} from '@viommu/common';
import { IommuDevice } from '@viommu/device';
import {
  BufferList,
  Chain,
  type DeviceQueue,
  type DriverQueue,
  Taken,
  createDeviceQueue,
  createDriverQueue,
} from '@viommu/ring';
import type { Fuzzer, Journal } from '../fuzzer.ts';
import type { Random } from '../random.ts';
import { attachBytes, detachBytes, mapBytes, unmapBytes } from '../request-bytes.ts';
import { Control, type MutatorOrder, type Target } from './mutator.ts';
import { type Setting, deviation, drawSetting } from './setting.ts';

const EXTENSION: string = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
/** Requests of one run, and at a time. */
const REQUESTS = 3000;
const AT_ONCE = 4;
/** Room for all of them, in three buffers each. */
const SIZES = [16, 32, 64] as const;
/** Bytes of a request, and of its answer behind it. */
const SLOT_BYTES = 64;
const TAIL_AT = 48;
const DOMAIN = 1;
const ENDPOINT = 8;
/** What a tail may begin with. */
const STATUSES: ReadonlySet<number> = new Set(Object.values(Status));
const NEGOTIATED = [VirtioFeature.VERSION_1, IommuFeature.MAP_UNMAP];

export const ringRace: Fuzzer = {
  name: 'ring-race',
  about:
    'requests and rings that another thread rewrites while they are read; two threads, so that no run is like another',
  smokeSeeds: 8,
  async run(random, journal) {
    const race = new Race(random);
    const worker = race.start();
    try {
      await new Promise<void>((resolve, reject) => {
        worker.once('online', resolve);
        worker.once('error', reject);
      });
      race.run(journal);
    } finally {
      race.stop();
      await worker.terminate();
    }
  },
};

class Race {
  readonly #setting: Setting;
  readonly #random: Random;
  readonly #device: IommuDevice;
  readonly #control = new Int32Array(new SharedArrayBuffer(8));
  /** What each slot of a request may be: by slot two of the same length. */
  readonly #variants: readonly (readonly Uint8Array[])[];
  readonly #lists: readonly BufferList[];
  /** True if rings are rewritten, too. */
  readonly #rings: boolean;
  #queue: DeviceQueue;
  #driver: DriverQueue;
  #chain: Chain;

  constructor(random: Random) {
    this.#random = random;
    const setting = drawSetting(random, () => 0, SIZES);
    const features = { ...setting.features, indirect: false };
    this.#setting = { ...setting, features, position: setting.packed ? 0x8000 : 0 };
    this.#rings = random.once(2);
    this.#variants = Array.from({ length: AT_ONCE }, () => drawVariants(random));
    const { memory, data } = this.#setting;
    this.#lists = this.#variants.map((variants, slot) => {
      const at = data + SLOT_BYTES * slot;
      const bytes = variants[0]!.length; // There are two.
      memory.bytes.set(variants[0]!, at); // Likewise.
      const list = new BufferList(3);
      const cut = random.once(2) ? 1 + random.number(bytes - 1) : bytes;
      list.addReadable(guestPhysical(memory.base + BigInt(at)), cut);
      if (cut < bytes) list.addReadable(guestPhysical(memory.base + BigInt(at + cut)), bytes - cut);
      return list.addWritable(guestPhysical(memory.base + BigInt(at + TAIL_AT)), 4);
    });
    this.#device = new IommuDevice({ endpoints: [{ id: ENDPOINT }], limits: { mappings: 64 } });
    [this.#queue, this.#driver, this.#chain] = this.#begin();
  }

  start(): Worker {
    const { memory, place, bytes, data, packed } = this.#setting;
    const targets: Target[] = this.#variants.map((variants, slot) => ({
      from: data + SLOT_BYTES * slot,
      variants,
      length: 0,
    }));
    if (this.#rings) {
      targets.push({ from: place.table, variants: [], length: bytes.table });
      targets.push({ from: place.driver, variants: [], length: bytes.driver });
      if (!packed || this.#random.once(2))
        targets.push({ from: place.device, variants: [], length: bytes.device });
    }
    const workerData: MutatorOrder = {
      bytes: memory.bytes,
      control: this.#control,
      targets,
      seed: this.#random.number(0x1_0000),
    };
    return new Worker(new URL(`./mutator.${EXTENSION}`, import.meta.url), { workerData });
  }

  stop(): void {
    Atomics.store(this.#control, Control.STOP, 1);
  }

  run(journal: Journal): void {
    const { memory } = this.#setting;
    const { iommu } = this.#device;
    const inFlight = new Set<number>();
    let token = 0;
    iommu.attach(DOMAIN, ENDPOINT, 0);
    for (let left = REQUESTS; left > 0; left -= 1) {
      const slot = this.#random.number(AT_ONCE);
      memory.raw.setUint32(this.#tailAt(slot), 0xffff_ffff, true);
      if (this.#driver.inFlight < AT_ONCE && this.#driver.add(this.#lists[slot]!, token)) {
        // Below the count.
        inFlight.add(token);
        token += 1;
      }
      this.#driver.publish();
      memory.allow(4096);
      const count = this.#queue.serve(this.#device, this.#chain, AT_ONCE);
      this.#queue.publish();
      if (count > AT_ONCE) throw this.#wrong('more is served than was asked for', `${count}`);
      for (let taken = this.#driver.take(); taken !== Taken.EMPTY; taken = this.#driver.take()) {
        if (taken === Taken.BROKEN) break;
        if (!inFlight.delete(taken)) throw this.#wrong('a token that is not in flight', `${taken}`);
      }
      memory.allow(Number.POSITIVE_INFINITY);
      const status = memory.raw.getUint32(this.#tailAt(slot), true);
      if (!this.#rings && !STATUSES.has(status))
        throw this.#wrong('a tail that is no answer', `0x${status.toString(16)}`);
      if (this.#driver.inFlight !== inFlight.size)
        throw this.#wrong('chains are lost', `${this.#driver.inFlight} for ${inFlight.size}`);
      const fault = this.#queue.fault ?? this.#driver.fault;
      if (fault !== undefined && !this.#rings) throw this.#wrong('a lawful ring is broken', fault);
      // A ring that stands still because of what was written into it is given up as well.
      if (fault !== undefined || (this.#rings && this.#random.once(16))) {
        [this.#queue, this.#driver, this.#chain] = this.#begin();
        inFlight.clear();
      } else if (!this.#rings && inFlight.size > 0)
        throw this.#wrong('a request is not answered', `${inFlight.size}`);
      if (left % 8 === 0) this.#checkBooks();
      if (this.#random.once(64)) {
        iommu.unmapRange(DOMAIN, FULL);
        iommu.attach(DOMAIN, ENDPOINT, 0);
      }
      journal.requests += count;
    }
    this.#checkBooks();
    memory.checkGuards();
  }

  #tailAt(slot: number): number {
    return this.#setting.data + SLOT_BYTES * slot + TAIL_AT;
  }

  /** New queues, in cleared memory. */
  #begin(): [DeviceQueue, DriverQueue, Chain] {
    const { memory, layout, features, size, batchUsed } = this.#setting;
    const mask = featureSet(NEGOTIATED);
    memory.allow(Number.POSITIVE_INFINITY);
    const driver = createDriverQueue({ memory, layout, features });
    const queue = createDeviceQueue({ memory, layout, features, batchUsed });
    this.#device.acceptFeatures(mask);
    const port = { interrupt: nothing, configChanged: nothing, needsReset: nothing };
    this.#device.start({ features: mask, memory, queues: [queue, undefined], port });
    return [queue, driver, new Chain(memory, size)];
  }

  /** Each mapping is one that some mixture of the bytes asks for, and none is over another. */
  #checkBooks(): void {
    const { iommu } = this.#device;
    let last = -1n;
    for (const domain of iommu.domains)
      for (const { virt, physStart, flags } of iommu.mappings(domain)) {
        const evidence = `domain ${domain}, 0x${virt.start.toString(16)} to 0x${virt.last.toString(16)}`;
        if (domain === DOMAIN && virt.start <= last)
          throw this.#wrong('mappings over each other', evidence);
        if (domain === DOMAIN) ({ last } = virt);
        if (virt.last < virt.start || virt.start % 4096n !== 0n || virt.last % 4096n !== 4095n)
          throw this.#wrong('a mapping that cannot be', evidence);
        const asked = mapBytes(domain, virt.start, virt.last, physStart, flags);
        // With rings rewritten anything may have been taken for a request.
        if (!this.#rings && !this.#variants.some((variants) => isMixture(asked, variants)))
          throw this.#wrong('a mapping that nobody asked for', evidence);
      }
  }

  #wrong(matter: string, evidence: string): Error {
    return deviation(`race: ${matter}`, this.#setting, evidence);
  }
}

const FULL = { start: 0n, last: 0xffff_ffff_ffff_ffffn } as Parameters<
  IommuDevice['iommu']['unmapRange']
>[1]; // All addresses.
/** Bytes of a MAP that mean something. */
const { domain: FROM } = MapRequest.offset;

function isMixture(asked: Uint8Array, variants: readonly Uint8Array[]): boolean {
  if (variants[0]?.length !== asked.length) return false;
  for (let at = FROM; at < asked.length; at += 1)
    if (!variants.some((variant) => variant[at] === asked[at])) return false;
  return true;
}

/** Two requests of the same type: each byte in memory is of one of them, at any time. */
function drawVariants(random: Random): readonly Uint8Array[] {
  const kind = random.number(6);
  return [0, 1].map(() => {
    const start = BigInt(random.number(64)) << 12n;
    const last = start + (BigInt(1 + random.number(16)) << 12n) - 1n;
    const high = BigInt(random.number(2)) << 40n;
    const phys = (BigInt(random.number(256)) << 12n) + (BigInt(random.number(2)) << 36n);
    if (kind === 1) return unmapBytes(DOMAIN, start, last).slice();
    if (kind === 2)
      return random.once(2) ? attachBytes(DOMAIN, ENDPOINT).slice() : attachBytes(2, 9).slice();
    if (kind === 3) return detachBytes(1 + random.number(2), ENDPOINT).slice();
    return mapBytes(DOMAIN, start + high, last + high, phys, 1 + random.number(3)).slice();
  });
}

function nothing(): void {
  // Nobody listens.
}
