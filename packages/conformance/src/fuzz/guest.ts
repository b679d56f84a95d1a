/** The guest of a stream: it brings the target up, sends requests through rings, makes accesses and takes what comes. */

import {
  DeviceStatus,
  FaultRecord,
  IommuQueue,
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
import { cut, readableOf, roomOf } from './framing.ts';
import { checkUsed } from './used-ring.ts';
import {
  BATCH_MAX,
  DATA_BYTES,
  EVENTS_MAX,
  EVENT_STRIDE,
  FILL,
  GUARD_BYTES,
  Place,
  READABLE_MAX,
  WRITABLE_MAX,
} from './limit.ts';
import type { AccessStep, RequestStep, Setup } from './stream.ts';

const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK, DEVICE_NEEDS_RESET } = DeviceStatus;
const EVENT_IDX = featureMask(VirtioFeature.EVENT_IDX);
/** Longer silence of a device in another thread or process is a hang. */
const ANSWER_MS = 2000;
const ANSWERS_BYTES = BATCH_MAX * (WRITABLE_MAX + GUARD_BYTES);
/** What writable bytes hold beforehand: the most there are, and as many as some request had, by their number. */
const UNWRITTEN = new Uint8Array(ANSWERS_BYTES).fill(FILL);
const FILLED: Uint8Array[] = [];
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
  readonly #list: BufferList = new BufferList(QUEUE_BUFFERS);
  readonly #window: number;
  /** The halves of the address of the window, which has no 4 GiB line in it. */
  readonly #high: number;
  readonly #low: number;
  #requests: DriverQueue | undefined;
  #events: DriverQueue | undefined;
  /** The used ring of the request queue, and its size. */
  #requestUsed = 0;
  #queueSize = 0;
  /** Requests that were added and are not in memory yet, from that of a slot on. */
  readonly #requestBytes: Uint8Array = new Uint8Array(BATCH_MAX * READABLE_MAX);
  #firstSlot = 0;
  #endSlot = 0;
  /** The place of the answer of each slot, those of which nothing is in memory yet, and what is there in the end. */
  readonly #answerPlace: Uint32Array = new Uint32Array(BATCH_MAX);
  #answersFrom = 0;
  #answersEnd = 0;
  readonly #answers: Uint8Array = new Uint8Array(ANSWERS_BYTES);
  /** True once the guest has written into it. */
  #usedForged = false;
  #posted = 0;
  #eventsUsed = 0;
  #eventsOut = 0;

  constructor(target: DeviceTarget, setup: Setup) {
    const { memory, window } = target;
    this.target = target;
    this.#setup = setup;
    this.#window = locate(memory, window.start, window.bytes);
    this.#high = Number(window.start >> 32n);
    this.#low = Number(window.start & 0xffff_ffffn);
    this.dataAddress = window.start + BigInt(Place.DATA);
  }

  /** From status 0 to DRIVER_OK, with fresh rings. `refuse` are features that the driver leaves alone. */
  start(refuse: bigint): void {
    const { target } = this;
    const offered = target.readFeatures();
    const packed = featureMask(VirtioFeature.RING_PACKED);
    let features = offered & ~refuse & ~featureMask(VirtioFeature.NOTIFICATION_DATA);
    if (this.#setup.format === 'split') features &= ~packed;
    target.writeStatus(0);
    target.writeStatus(ACKNOWLEDGE);
    target.writeStatus(ACKNOWLEDGE | DRIVER);
    target.writeFeatures(features);
    target.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
    if ((target.readStatus() & FEATURES_OK) === 0)
      throw new Deviation('start', 'FEATURES_OK is refused', `features 0x${features.toString(16)}`);
    this.features = features;
    this.#requests = this.#enable(IommuQueue.REQUEST, Place.REQUEST_RING, true);
    this.#events = this.#enable(IommuQueue.EVENT, Place.EVENT_RING, false);
    this.#usedForged = false;
    this.#posted = 0;
    this.#eventsUsed = 0;
    this.#eventsOut = 0;
    target.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    const status = target.readStatus();
    if ((status & (DRIVER_OK | DEVICE_NEEDS_RESET)) !== DRIVER_OK)
      throw new Deviation('start', 'the device does not start', `status 0x${status.toString(16)}`);
  }

  /** True if the device shows DEVICE_NEEDS_RESET. */
  get needsReset(): boolean {
    return (this.target.readStatus() & DEVICE_NEEDS_RESET) !== 0;
  }

  /**
   * Sends requests with as few notifications as the rings allow. A completion is undefined if none came, which only a
   * device does that needs a reset.
   *
   * @throws {TargetFailure} for silence without a reason. @throws {Deviation} for what no answer may be.
   */
  batch(steps: readonly RequestStep[]): Completions {
    const completions: (Completion | undefined)[] = steps.map(() => undefined);
    for (let from = 0; from < steps.length; from += BATCH_MAX) {
      this.#firstSlot = 0;
      this.#endSlot = 0;
      this.#answersFrom = 0;
      this.#answersEnd = 0;
      const end = Math.min(from + BATCH_MAX, steps.length);
      for (let index = from; index < end; index += 1) {
        const step = steps[index]!; // Below the length.
        if (this.#add(step, index - from)) continue;
        // The ring is full, or the device gone.
        if (!this.#flush(steps, from, completions) || !this.#add(step, index - from))
          return completions;
      }
      if (!this.#flush(steps, from, completions)) return completions;
    }
    return completions;
  }

  /** Makes a request available in `slot`, as far as there is room, and waits for nothing. */
  offer(step: RequestStep, slot: number): void {
    const queue = this.#requests;
    if (queue === undefined || queue.fault !== undefined) return;
    if (slot % BATCH_MAX === 0) {
      this.#answersFrom = 0;
      this.#answersEnd = 0;
    }
    this.#firstSlot = slot % BATCH_MAX;
    const added = this.#add(step, this.#firstSlot);
    if (added) this.#write();
    if (added) queue.publish();
  }

  poke(at: number, bytes: Uint8Array): void {
    const { memory, window } = this.target;
    const length = Math.min(bytes.length, window.bytes - at);
    if (length <= 0) return;
    memory.write(this.#window + at, bytes, 0, length);
    const last = this.#window + at + length - 1;
    if (last >= this.#requestUsed && at < Place.EVENT_RING) this.#usedForged = true;
  }

  /** Notifies, and lets the device work until it has nothing left to do. */
  kick(queue: number): void {
    const { target } = this;
    target.notify(queue);
    // One that always finds more to do is taken for one that never ends.
    if (target.quietMs === 0) target.wait(() => false, ANSWER_MS);
    else target.wait(() => this.needsReset, target.quietMs);
    if (this.#setup.format === 'split' && !this.#usedForged)
      checkUsed(target.memory, this.#requestUsed, this.#queueSize);
  }

  /** Adds a buffer to the event queue; false if there are enough. */
  post(bytes: number): boolean {
    const events = this.#events;
    if (events === undefined || this.#eventsOut >= EVENTS_MAX) return false;
    const slot = this.#posted % EVENTS_MAX;
    const { memory } = this.target;
    const at = Place.EVENTS + slot * EVENT_STRIDE;
    memory.write(this.#window + at, UNWRITTEN, 0, EVENT_STRIDE);
    this.#list.clear().addWritableAt(this.#low + at, this.#high, bytes);
    if (!events.add(this.#list, slot)) return false;
    this.#posted += 1;
    this.#eventsOut += 1;
    if (events.publish()) this.target.notify(IommuQueue.EVENT);
    return true;
  }

  /** Event buffers that came back, `expected` of them if the device takes its time. */
  takeEvents(expected: number): readonly Event[] {
    const events = this.#events;
    if (events === undefined || (expected === 0 && !events.ready())) return NO_EVENTS;
    const found: Event[] = [];
    const take = (): boolean => {
      for (let slot = events.take(); slot >= 0; slot = events.take())
        found.push(this.#event(slot, events.takenBytes));
      if (events.fault !== undefined) throw new Deviation('ring', 'event queue', events.fault);
      return found.length >= expected;
    };
    if (!take() && expected > 0) this.target.wait(take, ANSWER_MS);
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
    const { cuts } = step;
    const readable = readableOf(step);
    const { length } = readable;
    const writable = roomOf(step);
    const request = Place.REQUESTS + slot * READABLE_MAX;
    const answer = Place.ANSWERS + this.#answersEnd;
    const list = this.#list.clear();
    const high = this.#high;
    const low = this.#low;
    if (cuts === undefined) {
      if (length > 0) list.addReadableAt(low + request, high, length);
      if (writable > 0) list.addWritableAt(low + answer, high, writable);
    } else {
      cut(length, cuts[0], (at, bytes) => list.addReadableAt(low + request + at, high, bytes));
      cut(writable, cuts[1], (at, bytes) => list.addWritableAt(low + answer + at, high, bytes));
    }
    if (this.#requests?.add(list, slot) !== true) return false;
    this.#requestBytes.set(readable, slot * READABLE_MAX);
    this.#endSlot = slot + 1;
    this.#answerPlace[slot] = this.#answersEnd;
    this.#answersEnd += writable + GUARD_BYTES;
    return true;
  }

  /** Puts requests into memory, and clears their answers: all at once, as memory may be far away. */
  #write(): void {
    const { memory } = this.target;
    const from = this.#firstSlot * READABLE_MAX;
    const bytes = this.#endSlot * READABLE_MAX - from;
    if (bytes > 0)
      memory.write(this.#window + Place.REQUESTS + from, this.#requestBytes, from, bytes);
    const first = this.#answersFrom;
    const unwritten = this.#answersEnd - first;
    memory.write(this.#window + Place.ANSWERS + first, UNWRITTEN, 0, unwritten);
    this.#firstSlot = this.#endSlot;
    this.#answersFrom = this.#answersEnd;
  }

  /** Publishes, notifies, and takes all completions; false if the device needs a reset instead. */
  #flush(steps: readonly RequestStep[], from: number, into: (Completion | undefined)[]): boolean {
    const queue = this.#requests;
    if (queue === undefined) return false;
    const first = this.#answersFrom;
    this.#write();
    if (queue.publish()) this.target.notify(IommuQueue.REQUEST);
    let left = queue.inFlight;
    const slots: number[] = [];
    const lengths: number[] = [];
    const take = (): boolean => {
      for (let slot = queue.take(); slot !== Taken.EMPTY; slot = queue.take()) {
        if (slot === Taken.BROKEN)
          throw new Deviation('ring', 'request queue', queue.fault ?? 'the queue is broken');
        slots.push(slot);
        lengths.push(queue.takenBytes);
        left -= 1;
      }
      return left <= 0;
    };
    const answered = this.target.wait(take, ANSWER_MS);
    const at = this.#window + Place.ANSWERS + first;
    if (this.#answersEnd > first)
      this.target.memory.read(at, this.#answers, first, this.#answersEnd - first);
    for (let index = 0; index < slots.length; index += 1) {
      const slot = slots[index]!; // Below the length, as the next.
      const step = steps[from + slot]!; // The token of a chain that was added.
      into[from + slot] = this.#completion(step, slot, lengths[index]!);
    }
    if (answered) return true;
    if (!this.needsReset) throw new TargetFailure('hang', 'a request never comes back');
    return false;
  }

  #completion(step: RequestStep, slot: number, usedLength: number): Completion {
    const room = roomOf(step);
    const at = this.#answerPlace[slot] ?? 0;
    const after = this.#answers.subarray(at, at + room);
    for (let guard = at + room; guard < at + room + GUARD_BYTES; guard += 1)
      if (this.#answers[guard] !== FILL)
        throw new Deviation(
          'memory',
          'a byte behind an answer is written',
          `${guard - at} of ${room}`,
        );
    return { usedLength, before: (FILLED[room] ??= new Uint8Array(room).fill(FILL)), after };
  }

  #event(slot: number, usedLength: number): Event {
    const record = new Uint8Array(Math.min(usedLength, FaultRecord.size));
    const at = this.#window + Place.EVENTS + slot * EVENT_STRIDE;
    this.target.memory.read(at, record, 0, record.length);
    this.#eventsUsed += 1;
    this.#eventsOut -= 1;
    return { buffer: this.#eventsUsed - 1, usedLength, record };
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
    if ((this.features & EVENT_IDX) === 0n) made.suppressNotification();
    return made;
  }
}

/** The most buffers of one request. */
const QUEUE_BUFFERS = 16;
