/**
 * A device in the driver's own thread that does what a test says: statuses, used lengths, silence, any order, any
 * bytes. Where the test says nothing it behaves.
 */

import {
  ADDRESS_MAX,
  DeviceStatus,
  type ErrorCode,
  FaultRecord,
  IOMMU_DEVICE_ID,
  IommuConfig,
  IommuError,
  IommuFeature,
  IommuQueue,
  InterruptBit,
  RequestHead,
  RequestTail,
  VirtioFeature,
  featureMask,
  hasFeature,
} from '@viommu/common';
import {
  Bell,
  Chain,
  Popped,
  type QueueLayout,
  type SharedMemory,
  SplitDeviceQueue,
} from '@viommu/ring';
import type { DriverTransport, FeatureRequest } from '@viommu/transport';
import { ModelIommu } from './model-iommu.ts';

/** A request as it was on the ring. */
export interface SeenRequest {
  readonly type: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly writableBytes: number;
}

/** What to do with a request. */
export interface Answer {
  /** The status byte; the model's if absent. */
  readonly status?: number;
  /** Reserved bytes of the tail. */
  readonly tailReserved?: readonly number[];
  /** The used length; the whole writable part if absent. */
  readonly usedBytes?: number;
  /** True: the buffer is not touched. */
  readonly untouched?: boolean;
  readonly properties?: Uint8Array;
  /** True: it is kept, and answered when the test calls `release`. */
  readonly hold?: boolean;
}

export type Script = (request: SeenRequest, index: number) => Answer | undefined;
export type ConfigInput = Parameters<typeof IommuConfig.encode>[0];

/** Everything a device can offer, the superseded BYPASS included. */
export const ALL_FEATURES: bigint = [
  ...Object.values(IommuFeature),
  VirtioFeature.INDIRECT_DESC,
  VirtioFeature.EVENT_IDX,
  VirtioFeature.VERSION_1,
  VirtioFeature.RING_RESET,
].reduce((set, bit) => set | featureMask(bit), 0n);

/** The set without some bits. */
export function without(set: bigint, ...bits: readonly number[]): bigint {
  return bits.reduce((left, bit) => left & ~featureMask(bit), set);
}

export interface DeviceOptions {
  readonly offered?: bigint;
  readonly config?: Partial<ConfigInput>;
  readonly queueSizes?: readonly number[];
  readonly deviceId?: number;
}

/** The device and the transport to it. */
export class ScriptedDevice implements DriverTransport {
  readonly deviceId: number;
  notifications = 0;
  readonly interruptBell: Bell = new Bell(new Int32Array(new SharedArrayBuffer(64)), 0);

  /** Requests in the order in which the device took them. */
  readonly seen: SeenRequest[] = [];
  /** The status of each answer, in the order of the answers. */
  readonly statuses: number[] = [];
  script: Script = () => undefined;
  /** False: it takes nothing. */
  alive = true;
  /** What the reset of a queue fails with. */
  resetFailure: ErrorCode | undefined = undefined;
  /** A queue with this number is not enabled. */
  refusedQueue: number | undefined = undefined;
  readonly model: ModelIommu = new ModelIommu();
  /** What the driver did, in order. */
  readonly calls: string[] = [];
  /** Called for each notification. */
  onNotify: (queue: number) => void = () => undefined;
  /** Where the queue was at each notification. */
  readonly positions: (readonly [queue: number, position: number])[] = [];
  readonly configWrites: { offset: number; width: number; value: number }[] = [];
  accepted = 0n;
  deviceStatus = 0;
  interruptStatus = 0;
  readonly config: DataView;
  readonly layouts: (QueueLayout | undefined)[] = [];

  readonly #memory: SharedMemory;
  readonly #offered: bigint;
  readonly #queueSizes: readonly number[];
  readonly #queues: (SplitDeviceQueue | undefined)[] = [];
  #held: { chain: Chain; request: SeenRequest; answer: Answer }[] = [];

  constructor(memory: SharedMemory, options: DeviceOptions = {}) {
    const { offered = ALL_FEATURES, config, queueSizes = [256, 64] } = options;
    this.#memory = memory;
    this.#offered = offered;
    this.#queueSizes = queueSizes;
    this.deviceId = options.deviceId ?? IOMMU_DEVICE_ID;
    const bytes = IommuConfig.encode({
      pageSizeMask: 0xffff_ffff_ffff_f000n,
      inputRangeStart: 0n,
      inputRangeEnd: ADDRESS_MAX,
      domainRangeStart: 0,
      domainRangeEnd: 0xffff_ffff,
      probeSize: 64,
      bypass: 1,
      ...config,
    });
    this.config = new DataView(bytes.buffer);
  }

  // What a test asks and does.

  /** Types of the requests seen. */
  get types(): number[] {
    return this.seen.map(({ type }) => type);
  }

