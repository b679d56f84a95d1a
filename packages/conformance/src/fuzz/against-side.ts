/** One of two devices that get the same stream: its guest, and models of what it may do. */

import {
  AttachRequest,
  IommuConfig,
  MapRequest,
  ProbeRequest,
  RequestType,
  formatStatus,
} from '@viommu/common';
import type { AccessPrediction } from '../model/access.ts';
import type { Completion } from '../model/answer.ts';
import type { Model } from '../model/model.ts';
import type { DeviceTarget } from '../target.ts';
import { lengthOf } from './access-step.ts';
import { statusOf } from './adoption.ts';
import { configOf } from './books.ts';
import { Data, sameBytes } from './data.ts';
import { signatureOf } from './deviation.ts';
import { readableOf, roomOf } from './framing.ts';
import { Guest } from './guest.ts';
import { Oracle } from './oracle.ts';
import type { AccessStep, RequestStep, Setup } from './stream.ts';
import { answerDeviation, lengthDeviation } from './wording.ts';

/** What became of a request, in the words that both sides share. */
export interface Reply {
  /** A status, or why there is none. */
  readonly status: string;
  readonly usedLength: number;
  readonly after: Uint8Array;
  readonly rule: string;
  /** True if the status and the bytes are those of a conforming device, and if the length is. */
  readonly conforms: boolean;
  readonly lengthConforms: boolean;
  /** False if the model does not know what became of it. */
  readonly settled: boolean;
}

/** What became of an access. */
export interface Effect {
  /** `nothing`, or `bytes`, which are in what was read or in the data. */
  readonly what: 'nothing' | 'bytes';
  readonly bytes: Uint8Array;
  readonly conforms: boolean;
  readonly rule: string;
}

const NO_RESPONSE = 'DEVICE_NEEDS_RESET';

export class Side {
  readonly target: DeviceTarget;
  readonly guest: Guest;
  readonly data: Data;
  /** True once it gives no more answers. */
  broken = false;
  readonly #oracle: Oracle;
  /** What it was seen to do wrong: nobody looks for an excuse a second time. */
  readonly #known: Set<string> = new Set();
  readonly #endpoints: ReadonlyMap<number, number>;
  readonly #origin: DeviceTarget['window'];

  /** `endpoints` are its own by those of the stream, and `origin` is the window that the stream is about. */
  constructor(
    target: DeviceTarget,
    setup: Setup,
    endpoints: ReadonlyMap<number, number>,
    origin: DeviceTarget['window'],
  ) {
    this.target = target;
    this.guest = new Guest(target, setup, false);
    this.#oracle = new Oracle(target, undefined, this.#known);
    this.#endpoints = endpoints;
    this.#origin = origin;
    this.data = new Data(this.guest);
  }

  get model(): Model {
    return this.#oracle.model;
  }

  /** From status 0 on; only features of `common` are accepted. */
  start(refuse: bigint, common: bigint): void {
    this.guest.start(refuse | (this.target.readFeatures() & ~common));
    this.#oracle.each((model) => model.negotiate(this.guest.features));
    this.broken = false;
  }

  reset(system: boolean): void {
    if (system) {
      this.target.reset?.('system');
      this.#oracle.each((model) => model.systemReset());
    } else {
      this.target.writeStatus(0);
      this.#oracle.reset();
    }
  }

