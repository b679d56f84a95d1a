/**
 * A driver for tests: real rings in real shared memory, one request at a time, every byte under the test's control.
 */

import {
  AttachRequest,
  AvailableRing,
  DetachRequest,
  FaultRecord,
  MapFlag,
  MapRequest,
  ProbeRequest,
  RequestType,
  UnmapRequest,
  guestPhysical,
  iova,
} from '@viommu/common';
import {
  BufferList,
  SharedMemory,
  createDeviceQueue,
  createDriverQueue,
  queueFeatures,
  splitQueueBytes,
  type DriverQueue,
  type QueueFeatures,
  type QueueLayout,
} from '@viommu/ring';
import type { DevicePort } from '@viommu/transport';
import {
  type Habits,
  IommuDevice,
  type IommuDeviceOptions,
  PeerDevice,
  PieceKind,
  type Translation,
} from '../src/index.ts';

export const READ = MapFlag.READ;
export const WRITE = MapFlag.WRITE;
/** What writable buffers hold beforehand, unless a test says otherwise. */
export const FILL = 0xa5;
/** The endpoints of {@link createGuest}, and a number that is none of them. */
export const A = 8;
export const B = 0x1_0028;
export const ABSENT = 77;

const BASE = 0x4000_0000n;
const SIZE = 0x4_0000;
const QUEUE_SIZE = 256;
const EVENT_RING = 0x2000;
const AVAILABLE_INDEX = splitQueueBytes(QUEUE_SIZE).descriptorArea + AvailableRing.offset.idx;
const AVAILABLE_ENTRIES = splitQueueBytes(QUEUE_SIZE).descriptorArea + AvailableRing.size;
const REQUEST = 0x4000;
const ANSWER = 0x8000;
const EVENTS = 0x2_0000;
const EVENT_STRIDE = 0x100;
const TABLES = 0x3_0000;

export interface GuestOptions extends IommuDeviceOptions {
  /** The bits the driver accepts; default all that are offered. */
  readonly accept?: bigint;
  /** False leaves the device before DRIVER_OK. */
  readonly started?: boolean;
  /** The device is one with these habits of others. */
  readonly habits?: Habits;
}

/** What came back for one chain. */
export interface Answer {
  /** The used length. */
  readonly length: number;
  /** The whole writable part. */
  readonly bytes: Uint8Array;
}

export interface SendOptions {
  /** Sizes of the buffers of the readable part; the rest is one more. */
  readonly readableCuts?: readonly number[];
  readonly writableCuts?: readonly number[];
}

/** A guest with endpoints A and B, unless `options` names others. */
export function createGuest(options: GuestOptions = {}): Guest {
  return new Guest({ endpoints: [{ id: A }, { id: B }], ...options });
}

