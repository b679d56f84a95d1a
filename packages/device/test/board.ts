/** A machine without threads for tests of saved state: memory, registers, the device, and the driver's two queues. */

import { MmioRegister, VirtioFeature, featureMask, guestPhysical, iova } from '@viommu/common';
import {
  Bell,
  BufferList,
  type DriverQueue,
  type DriverQueueState,
  type QueueLayout,
  SharedMemory,
  createDriverQueue,
  queueBytes,
  queueFeatures,
} from '@viommu/ring';
import { MmioDevice, RegisterWindow } from '@viommu/transport';
import { IommuDevice, type IommuDeviceOptions, PieceKind, TranslateOutcome } from '../src/index.ts';

const WINDOW_AT = 0x1000;
const RAM_AT = 0x2000;
const RAM_BYTES = 0x1_0000;
export const RAM_BASE = 0x4000_0000n;

const QUEUE_AT = [0, 0x1000];
const TABLES_AT = 0x2000;
const SLOTS_AT = 0x4000;
const SLOT_BYTES = 0x100;
const ANSWER_AT = 0x80;
const EVENTS_AT = 0xf000;
const EVENT_BYTES = 0x20;
/** Requests that have memory; more than the queue has room for. */
const SLOTS = 64;
const EVENTS = 8;

/** Three endpoints, one of them with a reserved region. */
export const OPTIONS: IommuDeviceOptions = {
  endpoints: [
    { id: 0x1_0028 },
    { id: 8, reserved: [{ start: 0x8000n, last: 0x8fffn, type: 'reserved' }] },
    { id: 9 },
  ],
};

export interface BoardOptions {
  /** Features that the driver does not accept, besides packed rings unless {@link packed} is true. */
  readonly without?: bigint;
  readonly packed?: boolean;
  readonly queueSize?: number;
  readonly device?: IommuDeviceOptions;
}

export class Board {
  readonly device: IommuDevice;
  readonly mmio: MmioDevice;
  readonly memory: SharedMemory;
  readonly window: RegisterWindow;
  readonly interruptBell: Bell;
  readonly #options: BoardOptions;
  readonly #buffer = new SharedArrayBuffer(RAM_AT + RAM_BYTES);
  readonly #freeSlots: number[] = Array.from({ length: SLOTS }, (_, slot) => slot);
  readonly #freeEvents: number[] = Array.from({ length: EVENTS }, (_, slot) => slot);
  #requests: DriverQueue | undefined = undefined;
  #events: DriverQueue | undefined = undefined;