  /** The same request for this device: its own endpoints, and its own memory. */
  own(step: RequestStep): RequestStep {
    const readable = step.readable.slice();
    const view = new DataView(readable.buffer);
    const type = readable[0];
    const at =
      type === RequestType.PROBE ? ProbeRequest.offset.endpoint : AttachRequest.offset.endpoint;
    const names =
      type === RequestType.ATTACH || type === RequestType.DETACH || type === RequestType.PROBE;
    if (names && readable.length >= at + 4) {
      const endpoint = view.getUint32(at, true);
      view.setUint32(at, this.#endpoints.get(endpoint) ?? endpoint, true);
    }
    if (type === RequestType.MAP && readable.length >= MapRequest.size) {
      const { physStart } = MapRequest.offset;
      view.setBigUint64(physStart, this.#place(view.getBigUint64(physStart, true)), true);
    }
    return { ...step, readable };
  }

  /** What came back for a request of {@link own}. */
  judge(step: RequestStep, completion: Completion | undefined): Reply {
    const readable = readableOf(step);
    const room = roomOf(step);
    const verdict = this.#oracle.request(readable, room, completion);
    const { rule, wrong } = verdict;
    if (wrong === 'answer') this.#known.add(signatureOf(answerDeviation(verdict, completion)));
    if (wrong === 'length' && completion !== undefined)
      this.#known.add(signatureOf(lengthDeviation(verdict.answer, completion)));
    const settled = wrong !== 'answer' || this.#oracle.adopt(readable, room, completion);
    this.broken ||= completion === undefined;
    return {
      status: nameOfStatus(completion),
      usedLength: completion?.usedLength ?? 0,
      after: completion?.after ?? new Uint8Array(),
      rule,
      conforms: wrong !== 'answer',
      lengthConforms: wrong === 'nothing',
      settled,
    };
  }

  /** How long the access of this device would be; 0 if it can make none, or one that hits something else. */
  reach(step: AccessStep, right: number): number {
    const own = this.#ownAccess(step);
    const dma = this.target.endpoints.find(({ id }) => id === own.endpoint)?.dma;
    const length = this.target.dma === undefined ? 0 : lengthOf(own, dma);
    if (length === 0) return 0;
    const predictions = this.#oracle.accesses(own.endpoint, own.address, length, right);
    const harmless = predictions.every(
      (one) => one.fault !== undefined || this.data.reach(one.pieces) === 'data',
    );
    return harmless ? length : 0;
  }

  access(step: AccessStep, length: number, right: number, pattern: Uint8Array): Effect {
    const own = this.#ownAccess(step);
    const { endpoint, address, direction } = own;
    const predictions = this.#oracle.accesses(endpoint, address, length, right);
    const bytes = pattern.slice();
    const outcome = this.guest.access(own, bytes);
    const seen = { direction, outcome, before: pattern, bytes };
    const explains = (one: AccessPrediction): boolean => this.data.explains(one, seen);
    const found =
      predictions.find(explains) ??
      this.#oracle.otherAccesses(endpoint, address, length, right).find(explains);
    const untouched = direction === 'write' ? this.data.isUntouched : isNothing(bytes, pattern);
    if (found !== undefined)
      this.#oracle.keep((model) => {
        if (explains(model.predictAccess(endpoint, address, length, right))) return true;
        const alternatives = model.accessAlternatives(endpoint, address, length, right);
        return alternatives.some(({ prediction }) => explains(prediction));
      });
    this.data.accept();
    return {
      what: outcome === 'refused' || untouched ? 'nothing' : 'bytes',
      bytes,
      conforms: found !== undefined,
      rule: found?.fault === undefined ? 'memory' : 'fault',
    };
  }

  post(bytes: number): boolean {
    if (!this.guest.post(bytes)) return false;
    this.#oracle.each((model) => model.postEvent(bytes));
    return true;
  }

  /** Writes a field of the configuration space; true if the model agrees with what is there then. */
  writeConfig(offset: number, width: number, value: number): boolean {
    this.target.writeConfig(offset, width, value);
    this.#oracle.each((model) => model.writeConfig(offset, width, value));
    const seen = configOf(this.target);
    return this.#oracle.keep((model) => sameBytes(model.config(), seen));
  }

  /** The fields of the configuration space. */
  config(): Readonly<Record<string, unknown>> {
    return { ...IommuConfig.read(new DataView(configOf(this.target).buffer)) };
  }

  #ownAccess(step: AccessStep): AccessStep {
    return { ...step, endpoint: this.#endpoints.get(step.endpoint) ?? step.endpoint };
  }

  /** An address in the window of the stream lies in this one at the same place. */
  #place(address: bigint): bigint {
    const at = address - this.#origin.start;
    return at >= 0n && at < BigInt(this.#origin.bytes) ? this.target.window.start + at : address;
  }
}

function nameOfStatus(completion: Completion | undefined): string {
  if (completion === undefined) return NO_RESPONSE;
  const status = statusOf(completion);
  if (status !== undefined) return formatStatus(status);
  return sameBytes(completion.before, completion.after) ? 'nothing written' : 'bytes';
}

function isNothing(bytes: Uint8Array, before: Uint8Array): boolean {
  return sameBytes(bytes, before) || bytes.every((byte) => byte === 0);
}
