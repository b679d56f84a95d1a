/** Requests that mean nothing, each with a number of its own: what becomes of every one is told once, and is what the device said. */

import {
  MapRequest,
  ProbeRequest,
  RequestType,
  UnmapRequest,
  lowWord,
  highWord,
} from '@viommu/common';
import type { RequestOwner, RequestQueue } from '@viommu/driver';
import type { Random } from '../random.ts';
import { type Answer, RAW_TAG, type Seen, UNCLEAR, writeSerial } from './seen-request.ts';
import { codeOf } from './promise.ts';
import type { World } from './world.ts';

interface RawRequest {
  readonly serial: number;
  readonly bytes: Uint8Array;
  readonly type: number;
  readonly startPage: number;
  readonly lastPage: number;
}

const { ATTACH, DETACH, MAP, UNMAP, PROBE } = RequestType;
/** A type, and the bytes that the driver is given of such a request. */
const KINDS: readonly (readonly [type: number, bytes: number])[] = [
  [MAP, MapRequest.size],
  [UNMAP, UnmapRequest.size],
  [ATTACH, 20],
  [DETACH, 20],
  [0x77, 12],
  [MAP, 8],
];
const PAGES = [0, 1, 0xf_ffff, 0x10_0000, 0xf_ffff_ffff_fff0, 0xf_ffff_ffff_ffff];
const STATUSES = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x7f, 0x80, 0xff, 0xfe];
const TOO_FULL = 'split.drv.avail.idx-never-back';
const LENGTHS = [0, 1, 3, 5, 8, 0xffff_ffff];

/** What a device answers to one: `odd` also what it must not. */
export function rawAnswer(random: Random, { type, writableBytes }: Seen, odd: boolean): Answer {
  const status = random.pick(STATUSES);
  const answer = {
    status,
    reserved: odd ? [random.number(256), 0, random.number(256)] : [0, 0, 0],
    ...(type === PROBE && {
      properties: randomBytes(random, random.number(Math.max(0, writableBytes - 4) + 1)),
      sparse: random.once(2),
    }),
  };
  if (!odd || !random.once(4)) return answer;
  return random.pick<Answer>([
    { ...answer, length: random.pick(LENGTHS) },
    { ...answer, length: writableBytes + 1 },
    { ...answer, length: writableBytes - 1 },
    { untouched: true },
    { untouched: true, length: writableBytes },
  ]);
}

