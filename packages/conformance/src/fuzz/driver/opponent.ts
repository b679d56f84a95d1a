/**
 * The device in front of a driver under test: registers and rings that look at every rule of the standard, and the
 * requests themselves done by our own device with the habits of others.
 *
 * What it does when is drawn: see `Conduct`. It remembers what it was asked and what it really answered.
 */

import {
  IommuConfig,
  IommuQueue,
  InterruptBit,
  PackedDescriptor,
  VirtioFeature,
  hasFeature,
} from '@viommu/common';
import type { PeerDevice } from '@viommu/device';
import type { Bell, QueueLayout, SharedMemory } from '@viommu/ring';
import type { DeviceRing, DriverChain } from '../../driver/device-ring.ts';
import { Ledger } from '../../driver/ledger.ts';
import { Monitor, monitored } from '../../driver/monitor.ts';
import type { RegisterScript } from '../../driver/register-script.ts';
import { ScriptedRegisters } from '../../driver/registers.ts';
import { watchBytes } from '../../driver/request-watch.ts';
import type { Random } from '../random.ts';
import type { Conduct } from './conduct.ts';
import { EventSide, QueueSide } from './queue-side.ts';
import {
  type Answer,
  type Forged,
  type Seen,
  UNCLEAR,
  describeRequest,
  serialOf,
} from './seen-request.ts';
import { TailBook, serveRequest, tellMonitor } from './service.ts';
import { Owner, type WatchedMemory } from './watched-memory.ts';

export interface OpponentOptions {
  readonly memory: SharedMemory;
  readonly watched: WatchedMemory;
  readonly bell: Bell;
  readonly random: Random;
  readonly conduct: Conduct;
  readonly core: PeerDevice;
  readonly offered: bigint;
  readonly script: RegisterScript;
  readonly fail: (kind: string, matter: string, evidence: string) => never;
  /** What is done with a request; `undefined` leaves it to our device. */
  readonly answerOf: (request: Seen) => Answer | undefined;
  /** DRIVER_OK. */
  readonly started: () => void;
  /** Tells people what became of a request. */
  readonly note: (line: () => string) => void;
}

const { REQUEST, EVENT } = IommuQueue;
const IDLE_TURNS_MAX = 6;

export class Opponent {
  readonly ledger: Ledger = new Ledger();
  readonly registers: ScriptedRegisters;
  readonly monitor: Monitor = new Monitor(this.ledger);
  /** All requests with a meaning, in the order in which they became available. */
  readonly seen: Seen[] = [];
  /** Those without, by serial number. */
  readonly raw: Map<number, Seen> = new Map();
  /** Notifications of the request queue. */
  notifications = 0;
  /** Rules are broken, so that what the rings find is not the driver's fault. */
  lawless = false;
  /** What is done in place of giving a request back. */
  forge: ((ring: DeviceRing, request: Seen) => Forged) | undefined = undefined;
  /** It does nothing any more. */
  silent = false;
  readonly tails: TailBook = new TailBook();
  readonly #options: OpponentOptions;
  #requests: QueueSide | undefined;
  #events: EventSide | undefined;
  #todo: Seen[] = [];
  #done: Seen[] = [];
  #lazyTurns = 0;
  #given = 0;

  constructor(options: OpponentOptions) {
    this.#options = options;
    const { offered, script } = options;
    this.registers = new ScriptedRegisters(offered, script, this.ledger, {
      reset: () => this.#reset(),
      enable: (queue, layout) => this.#enable(queue, layout),
      disable: (queue) => this.#disable(queue),
      notify: (queue, data) => this.#notified(queue, data),
    });
  }

  has(feature: number): boolean {
    return hasFeature(this.registers.accepted, feature);
  }

  get eventRing(): DeviceRing | undefined {
    return this.#events?.ring;
  }

