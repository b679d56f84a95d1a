/** Our device, driven like the model: requests as bytes through real rings, accesses, buffers, resets. */

import { FaultRecord, type FaultReason, guestPhysical } from '@viommu/common';
import {
  IommuDevice,
  type IommuDeviceOptions,
  PieceKind,
  TranslateOutcome,
  Translation,
} from '@viommu/device';
import {
  BufferList,
  type DriverQueue,
  type QueueLayout,
  SharedMemory,
  createDeviceQueue,
  createDriverQueue,
  packedQueueBytes,
  queueFeatures,
  splitQueueBytes,
} from '@viommu/ring';
import type { Completion } from '../../src/model/answer.ts';
import type { Event } from '../../src/model/event.ts';
import type { AccessOutcome } from '../../src/model/model.ts';
import type { Mapping } from '../../src/model/mapping-set.ts';

const BASE = 0x4000_0000n;
const SIZE = 0x2_0000;
const QUEUE_SIZE = 64;
const EVENT_RING = 0x2000;
const REQUEST = 0x4000;
const ANSWER = 0x5000;
const ANSWER_BYTES = 0x8000;
const EVENTS = 0x1_0000;
const EVENT_STRIDE = 0x40;
const KINDS = {
  [PieceKind.MEMORY]: 'memory',
  [PieceKind.IDENTITY]: 'identity',
  [PieceKind.MSI]: 'interrupt',
} as const;

/** How the bytes of a request are cut into buffers: the sizes of all but the last. */
export interface Cuts {
  readonly readable: readonly number[];
  readonly writable: readonly number[];
}

export const WHOLE: Cuts = { readable: [], writable: [] };

export class Rig {
  readonly device: IommuDevice;
  broken = false;
  readonly #memory: SharedMemory;
  readonly #translation: Translation = new Translation();
  #requests: DriverQueue | undefined;
  #events: DriverQueue | undefined;
  #posted = 0;
  #used = 0;

  constructor(device: IommuDevice | IommuDeviceOptions) {
    this.device = device instanceof IommuDevice ? device : new IommuDevice(device);
    this.#memory = new SharedMemory({
      buffer: new SharedArrayBuffer(SIZE),
      offset: 0,
      size: SIZE,
      base: guestPhysical(BASE),
    });
  }

  /** From FEATURES_OK to DRIVER_OK. */
  start(features: bigint): void {
    this.device.acceptFeatures(features);
    const format = queueFeatures(features);
    const layouts = [0, EVENT_RING].map((at) => layout(at, format.packed));
    layouts.forEach(({ descriptorArea }) => {
      const at = Number(descriptorArea - BASE);
      this.#memory.write(at, new Uint8Array(EVENT_RING), 0, EVENT_RING);
    });
    const shared = { memory: this.#memory, features: format };
    const [requests, events] = layouts.map((each) =>
      createDriverQueue({ ...shared, layout: each }),
    );
    this.#requests = requests;
    this.#events = events;
    this.#posted = 0;
    this.#used = 0;
    this.device.start({
      features,
      memory: this.#memory,
      queues: layouts.map((each) => createDeviceQueue({ ...shared, layout: each })),
      port: {
        interrupt: () => {},
        configChanged: () => {},
        needsReset: () => {
          this.broken = true;
        },
      },
    });
  }

  /** Sends one request; undefined if it does not come back. */
  request(readable: Uint8Array, room: number, cuts: Cuts = WHOLE): Completion | undefined {
    const before = new Uint8Array(room).fill(0xa5);
    this.#memory.write(REQUEST, readable, 0, readable.length);
    this.#memory.write(ANSWER, before, 0, room);
    const list = new BufferList(QUEUE_SIZE);
    cut(REQUEST, readable.length, cuts.readable, (at, bytes) => list.addReadable(at, bytes));
    cut(ANSWER, room, cuts.writable, (at, bytes) => list.addWritable(at, bytes));
    const requests = this.#requests;
    if (requests === undefined || !requests.add(list, 0)) throw new Error('The ring is full.');
    requests.publish();
    this.device.serve();
    if (requests.take() !== 0) return undefined;
    const after = new Uint8Array(room);
    this.#memory.read(ANSWER, after, 0, room);
    return { usedLength: requests.takenBytes, before, after };
  }

  postEvent(writableBytes: number): readonly Event[] {
    const at = guestPhysical(BASE + BigInt(EVENTS + (this.#posted % QUEUE_SIZE) * EVENT_STRIDE));
    const list = new BufferList(1).addWritable(at, writableBytes);
    if (this.#events?.add(list, this.#posted % QUEUE_SIZE) !== true)
      throw new Error('The event ring is full.');
    this.#events.publish();
    this.#posted += 1;
    return [];
  }

  access(endpoint: number, address: bigint, length: number, access: number): AccessOutcome {
    const into = this.#translation;
    const page = Number(address >> 12n);
    const offset = Number(address & 0xfffn);
    const outcome = this.device.iommu.translate(endpoint, page, offset, length, access, into);
    if (outcome === TranslateOutcome.FAULT) {
      const fault: { reason: FaultReason; address: bigint } = {
        reason: into.faultReason,
        address: into.faultAddress(),
      };
      return { pieces: [], fault, events: this.#takeEvents() };
    }
    const pieces = Array.from({ length: into.count }, (_, index) => ({
      kind: KINDS[into.kind[index] as PieceKind], // The column holds kinds.
      address: BigInt(into.address(index)),
      length: into.length[index] ?? 0,
    }));
    return { pieces, fault: undefined, events: [] };
  }

  mappings(domain: number): Mapping[] {
    return Array.from(this.device.iommu.mappings(domain), ({ virt, physStart, flags }) => ({
      start: virt.start,
      last: virt.last,
      phys: physStart,
      flags,
    }));
  }

  #takeEvents(): Event[] {
    const events: Event[] = [];
    const queue = this.#events;
    for (let token = queue?.take() ?? -1; token >= 0; token = queue?.take() ?? -1) {
      const usedLength = queue?.takenBytes ?? 0;
      const record = new Uint8Array(Math.min(usedLength, FaultRecord.size));
      this.#memory.read(EVENTS + token * EVENT_STRIDE, record, 0, record.length);
      events.push({ buffer: this.#used, usedLength, record });
      this.#used += 1;
    }
    return events;
  }
}

/** Room for the longest answer. */
export const ROOM_MAX: number = ANSWER_BYTES;

function layout(at: number, packed: boolean): QueueLayout {
  const start = BASE + BigInt(at);
  const areas = packed ? packedQueueBytes(QUEUE_SIZE) : splitQueueBytes(QUEUE_SIZE);
  return {
    size: QUEUE_SIZE,
    descriptorArea: guestPhysical(start),
    driverArea: guestPhysical(start + BigInt(areas.descriptorArea)),
    deviceArea: guestPhysical(start + 0x1000n),
  };
}

function cut(
  from: number,
  total: number,
  cuts: readonly number[],
  add: (at: ReturnType<typeof guestPhysical>, bytes: number) => void,
): void {
  let offset = 0;
  for (const size of [...cuts, total]) {
    const bytes = Math.min(size, total - offset);
    if (bytes > 0) add(guestPhysical(BASE + BigInt(from + offset)), bytes);
    offset += bytes;
  }
}