export class RawRequests {
  readonly #world: World;
  readonly #random: Random;
  /** Those that did not end yet. */
  readonly pending: Map<number, RawRequest> = new Map();
  /** A queue is being reset, or given up: requests may end without an answer. */
  ending = false;
  /** The device is let go: they may even if they were answered. */
  leaving = false;
  #serial = 0;
  #queue: RequestQueue | undefined;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
  }

  /** Adds one. @throws {IommuError} as the queue. */
  add(queue: RequestQueue, probe = false): void {
    const random = this.#random;
    this.#queue = queue;
    this.#serial += 1;
    const serial = this.#serial;
    const tag = RAW_TAG | serial;
    if (probe || random.once(3)) {
      const bytes = probe
        ? this.#bytes(PROBE, ProbeRequest.size, serial)
        : this.#bytes(...random.pick(KINDS), serial);
      const type = bytes[0] ?? 0;
      this.pending.set(serial, { serial, bytes: bytes.slice(), type, startPage: -1, lastPage: -1 });
      this.#try(serial, (owner) => queue.addReq(bytes, owner));
      // The bytes were copied.
      bytes.fill(0xee);
      return;
    }
    const startPage = random.pick(PAGES);
    const lastPage = Math.min(startPage + random.number(4), PAGES.at(-1) ?? 0);
    const map = random.once(2);
    const phys = random.pick(PAGES);
    const flags = random.number(8);
    const bytes = new Uint8Array(map ? MapRequest.size : UnmapRequest.size);
    const view = new DataView(bytes.buffer);
    const words = [
      map ? MAP : UNMAP,
      tag,
      lowWord(startPage, 0),
      highWord(startPage),
      lowWord(lastPage, 0xfff),
      highWord(lastPage),
      ...(map ? [lowWord(phys, 0), highWord(phys), flags] : [0]),
    ];
    for (const [index, word] of words.entries()) view.setUint32(4 * index, word, true);
    this.pending.set(serial, { serial, bytes, type: bytes[0] ?? 0, startPage, lastPage });
    this.#try(serial, (owner) =>
      map
        ? queue.addMap(owner, tag, startPage, lastPage, phys, flags)
        : queue.addUnmap(owner, tag, startPage, lastPage),
    );
  }

  /** Bytes to be sent by `sendReqSync` and its like, and what has to come of them. */
  send(probe: boolean): { readonly bytes: Uint8Array; readonly check: (result: unknown) => void } {
    this.#serial += 1;
    const serial = this.#serial;
    const bytes = probe
      ? this.#bytes(PROBE, ProbeRequest.size, serial)
      : this.#bytes(...this.#random.pick(KINDS), serial);
    const sent = bytes.slice();
    const check = (result: unknown): void => {
      const world = this.#world;
      const seen = world.opponent.raw.get(serial);
      if (seen === undefined) {
        if (this.ending && !(world.lawless && result === undefined)) return;
        return world.fail('request', 'a call returns and its request was not sent', '');
      }
      this.#compareBytes(seen, sent);
      if (world.lawless) {
        if (result === undefined && !world.opponent.tails.saysDone(seen))
          world.fail('request', 'a call succeeds that the device did not do', `number ${serial}`);
        return;
      }
      const code = codeOf(seen.outcome ?? UNCLEAR);
      if (code === undefined && probe) {
        const given = this.#properties.get(serial);
        const same =
          result instanceof Uint8Array &&
          given !== undefined &&
          result.every((byte, at) => byte === (given[at] ?? 0));
        if (!same) this.#world.fail('result', 'other properties arrive than the device gave', '');
      } else if (result !== code)
        this.#world.fail(
          'result',
          'a request ends otherwise than the device said',
          `${String(result)} for ${String(code)}`,
        );
    };
    return { bytes, check };
  }

  /** The properties that the device wrote for a PROBE. */
  keep(serial: number, properties: Uint8Array): void {
    this.#properties.set(serial, properties);
  }
  readonly #properties: Map<number, Uint8Array> = new Map();

  /** Everything has ended. */
  checkDone(): void {
    const { size } = this.pending;
    if (size > 0)
      this.#world.fail('request', 'a sync is over before all requests are', `${size} left`);
  }

  #try(serial: number, add: (owner: RequestOwner) => number): void {
    const owner: RequestOwner = { requestDone: (slot, status) => this.#done(serial, slot, status) };
    try {
      add(owner);
    } catch (error) {
      this.pending.delete(serial);
      throw error;
    }
  }

  #done(serial: number, slot: number, status: number): void {
    const world = this.#world;
    const request = this.pending.get(serial);
    if (request === undefined)
      return world.fail('request', 'the end of a request is told twice', `number ${serial}`);
    this.pending.delete(serial);
    const queue = this.#queue;
    if (
      queue?.typeOf(slot) !== request.type ||
      queue.startPageOf(slot) !== request.startPage ||
      queue.lastPageOf(slot) !== request.lastPage
    )
      world.fail('request', 'the queue does not know what has ended', `slot ${slot}`);
    const seen = world.opponent.raw.get(serial);
    if (seen !== undefined) this.#compareBytes(seen, request.bytes);
    if (world.lawless) {
      // Whoever gave back what, and with which length: what is done the device has said to be.
      const { opponent } = world;
      opponent.observe();
      // A ring that is fuller than it can be, by what the device gave back, is looked at no more.
      const blind = world.wild || opponent.ledger.breaches(TOO_FULL) > 0;
      if (status >= 0 && !blind && !opponent.raw.has(serial))
        world.fail('request', 'a request ends that the device was never shown', `number ${serial}`);
      const known = seen ?? opponent.raw.get(serial);
      const done = known === undefined ? blind : opponent.tails.saysDone(known);
      if (status === 0 && !done)
        world.fail(
          'request',
          'a request counts as done that the device did not do',
          `number ${serial}`,
        );
      return;
    }
    const unanswered = this.leaving || seen?.outcome === undefined;
    if (this.ending && status === UNCLEAR && unanswered) return;
    if (seen?.outcome === undefined)
      return world.fail(
        'request',
        'a request ends before the device has answered',
        `with ${status}`,
      );
    if (seen.outcome !== status)
      world.fail(
        'request',
        'a request ends with another status than the device gave',
        `${status} for ${seen.outcome}`,
      );
  }

  #compareBytes(seen: Seen, bytes: Uint8Array): void {
    // A device that writes into rings does not read there what the driver wrote.
    if (this.#world.lawless) return;
    if (seen.bytes.length !== bytes.length || !seen.bytes.every((byte, at) => byte === bytes[at]))
      this.#world.fail(
        'request',
        'the bytes of a request are others than were given',
        `${seen.bytes.join(' ')} for ${bytes.join(' ')}`,
      );
  }

  #bytes(type: number, size: number, serial: number): Uint8Array {
    const bytes = randomBytes(this.#random, size);
    bytes[0] = type;
    writeSerial(bytes, serial);
    return bytes;
  }
}

/** Different ones, of one draw. */
function randomBytes(random: Random, count: number): Uint8Array {
  const first = random.number(256);
  return Uint8Array.from({ length: count }, (_, at) => (first + at * 37) & 0xff);
}