export class Guest {
  readonly device: IommuDevice;
  readonly memory: SharedMemory;
  /** What writable buffers are filled with, to see what the device wrote. */
  fill: number = FILL;
  readonly interrupts: number[] = [];
  readonly resets: string[] = [];
  // Each of these is set by `start`.
  #requests!: DriverQueue;
  #events!: DriverQueue;
  #features!: QueueFeatures;
  readonly #port: DevicePort = {
    interrupt: (queue) => this.interrupts.push(queue),
    configChanged: () => {},
    needsReset: (reason) => this.resets.push(reason),
  };

  constructor({ accept, started = true, habits, ...options }: GuestOptions) {
    this.device =
      habits === undefined ? new IommuDevice(options) : new PeerDevice({ ...options, habits });
    this.memory = new SharedMemory({
      buffer: new SharedArrayBuffer(SIZE),
      offset: 0,
      size: SIZE,
      base: guestPhysical(BASE),
    });
    if (started) this.start(accept);
  }

  /** The request queue as after a queue reset: fresh on both sides. */
  restartQueue(): void {
    const layout = this.#layout(0);
    const shared = { memory: this.memory, features: this.#features, layout };
    this.#requests = createDriverQueue(shared);
    this.device.queueStarted(0, createDeviceQueue(shared));
  }

  /** From FEATURES_OK to DRIVER_OK. */
  start(features: bigint = this.device.offeredFeatures): void {
    this.device.acceptFeatures(features);
    const requests = this.#layout(0);
    const events = this.#layout(EVENT_RING);
    const { memory } = this;
    this.#features = queueFeatures(features);
    const shared = { memory, features: this.#features };
    const indirect = { address: guestPhysical(BASE + BigInt(TABLES)), buffersPerChain: 8 };
    this.#requests = createDriverQueue({ ...shared, layout: requests, indirect });
    this.#events = createDriverQueue({ ...shared, layout: events });
    this.device.start({
      features,
      memory,
      queues: [
        createDeviceQueue({ ...shared, layout: requests }),
        createDeviceQueue({ ...shared, layout: events }),
      ],
      port: this.#port,
    });
  }

  /** The bytes of guest memory from `offset` on. */
  bytes(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.memory.read(offset, bytes, 0, length);
    return bytes;
  }

  /** Queues one chain; it is not served yet. */
  add(readable: Uint8Array, writableBytes: number, options: SendOptions = {}): void {
    const at = REQUEST;
    this.memory.write(at, readable, 0, readable.length);
    const answer = new Uint8Array(writableBytes).fill(this.fill);
    this.memory.write(ANSWER, answer, 0, writableBytes);
    const list = new BufferList(QUEUE_SIZE);
    eachPiece(readable.length, options.readableCuts, (offset, length) => {
      list.addReadable(guestPhysical(BASE + BigInt(at + offset)), length);
    });
    eachPiece(writableBytes, options.writableCuts, (offset, length) => {
      list.addWritable(guestPhysical(BASE + BigInt(ANSWER + offset)), length);
    });
    this.addList(list);
  }

  addList(list: BufferList): void {
    if (!this.#requests.add(list, 0)) throw new Error('the request queue is full');
    this.#requests.publish();
  }

  /** The used length of the next used chain, or -1. */
  take(): number {
    return this.#requests.take() === 0 ? this.#requests.takenBytes : -1;
  }

  /** Sends one request and returns what came back. */
  send(readable: Uint8Array, writableBytes: number, options: SendOptions = {}): Answer {
    this.add(readable, writableBytes, options);
    this.device.serve();
    const length = this.take();
    return { length, bytes: this.bytes(ANSWER, writableBytes) };
  }

  /** Sends a request with a tail only, and returns the status. The device must write that tail and nothing else. */
  status(readable: Uint8Array): number {
    const { length, bytes } = this.send(readable, 8);
    const [status = -1, ...rest] = bytes;
    if (length !== 4) throw new Error(`the used length is ${length}`);
    const { fill } = this;
    if (rest.join() !== [0, 0, 0, fill, fill, fill, fill].join())
      throw new Error(`the bytes behind the status are ${rest.join()}`);
    return status;
  }

  attach(domain: number, endpoint: number, flags = 0): number {
    return this.status(attachBytes(domain, endpoint, flags));
  }

  detach(domain: number, endpoint: number): number {
    return this.status(detachBytes(domain, endpoint));
  }

  map(
    domain: number,
    start: bigint,
    last: bigint,
    phys: bigint,
    flags: number = READ | WRITE,
  ): number {
    return this.status(mapBytes(domain, start, last, phys, flags));
  }

  unmap(domain: number, start: bigint, last: bigint): number {
    return this.status(unmapBytes(domain, start, last));
  }

  probe(endpoint: number): Answer {
    return this.send(probeBytes(endpoint), this.device.iommu.probeSize + 4);
  }

  /** Posts buffers of these sizes to the event queue, without a word to the device. */
  postEvents(...sizes: readonly number[]): void {
    sizes.forEach((size, index) => {
      const offset = EVENTS + index * EVENT_STRIDE;
      this.memory.write(offset, new Uint8Array(EVENT_STRIDE).fill(0xff), 0, EVENT_STRIDE);
      const list = new BufferList(1).addWritable(guestPhysical(BASE + BigInt(offset)), size);
      if (!this.#events.add(list, index)) throw new Error('the event queue is full');
    });
    this.#events.publish();
  }

  /** Posts one event buffer with a readable part in front. */
  postEvent(readableBytes: number, writableBytes: number): void {
    const at = BASE + BigInt(EVENTS);
    const list = new BufferList(2)
      .addReadable(guestPhysical(at + BigInt(EVENT_STRIDE)), readableBytes)
      .addWritable(guestPhysical(at), writableBytes);
    this.#events.add(list, 0);
    this.#events.publish();
  }

  /** Makes the available index of a queue run ahead of what the queue can hold. */
  damageRequests(): void {
    this.memory.setUint16(AVAILABLE_INDEX, 0x4000);
  }

  /** Makes the entry of a request that was added, counted from the start of the queue, name no descriptor. */
  damageHead(request: number): void {
    this.memory.setUint16(AVAILABLE_ENTRIES + 2 * request, QUEUE_SIZE);
  }

  damageEvents(): void {
    this.memory.setUint16(EVENT_RING + AVAILABLE_INDEX, 0x4000);
  }

  /** What came back through the event queue: the used length and the bytes of the buffer. */
  takeEvents(): Answer[] {
    const answers: Answer[] = [];
    for (let token = this.#events.take(); token >= 0; token = this.#events.take()) {
      const length = this.#events.takenBytes;
      answers.push({ length, bytes: this.bytes(EVENTS + token * EVENT_STRIDE, 32) });
    }
    return answers;
  }

  takeFaults(): ReturnType<typeof FaultRecord.read>[] {
    return this.takeEvents().map(({ bytes }) => FaultRecord.read(new DataView(bytes.buffer)));
  }

  /** One access: the pieces as `address+length`, marked `=` if not translated and `!` if an interrupt, or the fault. */
  access(endpoint: number, address: bigint, length: number, access: number = READ): string {
    const { outcome, translation } = this.device.iommu.translateRange(
      endpoint,
      iova(address),
      length,
      access,
    );
    return outcome === 0 ? describePieces(translation) : describeFault(translation);
  }

  #layout(offset: number): QueueLayout {
    const bytes = splitQueueBytes(QUEUE_SIZE);
    const start = BASE + BigInt(offset);
    return {
      size: QUEUE_SIZE,
      descriptorArea: guestPhysical(start),
      driverArea: guestPhysical(start + BigInt(bytes.descriptorArea)),
      deviceArea: guestPhysical(start + 0x1400n),
    };
  }
}

export function attachBytes(domain: number, endpoint: number, flags = 0): Uint8Array {
  return AttachRequest.encode({ type: RequestType.ATTACH, domain, endpoint, flags });
}

export function detachBytes(domain: number, endpoint: number): Uint8Array {
  return DetachRequest.encode({ type: RequestType.DETACH, domain, endpoint });
}

export function mapBytes(
  domain: number,
  virtStart: bigint,
  virtEnd: bigint,
  physStart: bigint,
  flags: number = READ | WRITE,
): Uint8Array {
  return MapRequest.encode({ type: RequestType.MAP, domain, virtStart, virtEnd, physStart, flags });
}

export function unmapBytes(domain: number, virtStart: bigint, virtEnd: bigint): Uint8Array {
  return UnmapRequest.encode({ type: RequestType.UNMAP, domain, virtStart, virtEnd });
}

export function probeBytes(endpoint: number): Uint8Array {
  return ProbeRequest.encode({ type: RequestType.PROBE, endpoint });
}

/** Bytes from text as the standard's examples have it: hex, any white space, and no more. */
export function hex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/[0-9a-f]{2}/gu) ?? [], (byte) => Number.parseInt(byte, 16));
}

function describePieces(translation: Translation): string {
  const marks = { [PieceKind.MEMORY]: '', [PieceKind.IDENTITY]: '=', [PieceKind.MSI]: '!' };
  return Array.from({ length: translation.count }, (_, piece) => {
    const mark = marks[translation.kind[piece] as PieceKind]; // The column holds kinds.
    return `${mark}${translation.address(piece).toString(16)}+${translation.length[piece]}`;
  }).join(' ');
}

function describeFault(translation: Translation): string {
  const reason = ['unknown', 'domain', 'mapping'][translation.faultReason];
  return `${reason} fault at ${translation.faultAddress().toString(16)}`;
}

function eachPiece(
  total: number,
  cuts: readonly number[] = [],
  visit: (offset: number, length: number) => void,
): void {
  let offset = 0;
  for (const cut of [...cuts, total]) {
    const length = Math.min(cut, total - offset);
    if (length > 0) visit(offset, length);
    offset += length;
  }
}
