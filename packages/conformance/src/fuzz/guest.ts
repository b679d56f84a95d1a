/** The guest of a stream: it brings the target up, sends requests through rings, makes accesses and takes what comes. */

import {
  DeviceStatus,
  IommuQueue,
  RequestTail,
  VirtioFeature,
  featureMask,
  guestPhysical,
} from '@viommu/common';
import {
  BufferList,
  type DriverQueue,
  type QueueLayout,
  Taken,
  createDriverQueue,
  queueBytes,
  queueFeatures,
} from '@viommu/ring';
import type { Completion } from '../model/answer.ts';
import type { Event } from '../model/event.ts';
import { locate } from '../ring/bytes.ts';
import { type DeviceTarget, type DmaOutcome, TargetFailure } from '../target.ts';
import { Deviation } from './deviation.ts';
import { EventBuffers } from './event-buffer.ts';
import { BATCH_MAX, DATA_BYTES, Place } from './limit.ts';
import { Notices } from './notice.ts';
import { RequestSlots } from './request-slot.ts';
import type { AccessStep, RequestStep, Setup } from './stream.ts';
import { checkUsed } from './used-ring.ts';

const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK, DEVICE_NEEDS_RESET } = DeviceStatus;
const EVENT_IDX = featureMask(VirtioFeature.EVENT_IDX);
const NOTIFICATION_DATA = featureMask(VirtioFeature.NOTIFICATION_DATA);
const RING_RESET = featureMask(VirtioFeature.RING_RESET);
/** Positions of a split ring, before they begin again. */
const POSITIONS = 0x1_0000;
/** Longer silence of a device in another thread or process is a hang. */
const ANSWER_MS = 2000;
const BUFFERS_PER_TABLE = 4;
const NO_EVENTS: readonly Event[] = [];

/** What became of a batch. */
export type Completions = readonly (Completion | undefined)[];

export class Guest {
  readonly target: DeviceTarget;
  /** What {@link start} negotiated. */
  features = 0n;
  /** The guest-physical address of the bytes that endpoints may access. */
  readonly dataAddress: bigint;
  readonly #setup: Setup;
  /** Looks at notifications, if those that nobody asked for are to be found. */
  readonly #notices: Notices | undefined;
  /** Done once between making requests available and telling the device. */
  #between: (() => void) | undefined;
  readonly #list: BufferList = new BufferList(QUEUE_BUFFERS);
  readonly #window: number;
  readonly #slots: RequestSlots;
  #requests: DriverQueue | undefined;
  #events: EventBuffers | undefined;
  /** The used ring of the request queue, and its size. */
  #requestUsed = 0;
  #queueSize = 0;
  /** What became of the last batch. */
  readonly #completions: (Completion | undefined)[] = [];
  /** Requests that came back, by slot, with their used lengths. */
  readonly #takenSlots: Uint32Array = new Uint32Array(BATCH_MAX);
  readonly #takenBytes: Uint32Array = new Uint32Array(BATCH_MAX);
  #takenCount = 0;
  /** True once the guest has written into it. */
  #usedForged = false;
  /** True once the device has shown that it needs a reset. */
  #gaveUp = false;

  /** `exact` if nothing may happen that is not asked for. */
  constructor(target: DeviceTarget, setup: Setup, exact: boolean) {
    const { memory, window } = target;
    this.target = target;
    this.#setup = setup;
    if (exact && target.takeInterrupts !== undefined) this.#notices = new Notices(target);
    this.#window = locate(memory, window.start, window.bytes);
    this.#slots = new RequestSlots(memory, this.#window, window.start);
    this.dataAddress = window.start + BigInt(Place.DATA);
  }

