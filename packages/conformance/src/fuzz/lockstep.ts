/** One stream, with the target and the model side by side: whatever can be seen of one is compared with the other. */

import {
  ADDRESS_MAX,
  IommuConfig,
  IommuFeature,
  IommuQueue,
  MapFlag,
  hasFeature,
} from '@viommu/common';
import { type Answer, type Completion } from '../model/answer.ts';
import type { Choices } from '../model/choice.ts';
import type { Event } from '../model/event.ts';
import type { Model } from '../model/model.ts';
import type { Prediction } from '../model/prediction.ts';
import type { DeviceTarget, TargetEndpoint } from '../target.ts';
import { checkBooks, checkConfig, configOf } from './books.ts';
import type { PairCoverage } from './coverage.ts';
import { Data, sameBytes } from './data.ts';
import { Deviation, signatureOf } from './deviation.ts';
import { checkEvents, checkRecords } from './events.ts';
import { readableOf, roomOf } from './framing.ts';
import type { Tally } from './fuzzer.ts';
import { Guest } from './guest.ts';
import { ACCESS_MAX, BATCH_MAX } from './limit.ts';
import { Oracle } from './oracle.ts';
import { formatAccess, formatAnswer, formatCompletion, formatLengths, nameOf } from './wording.ts';
import type {
  AccessStep,
  ConfigStep,
  QueueStep,
  RequestStep,
  ResetStep,
  Setup,
  Step,
} from './stream.ts';

/** Accesses between two looks at all of the data. */
const DATA_LOOK = 64;

/** A target that was just opened, and its model. */
export class Lockstep {
  readonly tally: Tally = { requests: 0, accesses: 0, faults: 0 };
  readonly #oracle: Oracle;
  /** Hears of every rule that decides. */
  coverage: PairCoverage | undefined;
  readonly #guest: Guest;
  readonly #target: DeviceTarget;
  readonly #data: Data;
  readonly #known: ReadonlySet<string>;
  /** What accesses of each endpoint can be. */
  readonly #accesses: ReadonlyMap<number, TargetEndpoint['dma']>;
  readonly #buffer: Uint8Array = new Uint8Array(ACCESS_MAX);
  /** Requests that wait for others, and what is expected of each, as far as that is known beforehand. */
  readonly #held: RequestStep[] = [];
  readonly #expected: (Prediction | undefined)[] = [];
  #broken = false;
  /** True while the driver breaks rules. */
  #wild = false;
  /** Requests made available since. */
  #offered = 0;
  /** Looks until the books are due. */
  #untilBooks = 0;
  #sinceData = 0;

  /** @throws {Deviation} if the device does not start. */
  constructor(
    target: DeviceTarget,
    setup: Setup,
    choices?: Partial<Choices>,
    known: ReadonlySet<string> = new Set(),
  ) {
    this.#known = known;
    this.#target = target;
    this.#accesses = new Map(target.endpoints.map(({ id, dma }) => [id, dma]));
    this.#guest = new Guest(target, setup, choices !== undefined);
    this.#oracle = new Oracle(target, choices);
    this.#data = new Data(this.#guest);
    this.#start(setup.refuse);
  }

  /** What the target should be like now. */
  get model(): Model {
    return this.#oracle.model;
  }