  constructor(options: BoardOptions = {}) {
    this.#options = options;
    this.device = new IommuDevice({
      queueSize: 16,
      ...options.device,
      features: { packed: true, ...options.device?.features },
    });
    this.window = new RegisterWindow(this.#buffer, WINDOW_AT);
    this.memory = new SharedMemory({
      buffer: this.#buffer,
      offset: RAM_AT,
      size: RAM_BYTES,
      base: guestPhysical(RAM_BASE),
    });
    this.interruptBell = new Bell(new Int32Array(this.#buffer, 0, 1), 0);
    this.mmio = new MmioDevice({
      window: this.window,
      interruptBell: this.interruptBell,
      memory: this.memory,
      device: this.device,
    });
  }

  /** The bits that the driver accepts. */
  get accepted(): bigint {
    const { without = 0n, packed = false } = this.#options;
    const refused = packed ? without : without | featureMask(VirtioFeature.RING_PACKED);
    return this.device.offeredFeatures & ~refused;
  }

  /** Another board with the memory of this one, and everything else from what was saved: by way of bytes and a text. */
  restored(image: Uint8Array = this.mmio.save()): Board {
    const board = new Board(this.#options);
    new Uint8Array(board.#buffer, RAM_AT).set(this.ram());
    board.mmio.restore(image);
    board.#freeSlots.splice(0, SLOTS, ...this.#freeSlots);
    board.#freeEvents.splice(0, EVENTS, ...this.#freeEvents);
    const again = (queue: DriverQueue | undefined, index: number): DriverQueue | undefined =>
      queue &&
      board.#driverQueue(index, JSON.parse(JSON.stringify(queue.save())) as DriverQueueState); // Its own text.
    board.#requests = again(this.#requests, 0);
    board.#events = again(this.#events, 1);
    return board;
  }

  set(register: number, value: number): void {
    this.mmio.write(register, 4, value);
  }

  get(register: number): number {
    return this.window.read(register, 4);
  }

  /** Everything that the window shows. */
  shown(): Uint8Array {
    return new Uint8Array(this.#buffer, WINDOW_AT, this.window.size).slice();
  }

  ram(): Uint8Array {
    return new Uint8Array(this.#buffer, RAM_AT).slice();
  }

  /** From a reset to FEATURES_OK. */
  negotiate(features: bigint = this.accepted): void {
    for (const status of [0, 1, 3]) this.set(MmioRegister.Status, status);
    for (const word of [0, 1]) {
      this.set(MmioRegister.DriverFeaturesSel, word);
      this.set(
        MmioRegister.DriverFeatures,
        Number(BigInt.asUintN(32, features >> BigInt(32 * word))),
      );
    }
    this.set(MmioRegister.Status, 0x0b);
  }

  /** A fresh queue on both sides. */
  enableQueue(index: number): void {
    const queue = this.#driverQueue(index);
    if (index === 0) this.#requests = queue;
    else this.#events = queue;
    if (index === 0) this.#freeSlots.splice(0, SLOTS, ...Array(SLOTS).keys());
    else this.#freeEvents.splice(0, EVENTS, ...Array(EVENTS).keys());
    const { size, ...areas } = this.#layout(index);
    this.set(MmioRegister.QueueSel, index);
    this.set(MmioRegister.QueueReset, 1);
    this.set(MmioRegister.QueueSize, size);
    for (const [register, address] of [
      [MmioRegister.QueueDescLow, areas.descriptorArea],
      [MmioRegister.QueueDriverLow, areas.driverArea],
      [MmioRegister.QueueDeviceLow, areas.deviceArea],
    ] as const) {
      this.set(register, Number(address & 0xffff_ffffn));
      this.set(register + 4, Number(address >> 32n));
    }
    this.set(MmioRegister.QueueReady, 1);
  }

  /** From a reset to DRIVER_OK. */
  start(): void {
    this.negotiate();
    this.enableQueue(0);
    this.enableQueue(1);
    this.set(MmioRegister.Status, 0x0f);
  }

  /** Adds a request with room for `answerBytes`; the answer is all ones until the device writes it. */
  add(request: Uint8Array, answerBytes: number): boolean {
    const slot = this.#freeSlots[0];
    if (slot === undefined) return false;
    const at = SLOTS_AT + slot * SLOT_BYTES;
    this.memory.write(at, request, 0, request.length);
    this.memory.write(at + ANSWER_AT, new Uint8Array(answerBytes).fill(0xff), 0, answerBytes);
    const list = new BufferList(2)
      .addReadable(address(at), request.length)
      .addWritable(address(at + ANSWER_AT), answerBytes);
    if (this.#requests?.add(list, slot) !== true) return false;
    this.#freeSlots.shift();
    return true;
  }

  publish(): boolean {
    return this.#requests?.publish() ?? false;
  }

  /** The next answer as text, or undefined. */
  take(): string | undefined {
    const slot = this.#requests?.take() ?? -1;
    if (slot < 0) return undefined;
    this.#freeSlots.push(slot);
    const bytes = this.#requests?.takenBytes ?? 0;
    return `answer ${slot}: ${this.#text(SLOTS_AT + slot * SLOT_BYTES + ANSWER_AT, bytes)}`;
  }

  /** Gives the device a buffer for a fault, if there is one left. */
  postEvent(): void {
    const slot = this.#freeEvents.shift();
    if (slot === undefined) return;
    const list = new BufferList(1).addWritable(
      address(EVENTS_AT + slot * EVENT_BYTES),
      EVENT_BYTES,
    );
    this.#events?.add(list, slot);
    this.#events?.publish();
  }

  /** The next fault as text, or undefined. */
  takeEvent(): string | undefined {
    const slot = this.#events?.take() ?? -1;
    if (slot < 0) return undefined;
    this.#freeEvents.push(slot);
    const bytes = this.#events?.takenBytes ?? 0;
    return `event ${slot}: ${this.#text(EVENTS_AT + slot * EVENT_BYTES, bytes)}`;
  }

  /** Where an access leads: pieces as `address+length`, `=` before one that is not translated; or the fault. */
  access(endpoint: number, at: bigint, length: number, access: number): string {
    const { iommu } = this.device;
    const { outcome, translation } = iommu.translateRange(endpoint, iova(at), length, access);
    if (outcome === TranslateOutcome.FAULT)
      return `fault ${translation.faultReason} at ${translation.faultAddress().toString(16)}`;
    return Array.from({ length: translation.count }, (_, piece) => {
      const mark = translation.kind[piece] === PieceKind.MEMORY ? '' : '=';
      return `${mark}${translation.address(piece).toString(16)}+${translation.length[piece]}`;
    }).join(' ');
  }

  #driverQueue(index: number, state?: DriverQueueState): DriverQueue {
    return createDriverQueue({
      memory: this.memory,
      layout: this.#layout(index),
      features: queueFeatures(this.accepted),
      ...(index === 0 && { indirect: { address: address(TABLES_AT), buffersPerChain: 4 } }),
      ...(state !== undefined && { state }),
    });
  }

  #layout(index: number): QueueLayout {
    const { queueSize: size = 16, packed = false } = this.#options;
    const at = QUEUE_AT[index] ?? 0;
    const bytes = queueBytes(size, packed);
    return {
      size,
      descriptorArea: address(at),
      driverArea: address(at + bytes.descriptorArea),
      deviceArea: address(at + 0x800),
    };
  }

  #text(at: number, length: number): string {
    const bytes = new Uint8Array(length);
    this.memory.read(at, bytes, 0, length);
    return Buffer.from(bytes).toString('hex');
  }
}

function address(offset: number): ReturnType<typeof guestPhysical> {
  return guestPhysical(RAM_BASE + BigInt(offset));
}

/** Random numbers that are the same in every run. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (Math.imul(seed, 0x9e37_79b1) ^ 0x5bd1_e995) | 0 || 1;
  }

  /** 0 to `bound` - 1. */
  below(bound: number): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return (state >>> 0) % bound;
  }

  once(period: number): boolean {
    return this.below(period) === 0;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!; // Below the length.
  }
}
