/**
 * The driver's side of a queue in front of a plain device, lawful or not. What the driver writes is read by the plain
 * device and held to the standard field by field; what it takes is held to the books.
 */

import { IommuError, guestPhysical } from '@viommu/common';
import { type DriverQueue, type DriverQueueState, Taken, createDriverQueue } from '@viommu/ring';
import type { Journal } from '../fuzzer.ts';
import type { Random } from '../random.ts';
import { checkDescription } from './described.ts';
import { DriverBook } from './driver-book.ts';
import { expectRefused } from './impossible.ts';
import { ListPool } from './list-pool.ts';
import { OwnedBytes } from './owned-bytes.ts';
import { type PlainBuffer, type PlainChain, type PlainDevice, writableBytesOf } from './plain.ts';
import { type Pending, checkSaved } from './saved-check.ts';
import { type Setting, clearRing, deviation, drawSetting, plainDevice } from './setting.ts';

/** No table for each descriptor of larger rings. */
const TABLED_MAX = 64;

interface Added extends Pending {
  readonly buffers: readonly PlainBuffer[];
  readonly tabled: boolean;
}

export class DriverWorld {
  readonly setting: Setting;
  readonly random: Random;
  readonly lists: ListPool;
  /** False once the device may write what it may not. */
  readonly lawful: boolean;
  device: PlainDevice;
  book: DriverBook;
  chains = 0;
  /** Chains that the device has and did not give back. */
  inDevice: PlainChain[] = [];
  /** Reads what the driver writes; of a hostile device another than the one that answers, who may count otherwise. */
  #reader: PlainDevice;
  #queue: DriverQueue;
  readonly #journal: Journal;
  #pending: Added[] = [];
  readonly #buffersPerTable: number;
  readonly #owned: OwnedBytes;
  #token = 0;
  /** Used by the device and not shown. */
  #pushed = 0;
  #asleep = false;
  #suppressed = false;
  #armed = true;
  #fault: string | undefined;

  constructor(random: Random, lawful: boolean, journal: Journal) {
    this.random = random;
    this.#journal = journal;
    this.lawful = lawful;
    this.setting = drawAliased(random);
    const { memory, size, features, tableEntries, position, packed } = this.setting;
    this.#buffersPerTable =
      features.indirect && size <= TABLED_MAX && !random.once(6) ? tableEntries : 0;
    this.#owned = new OwnedBytes(this.setting);
    this.lists = new ListPool(this.setting, random);
    const anew = position === (packed ? 0x8000 : 0) && !random.once(4);
    if (!anew) clearRing(this.setting, memory.raw, position);
    this.#queue = anew ? this.#createAnew() : this.#create(this.#firstState());
    this.device = this.#reader = plainDevice(this.setting, memory.bytes, position);
    this.book = new DriverBook(this.setting, position);
    this.#begin();
  }

  get pending(): number {
    return this.#pending.length;
  }

  get pushed(): number {
    return this.#pushed;
  }

  add(): void {
    const { random, setting } = this;
    const { size } = setting;
    const { buffers, list } = this.lists.draw();
    const count = buffers.length;
    const tabled = count > 1 && count <= Math.min(this.#buffersPerTable, size);
    const slots = tabled ? 1 : count;
    const room = size - this.book.slots - this.#pendingSlots;
    const token = this.#token + (random.once(4) ? 0x7fff_0000 : 0);
    let added: boolean | 'EINVAL';
    try {
      setting.memory.allow(8 * count + 16);
      added = this.#queue.add(list, token);
    } catch (error) {
      if (!(error instanceof IommuError) || error.code !== 'EINVAL') throw error;
      added = 'EINVAL';
    }
    const due = count > size ? 'EINVAL' : slots <= room;
    if (added !== due)
      throw this.#wrong('a chain is taken or refused wrongly', `${added} for ${slots} of ${room}`);
    if (added !== true) return this.check('add');
    this.#token += 1;
    this.#pending.push({ token, buffers, tabled, slots });
    this.check('add');
  }

  publish(): void {
    const { random, setting, lawful } = this;
    const { memory, packed, place } = setting;
    if (lawful && this.device.ready())
      throw this.#wrong('a chain is there too early', `${this.#pending.length}`);
    const race = lawful && random.once(3);
    const count = packed ? this.#pendingSlots : this.#pending.length;
    if (!lawful) this.#reader = plainDevice(setting, memory.bytes, this.#reader.position);
    const due = count > 0 ? this.#reader.asksFor(count) : false;
    const at = this.#reader.position;
    let asleep = false;
    memory.allow(6);
    if (race)
      memory.interrupt(random.number(3), () => {
        this.device.arm();
        asleep = !this.device.ready();
      });
    memory.lastWrite = -1;
    const wanted = this.#owned.during(() => this.#queue.publish());
    memory.interrupt(-1, () => undefined);
    if (race && asleep && !wanted && count > 0)
      throw this.#wrong('a notification is lost', 'the device armed meanwhile');
    if (!race && due !== undefined && wanted !== due)
      throw this.#wrong(
        due ? 'a notification that is due is not asked for' : 'a notification that nobody wants',
        `${count} from ${at}`,
      );
    const shown = packed ? place.table + 16 * (at & 0x7fff) + 14 : place.driver + 2;
    if (count > 0 && memory.lastWrite !== shown)
      throw this.#wrong('what shows the chains is not written last', `${memory.lastWrite}`);
    if (count > 0) this.#receive();
    this.check('publish');
  }

