/** Stateful streams: steps that make sense after what came before, values pressed against the edges of what there is. */

import {
  ADDRESS_MAX,
  AttachFlag,
  FaultRecord,
  IommuConfig,
  IommuQueue,
  RequestType,
} from '@viommu/common';
import type { Model } from '../model/model.ts';
import type { DeviceTarget } from '../target.ts';
import { AddressSource } from './address.ts';
import { disorder } from './disorder.ts';
import { BATCH_MAX, DATA_BYTES, Place } from './limit.ts';
import { randomRefusal } from './platform.ts';
import type { Random } from './random.ts';
import { attachBytes, detachBytes, mapBytes, probeBytes, unmapBytes } from './request-bytes.ts';
import type { AccessStep, RequestStep, ResetStep, Setup, Step } from './stream.ts';

/** What streams do, and how often as a rule. */
const OPERATIONS = {
  attach: 10,
  detach: 4,
  map: 40,
  unmap: 16,
  probe: 3,
  unknown: 1,
  access: 24,
  post: 4,
  config: 2,
  reset: 1,
  save: 1,
  queue: 3,
  disorder: 2,
} as const;

type Operation = keyof typeof OPERATIONS;
type RequestOperation = (typeof REQUEST_OPERATIONS)[number];

const REQUEST_OPERATIONS = ['attach', 'detach', 'map', 'unmap', 'probe', 'unknown'] as const;
const REQUESTS: ReadonlySet<Operation> = new Set(REQUEST_OPERATIONS);
/** Operations that wait for the end of a batch. */
const WAITING_MAX = 32;

/** The same where accesses, and whatever builds address spaces anew, take as long as twenty requests. */
const SLOW_OPERATIONS: Readonly<Record<Operation, number>> = {
  ...OPERATIONS,
  attach: 3,
  detach: 1.5,
  access: 6,
  config: 0.3,
  disorder: 0.5,
};

/** Fields of requests; how many bytes requests and buffers have, and which they are; rings. */
export type Wrong = 'value' | 'frame' | 'ring';

const ALL_WRONGS: readonly Wrong[] = ['value', 'frame', 'ring'];

export interface GeneratorOptions {
  /** What the driver may do wrong; all of it if absent. */
  readonly wrongs?: readonly Wrong[] | undefined;
  /** The device is in another process, which nothing but requests reaches soon. */
  readonly slow?: boolean;
}

