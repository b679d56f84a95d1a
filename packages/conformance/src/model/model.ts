/**
 * The reference model: the IOMMU device of the standard, as plainly as it can be written.
 *
 * It takes requests as bytes and says what comes back, which accesses are let through, and which faults are reported.
 * Where the standard leaves a choice, {@link Choices} has a name for it. Nothing here is fast, and nothing is shared with
 * a device but the layouts of the structures.
 */

import { type FaultReason, IommuFeature, hasFeature } from '@viommu/common';
import { type AccessPrediction, type Fault, type Piece, predictAccess } from './access.ts';
import type { Answer } from './answer.ts';
import { RECOMMENDED } from './choice-table.ts';
import type { ChoiceName, Choices } from './choice.ts';
import { configBytes, writeConfig } from './config.ts';
import { type Event, EventQueue, faultRecord } from './event.ts';
import { type Alternative, type ExploreOptions, explore } from './exploration.ts';
import type { Mapping } from './mapping-set.ts';
import { type Prediction, predict } from './prediction.ts';
import { ALL_ADDRESSES, ALL_DOMAINS, type ModelEndpoint, type Platform, State } from './state.ts';

/** What the model is to be like. Only what a device offers has an effect. */
export interface ModelOptions extends Partial<Omit<Platform, 'limits'>> {
  /** The endpoints that are there from the start. */
  readonly endpoints?: readonly ModelEndpoint[];
  /** How much the device keeps; default without end. */
  readonly limits?: Partial<Platform['limits']>;
  /** Where it differs from what is recommended. */
  readonly choices?: Partial<Choices>;
}

/** What became of an access. */
export interface AccessOutcome {
  /** Where its bytes are; empty if it is refused. */
  readonly pieces: readonly Piece[];
  /** Why it is refused, and the first byte that cannot be accessed. */
  readonly fault: { readonly reason: FaultReason; readonly address: bigint } | undefined;
  /** Event buffers that the device gives back for it. */
  readonly events: readonly Event[];
}

/** 4096 and every larger power of two. */
const PAGES = 0xffff_ffff_ffff_f000n;

export class Model {
  #state: State;
  #choices: Choices;
  #events: EventQueue;
  #needsReset = false;

