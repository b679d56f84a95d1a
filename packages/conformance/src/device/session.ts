/**
 * What a case works with: a device that runs, requests by name and as bytes, and ways to say what is wrong.
 *
 * Steps that lead up to the point of a case (`attached`, `mapped`, `setUp`) skip it if they fail, since other clauses
 * are about them. The stimulus goes out by `provoke`, after which the queue must still serve a good request.
 */

import {
  IommuFeature,
  IommuQueue,
  type Status,
  featureMask,
  formatStatus,
  hasFeature,
} from '@viommu/common';
import type { Entry } from '../catalogue.ts';
import { Judge } from '../judge.ts';
import type { TestRing } from '../ring/test-ring.ts';
import type { DeviceTarget, TargetEndpoint } from '../target.ts';
import { Skipped, Violation } from '../verdict.ts';
import type { Answer } from './answer.ts';
import { Arena } from './arena.ts';
import { Config } from './config.ts';
import { Courier, type SendOptions } from './courier.ts';
import { Dma } from './dma.ts';
import { EventQueue } from './event-queue.ts';
import {
  type MapFields,
  attachBytes,
  detachBytes,
  mapBytes,
  probeBytes,
  unmapBytes,
} from './request.ts';
import {
  type RingFormat,
  type Running,
  type StartOptions,
  bringUp,
  chosenFeatures,
  enableRing,
} from './start.ts';
import { Transcript } from './transcript.ts';

/** Pages of the range that {@link Session.page} counts in. */
export const PAGES = 256;
const EVENTS = 16;
const EVENT_BYTES = 24;

export interface SessionOptions {
  readonly target: DeviceTarget;
  readonly entry: Entry;
  readonly format: RingFormat;
}

export class Session extends Judge {
  readonly target: DeviceTarget;
  /** What the case stands for. */
  readonly entry: Entry;
  readonly offered: bigint;
  /** The configuration space, read field by field. */
  readonly config: Config;
  readonly arena: Arena;
  readonly transcript: Transcript = new Transcript();
  readonly courier: Courier;
  readonly dma: Dma;
  /** SHOULDs that were broken on the way, and choices that the device made. */
  readonly format: RingFormat;
  #running: Running | undefined;
  #events: EventQueue | undefined;
  #nextDomain: number | undefined;

  constructor({ target, entry, format }: SessionOptions) {
    super();
    this.target = target;
    this.entry = entry;
    this.format = format;
    this.offered = target.readFeatures();
    this.config = new Config(target, this.offered);
    this.arena = new Arena(target);
    this.courier = new Courier(target, this.arena, this.transcript);
    this.dma = new Dma(target, this.arena, this.transcript);
  }

