/**
 * The device's side of a queue in lock-step with the plain one: the queue works on memory, the plain one on a copy of it,
 * and both must come to the same after every call, byte by byte.
 */

import { isDeepStrictEqual } from 'node:util';
import {
  Chain,
  type ChainHandler,
  type DeviceQueue,
  type DeviceQueueState,
  Popped,
  createDeviceQueue,
} from '@viommu/ring';
import type { Journal } from '../fuzzer.ts';
import type { Random } from '../random.ts';
import { expectPair, lookInto } from './chain-check.ts';
import { ComparedMemory } from './compared-memory.ts';
import {
  type PlainChain,
  type PlainDevice,
  type PlainPop,
  printPop,
  writableBytesOf,
} from './plain.ts';
import { PlainDriver } from './plain-driver.ts';
import { type Setting, TABLES, deviation, drawSetting, plainDevice } from './setting.ts';

/** Chains that are held at a time. */
const HELD_MAX = 6;
/** Chains that are taken at the end: no more are made in one run. */
const DRAINED_MAX = 256;

export class DeviceWorld implements ChainHandler {
  readonly setting: Setting;
  readonly driver: PlainDriver;
  readonly random: Random;
  readonly copy: Uint8Array<ArrayBuffer>;
  /** Chains that came so far. */
  chains = 0;
  plain: PlainDevice;
  readonly #journal: Journal;
  readonly #both: ComparedMemory;
  #queue: DeviceQueue;
  #fault: string | undefined;
  /** True if the last thing said of notifications is that they are wanted; that is so at the start. */
  #armed = true;
  readonly #held: { readonly chain: Chain; readonly plain: PlainChain }[] = [];
  readonly #spare: Chain[] = [];
  /** Used and not published; published and not taken by the driver. */
  #pushed: number[] = [];
  #used: number[] = [];
  #served = 0;

  constructor(random: Random, journal: Journal) {
    this.random = random;
    this.#journal = journal;
    this.setting = drawSetting(random, () => TABLES);
    const { position } = this.setting;
    this.#both = new ComparedMemory(this.setting);
    this.copy = this.#both.copy;
    this.driver = new PlainDriver(this.setting, this.#both.views, random);
    this.plain = plainDevice(this.setting, this.copy, position);
    this.#queue = this.#create(
      position === (this.setting.packed ? 0x8000 : 0) && !random.once(4)
        ? undefined
        : this.#state(),
    );
    this.#done('the start');
  }

  /** Chains that were taken and not given back. */
  get inHand(): number {
    return this.#held.length;
  }

  /** Everything that may happen between two looks; the rules of the standard are kept. */
  step(): void {
    switch (this.random.number(14)) {
      case 0:
      case 1:
        return this.pop();
      case 2:
      case 3:
        return this.serve(1 + this.random.number(3));
      case 4:
      case 5:
        return this.push();
      case 6:
      case 7:
        return this.publish();
      case 8:
        return this.reclaim();
      case 9:
        return this.driver.wish();
      case 10:
        return this.arm();
      case 11:
        return this.random.once(2) ? this.suppress() : this.look();
      case 12:
        return this.random.once(2) ? this.raceOfPublish() : this.raceOfArm();
      default:
        return this.restore();
    }
  }