  /** Takes and answers everything that is available. */
  serve(): void {
    const queue = this.#queues[IommuQueue.REQUEST];
    if (queue === undefined || !this.alive) return;
    for (;;) {
      const chain = new Chain(this.#memory, queue.size);
      const popped = queue.pop(chain);
      if (popped === Popped.BROKEN) throw new Error(queue.fault);
      if (popped === Popped.EMPTY) break;
      this.#take(chain, queue);
    }
    this.#publish(IommuQueue.REQUEST, queue);
  }

  /** Answers what is held: all of it, or just these in this order. Returns how many. */
  release(...order: readonly number[]): number {
    const queue = this.requestQueue;
    const chosen = (order.length > 0 ? order : [...this.#held.keys()]).map(
      (index) => this.#held[index] ?? fail('nothing is held there'),
    );
    for (const { chain, request, answer } of chosen) this.#answer(queue, chain, request, answer);
    this.#held = this.#held.filter((entry) => !chosen.includes(entry));
    this.#publish(IommuQueue.REQUEST, queue);
    return chosen.length;
  }

  get requestQueue(): SplitDeviceQueue {
    return this.#queues[IommuQueue.REQUEST] ?? fail('the request queue is not enabled');
  }

  get eventQueue(): SplitDeviceQueue {
    return this.#queues[IommuQueue.EVENT] ?? fail('the event queue is not enabled');
  }

  /** Writes a record into the next event buffer. False if there is none. */
  inject(
    record: Uint8Array | Parameters<typeof FaultRecord.encode>[0],
    usedBytes?: number,
  ): boolean {
    const chain = new Chain(this.#memory, this.eventQueue.size);
    if (this.eventQueue.pop(chain) !== Popped.CHAIN) return false;
    const bytes = record instanceof Uint8Array ? record : FaultRecord.encode(record);
    chain.write(0, bytes, 0, bytes.length);
    this.eventQueue.push(chain, usedBytes ?? bytes.length);
    this.#publish(IommuQueue.EVENT, this.eventQueue);
    return true;
  }

  /** Says that the configuration changed, or that the device needs a reset. */
  announce(needsReset: boolean): void {
    if (needsReset) this.deviceStatus |= DeviceStatus.DEVICE_NEEDS_RESET;
    this.#interrupt(InterruptBit.CONFIG_CHANGE);
  }

  // The transport.

  negotiate({ wanted, required }: FeatureRequest): bigint {
    this.calls.push('negotiate');
    this.accepted = this.#offered & wanted;
    if ((required & ~this.accepted) !== 0n) {
      this.deviceStatus = DeviceStatus.FAILED;
      throw new IommuError('ENODEV', 'The device lacks a feature.');
    }
    this.deviceStatus = DeviceStatus.FEATURES_OK;
    return this.accepted;
  }

  queueSizeMax(index: number): number {
    return this.#queueSizes[index] ?? 0;
  }

  enableQueue(index: number, layout: QueueLayout): void {
    this.calls.push(`enable ${index}`);
    if (index === this.refusedQueue) throw new IommuError('EIO', 'The device refuses the layout.');
    this.layouts[index] = layout;
    this.#queues[index] = new SplitDeviceQueue({
      memory: this.#memory,
      layout,
      features: {
        indirect: hasFeature(this.accepted, VirtioFeature.INDIRECT_DESC),
        eventIndex: hasFeature(this.accepted, VirtioFeature.EVENT_IDX),
      },
    });
  }

  resetQueue(index: number): void {
    this.calls.push(`reset ${index}`);
    if (this.resetFailure !== undefined)
      throw new IommuError(this.resetFailure, 'The device does not.');
    this.#queues[index] = undefined;
    if (index === IommuQueue.REQUEST) this.#held = [];
  }

  driverOk(): void {
    this.calls.push('driver ok');
    this.deviceStatus |= DeviceStatus.DRIVER_OK;
  }

  fail(): void {
    this.calls.push('fail');
    this.deviceStatus |= DeviceStatus.FAILED;
  }

  reset(): void {
    this.calls.push('reset');
    this.deviceStatus = 0;
    this.#queues.length = 0;
    this.model.domains.clear();
  }

  status(): number {
    return this.deviceStatus;
  }

  readConfig(offset: number, width: number): number {
    if (width === 1) return this.config.getUint8(offset);
    return width === 2 ? this.config.getUint16(offset, true) : this.config.getUint32(offset, true);
  }

  readConfigStable<Fields>(read: () => Fields): Fields {
    return read();
  }

  readConfig64(offset: number): bigint {
    return this.config.getBigUint64(offset, true);
  }

  writeConfig(offset: number, width: number, value: number): void {
    this.calls.push('write config');
    this.configWrites.push({ offset, width, value });
    this.config.setUint8(offset, value);
  }

  notify(queue: number, position: number): void {
    this.calls.push(`notify ${queue}`);
    this.positions.push([queue, position]);
    this.notifications += 1;
    this.onNotify(queue);
  }

  acknowledgeInterrupts(): number {
    const status = this.interruptStatus;
    this.interruptStatus = 0;
    return status;
  }

  #take(chain: Chain, queue: SplitDeviceQueue): void {
    const bytes = new Uint8Array(chain.readableBytes);
    chain.read(0, bytes, 0, bytes.length);
    const view = new DataView(bytes.buffer);
    const { type } = RequestHead.read(view);
    const request = { type, bytes, view, writableBytes: chain.writableBytes };
    const index = this.seen.push(request) - 1;
    const answer = this.script(request, index) ?? {};
    if (answer.hold === true) this.#held.push({ chain, request, answer });
    else this.#answer(queue, chain, request, answer);
  }

  #answer(queue: SplitDeviceQueue, chain: Chain, request: SeenRequest, answer: Answer): void {
    const { properties, tailReserved = [0, 0, 0] } = answer;
    const status = answer.status ?? this.model.handle(request.bytes);
    this.statuses.push(status);
    if (answer.untouched !== true) {
      const tail = RequestTail.encode({ status, reserved: Uint8Array.from(tailReserved) });
      chain.write(chain.writableBytes - tail.length, tail, 0, tail.length);
      if (properties !== undefined) chain.write(0, properties, 0, properties.length);
    }
    queue.push(chain, answer.usedBytes ?? chain.writableBytes);
  }

  #publish(index: number, queue: SplitDeviceQueue): void {
    if (queue.publish()) this.#interrupt(InterruptBit.USED_BUFFER);
    if (index === IommuQueue.REQUEST) queue.armNotification();
  }

  #interrupt(bit: number): void {
    this.interruptStatus |= bit;
    this.interruptBell.ring();
  }
}

function fail(message: string): never {
  throw new Error(message);
}