  /** Brings the device up, from whatever state, with fresh rings. */
  start(options: StartOptions = {}): void {
    const features = chosenFeatures(this.offered, options, this.format);
    this.#running = undefined;
    this.#running = bringUp(this.target, this.arena, features, {
      size: options.queueSize,
      prepare: (ring) => {
        this.#events = new EventQueue(ring, this.target.memory, this.arena);
        const events = Math.min(options.events ?? EVENTS, ring.size);
        for (let event = 0; event < events; event += 1) this.#events.post(EVENT_BYTES);
      },
    });
  }

  /** Enables the request queue, which was reset, in fresh rings, and uses these from now on. */
  reopenRequests(size?: number): TestRing {
    const { accepted, ...running } = this.running;
    const ring = enableRing(this.target, this.arena, IommuQueue.REQUEST, { accepted, size });
    this.#running = { ...running, accepted, requests: ring };
    return ring;
  }

  get running(): Running {
    if (this.#running === undefined) throw new Error('the case has not started the device');
    return this.#running;
  }

  /** True from a successful {@link start} on. */
  get started(): boolean {
    return this.#running !== undefined;
  }

  get accepted(): bigint {
    return this.running.accepted;
  }

  get events(): EventQueue {
    if (this.#events === undefined) throw new Error('the case has not started the device');
    return this.#events;
  }

  /** True if a feature of the IOMMU or of virtio is negotiated, by bit number. */
  has(bit: number): boolean {
    return hasFeature(this.accepted, bit);
  }

  /** True if a feature is offered. */
  offers(bit: number): boolean {
    return hasFeature(this.offered, bit);
  }

  // --- Names and places --------------------------------------------------------------------------------------------

  /** Endpoints that the device manages. */
  get present(): readonly TargetEndpoint[] {
    return this.target.endpoints.filter(({ role }) => role === 'present');
  }

  /** The endpoint that cases use first, and the one they use second. */
  get a(): number {
    return this.#endpoint(0);
  }

  get b(): number {
    return this.#endpoint(1);
  }

  /** An endpoint that does not exist. */
  get absent(): number {
    const endpoint = this.target.endpoints.find(({ role }) => role === 'absent');
    if (endpoint === undefined) throw new Skipped('the target names no endpoint that is absent');
    return endpoint.id;
  }

  /** A domain number that nobody has used with this target. */
  domain(): number {
    const { first, last } = this.config.domainRange;
    // Numbers from 1 on if they are in range: 0 has cases of its own.
    const next: number = this.#nextDomain ?? (first === 0 && last > 0 ? 1 : first);
    if (next > last) throw new Skipped('the device has too few domain numbers for this case');
    this.#nextDomain = next + 1;
    return next;
  }

  /** The smallest page size. */
  get granule(): bigint {
    return this.config.granule;
  }

  /** The first address of page `index`, 0 to {@link PAGES} - 1, of a range that can be mapped and accessed. */
  page(index: number): bigint {
    return (
      this.dma.firstPage(this.granule, PAGES, this.config.inputRange) + BigInt(index) * this.granule
    );
  }

  /** The last address of page `index`. */
  last(index: number): bigint {
    return this.page(index) + this.granule - 1n;
  }

  // --- Requests ----------------------------------------------------------------------------------------------------

  /** Sends a request that must be served. */
  send(readable: Uint8Array, options: SendOptions = {}): Answer {
    const answer = this.courier.send(this.running.requests, readable, options);
    if (answer === undefined)
      throw new Violation('the device asks for a reset instead of an answer', 'fail');
    return answer;
  }

  /** Sends a stimulus, and then a good request, which must be served. */
  provoke(readable: Uint8Array, options: SendOptions = {}): Answer {
    const answer = this.attempt(readable, options);
    if (answer === undefined)
      throw new Violation('the device asks for a reset instead of an answer');
    return answer;
  }

  /** As {@link provoke}; `undefined` if the device asks for a reset, which is the end of this start. */
  attempt(readable: Uint8Array, options: SendOptions = {}): Answer | undefined {
    const answer = this.courier.send(this.running.requests, readable, options);
    if (answer !== undefined) this.checkServes();
    return answer;
  }

  attach(domain: number, endpoint: number, flags = 0): Answer {
    return this.send(attachBytes(domain, endpoint, flags), {
      label: `ATTACH domain ${domain} endpoint ${endpoint} flags ${flags}`,
    });
  }

  detach(domain: number, endpoint: number): Answer {
    return this.send(detachBytes(domain, endpoint), {
      label: `DETACH domain ${domain} endpoint ${endpoint}`,
    });
  }

  map(fields: MapFields): Answer {
    return this.send(mapBytes(fields), { label: labelOfMap(fields) });
  }

  unmap(domain: number, virtStart: bigint, virtEnd: bigint): Answer {
    const label = `UNMAP domain ${domain} 0x${virtStart.toString(16)}..0x${virtEnd.toString(16)}`;
    return this.send(unmapBytes(domain, virtStart, virtEnd), { label });
  }

  probe(endpoint: number, options: SendOptions = {}): Answer {
    return this.send(probeBytes(endpoint), {
      label: `PROBE endpoint ${endpoint}`,
      writable: this.config.probeSize + 4,
      ...options,
    });
  }

  /** Maps pages of the range of {@link page}, one behind the other, to `phys` or some memory. */
  mapPages(domain: number, first: number, count = 1, more: Partial<MapFields> = {}): Answer {
    const virtStart = this.page(first);
    const virtEnd = this.last(first + count - 1);
    const physStart = more.physStart ?? this.physical(count);
    return this.map({ domain, virtStart, virtEnd, physStart, ...more });
  }

  unmapPages(domain: number, first: number, count = 1): Answer {
    return this.unmap(domain, this.page(first), this.last(first + count - 1));
  }

  /** Physical addresses for a mapping that nobody accesses: the window's own, aligned to the granule. */
  physical(_pages: number): bigint {
    return (this.target.window.start + this.granule - 1n) & -this.granule;
  }

  // --- Steps before the point of a case ----------------------------------------------------------------------------

  /** A step that must succeed for the case to make sense; it is skipped otherwise. */
  setUp(answer: Answer): Answer {
    if (!answer.ok) throw new Skipped(`cannot be set up: ${answer.toString()}`);
    return answer;
  }

  /** A fresh domain with this endpoint in it. */
  attached(endpoint: number = this.a, flags = 0): number {
    const domain = this.domain();
    this.setUp(this.attach(domain, endpoint, flags));
    return domain;
  }

  /** Maps pages, which must succeed, and returns where they lead. */
  mapped(domain: number, first: number, count = 1, more: Partial<MapFields> = {}): bigint {
    const physStart = more.physStart ?? this.physical(count);
    this.setUp(this.mapPages(domain, first, count, { ...more, physStart }));
    return physStart;
  }

  // --- Judgement ---------------------------------------------------------------------------------------------------

  /** {@link check} that the status is one of these. */
  expect(answer: Answer, ...statuses: readonly Status[]): void {
    const { status } = answer;
    this.check(
      status !== undefined && (statuses as readonly number[]).includes(status), // wider than the tuple
      `expected ${statuses.map(formatStatus).join(' or ')}, got ${answer.toString()}`,
    );
  }

  /** {@link check} that a request was refused, with whatever status, or untouched. */
  expectRefused(answer: Answer): void {
    this.check(!answer.ok, `expected a refusal, got ${answer.toString()}`);
  }

  /**
   * Sends a good request without an effect, which must be served: a PROBE, or where there is none an UNMAP of a domain
   * that does not exist. Without either feature there is no such request.
   */
  checkServes(): void {
    const probe = this.has(IommuFeature.PROBE) && this.present.length > 0;
    if (!probe && !this.has(IommuFeature.MAP_UNMAP)) return;
    const request = probe ? probeBytes(this.a) : unmapBytes(this.config.domainRange.last, 0n, 0n);
    const answer = this.courier.send(this.running.requests, request, {
      writable: probe ? this.config.probeSize + 4 : 4,
      label: 'a good request',
      routine: true,
    });
    if (answer === undefined)
      throw new Violation('the device asks for a reset after the stimulus', 'fail');
    this.must(answer.status !== undefined, 'a good request after the stimulus is not served');
  }

  #endpoint(index: number): number {
    const endpoint = this.present[index];
    if (endpoint === undefined)
      throw new Skipped(`the target has only ${index} endpoint${index === 1 ? '' : 's'}`);
    return endpoint.id;
  }
}

/** BYPASS_CONFIG, which many cases turn off. */
export const BYPASS_CONFIG: bigint = featureMask(IommuFeature.BYPASS_CONFIG);

function labelOfMap({ domain, virtStart, virtEnd, physStart, flags = 3 }: MapFields): string {
  const hex = (value: bigint): string => `0x${value.toString(16)}`;
  return `MAP domain ${domain} ${hex(virtStart)}..${hex(virtEnd)} to ${hex(physStart)} flags ${flags}`;
}
