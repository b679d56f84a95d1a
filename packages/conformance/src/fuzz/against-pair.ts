/** Two devices that get the same stream: what one does is compared with what the other does. */

import {
  ADDRESS_MAX,
  FaultRecord,
  IommuConfig,
  MapFlag,
  RequestTail,
  RequestType,
} from '@viommu/common';
import type { DeviceTarget } from '../target.ts';
import {
  type Difference,
  type NamedDeviation,
  type Verdict,
  formatDifference,
  nameOfDifference,
} from './against-deviation.ts';
import { type Reply, Side } from './against-side.ts';
import { sameBytes } from './data.ts';
import { Deviation, signatureOf } from './deviation.ts';
import type { Tally } from './fuzzer.ts';
import { BATCH_MAX } from './limit.ts';
import { domainIn, mapBytes, unmapBytes } from './request-bytes.ts';
import type { AccessStep, ConfigStep, RequestStep, Setup, Step } from './stream.ts';

export interface PairOptions {
  readonly deviations: readonly NamedDeviation[];
  /** Signatures of differences without a name that do not end the stream either. */
  readonly tolerated?: ReadonlySet<string>;
}

const KINDS: Readonly<Record<number, string>> = {
  [RequestType.ATTACH]: 'attach',
  [RequestType.DETACH]: 'detach',
  [RequestType.MAP]: 'map',
  [RequestType.UNMAP]: 'unmap',
  [RequestType.PROBE]: 'probe',
};
const SOME_AND_OTHER = ['some bytes', 'other bytes'] as const;
const BYPASS_AT = IommuConfig.offset.bypass;
/** Mappings that are looked for at the end. */
const PROBES_MAX = 64;

export class Pair {
  readonly tally: Tally = { requests: 0, accesses: 0, faults: 0 };
  /** How often each named deviation was seen. */
  readonly counts: Map<string, number> = new Map();
  readonly first: Side;
  readonly second: Side;
  readonly #options: PairOptions;
  readonly #common: bigint;
  #held: RequestStep[] = [];
  #refuse = 0n;
  #wild = false;
  #offered = 0;
  /** Domains in which a refused UNMAP may have removed something. */
  readonly #doubtful: Set<number> = new Set();
  /** True once only a reset makes both alike again. */
  #lost = false;

  constructor(first: DeviceTarget, second: DeviceTarget, setup: Setup, options: PairOptions) {
    this.#options = options;
    this.#common = first.readFeatures() & second.readFeatures();
    this.first = new Side(first, setup, new Map(), first.window);
    this.second = new Side(second, setup, counterparts(first, second), first.window);
    this.#checkConfig(Object.keys(this.first.config()));
    this.#start(setup.refuse);
  }