const DOMAIN_EDGES = [0, 1, 2, 3, 4, 0x7fff_ffff, 0xffff_ffff];
const ENDPOINT_EDGES = [0, 1, 0xff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
const MAP_FLAGS = [1, 2, 3, 3, 3, 7];
const ODD_FLAGS = [0, 4, 5, 8, 0x8000_0003, 0xffff_ffff];
const LENGTHS = [1, 1, 2, 8, 64, 0x7ff, 0x800, 0xfff, 0x1000];
const SLOW_LENGTHS = [1, 1, 2, 8, 64, 0x200];

export class Generator {
  readonly #random: Random;
  readonly #modelNow: () => Model;
  readonly #addresses: AddressSource;
  readonly #endpoints: readonly number[];
  readonly #domains: readonly number[];
  readonly #probeRoom: number;
  /** Each operation as often as it is to come. */
  readonly #operations: readonly Operation[];
  /** One of so many requests has something wrong with it. */
  readonly #odd: number;
  /** Or with the number of its bytes. */
  readonly #oddFrame: number;
  readonly #oddProbe: number;
  readonly #lengths: readonly number[];
  readonly #wrongs: ReadonlySet<Wrong>;
  readonly #cuts: number;
  readonly #batches: readonly number[];
  readonly #setup: Setup;
  readonly #window: { readonly start: bigint; readonly bytes: number };
  /** Requests of the batch that are to come. */
  #left = 0;
  /** Steps until the ring is to be turned around, if ever. */
  #untilTurn: number;
  readonly #waiting: Operation[] = [];
  #excursion: ReturnType<typeof disorder> | undefined;

  /** For a target that was just opened; `modelNow` says what is known of it at any time. */
  constructor(
    random: Random,
    modelNow: () => Model,
    setup: Setup,
    target: DeviceTarget,
    { wrongs = ALL_WRONGS, slow = false }: GeneratorOptions = {},
  ) {
    const { window } = target;
    const endpoints = target.endpoints.filter(({ role }) => role !== 'alias').map(({ id }) => id);
    const data = { start: window.start + BigInt(Place.DATA), bytes: DATA_BYTES };
    this.#setup = setup;
    this.#window = window;
    const config = IommuConfig.read(new DataView(modelNow().config().buffer));
    this.#random = random;
    this.#modelNow = modelNow;
    // In some streams endpoints seldom move, and in some of those domains become very large.
    const settled = random.once(3);
    const bulk = settled && random.once(2);
    this.#addresses = new AddressSource(random, modelNow, config.pageSizeMask, data, bulk);
    this.#endpoints = endpoints.filter(() => !random.once(4));
    if (this.#endpoints.length === 0) this.#endpoints = endpoints;
    this.#domains = random.pick([[1], [1, 2], [1, 2, 3], DOMAIN_EDGES]);
    this.#probeRoom = config.probeSize + TAIL;
    const odd = random.pick([3, 10, 40, 200]);
    this.#lengths = slow ? SLOW_LENGTHS : LENGTHS;
    this.#wrongs = new Set(wrongs);
    this.#odd = this.#wrongs.has('value') ? odd : NEVER;
    this.#oddFrame = this.#wrongs.has('frame') ? 2 * odd : NEVER;
    this.#oddProbe = this.#wrongs.has('frame') ? 4 : NEVER;
    this.#cuts = random.pick([2, 8, 50]);
    this.#batches = random.pick([[1], [1, 2, 3], [8, 32], [BATCH_MAX], [1, 5, BATCH_MAX]]);
    this.#operations = swarm(random, slow ? SLOW_OPERATIONS : OPERATIONS, settled, bulk);
    // So many requests at once are seldom worth their time.
    const turns = target.quietMs === 0 && setup.format === 'split' && random.once(slow ? 60 : 48);
    this.#untilTurn = turns ? 1 + random.number(50) : 0;
  }

  next(): Step {
    const excursion = this.#excursion?.next();
    if (excursion?.done === false) return excursion.value;
    this.#excursion = undefined;
    this.#untilTurn -= 1;
    if (this.#untilTurn === 0)
      return { kind: 'turn', to: TURN_MAX - this.#random.number(TURN_SHORT) };
    // Until then nothing happens.
    if (this.#modelNow().needsReset && !this.#random.once(4)) return this.#reset();
    const operation = this.#operation();
    switch (operation) {
      case 'access':
        return this.#access();
      case 'post':
        return {
          kind: 'post',
          bytes: this.#random.pick(this.#wrongs.has('frame') ? POSTS : GOOD_POSTS),
        };
      case 'config':
        return {
          kind: 'config',
          ...this.#random.pick(CONFIG_WRITES),
          value: this.#random.pick([0, 1, 0, 1, 2, 0xff]),
        };
      case 'reset':
        // Most streams are to become long ones.
        return this.#random.once(8) ? this.#reset() : this.next();
      case 'save':
        return this.#random.once(20) ? { kind: 'save' } : this.next();
      case 'queue':
        return {
          kind: 'queue',
          queue: this.#random.once(3) ? IommuQueue.EVENT : IommuQueue.REQUEST,
          act: this.#random.pick(QUEUE_ACTS),
        };
      case 'disorder':
        if (this.#random.once(3) && this.#wrongs.has('ring'))
          this.#excursion = disorder(this.#random, this.#setup, this.#window, () =>
            this.#request(this.#random.pick(['map', 'probe', 'attach', 'unmap'])),
          );
        return this.next();
      default:
        return this.#request(operation);
    }
  }

  /** The next operation; what is no request waits for the end of a batch. */
  #operation(): Operation {
    if (this.#left === 0 && this.#waiting.length > 0) return this.#waiting.pop()!; // There is one.
    for (;;) {
      const operation = this.#random.pick(this.#operations);
      // What is saved within a batch is saved with requests in flight.
      if (this.#left === 0 || REQUESTS.has(operation) || operation === 'save') return operation;
      if (this.#waiting.length < WAITING_MAX) this.#waiting.push(operation);
    }
  }

  #reset(): ResetStep {
    const random = this.#random;
    const of = random.once(3) ? 'system' : 'device';
    return { kind: 'reset', of, refuse: randomRefusal(random) };
  }

  #request(operation: RequestOperation): RequestStep {
    const random = this.#random;
    let readable = this.#bytes(operation);
    let room = operation === 'probe' ? this.#probeRoom : TAIL;
    if (random.once(2 * this.#oddFrame))
      readable[random.number(readable.length)] = random.number(256);
    if (random.once(this.#oddFrame)) {
      const size = random.pick([0, 1, 3, 4, 5, readable.length - 1, readable.length + 1, 100]);
      const other = new Uint8Array(size);
      other.set(readable.subarray(0, size));
      readable = other;
    }
    if (random.once(operation === 'probe' ? this.#oddProbe : this.#oddFrame))
      room = Math.max(0, random.pick([0, 1, 3, 5, 8, 50, room - 1, room + 1, room + 9, room + 4]));
    if (this.#left === 0) this.#left = random.pick(this.#batches);
    this.#left -= 1;
    const held = this.#left > 0;
    if (!random.once(this.#cuts)) return { kind: 'request', readable, room, held };
    return { kind: 'request', readable, room, held, cuts: [this.#sizes(), this.#sizes()] };
  }

  #bytes(operation: RequestOperation): Uint8Array {
    const random = this.#random;
    const odd = random.once(this.#odd);
    switch (operation) {
      case 'attach': {
        const flags = odd
          ? random.pick([2, 3, 0x8000_0000])
          : random.once(8)
            ? AttachFlag.BYPASS
            : 0;
        return this.#spoilt(attachBytes(this.#domain(odd), this.#endpoint(odd), flags), odd);
      }
      case 'detach': {
        const endpoint = this.#endpoint(odd);
        const own = odd ? undefined : this.#modelNow().domainOf(endpoint);
        return detachBytes(own ?? this.#domain(odd), endpoint);
      }
      case 'map': {
        const [virtStart, virtEnd] = this.#addresses.range(odd);
        const phys = this.#addresses.physical(odd);
        const flags = random.pick(odd && random.once(2) ? ODD_FLAGS : MAP_FLAGS);
        return mapBytes(this.#living(odd), virtStart, virtEnd, phys, flags);
      }
      case 'unmap': {
        const domain = this.#living(odd);
        const [start, last] = this.#addresses.removal(domain, odd);
        return this.#spoilt(unmapBytes(domain, start, last), odd);
      }
      case 'probe':
        return probeBytes(this.#endpoint(odd));
      default: {
        const bytes = attachBytes(this.#domain(odd), this.#endpoint());
        bytes[0] = random.pick([0, 6, 0x7f, 0xff, random.number(256)]);
        return bytes;
      }
    }
  }

  /** At times with a reserved byte that is not zero. */
  #spoilt(bytes: Uint8Array, odd: boolean): Uint8Array {
    if (odd && this.#random.once(2)) {
      const from = bytes[0] === RequestType.ATTACH || bytes[0] === RequestType.UNMAP ? 4 : 8;
      bytes[bytes.length - 1 - this.#random.number(from)] = 1;
    }
    return bytes;
  }

  #access(): AccessStep {
    const random = this.#random;
    const length = random.pick(this.#lengths);
    const address = this.#addresses.access(length);
    const room = ADDRESS_MAX - address;
    return {
      kind: 'access',
      endpoint: this.#endpoint(),
      direction: random.once(2) ? 'read' : 'write',
      address,
      length: room < BigInt(length) ? Number(room) + 1 : length,
    };
  }

  #endpoint(odd = false): number {
    const random = this.#random;
    return random.pick(odd && random.once(4) ? ENDPOINT_EDGES : this.#endpoints);
  }

  #domain(odd: boolean): number {
    return this.#random.pick(odd ? DOMAIN_EDGES : this.#domains);
  }

  /** Mostly a domain that exists. */
  #living(odd: boolean): number {
    const { domains } = this.#modelNow();
    return odd || domains.length === 0 ? this.#domain(odd) : this.#random.pick(domains);
  }

  #sizes(): number[] {
    const sizes: number[] = [];
    for (let count = this.#random.number(4); count > 0; count -= 1)
      sizes.push(1 + this.#random.number(20));
    return sizes;
  }
}

const TAIL = 4;
const QUEUE_ACTS = ['listen', 'listen', 'listen', 'ignore', 'ignore', 'renew'] as const;
const TURN_MAX = 0xffff;
/** Positions before the last one, so that what follows goes around the corner. */
const TURN_SHORT = 100;
/** For `once` of a random value. */
const NEVER = 2 ** 30;
const GOOD_POSTS = [FaultRecord.size, 32];
const POSTS = [FaultRecord.size, FaultRecord.size, FaultRecord.size, 32, 23, 8, 1];
const BYPASS_AT = IommuConfig.offset.bypass;
const CONFIG_WRITES = [
  { offset: BYPASS_AT, width: 1 },
  { offset: BYPASS_AT, width: 1 },
  { offset: BYPASS_AT, width: 1 },
  { offset: BYPASS_AT, width: 4 },
  { offset: 0, width: 4 },
  { offset: BYPASS_AT + 1, width: 1 },
];

/** A choice of operations, each rarer or more frequent than as a rule, some not at all. */
function swarm(
  random: Random,
  operations: Readonly<Record<Operation, number>>,
  settled: boolean,
  bulk: boolean,
): readonly Operation[] {
  const chosen: Operation[] = [];
  for (const [name, share] of Object.entries(operations) as [Operation, number][]) {
    // its own entries
    let weight = random.pick(name === 'map' ? [0.3, 1, 1, 2] : [0, 0.3, 1, 1, 4]);
    if (name === 'attach') weight = settled ? 0.1 : random.pick([0.3, 1, 2]);
    else if (bulk && name === 'map') weight = 4;
    else if (bulk && name === 'unmap') weight = 0.3;
    else if (settled && (name === 'detach' || name === 'reset' || name === 'disorder')) weight = 0;
    for (let time = 0; time < share * weight; time += 1) chosen.push(name);
  }
  return chosen;
}