  /** From status 0 to DRIVER_OK, with fresh rings. `refuse` are features that the driver leaves alone. */
  start(refuse: bigint): void {
    const { target } = this;
    const offered = target.readFeatures();
    const packed = featureMask(VirtioFeature.RING_PACKED);
    let features = offered & ~refuse;
    if (this.#setup.format === 'split') features &= ~packed;
    target.writeStatus(0);
    target.writeStatus(ACKNOWLEDGE);
    target.writeStatus(ACKNOWLEDGE | DRIVER);
    target.writeFeatures(features);
    target.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
    if ((target.readStatus() & FEATURES_OK) === 0)
      throw new Deviation('start', 'FEATURES_OK is refused', `features 0x${features.toString(16)}`);
    this.features = features;
    this.#gaveUp = false;
    this.#enableRequests();
    this.#enableEvents();
    target.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    const status = target.readStatus();
    if ((status & (DRIVER_OK | DEVICE_NEEDS_RESET)) !== DRIVER_OK)
      throw new Deviation('start', 'the device does not start', `status 0x${status.toString(16)}`);
    this.#notices?.checkNone();
  }

  /** True if the device shows DEVICE_NEEDS_RESET. */
  get needsReset(): boolean {
    return (this.target.readStatus() & DEVICE_NEEDS_RESET) !== 0;
  }

  /**
   * Sends requests, up to `BATCH_MAX`, with as few notifications as the rings allow. A completion is undefined if none
   * came, which only a device does that needs a reset. Completions are good until the next batch.
   *
   * @throws {TargetFailure} for silence without a reason. @throws {Deviation} for what no answer may be.
   */
  batch(steps: readonly RequestStep[]): Completions {
    const completions = this.#completions;
    completions.length = 0;
    this.#slots.begin();
    for (let slot = 0; slot < steps.length; slot += 1) {
      const step = steps[slot]!; // Below the length.
      completions.push(undefined);
      if (this.#add(step, slot)) continue;
      // The ring is full, or the device gone.
      if (!this.#flush(steps) || !this.#add(step, slot)) return completions;
    }
    this.#flush(steps);
    return completions;
  }

  /** Makes a request available in `slot`, as far as there is room, and waits for nothing. */
  offer(step: RequestStep, slot: number): void {
    const queue = this.#requests;
    if (queue === undefined || queue.fault !== undefined) return;
    this.#slots.begin(slot % BATCH_MAX);
    if (!this.#add(step, slot % BATCH_MAX)) return;
    this.#slots.write();
    queue.publish();
  }

  poke(at: number, bytes: Uint8Array): void {
    const { memory, window } = this.target;
    const length = Math.min(bytes.length, window.bytes - at);
    if (length <= 0) return;
    memory.write(this.#window + at, bytes, 0, length);
    const last = this.#window + at + length - 1;
    if (last >= this.#requestUsed && at < Place.TABLES) this.#usedForged = true;
  }

  /** Notifies, and lets the device work until it has nothing left to do. */
  kick(queue: number): void {
    const { target } = this;
    target.notify(queue);
    // One that always finds more to do is taken for one that never ends.
    if (target.quietMs === 0) target.wait(() => false, ANSWER_MS);
    else target.wait(() => this.needsReset, target.quietMs);
    if (!this.#gaveUp && this.needsReset) {
      this.#gaveUp = true;
      this.#notices?.checkNeedsReset();
    }
    if (this.#setup.format === 'split' && !this.#usedForged)
      checkUsed(target.memory, this.#requestUsed, this.#queueSize);
  }

  /** Adds a buffer to the event queue; false if there are enough. */
  post(bytes: number): boolean {
    const events = this.#events;
    if (events?.post(bytes) !== true) return false;
    if (events.queue.publish()) this.#notify(IommuQueue.EVENT, events.queue);
    return true;
  }

  /** The device is saved once the next requests are available, and before it is told of them. */
  saveBetween(): void {
    this.#between = () => this.target.save?.();
  }

  /** The driver asks for notifications of a queue, or for none; all that was sent is done. */
  listen(queue: number, wanted: boolean): void {
    const driver = queue === IommuQueue.EVENT ? this.#events?.queue : this.#requests;
    if (driver === undefined || driver.fault !== undefined) return;
    driver.armNotification();
    if (!wanted) driver.suppressNotification();
    const some = (this.features & EVENT_IDX) === 0n ? 'each' : 'next';
    this.#notices?.wish(queue, wanted ? some : 'none');
  }

  /** Resets a queue of which nothing is in flight, and begins it anew; false if that cannot be. */
  renew(queue: number): boolean {
    const { target } = this;
    if ((this.features & RING_RESET) === 0n || target.resetQueue === undefined) return false;
    target.resetQueue(queue);
    if (queue === IommuQueue.REQUEST) this.#checkStill();
    if (queue === IommuQueue.EVENT) this.#enableEvents();
    else this.#enableRequests();
    return true;
  }

  /**
   * Sends requests of which nobody knows the type, until the next position in a split ring is `to`, so that it comes
   * around; a ring of another kind does all the time.
   */
  turn(to: number): void {
    const queue = this.#requests;
    if (queue === undefined || this.#setup.format === 'packed') return;
    let left = (to - queue.position + POSITIONS) % POSITIONS;
    while (left > 0) {
      const count = Math.min(left, queue.size, BATCH_MAX);
      const steps = Array.from({ length: count }, () => UNKNOWN);
      // As long as no request is lost.
      if (this.batch(steps).includes(undefined)) return;
      left -= count;
    }
    if ((this.features & EVENT_IDX) !== 0n) this.#notices?.wish(IommuQueue.REQUEST, 'unsure');
  }

  /** Event buffers that came back, `expected` of them if the device takes its time. */
  takeEvents(expected: number): readonly Event[] {
    const events = this.#events;
    if (events === undefined || (expected === 0 && !events.queue.ready())) return NO_EVENTS;
    const found: Event[] = [];
    if (!events.take(found, expected) && expected > 0)
      this.target.wait(() => events.take(found, expected), ANSWER_MS);
    if (found.length > 0) this.#notices?.check(IommuQueue.EVENT);
    return found;
  }

  /** One access. A read fills `bytes`. */
  access({ endpoint, direction, address }: AccessStep, bytes: Uint8Array): DmaOutcome {
    return this.target.dma?.(endpoint, direction, address, bytes) ?? 'unknown';
  }

  /** Copies what endpoints may access, from `at` on. */
  readData(into: Uint8Array, at = 0, length: number = into.length): void {
    this.target.memory.read(this.#window + Place.DATA + at, into, 0, length);
  }

  writeData(bytes: Uint8Array): void {
    this.target.memory.write(this.#window + Place.DATA, bytes, 0, DATA_BYTES);
  }

  #add(step: RequestStep, slot: number): boolean {
    this.#slots.describe(step, this.#list);
    if (this.#requests?.add(this.#list, slot) !== true) return false;
    this.#slots.take(step);
    return true;
  }

  /** Publishes, notifies, and takes all completions; false if the device needs a reset instead. */
  #flush(steps: readonly RequestStep[]): boolean {
    const queue = this.#requests;
    if (queue === undefined) return false;
    const slots = this.#slots;
    const answers = slots.write();
    const wanted = queue.publish();
    this.#between?.();
    this.#between = undefined;
    if (wanted) this.#notify(IommuQueue.REQUEST, queue);
    this.#takenCount = 0;
    const answered = this.target.wait(this.#take, ANSWER_MS);
    slots.read(answers);
    for (let index = 0; index < this.#takenCount; index += 1) {
      const slot = this.#takenSlots[index]!; // Below the length, as the next two.
      const bytes = this.#takenBytes[index]!;
      this.#completions[slot] = slots.completion(steps[slot]!, slot, bytes);
    }
    if (this.#takenCount > 0) this.#notices?.check(IommuQueue.REQUEST);
    if (answered) return true;
    if (!this.needsReset) throw new TargetFailure('hang', 'a request never comes back');
    return false;
  }

  /** Takes what came back; true if that is all. Made once: it is asked for every batch. */
  readonly #take = (): boolean => {
    const queue = this.#requests;
    if (queue === undefined) return true;
    for (let slot = queue.take(); slot !== Taken.EMPTY; slot = queue.take()) {
      if (slot === Taken.BROKEN)
        throw new Deviation('ring', 'request queue', queue.fault ?? 'the queue is broken');
      this.#takenSlots[this.#takenCount] = slot;
      this.#takenBytes[this.#takenCount] = queue.takenBytes;
      this.#takenCount += 1;
    }
    return queue.inFlight === 0;
  };

  /** @throws {Deviation} if the request queue is served while it is not enabled. */
  #checkStill(): void {
    const queue = this.#requests;
    if (queue === undefined || this.target.quietMs > 0) return;
    this.offer(UNKNOWN, 0);
    this.target.notify(IommuQueue.REQUEST);
    if (this.target.wait(() => queue.ready(), ANSWER_MS))
      throw new Deviation('ring', 'a queue is served after its reset', queue.fault ?? 'used');
  }

  #enableRequests(): void {
    this.#requests = this.#enable(IommuQueue.REQUEST, Place.REQUEST_RING, true);
    this.#usedForged = false;
  }

  #enableEvents(): void {
    const { memory, window } = this.target;
    const queue = this.#enable(IommuQueue.EVENT, Place.EVENT_RING, false);
    this.#events = new EventBuffers(memory, this.#window, window.start, queue);
  }

  #notify(queue: number, { position }: DriverQueue): void {
    const told = (this.features & NOTIFICATION_DATA) !== 0n;
    this.target.notify(queue, told ? position : undefined);
  }

  #enable(queue: number, at: number, tables: boolean): DriverQueue {
    const { memory, window } = this.target;
    const features = queueFeatures(this.features);
    const size = Math.min(this.#setup.queueSize, this.target.queueSizeMax(queue));
    const bytes = queueBytes(size, features.packed);
    const start = window.start + BigInt(at);
    const round = (value: number): bigint => BigInt((value + 15) & ~15);
    const driverArea = start + round(bytes.descriptorArea);
    const layout: QueueLayout = {
      size,
      descriptorArea: guestPhysical(start),
      driverArea: guestPhysical(driverArea),
      deviceArea: guestPhysical(driverArea + round(bytes.driverArea)),
    };
    // The queue of a driver clears its memory first.
    const made = createDriverQueue({
      memory,
      layout,
      features,
      ...(tables &&
        this.#setup.indirect && {
          indirect: {
            address: guestPhysical(window.start + BigInt(Place.TABLES)),
            buffersPerChain: BUFFERS_PER_TABLE,
          },
        }),
    });
    this.target.enableQueue(queue, layout);
    if (queue === IommuQueue.REQUEST) {
      this.#requestUsed = locate(memory, layout.deviceArea, bytes.deviceArea);
      this.#queueSize = size;
    }
    // An event index begins with the first buffer of all.
    made.suppressNotification();
    this.#notices?.wish(queue, 'none');
    return made;
  }
}

const UNKNOWN: RequestStep = {
  kind: 'request',
  readable: Uint8Array.of(0xff, 0, 0, 0),
  room: RequestTail.size,
  held: false,
};

/** The most buffers of one request. */
const QUEUE_BUFFERS = 16;
