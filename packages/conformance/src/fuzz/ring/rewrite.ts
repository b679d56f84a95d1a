/**
 * Fuzzes what reads shared memory while the other side rewrites it, in one thread: whatever was read is changed at once.
 * Both sides of queues, and the device that handles requests.
 */

import { IommuFeature, VirtioFeature, featureSet, guestPhysical } from '@viommu/common';
import { IommuDevice } from '@viommu/device';
import {
  BufferList,
  Chain,
  type ChainHandler,
  type DeviceQueue,
  type DeviceQueueState,
  type DriverQueue,
  Popped,
  createDeviceQueue,
  createDriverQueue,
} from '@viommu/ring';
import type { Fuzzer } from '../fuzzer.ts';
import type { Random } from '../random.ts';
import { attachBytes, detachBytes, mapBytes, probeBytes, unmapBytes } from '../request-bytes.ts';
import type { PlainBuffer, PlainChain } from './plain.ts';
import { PlainDriver } from './plain-driver.ts';
import { type Setting, TABLES, drawSetting, plainDevice } from './setting.ts';
import { Twins } from './twins.ts';
import type { RewrittenMemory } from './rewritten-memory.ts';

const LIVES = 24;
const STEPS = 40;
const ENDPOINTS = [8, 9] as const;
const NEGOTIATED = [VirtioFeature.VERSION_1, IommuFeature.MAP_UNMAP, IommuFeature.PROBE];
const ANSWER = Uint8Array.of(1, 2, 3, 4, 5, 6, 7);

export const ringRewrite: Fuzzer = {
  name: 'ring-rewrite',
  about: 'what reads rings and requests, with every byte changed as soon as it was read',
  smokeSeeds: 300,
  run(random, journal) {
    for (let lives = 1 + random.number(LIVES); lives > 0; lives -= 1) {
      const kind = random.pick([handled, handled, served, taken]);
      journal.note(() => kind.name);
      journal.requests += kind(random);
    }
  },
};

/** Where buffers go that have no byte in common. */
class Room {
  readonly #setting: Setting;
  #next = 0;

  constructor(setting: Setting) {
    this.#setting = setting;
  }