  /** Takes one step on both sides. @throws {Deviation} for a difference without a name. @throws {TargetFailure} */
  step(step: Step): void {
    if (this.#wild && step.kind !== 'reset') return this.#breakRules(step);
    if (step.kind === 'request') {
      if (this.#isBroken) return;
      this.#held.push(step);
      if (!step.held || this.#held.length === BATCH_MAX) this.#send();
      return;
    }
    this.#send();
    if (step.kind === 'reset') return this.#reset(step.of === 'system', step.refuse);
    if (!this.#isBroken) this.#other(step);
  }

  /** Sends what is held, and looks for the mappings of both. */
  end(): void {
    if (this.#wild || this.#isBroken) return;
    this.#send();
    this.#lookForMappings();
  }

  get #isBroken(): boolean {
    return this.first.broken || this.second.broken;
  }

  #other(step: Exclude<Step, RequestStep>): void {
    switch (step.kind) {
      case 'access':
        return this.#access(step);
      case 'post':
        // One that is too small breaks some devices at the next fault.
        for (const side of [this.first, this.second])
          side.post(Math.max(step.bytes, FaultRecord.size));
        return;
      case 'config':
        return this.#config(step);
      case 'queue':
        for (const { guest } of [this.first, this.second])
          if (step.act !== 'renew') guest.listen(step.queue, step.act === 'listen');
        return;
      case 'turn':
        for (const { guest } of [this.first, this.second]) guest.turn(step.to);
        return;
      case 'wild':
        this.#wild = true;
        this.#offered = 0;
        return;
      // They mean something only while rules are broken, or to a device that can be saved.
      case 'save':
      case 'poke':
      case 'kick':
      case 'reset':
    }
  }

  #breakRules(step: Step): void {
    for (const side of [this.first, this.second]) {
      if (step.kind === 'request')
        side.guest.offer(side === this.first ? step : side.own(step), this.#offered);
      else if (step.kind === 'post') side.guest.post(step.bytes);
      else if (step.kind === 'poke') side.guest.poke(step.at, step.bytes);
      else if (step.kind === 'kick') side.guest.kick(step.queue);
    }
    if (step.kind === 'request') this.#offered += 1;
    if (step.kind === 'kick') this.tally.requests += this.#offered;
  }

  #send(): void {
    const steps = this.#held;
    if (steps.length === 0) return;
    this.#held = [];
    this.#compare(steps);
    if (this.#lost || this.#isBroken) return this.#reset(true, this.#refuse);
    this.#align();
  }

  /** Sends the same requests to both, and compares what comes back. */
  #compare(steps: readonly RequestStep[]): void {
    const own = steps.map((step) => this.second.own(step));
    const firsts = this.first.guest.batch(steps);
    const seconds = this.second.guest.batch(own);
    for (const [index, step] of steps.entries()) {
      if (this.#isBroken) return;
      this.tally.requests += 1;
      const first = this.first.judge(step, firsts[index]);
      const second = this.second.judge(own[index]!, seconds[index]); // as many
      if (!first.settled || !second.settled) this.#lost = true;
      if (first.rule === 'unmapCut' || second.rule === 'unmapCut')
        this.#doubtful.add(domainIn(step.readable));
      this.#compareReplies(KINDS[step.readable[0] ?? 0] ?? 'unknown', first, second);
      // What comes behind was for devices that are no longer alike.
      if (this.#lost) return;
    }
  }

  #compareReplies(about: string, first: Reply, second: Reply): void {
    let words: readonly [string, string] | undefined;
    let verdict = verdictOf(first.conforms, second.conforms);
    if (first.status !== second.status) words = [first.status, second.status];
    else if (first.usedLength !== second.usedLength) {
      words = [nameOfLength(first.usedLength), nameOfLength(second.usedLength)];
      verdict = verdictOf(first.lengthConforms, second.lengthConforms);
    } else if (!sameBytes(first.after, second.after)) words = SOME_AND_OTHER;
    if (words === undefined) return;
    this.#tell('answer', about, words, verdict, [...new Set([first.rule, second.rule])]);
  }

  #access(step: AccessStep): void {
    const right = step.direction === 'read' ? MapFlag.READ : MapFlag.WRITE;
    const { first, second } = this;
    const length = Math.min(first.reach(step, right), second.reach(step, right));
    if (length === 0) return;
    this.tally.accesses += 1;
    const pattern = first.data.pattern(length).slice();
    const one = first.access(step, length, right, pattern);
    const other = second.access(step, length, right, pattern);
    const verdict = verdictOf(one.conforms, other.conforms);
    const rules = [...new Set([one.rule, other.rule])];
    const { direction } = step;
    let words: readonly [string, string] | undefined;
    if (one.what !== other.what) words = [one.what, other.what];
    else if (one.what === 'bytes' && !sameBytes(one.bytes, other.bytes)) words = SOME_AND_OTHER;
    const [here = 0, there = 0] = [first, second].map(({ guest }) => guest.takeEvents(0).length);
    if (words !== undefined) this.#tell('access', direction, words, verdict, rules);
    else if (!first.data.equals(second.data))
      this.#tell('memory', 'data', SOME_AND_OTHER, verdict, rules);
    else if (here !== there)
      this.#tell('event', 'count', [nameOfCount(here), nameOfCount(there)], 'both', []);
    if (first.data.equals(second.data)) return;
    first.data.begin();
    second.data.begin();
  }

  #config({ offset, width, value }: ConfigStep): void {
    // Others are for each device to make of what it likes.
    if (offset !== BYPASS_AT || width !== 1 || value > 1) return;
    const conforms = [this.first, this.second].map((side) =>
      side.writeConfig(offset, width, value),
    );
    this.#checkConfig(['bypass'], verdictOf(conforms[0] === true, conforms[1] === true));
  }

  #checkConfig(fields: readonly string[], verdict: Verdict = 'both'): void {
    const first = this.first.config();
    const second = this.second.config();
    for (const field of fields) {
      if (first[field] === second[field] || field.startsWith('reserved')) continue;
      this.#tell('config', field, [String(first[field]), String(second[field])], verdict, []);
    }
  }