  take(): void {
    const { memory } = this.setting;
    memory.allow(12);
    const token = this.#queue.take();
    const bytes = this.#queue.takenBytes;
    const due = this.book.take();
    const expected = due === 'empty' ? Taken.EMPTY : due === 'broken' ? Taken.BROKEN : due.token;
    if (token !== expected)
      throw this.#wrong(
        token >= 0 && expected >= 0
          ? 'another token'
          : `${nameOf(token)} is taken for ${nameOf(expected)}`,
        `${token} for ${expected}; ${this.#queue.fault ?? 'no fault'}`,
      );
    if (typeof due !== 'string') {
      if (bytes !== due.bytes)
        throw this.#wrong('another length is taken', `${bytes} for ${due.bytes}`);
      this.#owned.release(due.entry, this.book.next);
      this.#asleep = false;
    }
    this.check('take');
  }

  /** The device gives one back, in any order but with IN_ORDER. */
  complete(): void {
    const { features } = this.setting;
    if (this.#wouldSpoil) return;
    const index = features.inOrder ? 0 : this.random.number(this.inDevice.length || 1);
    const chain = this.inDevice.splice(index, 1)[0];
    if (chain === undefined) return;
    const writable = writableBytesOf(chain);
    // Its claim may be larger than the chain.
    const written = this.random.once(3) ? this.random.number(writable + 2) : writable;
    this.device.push(chain, written);
    this.#pushed += 1;
  }

  /** The device shows what it has used. */
  show(): void {
    if (this.#wouldSpoil) return;
    const due = this.device.publish();
    const count = this.#pushed;
    this.#pushed = 0;
    if (count === 0) return;
    if (this.lawful && this.#asleep && due === false)
      throw this.#wrong('it sleeps, and nobody will wake it', `${count} used`);
    if (this.lawful && this.#suppressed && due === true)
      throw this.#wrong('it is notified against its will', `${count} used`);
    if (due === true) this.#asleep = false;
  }

  look(): void {
    const ready = this.#queue.ready();
    if (ready !== this.book.ready()) throw this.#wrong('ready says something else', String(ready));
    this.check('ready');
  }

  /** Arms; now and then the device shows what it has used meanwhile. */
  arm(): void {
    const { random, setting, lawful } = this;
    this.look();
    const race = lawful && this.#pushed > 0 && random.once(2) && !this.book.ready();
    const dues: (boolean | undefined)[] = [];
    if (race)
      setting.memory.interrupt(random.number(4), () => {
        dues.push(this.device.publish());
        this.#pushed = 0;
      });
    const asleep = this.#owned.during(() => this.#queue.armNotification());
    setting.memory.interrupt(-1, () => undefined);
    this.#suppressed = false;
    this.#armed = true;
    if (asleep && dues.includes(false))
      throw this.#wrong('an interrupt is lost', 'the device used meanwhile');
    this.#asleep = asleep && !(race && this.#pushed === 0);
    if (!race && asleep === this.book.ready())
      throw this.#wrong('it would sleep with something there', 'arm');
    if (race && !asleep) this.book.ready();
    this.check('arm');
  }

  suppress(): void {
    this.#owned.during(() => this.#queue.suppressNotification());
    this.#suppressed = this.#suppressed || this.#armed;
    this.#armed = false;
    this.#asleep = false;
    this.check('suppress');
  }

  /** Saved, written down, and gone on from; what was saved agrees with the books. */
  restore(): void {
    const saved = this.#queue.save();
    checkSaved(this.setting, saved, this.book, this.#pending, this.#queue.position);
    if (this.random.once(2))
      expectRefused(this.random, this.setting, saved, (state) => this.#create(state));
    this.#queue = this.#create(JSON.parse(JSON.stringify(saved)) as DriverQueueState); // Its own text.
    this.#armed = true;
    this.#fault = undefined;
    this.book.forget();
    this.check('restore');
  }

  /** RING_RESET, with whatever is in flight: all begins anew, in the same memory. */
  reset(): void {
    this.#queue = this.#createAnew();
    const position = this.setting.packed ? 0x8000 : 0;
    this.device = this.#reader = plainDevice(this.setting, this.setting.memory.bytes, position);
    this.book = new DriverBook(this.setting, position);
    this.#pending = [];
    this.inDevice = [];
    this.#pushed = 0;
    this.#fault = undefined;
    this.#begin();
  }

  /** Throws if what the queue says of itself is not what the books say. */
  check(call: string): void {
    const { memory, packed, size } = this.setting;
    this.#journal.note(
      () => `  ${call}: at ${this.#queue.position}, ${this.#queue.inFlight} in flight`,
    );
    memory.allow(Number.POSITIVE_INFINITY);
    const inFlight = this.book.inFlight.size + this.#pending.length;
    if (this.#queue.inFlight !== inFlight)
      throw this.#wrong(
        `${call}: another number in flight`,
        `${this.#queue.inFlight} for ${inFlight}`,
      );
    const { fault, position } = this.#queue;
    if ((fault !== undefined) !== this.book.broken)
      throw this.#wrong(
        fault === undefined ? 'no fault is told' : 'a fault without a reason',
        String(fault),
      );
    if (this.#fault !== undefined && this.#fault !== fault)
      throw this.#wrong('a fault changes', String(fault));
    this.#fault = fault;
    let due = this.#reader.position;
    if (!packed) due = (due + this.#pending.length) & 0xffff;
    else {
      const slot = (due & 0x7fff) + this.#pendingSlots;
      due = slot < size ? slot | (due & 0x8000) : (slot - size) | (~due & 0x8000);
    }
    if (position !== due) throw this.#wrong('another position', `${position} for ${due}`);
  }

  /** True if the device might write over what it was not shown yet. */
  get #wouldSpoil(): boolean {
    return !this.lawful && this.setting.packed && this.#pending.length > 0;
  }

  get #pendingSlots(): number {
    let slots = 0;
    for (const pending of this.#pending) slots += pending.slots;
    return slots;
  }

  /** The device sees the chains that were just published, as they were made. */
  #receive(): void {
    const { packed } = this.setting;
    for (const { token, buffers, tabled } of this.#pending) {
      const at = this.#reader.position;
      const popped = this.#reader.pop();
      if (typeof popped === 'string')
        throw this.#wrong(`a chain is not there: ${popped}`, `token ${token}`);
      const from = packed
        ? { slot: at & 0x7fff, wrap: at >= 0x8000 }
        : { slot: popped.id, wrap: false };
      const { slots, ranges } = checkDescription(this.setting, popped, buffers, tabled, from);
      if (this.book.inFlight.has(popped.id))
        throw this.#wrong('an id twice in flight', `${popped.id}`);
      const writableBytes = writableBytesOf(popped);
      const entry = { token, id: popped.id, slots, writableBytes, ranges };
      this.book.inFlight.set(popped.id, entry);
      this.#owned.claim(entry);
      this.inDevice.push(popped);
      this.chains += 1;
    }
    this.#pending = [];
    if (this.lawful && this.device.ready())
      throw this.#wrong('more chains than were added', `${this.device.position}`);
  }

  #begin(): void {
    this.#owned.begin(this.#buffersPerTable > 0);
    this.setting.memory.writable = this.#owned.map;
    this.#asleep = false;
    this.#suppressed = false;
    this.#armed = true;
  }

  #createAnew(): DriverQueue {
    const { memory, place, bytes, tables, tableEntries, size } = this.setting;
    memory.writable = undefined;
    const before = memory.bytes.slice();
    const queue = this.#create();
    for (const part of ['table', 'driver', 'device'] as const)
      before.fill(0, place[part], place[part] + bytes[part]);
    if (this.#buffersPerTable > 0) before.fill(0, tables, tables + 16 * tableEntries * size);
    if (Buffer.compare(before, memory.bytes) !== 0)
      throw this.#wrong(
        'a new queue does not begin with zeros, or clears what is not its own',
        'anew',
      );
    return queue;
  }

  #create(state?: DriverQueueState): DriverQueue {
    const { memory, layout, features, tables } = this.setting;
    const address = guestPhysical(memory.base + BigInt(tables));
    const { tableAddress } = this.setting;
    const indirect = {
      address,
      buffersPerChain: this.#buffersPerTable,
      ...(tableAddress !== address && { deviceAddress: tableAddress }),
    };
    return createDriverQueue({
      memory,
      layout,
      features,
      ...(this.#buffersPerTable > 0 && { indirect }),
      ...(state && { state }),
    });
  }

  #firstState(): DriverQueueState {
    const { size, features, position } = this.setting;
    const free = Array.from({ length: size }, (_, id) => id);
    for (let turns = Math.min(size, 8); turns > 0; turns -= 1)
      free.push(...free.splice(this.random.number(size), 1));
    const state = { version: 1, size, features, position, broken: false, free, chains: [] };
    return { ...state, buffersPerTable: this.#buffersPerTable, unpublished: 0, heldFlags: 0 };
  }

  #wrong(matter: string, evidence: string): Error {
    return deviation(`driver: ${matter}`, this.setting, evidence);
  }
}

/** A setting in which the device calls the tables by other addresses, now and then over a multiple of 4 GiB. */
function drawAliased(random: Random): Setting {
  const setting = drawSetting(random, (size) => (size <= TABLED_MAX ? size : 0));
  if (!random.once(3)) return setting;
  const line = BigInt(1 + random.number(4)) << 32n;
  return { ...setting, tableAddress: line - BigInt(16 * random.number(12)) };
}

function nameOf(taken: number): string {
  if (taken >= 0) return 'a token';
  return taken === Taken.EMPTY ? 'nothing' : 'a fault';
}