  /** Takes one step. @throws {Deviation} @throws {TargetFailure} */
  step(step: Step): void {
    if (this.#wild && step.kind !== 'reset') {
      this.#breakRules(step);
      return;
    }
    if (step.kind === 'request') {
      if (this.#broken) return;
      const expected = this.#oracle.expect(readableOf(step), roomOf(step));
      this.#held.push(step);
      this.#expected.push(expected);
      // Behind one that breaks the device no other is answered.
      const last = expected?.answer.completed === false;
      if (step.held && !last && this.#held.length < BATCH_MAX) return;
      this.#send();
    } else {
      // What is held is in flight while the device is saved.
      const saved = step.kind === 'save' && this.#held.length > 0;
      if (saved) this.#guest.saveBetween();
      this.#send();
      if (!saved) this.#other(step);
    }
    this.#look();
  }

  /** A step while nothing is compared. */
  #breakRules(step: Step): void {
    if (step.kind === 'request') {
      this.#guest.offer(step, this.#offered);
      this.#offered += 1;
    } else if (step.kind === 'post') this.#guest.post(step.bytes);
    else if (step.kind === 'poke') this.#guest.poke(step.at, step.bytes);
    else if (step.kind === 'kick') {
      this.tally.requests += this.#offered;
      this.#guest.kick(step.queue);
    }
  }

  /** Sends what is held, and compares all there is. */
  end(): void {
    if (this.#wild) return;
    this.#send();
    this.#lookAtAll();
  }

  #start(refuse: bigint): void {
    this.#guest.start(refuse);
    this.#oracle.each((model) => model.negotiate(this.#guest.features));
    this.#broken = false;
  }

  #other(step: Exclude<Step, RequestStep>): void {
    switch (step.kind) {
      case 'access':
        if (!this.#broken) this.#access(step);
        return;
      case 'post':
        if (!this.#broken && this.#guest.post(step.bytes))
          this.#oracle.each((model) => model.postEvent(step.bytes));
        return;
      case 'config':
        return this.#config(step);
      case 'reset':
        return this.#reset(step);
      case 'save':
        if (!this.#broken) this.#target.save?.();
        return;
      case 'queue':
        if (!this.#broken) this.#queue(step);
        return;
      case 'turn':
        if (!this.#broken) this.#guest.turn(step.to);
        return;
      case 'wild':
        this.#wild = !this.#broken;
        this.#offered = 0;
        return;
      // They mean something only while rules are broken.
      case 'poke':
      case 'kick':
    }
  }

  #queue({ queue, act }: QueueStep): void {
    if (act !== 'renew') this.#guest.listen(queue, act === 'listen');
    else if (this.#guest.renew(queue) && queue === IommuQueue.EVENT)
      this.#oracle.each((model) => model.resetEvents());
  }

  #send(): void {
    const held = this.#held;
    if (held.length === 0) return;
    const completions = this.#guest.batch(held);
    for (let index = 0; index < held.length && !this.#broken; index += 1) {
      this.tally.requests += 1;
      const step = held[index]!; // Below the length.
      const answer = this.#judge(step, completions[index], this.#expected[index]);
      this.#broken = !answer.completed;
    }
    held.length = 0;
    this.#expected.length = 0;
  }

  #judge(
    step: RequestStep,
    completion: Completion | undefined,
    expected: Prediction | undefined,
  ): Answer {
    const { answer, rule, wrong } = this.#oracle.request(
      readableOf(step),
      roomOf(step),
      completion,
      expected,
    );
    if (wrong !== 'nothing')
      this.#deviate(
        new Deviation(
          wrong,
          wrong === 'length' && completion !== undefined
            ? formatLengths(answer, completion)
            : `${rule}: expected ${formatAnswer(answer)}, got ${formatCompletion(completion)}`,
          `request of type ${step.readable[0]}`,
        ),
      );
    this.coverage?.add(rule);
    return answer;
  }

  /** Ends the stream, unless the deviation is known and one can go on after it. */
  #deviate(deviation: Deviation): void {
    if (deviation.kind !== 'length' || !this.#known.has(signatureOf(deviation))) throw deviation;
  }

  #access(step: AccessStep): void {
    const { endpoint, direction, address, length } = step;
    if (!this.#canAccess(step)) return;

    const right = direction === 'read' ? MapFlag.READ : MapFlag.WRITE;
    const predictions = this.#oracle.accesses(endpoint, address, length, right);
    // None that could hit anything but the data.
    if (predictions.some(({ pieces }) => this.#data.reach(pieces) === 'elsewhere')) return;
    this.tally.accesses += 1;
    const before = this.#data.pattern(length);
    const bytes = this.#buffer.subarray(0, length);
    bytes.set(before);
    const outcome = this.#guest.access(step, bytes);
    const seen = { direction, outcome, before, bytes };
    const [first] = predictions;
    const found = predictions.find((one) => this.#data.explains(one, seen));
    if (first === undefined || found === undefined)
      throw new Deviation(
        'access',
        `a ${direction} ${outcome === 'refused' ? 'is refused' : 'goes wrong'}: ${first === undefined ? '' : formatAccess(first)}`,
        `endpoint ${endpoint}, 0x${address.toString(16)}, ${length} bytes: ${outcome}`,
      );
    if (!this.#oracle.strict)
      this.#oracle.keep((model) =>
        model
          .accessAlternatives(endpoint, address, length, right)
          .some(({ prediction }) => this.#data.explains(prediction, seen)),
      );
    if (direction === 'write') this.#data.written(found.pieces, bytes);
    this.coverage?.add(found.fault === undefined ? direction : nameOf(found.fault.reason));
    if (found.fault !== undefined) this.tally.faults += 1;
    this.#sinceData += 1;
    if (!this.#oracle.strict) checkRecords(this.#guest.takeEvents(0), endpoint);
    else if (found.fault === undefined) this.#events([]);
    else this.#events(this.model.report(endpoint, address, right, found.fault));
  }

  /** True if the endpoint can make this access. */
  #canAccess({ endpoint, address, length }: AccessStep): boolean {
    const dma = this.#accesses.get(endpoint);
    if (dma === undefined || this.#target.dma === undefined) return false;
    const { last = ADDRESS_MAX, align = 1, bytesMax = ACCESS_MAX } = dma;
    if (address + BigInt(length) - 1n > last || length > Math.min(bytesMax, ACCESS_MAX))
      return false;
    return align === 1 || (address % BigInt(align) === 0n && length % align === 0);
  }

  #events(expected: readonly Event[]): void {
    checkEvents(this.#guest.takeEvents(expected.length), expected);
  }

  #config({ offset, width, value }: ConfigStep): void {
    if (!this.#oracle.strict && !this.#isPlain(offset, width, value)) return;
    this.#target.writeConfig(offset, width, value);
    this.#oracle.each((model) => model.writeConfig(offset, width, value));
    this.#checkConfig();
    this.#broken ||= this.model.needsReset;
  }

  /** A write about which no device has a choice. */
  #isPlain(offset: number, width: number, value: number): boolean {
    const accepted = hasFeature(this.#guest.features, IommuFeature.BYPASS_CONFIG);
    return accepted && offset === IommuConfig.offset.bypass && width === 1 && value <= 1;
  }

  #checkConfig(): void {
    const seen = configOf(this.#target);
    if (!this.#oracle.keep((model) => sameBytes(model.config(), seen)))
      checkConfig(seen, this.model.config());
  }

  #reset({ of, refuse }: ResetStep): void {
    const system = of === 'system' && this.#target.resets.includes('system');
    if (system) {
      this.#target.reset?.('system');
      this.#oracle.each((model) => model.systemReset());
    } else {
      this.#target.writeStatus(0);
      this.#oracle.reset();
    }
    this.#broken = true;
    // Where bytes went while rules were broken is nobody's fault.
    if (this.#wild) this.#data.accept();
    else this.#data.check();
    this.#wild = false;
    this.#lookAtBooks();
    this.#checkConfig();
    this.#start(refuse);
  }

  /** As often as looking costs no more than the steps themselves. */
  #look(): void {
    this.#untilBooks -= 1;
    if (this.#untilBooks <= 0) this.#lookAtBooks();
    if (this.#sinceData >= DATA_LOOK) {
      this.#data.check();
      this.#sinceData = 0;
    }
  }

  #lookAtBooks(): void {
    const { books } = this.#target;
    if (books !== undefined) checkBooks(this.#target, books, this.model);
    this.#untilBooks = this.#size() / LOOK_SHARE;
  }

  #lookAtAll(): void {
    this.#lookAtBooks();
    this.#checkConfig();
    this.#data.check();
    // Nothing but an access has events.
    if (!this.#broken) this.#events([]);
  }

  #size(): number {
    let size = 0;
    for (const id of this.model.domains) size += this.model.mappings(id).length;
    return size;
  }
}

/** Mappings looked at for each step. */
const LOOK_SHARE = 4;