  take(length: number): number {
    const { data, memory } = this.#setting;
    if (data + this.#next + length > memory.size) this.#next = 0;
    const at = data + this.#next;
    this.#next += length;
    return at;
  }
}

/** A device's queue and what it does with chains. */
interface Serving {
  readonly queue: DeviceQueue;
  readonly chain: Chain;
  readonly handler: ChainHandler;
  /** What is mapped and attached. */
  readonly books?: () => unknown;
}

/** The IOMMU handles requests. */
function handled(random: Random): number {
  const setting = drawSetting(random, () => TABLES);
  const twins = new Twins<Serving>(setting, random, (memory) => {
    const device = new IommuDevice({
      endpoints: ENDPOINTS.map((id) => ({ id })),
      probeSize: 32,
      features: { packed: true },
    });
    const features = featureSet(NEGOTIATED);
    device.acceptFeatures(features);
    const queue = deviceQueue(setting, memory);
    const port = { interrupt: nothing, configChanged: nothing, needsReset: nothing };
    device.start({ features, memory, queues: [queue, undefined], port });
    const { iommu } = device;
    const books = (): unknown => [
      iommu.domains.map((domain) => [domain, [...iommu.mappings(domain)]]),
      ENDPOINTS.map((id) => iommu.domainOf(id)),
    ];
    return { queue, chain: new Chain(memory, setting.size), handler: device, books };
  });
  const room = new Room(setting);
  const driver = new PlainDriver(setting, twins.views, random);
  let requests = 0;
  for (let left = random.number(STEPS); left > 0; left -= 1) {
    const request = randomRequest(random);
    const at = room.take(request.length);
    for (const bytes of twins.bytes) bytes.set(request, at);
    const tail = random.once(6) ? 36 : 4;
    const buffers = [
      ...inPieces(random, setting, at, request.length, false),
      ...inPieces(random, setting, room.take(tail), tail, true),
    ];
    if (buffers.length > setting.size) continue;
    const site = driver.add(buffers);
    if (site === undefined) continue;
    driver.publish();
    twins.both('a request', ({ queue, chain, handler }) => [
      queue.serve(handler, chain, 1),
      queue.fault,
    ]);
    twins.both('a publication', ({ queue }) => queue.publish());
    driver.reclaim(site.id);
    twins.both('what is mapped', ({ books }) => books?.());
    requests += 1;
  }
  return requests;
}

/** A device takes and answers chains. */
function served(random: Random): number {
  const setting = drawSetting(random, () => TABLES);
  const twins = new Twins<Serving>(setting, random, (memory, heard) => ({
    queue: deviceQueue(setting, memory),
    chain: new Chain(memory, setting.size),
    handler: listener(memory, heard),
  }));
  const room = new Room(setting);
  const driver = new PlainDriver(setting, twins.views, random);
  let chains = 0;
  for (let left = random.number(STEPS); left > 0; left -= 1) {
    const count = 1 + random.number(Math.min(setting.size, 6));
    const readable = random.number(count + 1);
    const buffers = Array.from({ length: count }, (_, index) => {
      const length = random.number(24);
      const address = setting.memory.base + BigInt(room.take(length));
      return { address, length, writable: index >= readable };
    });
    const site = driver.add(buffers);
    if (random.once(2)) driver.wish();
    if (site !== undefined) driver.publish();
    if (random.once(3)) twins.both('ready', ({ queue }) => queue.ready());
    const atOnce = random.once(2);
    twins.both('a chain', ({ queue, chain, handler }) => {
      if (atOnce) return [queue.serve(handler, chain, 1), queue.fault];
      const popped = queue.pop(chain);
      if (popped === Popped.CHAIN) queue.push(chain, handler.handleChain(chain));
      return [popped, queue.fault];
    });
    twins.both('a publication', ({ queue }) => queue.publish());
    if (random.once(2)) twins.both('arm', ({ queue }) => queue.armNotification());
    else twins.both('suppress', ({ queue }) => queue.suppressNotification() ?? 0);
    if (site === undefined) continue;
    driver.reclaim(site.id);
    chains += 1;
  }
  return chains;
}

/** A driver takes what a device has used. */
function taken(random: Random): number {
  const drawn = drawSetting(random, () => 0);
  const features = { ...drawn.features, indirect: false };
  const setting: Setting = { ...drawn, features, position: drawn.packed ? 0x8000 : 0 };
  const { layout, memory, data, size } = setting;
  const twins = new Twins<DriverQueue>(setting, random, (own) =>
    createDriverQueue({ memory: own, layout, features }),
  );
  const devices = twins.bytes.map((bytes) => plainDevice(setting, bytes, setting.position));
  const list = new BufferList(4);
  const held: PlainChain[] = [];
  let token = 0;
  for (let left = random.number(STEPS); left > 0; left -= 1) {
    list.clear().addReadable(guestPhysical(memory.base + BigInt(data)), 1 + random.number(64));
    if (size > 1)
      list.addWritable(guestPhysical(memory.base + BigInt(data + 64)), random.number(64));
    token += 1;
    twins.both('add', (queue) => queue.add(list, token));
    if (random.once(3)) for (const device of devices) device.suppress();
    twins.both('publish', (queue) => queue.publish());
    for (let popped = 'empty' as ReturnType<typeof pop>; (popped = pop()) !== 'empty';)
      if (typeof popped !== 'string') held.push(popped);
      else break;
    const index = features.inOrder ? 0 : random.number(held.length || 1);
    const [chain] = held.splice(index, 1);
    for (const device of devices) {
      if (chain !== undefined) device.push(chain, token);
      device.publish();
    }
    if (random.once(3)) twins.both('arm', (queue) => queue.armNotification());
    twins.both('take', (queue) => [queue.take(), queue.takenBytes, queue.fault]);
    if (random.once(2))
      twins.both('take', (queue) => [queue.take(), queue.takenBytes, queue.fault]);
  }
  return token;

  function pop(): ReturnType<(typeof devices)[number]['pop']> {
    const [first] = devices.map((device) => device.pop());
    return first ?? 'empty';
  }
}

function deviceQueue(setting: Setting, memory: RewrittenMemory): DeviceQueue {
  const { layout, features, batchUsed, size, position } = setting;
  const state: DeviceQueueState = { version: 1, size, features, position, broken: false };
  return createDeviceQueue({ memory, layout, features, batchUsed, state });
}

/** Reads all of a chain, and answers. */
function listener(memory: RewrittenMemory, heard: unknown[]): ChainHandler {
  const bytes = new Uint8Array(160);
  return {
    handlePair(readable, readableBytes, writable, writableBytes) {
      memory.read(readable, bytes, 0, readableBytes);
      heard.push(
        'pair',
        readable,
        readableBytes,
        writable,
        writableBytes,
        ...bytes.subarray(0, readableBytes),
      );
      const written = Math.min(writableBytes, ANSWER.length);
      memory.write(writable, ANSWER, 0, written);
      return written;
    },
    handleChain(chain) {
      const read = chain.reachable ? chain.read(0, bytes, 0, bytes.length) : -1;
      heard.push(
        chain.id,
        chain.readableBytes,
        chain.writableBytes,
        chain.count,
        ...bytes.subarray(0, Math.max(0, read)),
      );
      return chain.reachable ? chain.write(0, ANSWER, 0, ANSWER.length) : 0;
    },
  };
}

/** The same bytes as one to three buffers, or none at all if there are none. */
function inPieces(
  random: Random,
  { memory }: Setting,
  at: number,
  length: number,
  writable: boolean,
): PlainBuffer[] {
  const pieces: PlainBuffer[] = [];
  for (let from = 0; from < length;) {
    const bytes = random.once(3) ? 1 + random.number(length - from) : length - from;
    pieces.push({ address: memory.base + BigInt(at + from), length: bytes, writable });
    from += bytes;
  }
  return pieces;
}

function randomRequest(random: Random): Uint8Array {
  const domain = random.number(3);
  const endpoint = random.pick(ENDPOINTS);
  const start = BigInt(random.number(4)) << 12n;
  const last = start + (BigInt(1 + random.number(3)) << 12n) - 1n;
  switch (random.number(8)) {
    case 0:
    case 1:
      return attachBytes(domain, endpoint).slice();
    case 2:
      return detachBytes(domain, endpoint).slice();
    case 3:
      return unmapBytes(domain, start, last).slice();
    case 4:
      return probeBytes(endpoint).slice();
    default:
      return mapBytes(
        domain,
        start,
        last,
        BigInt(random.number(16)) << 12n,
        1 + random.number(3),
      ).slice();
  }
}

function nothing(): void {
  // Nobody listens.
}