  /** Takes all that is there, and publishes it. */
  drain(): void {
    while (this.#held.length > 0) this.push();
    for (let left = Math.min(this.setting.size, DRAINED_MAX) + 2; left > 0; left -= 1) {
      const before = this.chains;
      if (this.random.once(2)) this.pop();
      else this.serve(1 + this.random.number(4));
      while (this.#held.length > 0) this.push();
      if (this.chains === before) break;
    }
    this.publish();
    this.reclaim();
  }

  pop(): void {
    if (this.#held.length >= HELD_MAX) return this.push();
    const { memory, size } = this.setting;
    const chain = this.#spare.pop() ?? new Chain(memory, size);
    memory.allow(5 * size + 24);
    const popped = this.#queue.pop(chain);
    const plain = this.plain.pop();
    memory.allow(Number.POSITIVE_INFINITY);
    this.#expectPop(popped, plain);
    if (typeof plain === 'string') {
      this.#spare.push(chain);
      return this.#done('pop');
    }
    this.chains += 1;
    lookInto(this.setting, this.copy, this.random, chain, plain);
    this.#held.push({ chain, plain });
    this.#done('pop');
  }

  /** Gives one back, in any order but with IN_ORDER. */
  push(): void {
    const { features } = this.setting;
    const index = features.inOrder ? 0 : this.random.number(this.#held.length || 1);
    const held = this.#held.splice(index, 1)[0];
    if (held === undefined) return;
    const written = this.#written(held.plain);
    this.#queue.push(held.chain, written);
    this.plain.push(held.plain, written);
    this.#spare.push(held.chain);
    this.#pushed.push(held.plain.id);
    this.#done('push');
  }

  serve(most: number): void {
    const { features, memory, size } = this.setting;
    // Chains that are served are given back before those in hand.
    if (features.inOrder && this.#held.length > 0) return this.push();
    const chain = this.#spare.pop() ?? new Chain(memory, size);
    const there = this.plain.ready() && !this.plain.broken;
    memory.allow(most * (12 * size + 80) + 24);
    this.#served = 0;
    const served = this.#queue.serve(this, chain, most);
    memory.allow(Number.POSITIVE_INFINITY);
    this.#spare.push(chain);
    if (served !== this.#served)
      throw this.#wrong('serve counts other chains', `${served} for ${this.#served}`);
    if (served < most && there && (this.plain.seen || served === 0)) {
      const plain = this.plain.pop();
      if (typeof plain !== 'string')
        throw this.#wrong('a chain is not served', `${served} of ${most}, then ${printPop(plain)}`);
    }
    this.#expectFault();
    this.#done('serve');
  }

  handlePair(
    readable: number,
    readableBytes: number,
    writable: number,
    writableBytes: number,
  ): number {
    const plain = this.#nextServed();
    expectPair(this.setting, this.copy, this.random, plain, [
      readable,
      readableBytes,
      writable,
      writableBytes,
    ]);
    return this.#answer(plain);
  }

  handleChain(chain: Chain): number {
    const plain = this.#nextServed();
    lookInto(this.setting, this.copy, this.random, chain, plain);
    return this.#answer(plain);
  }

  publish(): void {
    const due = this.plain.publish();
    const { memory } = this.setting;
    memory.allow(4);
    const wanted = this.#queue.publish();
    memory.allow(Number.POSITIVE_INFINITY);
    if (due !== undefined && wanted !== due)
      throw this.#wrong(
        due ? 'an interrupt that is due is not asked for' : 'an interrupt that nobody wants',
        `${this.#pushed.length} chains before ${this.plain.position}`,
      );
    this.#published();
    this.#done('publish');
  }

  /** The driver takes back what it sees as used. */
  reclaim(): void {
    for (const id of this.#used) this.driver.reclaim(id);
    this.#used = [];
  }

  look(): void {
    const ready = this.#queue.ready();
    if (ready !== this.plain.ready()) throw this.#wrong('ready says something else', String(ready));
    this.#expectFault();
  }

  arm(): void {
    const { memory } = this.setting;
    const asleep = this.#queue.armNotification();
    const there = this.plain.ready();
    this.#armed = true;
    this.#both.takeWish(this.plain);
    if (asleep === there)
      throw this.#wrong(
        asleep ? 'it would sleep with a chain there' : 'it sees a chain that is not there',
        'arm',
      );
    if (this.plain.asksFor(1) !== true)
      throw this.#wrong(
        'no notification is asked for',
        `${memory.raw.getUint32(this.plain.wish[0], true)}`,
      );
    this.#done('arm');
  }

  suppress(): void {
    const armed = this.#armed;
    this.#queue.suppressNotification();
    this.#armed = false;
    if (armed) this.#both.takeWish(this.plain);
    if (armed && this.plain.asksFor(this.setting.size) === true)
      throw this.#wrong('a notification is asked for', 'suppress');
    this.#done('suppress');
  }

  /** A state is saved, written down, and gone on from. */
  restore(): void {
    // To be refused is slow, and always the same.
    if (!this.plain.idle && !this.random.once(8)) return;
    const saved = this.#save();
    if (saved === undefined) return;
    this.#queue = this.#create(JSON.parse(JSON.stringify(saved)) as DeviceQueueState); // Its own text.
    const { broken } = this.plain;
    this.plain = plainDevice(this.setting, this.copy, this.plain.position, broken);
    this.#fault = undefined;
    this.#armed = true;
    if (broken !== (this.#queue.fault !== undefined))
      throw this.#wrong('a fault is not saved', 'restore');
    this.#expectFault();
    this.#done('restore');
  }

  /** The driver arms and looks while the device publishes: one of them must see the other. */
  raceOfPublish(): void {
    if (this.#pushed.length === 0) return this.push();
    if (this.#used.length > 0) this.reclaim();
    const { memory } = this.setting;
    let asleep = false;
    memory.interrupt(this.random.number(3), () => (asleep = this.driver.arm()));
    const wanted = this.#queue.publish();
    memory.interrupt(-1, () => undefined);
    this.plain.publish();
    this.#published();
    if (asleep && !wanted) throw this.#wrong('an interrupt is lost', 'the driver armed meanwhile');
    this.#done('publish');
  }

  /** The driver makes a chain available while the device arms and looks. */
  raceOfArm(): void {
    this.look();
    if (!this.driver.waits || this.plain.broken || this.plain.ready()) return;
    const { memory } = this.setting;
    let kicked: boolean | undefined;
    let done = false;
    memory.interrupt(this.random.number(4), () => {
      kicked = this.driver.publishAndLook();
      done = true;
    });
    const asleep = this.#queue.armNotification();
    memory.interrupt(-1, () => undefined);
    this.#armed = true;
    if (done && asleep && kicked === false)
      throw this.#wrong('a notification is lost', 'a chain came meanwhile');
    this.#both.takeWish(this.plain);
    if (!asleep) this.plain.ready();
    this.#done('arm');
  }

  /** Throws if anything outside was touched; at the end. */
  finish(): void {
    this.setting.memory.checkGuards();
    // What is broken stays so, whatever happens.
    if (this.#queue.fault === undefined) return;
    this.look();
    this.pop();
    this.serve(1);
    this.publish();
    if (this.#queue.armNotification()) throw this.#wrong('a broken queue would sleep', 'arm');
  }

  /** After a call: both must have come to the same. */
  #done(call: string): void {
    this.#journal.note(() => `  ${call}: at ${this.plain.position}, ${this.chains} chains so far`);
    this.#both.compare(call);
  }

  #create(state: DeviceQueueState | undefined): DeviceQueue {
    const { memory, layout, features, batchUsed } = this.setting;
    return createDeviceQueue({ memory, layout, features, batchUsed, ...(state && { state }) });
  }

  #state(): DeviceQueueState {
    const { size, features, position } = this.setting;
    return { version: 1, size, features, position, broken: false };
  }

  #save(): DeviceQueueState | undefined {
    const { idle, position, broken } = this.plain;
    let saved: DeviceQueueState | undefined;
    try {
      saved = this.#queue.save();
    } catch {
      // It is busy.
    }
    const expected = idle ? { ...this.#state(), position, broken } : undefined;
    if (!isDeepStrictEqual(saved, expected))
      throw this.#wrong('another state is saved', JSON.stringify(saved));
    return saved;
  }

  #nextServed(): PlainChain {
    const plain = this.plain.pop();
    if (typeof plain === 'string')
      throw this.#wrong(`a chain is served that is not there: ${plain}`, plain);
    return plain;
  }

  #answer(plain: PlainChain): number {
    const written = this.#written(plain);
    this.plain.push(plain, written);
    this.#pushed.push(plain.id);
    this.chains += 1;
    this.#served += 1;
    return written;
  }

  #written(plain: PlainChain): number {
    const writable = writableBytesOf(plain);
    return Math.min(this.random.once(3) ? this.random.number(writable + 1) : writable, 0xffff_ffff);
  }

  #published(): void {
    this.#used.push(...this.#pushed);
    this.#pushed = [];
  }

  #expectPop(popped: Popped, plain: PlainPop): void {
    const expected =
      plain === 'empty' ? Popped.EMPTY : plain === 'broken' ? Popped.BROKEN : Popped.CHAIN;
    if (popped !== expected)
      throw this.#wrong(
        `pop finds ${NAMES[popped]} for ${NAMES[expected]}`,
        `${printPop(plain)}; ${this.#queue.fault ?? 'no fault'}`,
      );
    this.#expectFault();
  }

  #expectFault(): void {
    const { fault } = this.#queue;
    if ((fault !== undefined) !== this.plain.broken)
      throw this.#wrong(fault === undefined ? 'no fault' : 'a fault without a reason', `${fault}`);
    if (this.#fault !== undefined && fault !== this.#fault)
      throw this.#wrong('a fault changes', String(fault));
    this.#fault = fault;
  }

  #wrong(matter: string, evidence: string): Error {
    return deviation(`device: ${matter}`, this.setting, evidence);
  }
}

const NAMES = ['nothing', 'a chain', 'a fault'] as const;