  layoutOf(queue: number): QueueLayout | undefined {
    return (queue === REQUEST ? this.#requests : this.#events)?.layout;
  }

  /** Where the next used descriptor of a packed request queue goes. */
  get usedPosition(): number {
    return (this.#requests?.used.spans()[0]?.[0] ?? 0) - PackedDescriptor.offset.id;
  }

  /** Heads or buffer ids of requests that the device has. */
  get ids(): readonly number[] {
    return [...this.#todo, ...this.#done].map(({ chain }) => chain.id);
  }

  /** From now on it breaks rules, or no longer. */
  rebel(lawless: boolean): void {
    this.lawless = lawless;
    this.forge = undefined;
    this.silent = false;
    this.ledger.findings.length = 0;
    this.#options.watched.relax();
  }

  /** Requests that the device has and has not given back. */
  get inHand(): number {
    return this.#todo.length + this.#done.length + (this.#requests?.ring.waiting ?? 0);
  }

  /** One turn of the device. False if it has nothing to do, and nobody will tell it of anything. */
  turn(): boolean {
    const side = this.#requests;
    if (side === undefined || this.silent) return false;
    const { random, conduct } = this.#options;
    if (conduct.spurious > 0 && random.once(conduct.spurious)) this.interrupt();
    if (conduct.lazy > 0 && this.#lazyTurns < IDLE_TURNS_MAX && random.once(conduct.lazy)) {
      this.#lazyTurns += 1;
      return true;
    }
    this.#lazyTurns = 0;
    const before = this.#todo.length + this.#done.length;
    const polls = conduct.polls || this.lawless;
    if (side.awake || polls) this.#look(side);
    let worked = this.#todo.length + this.#done.length > before;
    const most = 1 + random.number(conduct.perTurn);
    for (const request of this.#todo.splice(0, most)) {
      this.#serve(request);
      worked = true;
    }
    if (this.#done.some(({ kept }) => !kept)) {
      this.#give(side, 1 + random.number(conduct.perTurn));
      worked = true;
    }
    if (worked) return true;
    return side.awake && !polls && this.#sleep(side);
  }

  /** A call of the driver begins. */
  begin(): void {
    for (const side of [this.#requests, this.#events])
      if (side !== undefined) side.unwanted = !side.wanted;
  }

  /** True if the driver would be interrupted by the next answer to a request. */
  get wantsInterrupt(): boolean {
    return this.#requests?.used.wantsNext() ?? false;
  }

  /** Sees what the driver has made available, whether the device knows of it or not. */
  observe(): void {
    if (this.#requests !== undefined) this.#look(this.#requests);
    this.#events?.buffers(this.lawless);
  }

  /** Puts a record into an event buffer. False if there is none. */
  inject(record: Uint8Array, usedBytes: number = record.length): boolean {
    const side = this.#events;
    if (side?.inject(record, usedBytes, this.lawless, this.#options.random) !== true) return false;
    if (side.used.wanted()) this.interrupt();
    return true;
  }

  /** Event buffers that the device has. */
  get buffers(): number {
    return this.#events?.buffers(this.lawless) ?? 0;
  }

  interrupt(bits: number = InterruptBit.USED_BUFFER): void {
    this.registers.interruptStatus |= bits;
    this.#options.bell.ring();
  }

  #look(side: QueueSide): void {
    side.takeAll((chain) => this.#take(side, chain), this.lawless ? 2 : undefined);
  }

  #take(side: QueueSide, chain: DriverChain): void {
    const { memory, fail } = this.#options;
    const [readable, writable] = chain.elements;
    if (chain.elements.length !== 2 || readable?.writable !== false || writable?.writable !== true)
      return fail('request', 'a request is not one readable and one writable buffer', '');
    const spans = side.lend(chain, this.lawless);
    const bytes = new Uint8Array(readable.length);
    memory.read(spans[0]![0], bytes, 0, bytes.length); // Of the readable one.
    const raw = serialOf(bytes);
    const probeSize = this.registers.config.getUint32(IommuConfig.offset.probeSize, true);
    const fields =
      raw === undefined ? watchBytes(bytes, writable.length, probeSize, this.ledger) : undefined;
    const request: Seen = {
      fields,
      type: bytes[0] ?? 0,
      bytes,
      raw,
      chain,
      writableBytes: writable.length,
      spans,
      status: UNCLEAR,
      length: 0,
      kept: false,
      outcome: undefined,
      turn: Infinity,
    };
    this.tails.forget(request);
    if (raw === undefined) this.seen.push(request);
    else if (this.raw.has(raw) && !this.lawless)
      fail('request', 'a request is sent twice', `number ${raw}`);
    else this.raw.set(raw, request);
    this.#todo.push(request);
  }

  #serve(request: Seen): void {
    const { memory, core, answerOf } = this.#options;
    const { fields } = request;
    if (fields !== undefined && !this.lawless) this.monitor.request(fields);
    const answer = answerOf(request) ?? {};
    serveRequest(request, answer, memory, core);
    if (answer.untouched !== true) this.tails.wrote(request);
    if (fields !== undefined && !this.lawless) tellMonitor(this.monitor, request, fields, answer);
    this.#done.push(request);
  }

  /** Gives back up to `most` requests, and tells the driver if it wants to know. */
  #give(side: QueueSide, most: number): void {
    const { random, conduct } = this.#options;
    const inOrder = this.has(VirtioFeature.IN_ORDER);
    for (let count = 0; count < most; count += 1) {
      const ready = this.#done.filter(({ kept }) => !kept);
      if (ready.length === 0) break;
      if (inOrder && this.#done[0]?.kept === true) break;
      if (inOrder && random.once(3) && this.forge === undefined && this.#giveBatch(side)) continue;
      const request = ready[conduct.disorder && !inOrder ? random.number(ready.length) : 0]!; // There is one.
      this.#done.splice(this.#done.indexOf(request), 1);
      const forged = this.forge?.(side.ring, request) ?? 'no';
      if (forged !== 'instead') this.#end(request);
      if (forged === 'no') side.giveBack(request.chain, request.length, this.lawless);
      // Whatever the driver wants to hear of, it hears.
      else {
        side.used.advance(1, request.chain.slots);
        this.interrupt();
      }
      if (this.silent) return;
    }
    if (side.used.wanted()) this.interrupt();
  }

  /** Gives back several in a row by one entry; those before the last count as written in full. */
  #giveBatch(side: QueueSide): boolean {
    const { random, watched } = this.#options;
    let count = 0;
    while (count < this.#done.length && this.#done[count]?.kept === false) {
      count += 1;
      const { length, writableBytes } = this.#done[count - 1]!; // Below the count.
      if (length !== writableBytes || random.once(4)) break;
    }
    if (count < 2) return false;
    const batch = this.#done.splice(0, count);
    for (const request of batch) this.#end(request);
    const spans = side.used.spans();
    const chains = batch.map(({ chain }) => chain);
    side.ring.giveBatch(chains, batch.at(-1)?.length ?? 0);
    side.used.advance(
      count,
      chains.reduce((sum, { slots }) => sum + slots, 0),
    );
    if (!this.lawless) for (const [position, length] of spans) watched.answered(position, length);
    return true;
  }

  /** The request is given back: its buffers are the driver's again. */
  #end(request: Seen): void {
    const { watched } = this.#options;
    const { spans, length, writableBytes, status } = request;
    request.outcome = length === writableBytes ? status : UNCLEAR;
    request.turn = this.#given += 1;
    this.#options.note(() => `  > ${describeRequest(request)}`);
    if (this.lawless) return;
    for (const [position, bytes] of spans) watched.give(position, bytes, Owner.DRIVER);
    const [, writable] = spans;
    if (writable !== undefined) watched.answered(...writable);
  }

  /** Says that it wants to be told of more, and looks once more. False if it sleeps then. */
  #sleep(side: QueueSide): boolean {
    side.awake = false;
    side.want(true);
    const before = this.#todo.length;
    this.#look(side);
    if (this.#todo.length > before) this.#wake(side);
    return side.awake;
  }

  #wake(side: QueueSide): void {
    if (!side.awake && this.#options.random.once(2)) side.want(false);
    side.awake = true;
  }

  #notified(queue: number, data: number): void {
    if (queue < 0) return this.#started();
    const side = queue === REQUEST ? this.#requests : this.#events;
    const { fail } = this.#options;
    if (side === undefined && this.lawless) return;
    if (side === undefined)
      return fail('notification', 'it notifies a queue that is not there', '');
    const { available } = side;
    const { position } = side.ring;
    if (queue === REQUEST) this.notifications += 1;
    if (!this.lawless && available === side.notifiedOf)
      fail(
        'notification',
        'it notifies though there is nothing new',
        `queue ${queue} at ${position}`,
      );
    // Who looks while the driver decides may be told of what it has just seen.
    if (!this.lawless && side.unwanted && !this.#options.watched.races)
      fail('notification', 'it notifies a device that does not want it', `queue ${queue}`);
    side.notifiedOf = available;
    if (!this.lawless && this.has(VirtioFeature.NOTIFICATION_DATA) && data >>> 16 !== position)
      fail(
        'notification',
        'a notification has the wrong position',
        `${data >>> 16} at ${position}`,
      );
    this.#wake(side);
  }

  #started(): void {
    const { config, accepted } = this.registers;
    this.monitor.begin(monitored(config, accepted));
    const { core, memory, started } = this.#options;
    core.acceptFeatures(accepted);
    const port = { interrupt: () => {}, configChanged: () => {}, needsReset: () => {} };
    core.start({ features: accepted, memory, queues: [], port });
    started();
  }

  #enable(queue: number, layout: QueueLayout): void {
    const { memory, watched, random, fail } = this.#options;
    const features = this.registers.accepted;
    const options = { memory, watched, layout, features, ledger: this.ledger, fail };
    if (queue === REQUEST) {
      this.#requests = new QueueSide(options);
      // Who looks by itself need not be told.
      if (this.#options.conduct.polls && random.once(2)) this.#requests.want(false);
      return;
    }
    this.#events = new EventSide(options);
    if (random.once(2)) this.#events.want(false);
  }

  #disable(queue: number): void {
    // What it was shown until now it has seen.
    this.observe();
    if (queue === REQUEST) {
      this.#requests?.end([...this.#todo, ...this.#done].map(({ chain }) => chain));
      this.#todo = [];
      this.#done = [];
      this.#requests = undefined;
    } else {
      this.#events?.end();
      this.#events = undefined;
    }
  }

  #reset(): void {
    this.#disable(REQUEST);
    this.#disable(EVENT);
    this.monitor.reset();
    this.#options.core.reset();
  }
}