  constructor(options: ModelOptions = {}) {
    const { endpoints = [], choices, limits, offered = 0n, inputRange, domainRange } = options;
    const { pageSizeMask = PAGES, probeSize = 512, bypass = false } = options;
    this.#choices = { ...RECOMMENDED, ...choices };
    this.#events = new EventQueue(this.#choices);
    this.#state = new State({
      offered,
      pageSizeMask,
      // A range that is not offered does not hold.
      inputRange: (hasFeature(offered, IommuFeature.INPUT_RANGE) && inputRange) || ALL_ADDRESSES,
      domainRange: (hasFeature(offered, IommuFeature.DOMAIN_RANGE) && domainRange) || ALL_DOMAINS,
      probeSize,
      bypass,
      limits: { domains: Infinity, mappingsPerDomain: Infinity, mappings: Infinity, ...limits },
    });
    for (const endpoint of endpoints) this.#state.plug(endpoint);
  }

  /** What it chooses. */
  get choices(): Choices {
    return this.#choices;
  }

  /** True once the device is broken; requests do nothing until a reset. */
  get needsReset(): boolean {
    return this.#needsReset || this.#events.broken;
  }

  /** The feature bits that the driver accepted, as they are at FEATURES_OK. */
  negotiate(features: bigint): void {
    this.#state.features = features;
  }

  /** Carries out one request, of which the driver gave `readable` and `room` writable bytes. */
  request(readable: Uint8Array, room: number): Answer {
    const prediction = this.predict(readable, room);
    this.commit(prediction);
    return prediction.answer;
  }

  /** What {@link request} would do. */
  predict(readable: Uint8Array, room: number): Prediction {
    return predict(this.#state, this.#choices, readable, room);
  }

  /** Does what was predicted. Nothing may have happened since. */
  commit({ answer, changes }: Prediction): void {
    for (const change of changes) this.#state.apply(change);
    if (!answer.completed) this.#needsReset = true;
  }

  /** All that a conforming device may do, {@link predict} first and then by how much it differs, without doubles. */
  alternatives(
    readable: Uint8Array,
    room: number,
    free?: (name: ChoiceName) => boolean,
    options?: ExploreOptions,
  ): Alternative<Prediction>[] {
    const question = (choices: Choices, first: string | undefined): Prediction =>
      predict(this.#state, choices, readable, room, first);
    return explore(this.#choices, question, free, options);
  }

  /** From now on it chooses so. */
  choose(choices: Partial<Choices>): void {
    this.#choices = { ...this.#choices, ...choices };
    this.#events = this.#events.copy(this.#choices);
  }

  /** An access of `length` bytes by an endpoint; `access` are bits of `MapFlag`. */
  access(endpoint: number, address: bigint, length: number, access: number): AccessOutcome {
    const { pieces, fault } = this.predictAccess(endpoint, address, length, access);
    if (fault === undefined) return { pieces, fault, events: [] };
    const { reason, address: at } = fault;
    const events = this.report(endpoint, address, access, fault);
    return { pieces, fault: { reason, address: at }, events };
  }

  /** The fault of an access that was predicted is reported. Returns the event buffers that are given back. */
  report(endpoint: number, address: bigint, access: number, fault: Fault): readonly Event[] {
    // iommu.dev.fault.endpoint-valid: a record could name nobody.
    if (!this.#state.endpoints.has(endpoint) || this.needsReset) return [];
    return this.#events.report(faultRecord(this.#choices, endpoint, address, access, fault));
  }

  /** What becomes of an access, without the report of a fault. */
  predictAccess(
    endpoint: number,
    address: bigint,
    length: number,
    access: number,
  ): AccessPrediction {
    return predictAccess(this.#state, this.#choices, endpoint, address, length, access);
  }

  /** All that may become of an access instead. */
  accessAlternatives(
    endpoint: number,
    address: bigint,
    length: number,
    access: number,
  ): Alternative<AccessPrediction>[] {
    return explore(this.#choices, (choices) =>
      predictAccess(this.#state, choices, endpoint, address, length, access),
    );
  }

  /** The driver adds a buffer with so many writable bytes to the event queue. */
  postEvent(writableBytes: number): readonly Event[] {
    return this.#events.post(writableBytes);
  }

  /** The event queue alone is reset: section "Virtqueue Reset". */
  resetEvents(): void {
    this.#events.clear();
  }

  /** Records that found no buffer. */
  get droppedFaults(): number {
    return this.#events.dropped;
  }

  /** The configuration space as a driver reads it. */
  config(): Uint8Array {
    return configBytes(this.#state);
  }

  /** The driver writes to the configuration space. */
  writeConfig(offset: number, width: number, value: number): void {
    if (!writeConfig(this.#state, this.#choices, offset, width, value)) this.#needsReset = true;
  }

  /** Device reset: section "Device Status Field". */
  reset(): void {
    // iommu.dev.config.bypass-kept-on-device-reset, 7.1
    if (this.#choices.resetBypass === 'initial') this.#state.bypass = this.#state.platform.bypass;
    if (this.#choices.resetState === 'dropped') this.#state.dropDomains(); // 7.10
    this.#restart();
  }

  /** Reset of the whole system. */
  systemReset(): void {
    this.#state.bypass = this.#state.platform.bypass; // iommu.dev.config.bypass-restored-on-system-reset
    this.#state.dropDomains();
    this.#restart();
  }

  /** The platform adds an endpoint. */
  plug(endpoint: ModelEndpoint): void {
    this.#state.plug(endpoint);
  }

  /** The platform takes an endpoint away. */
  unplug(endpoint: number): void {
    this.#state.unplug(endpoint);
  }

  get bypass(): boolean {
    return this.#state.bypass;
  }

  /** The domains that exist, in the order in which they began. */
  get domains(): readonly number[] {
    return [...this.#state.domains.keys()];
  }

  /** The domain of an endpoint. */
  domainOf(endpoint: number): number | undefined {
    return this.#state.endpoints.get(endpoint)?.domain?.id;
  }

  /** The endpoints of a domain, in the order in which they came; none if there is no such domain. */
  endpointsOf(domain: number): readonly number[] {
    return [...(this.#state.domains.get(domain)?.endpoints ?? [])].map(({ id }) => id);
  }

  /** The mappings of a domain, in order; none if there is no such domain. */
  mappings(domain: number): readonly Mapping[] {
    return this.#state.domains.get(domain)?.mappings.all ?? [];
  }

  /** The same model once more, which goes its own way: for save and restore. */
  copy(): Model {
    const copy = new Model({ choices: this.#choices });
    copy.#state = this.#state.copy();
    copy.#events = this.#events.copy(this.#choices);
    copy.#needsReset = this.#needsReset;
    return copy;
  }

  #restart(): void {
    this.#state.features = 0n;
    this.#needsReset = false;
    this.#events.clear();
  }
}