  #start(refuse: bigint): void {
    this.#refuse = refuse;
    this.first.start(refuse, this.#common);
    this.second.start(refuse, this.#common);
  }

  #reset(system: boolean, refuse: bigint): void {
    const both = [this.first, this.second];
    // What a device keeps over its own reset is not known of what it did while rules were broken.
    const whole =
      (system || this.#wild) && both.every(({ target }) => target.resets.includes('system'));
    for (const side of both) side.reset(whole);
    this.#lost = false;
    this.#held = [];
    if (this.#wild) for (const { data } of both) data.begin();
    this.#wild = false;
    this.#checkConfig(['bypass']);
    this.#start(refuse);
    // One may keep over a reset what the other drops.
    this.#align();
  }

  /** Makes devices alike that went different ways: what they map, and who is attached to what. */
  #align(): void {
    const { first, second } = this;
    const endpoints = counterparts(first.target, second.target);
    const differ = [...endpoints].some(
      ([one, other]) => first.model.domainOf(one) !== second.model.domainOf(other),
    );
    if (differ || first.model.bypass !== second.model.bypass) {
      for (const side of [first, second]) side.reset(true);
      this.#start(this.#refuse);
      return;
    }
    const doubtful = [...this.#doubtful];
    this.#doubtful.clear();
    if (doubtful.length > 0)
      this.#compare(doubtful.map((domain) => request(unmapBytes(domain, 0n, ADDRESS_MAX))));
    for (const domain of first.model.domains) {
      const [one, other] = [first, second].map(({ model }) =>
        model
          .mappings(domain)
          .map(({ start, last, flags }) => `${start}-${last} ${flags}`)
          .join(),
      );
      if (one !== other) this.#compare([request(unmapBytes(domain, 0n, ADDRESS_MAX))]);
    }
  }

  /** Nothing can be mapped where something is, on either side. */
  #lookForMappings(): void {
    const { model } = this.first;
    const steps = model.domains
      .flatMap((domain) => model.mappings(domain).map((mapping) => ({ domain, mapping })))
      .slice(0, PROBES_MAX)
      .map(({ domain, mapping: { start, last, phys } }) =>
        request(mapBytes(domain, start, last, phys, MapFlag.READ)),
      );
    if (steps.length > 0) this.#compare(steps);
  }

  /** Counts a difference that has a name, or is known. @throws {Deviation} for others. */
  #tell(
    kind: string,
    about: string,
    [first, second]: readonly [string, string],
    verdict: Verdict,
    rules: readonly string[],
  ): void {
    const difference: Difference = { kind, about, first, second, verdict, rules };
    const name = nameOfDifference(difference, this.#options.deviations);
    if (name !== undefined) {
      this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
      return;
    }
    const deviation = new Deviation(kind, formatDifference(difference), `${first}, ${second}`);
    if (this.#options.tolerated?.has(signatureOf(deviation)) !== true) throw deviation;
  }
}

/** The endpoints of the second by those of the first: present ones in their order, and absent ones. */
export function counterparts(first: DeviceTarget, second: DeviceTarget): Map<number, number> {
  const pairs = new Map<number, number>();
  for (const role of ['present', 'absent']) {
    const [ours, theirs] = [first, second].map(({ endpoints }) =>
      endpoints.filter((endpoint) => endpoint.role === role),
    );
    for (const [index, { id }] of (ours ?? []).entries()) {
      const other = theirs?.[index];
      if (other !== undefined) pairs.set(id, other.id);
    }
  }
  return pairs;
}

function request(readable: Uint8Array): RequestStep {
  return { kind: 'request', readable, room: RequestTail.size, held: false };
}

function verdictOf(first: boolean, second: boolean): Verdict {
  if (first && second) return 'both';
  if (first) return 'first';
  return second ? 'second' : 'neither';
}

function nameOfLength(length: number): string {
  return length > RequestTail.size ? 'length of a PROBE' : `length ${length}`;
}

function nameOfCount(count: number): string {
  return count < 2 ? String(count) : 'several';
}
