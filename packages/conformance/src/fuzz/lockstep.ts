/** One stream, with the target and the model side by side: whatever can be seen of one is compared with the other. */

import {
  ADDRESS_MAX,
  FaultRecord,
  IommuConfig,
  IommuFeature,
  IommuQueue,
  MapFlag,
  RequestTail,
  hasFeature,
} from '@viommu/common';
import type { AccessPrediction } from '../model/access.ts';
import type { Completion } from '../model/answer.ts';
import type { Choices } from '../model/choice.ts';
import type { Event } from '../model/event.ts';
import type { Model } from '../model/model.ts';
import type { Prediction } from '../model/prediction.ts';
import type { DeviceTarget, TargetEndpoint } from '../target.ts';
import { lengthOf, offGranule } from './access-step.ts';
import { checkBooks, checkConfig, configOf, sizeOf } from './books.ts';
import type { PairCoverage } from './coverage.ts';
import { Data, sameBytes } from './data.ts';
import { Deviation, signatureOf } from './deviation.ts';
import { checkEvents, checkRecords } from './events.ts';
import { readableOf, roomOf } from './framing.ts';
import type { Tally } from './fuzzer.ts';
import { Guest } from './guest.ts';
import { ACCESS_MAX, BATCH_MAX } from './limit.ts';
import { Oracle } from './oracle.ts';
import { domainIn, unmapBytes } from './request-bytes.ts';
import { answerDeviation, formatAccess, lengthDeviation, nameOf } from './wording.ts';
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
  /** True once the device has a buffer that is too small for a fault record. */
  #shortPost = false;
  /** True while the driver breaks rules. */
  #wild = false;
  /** Requests made available since. */
  #offered = 0;
  /** Features that the driver leaves alone. */
  #refuse = 0n;
  /** Domains in which a refused UNMAP may have removed something. */
  readonly #doubtful: Set<number> = new Set();
  /** Resets because nothing else was left to do. */
  #resets = 0;
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
    this.#oracle = new Oracle(target, choices, known);
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
    this.#refuse = refuse;
    this.#guest.start(refuse);
    this.#oracle.each((model) => model.negotiate(this.#guest.features));
    this.#broken = false;
    this.#shortPost = false;
  }

  #other(step: Exclude<Step, RequestStep>): void {
    switch (step.kind) {
      case 'access':
        if (!this.#broken) this.#access(step);
        return;
      case 'post':
        if (!this.#broken && this.#guest.post(step.bytes)) {
          this.#oracle.each((model) => model.postEvent(step.bytes));
          this.#shortPost ||= step.bytes < FaultRecord.size;
        }
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
      const resets = this.#resets;
      if (!this.#judge(step, completions[index], this.#expected[index])) this.#broken = true;
      // What comes behind was for a device that is no more.
      if (this.#resets !== resets) break;
    }
    held.length = 0;
    this.#expected.length = 0;
    if (this.#doubtful.size > 0) this.#endDoubt();
  }

  /** Empties domains of which nobody knows what is left in them. */
  #endDoubt(): void {
    for (const domain of this.#doubtful) {
      const readable = unmapBytes(domain, 0n, ADDRESS_MAX);
      const step: RequestStep = { kind: 'request', readable, room: RequestTail.size, held: false };
      if (this.#broken) break;
      this.#broken = !this.#judge(step, this.#guest.batch([step])[0], undefined);
    }
    this.#doubtful.clear();
    this.#oracle.forgetDoubles();
  }

  /** False if the device gives nothing back any more. */
  #judge(
    step: RequestStep,
    completion: Completion | undefined,
    expected: Prediction | undefined,
  ): boolean {
    const readable = readableOf(step);
    const room = roomOf(step);
    const verdict = this.#oracle.request(readable, room, completion, expected);
    const { answer, wrong } = verdict;
    this.coverage?.add(verdict.rule);
    if (verdict.rule === 'unmapCut' && !this.#oracle.strict) this.#doubtful.add(domainIn(readable));
    const evidence = `request of type ${step.readable[0]}`;
    if (wrong === 'length' && completion !== undefined)
      this.#deviate(lengthDeviation(answer, completion, evidence), () => true);
    else if (wrong !== 'nothing')
      this.#deviate(answerDeviation(verdict, completion, evidence), () =>
        this.#oracle.adopt(readable, room, completion),
      );
    return wrong === 'answer' ? completion !== undefined : answer.completed;
  }

  /**
   * Ends the stream, unless the deviation is known. Then `settle` makes the model like the device; if it cannot, and says
   * false, both forget everything.
   */
  #deviate(deviation: Deviation, settle: () => boolean | void): void {
    if (!this.#known.has(signatureOf(deviation))) throw deviation;
    if (settle() !== false) return;
    this.#resets += 1;
    if (this.#resets > RESETS_MAX) throw deviation;
    this.#reset({ kind: 'reset', of: 'system', refuse: this.#refuse }, false);
  }

  /** What is wrong here, and known, is over when it was seen. */
  #tolerate(check: () => void, settle: () => boolean | void = () => this.#data.accept()): void {
    try {
      check();
    } catch (error) {
      if (!(error instanceof Deviation)) throw error;
      this.#deviate(error, settle);
    }
  }

  #access(step: AccessStep): void {
    const { endpoint, direction, address } = step;
    const length =
      this.#target.dma === undefined ? 0 : lengthOf(step, this.#accesses.get(endpoint));
    if (length === 0) return;

    const right = direction === 'read' ? MapFlag.READ : MapFlag.WRITE;
    const predictions = this.#oracle.accesses(endpoint, address, length, right);
    // None that should hit anything but the data.
    if (predictions.some(({ pieces }) => this.#data.reach(pieces) === 'elsewhere')) return;
    this.tally.accesses += 1;
    const before = this.#data.pattern(length);
    const bytes = this.#buffer.subarray(0, length);
    bytes.set(before);
    const outcome = this.#guest.access(step, bytes);
    const seen = { direction, outcome, before, bytes };
    const [first] = predictions;
    const explains = (one: AccessPrediction): boolean => this.#data.explains(one, seen);
    const found =
      predictions.find(explains) ??
      this.#oracle.otherAccesses(endpoint, address, length, right).find(explains);
    if (first === undefined || found === undefined) {
      const what = first === undefined ? '' : formatAccess(first);
      this.#deviate(
        new Deviation(
          'access',
          `a ${direction} ${this.#data.symptom(seen)}: ${what}${offGranule(this.model, endpoint)}`,
          `endpoint ${endpoint}, 0x${address.toString(16)}, ${length} bytes: ${outcome}`,
        ),
        () => this.#data.accept(),
      );
      this.#guest.takeEvents(0);
      return;
    }
    if (!this.#oracle.strict)
      this.#oracle.keep(
        (model) =>
          explains(model.predictAccess(endpoint, address, length, right)) ||
          model
            .accessAlternatives(endpoint, address, length, right)
            .some(({ prediction }) => explains(prediction)),
      );
    if (direction === 'write') this.#data.written(found.pieces, bytes);
    this.coverage?.add(found.fault === undefined ? direction : nameOf(found.fault.reason));
    if (found.fault !== undefined) this.tally.faults += 1;
    this.#sinceData += 1;
    if (!this.#oracle.strict)
      this.#tolerate(() => checkRecords(this.#guest.takeEvents(0), endpoint));
    else if (found.fault === undefined) this.#events([]);
    else this.#events(this.model.report(endpoint, address, right, found.fault));
    // Where choices are not known, that is one.
    if (this.#shortPost && this.#guest.needsReset) {
      this.#oracle.breaks();
      this.#broken = true;
    }
  }

  #events(expected: readonly Event[]): void {
    checkEvents(this.#guest.takeEvents(expected.length), expected);
  }

  #config({ offset, width, value }: ConfigStep): void {
    const accepted = hasFeature(this.#guest.features, IommuFeature.BYPASS_CONFIG);
    // A write about which no device has a choice.
    const plain = accepted && offset === IommuConfig.offset.bypass && width === 1 && value <= 1;
    if (!this.#oracle.strict && !plain) return;
    this.#target.writeConfig(offset, width, value);
    this.#oracle.each((model) => model.writeConfig(offset, width, value));
    this.#checkConfig();
    this.#broken ||= this.model.needsReset;
  }

  #checkConfig(): void {
    const seen = configOf(this.#target);
    if (this.#oracle.keep((model) => sameBytes(model.config(), seen))) return;
    this.#tolerate(
      () => checkConfig(seen, this.model.config()),
      () => false,
    );
  }

  #reset({ of, refuse }: ResetStep, look = true): void {
    // What a device keeps over its own reset is not known of what it did meanwhile.
    const whole = of === 'system' || (this.#wild && !this.#oracle.strict);
    const system = whole && this.#target.resets.includes('system');
    if (system) {
      this.#target.reset?.('system');
      this.#oracle.each((model) => model.systemReset());
    } else {
      this.#target.writeStatus(0);
      this.#oracle.reset();
    }
    this.#broken = true;
    // Where bytes went while rules were broken is nobody's fault.
    if (this.#wild || !look) this.#data.accept();
    else this.#tolerate(() => this.#data.check());
    this.#wild = false;
    if (look) {
      this.#lookAtBooks();
      this.#checkConfig();
    }
    this.#start(refuse);
  }

  /** As often as looking costs no more than the steps themselves. */
  #look(): void {
    this.#untilBooks -= 1;
    if (this.#untilBooks <= 0) this.#lookAtBooks();
    if (this.#sinceData >= DATA_LOOK) {
      this.#tolerate(() => this.#data.check());
      this.#sinceData = 0;
    }
  }

  #lookAtBooks(): void {
    const { books } = this.#target;
    if (books !== undefined) checkBooks(this.#target, books, this.model);
    this.#untilBooks = (LOOK_SIZE + sizeOf(this.model)) / LOOK_SHARE;
  }

  #lookAtAll(): void {
    this.#lookAtBooks();
    this.#checkConfig();
    this.#tolerate(() => this.#data.check());
    // Nothing but an access has events.
    if (!this.#broken) this.#events([]);
  }
}

/** Resets of a stream that would be lost otherwise. */
const RESETS_MAX = 200;
/** Mappings looked at for each step, and what a look costs apart from them, in mappings. */
const LOOK_SHARE = 4;
const LOOK_SIZE = 8;
