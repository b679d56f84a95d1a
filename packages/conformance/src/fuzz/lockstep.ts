/** One stream, with the target and the model side by side: whatever can be seen of one is compared with the other. */

import { FaultReason, MapFlag, formatStatus } from '@viommu/common';
import { type Answer, type Completion, agrees } from '../model/answer.ts';
import type { Choices } from '../model/choice.ts';
import type { Event } from '../model/event.ts';
import type { Model } from '../model/model.ts';
import type { DeviceTarget } from '../target.ts';
import { checkBooks, checkConfig } from './books.ts';
import type { PairCoverage } from './coverage.ts';
import { Data, sameBytes } from './data.ts';
import { Deviation } from './deviation.ts';
import { Guest, readableOf, roomOf } from './guest.ts';
import { BATCH_MAX } from './limit.ts';
import { modelOf } from './platform.ts';
import type { AccessStep, ConfigStep, RequestStep, ResetStep, Setup, Step } from './stream.ts';

/** Accesses between two looks at all of the data. */
const DATA_LOOK = 64;

/** What a stream did. */
export interface Tally {
  requests: number;
  accesses: number;
  faults: number;
}

/** A target that was just opened, and its model. */
export class Lockstep {
  readonly tally: Tally = { requests: 0, accesses: 0, faults: 0 };
  readonly model: Model;
  /** Hears of every rule that decides. */
  coverage: PairCoverage | undefined;
  readonly #guest: Guest;
  readonly #target: DeviceTarget;
  readonly #data: Data;
  #held: RequestStep[] = [];
  #broken = false;
  #sinceBooks = 0;
  #sinceData = 0;

  /** @throws {Deviation} if the device does not start. */
  constructor(target: DeviceTarget, setup: Setup, choices: Partial<Choices> = {}) {
    this.#target = target;
    this.#guest = new Guest(target, setup);
    this.model = modelOf(target, choices);
    this.#data = new Data(this.#guest);
    this.#start(setup.refuse);
  }

  /** Takes one step. @throws {Deviation} @throws {TargetFailure} */
  step(step: Step): void {
    if (step.kind === 'request') {
      if (this.#broken) return;
      this.#held.push(step);
      if (step.held && this.#held.length < BATCH_MAX) return;
      this.#send();
    } else {
      this.#send();
      this.#other(step);
    }
    this.#look();
  }

  /** Sends what is held, and compares all there is. */
  end(): void {
    this.#send();
    this.#lookAtAll();
  }

  #start(refuse: bigint): void {
    this.#guest.start(refuse);
    this.model.negotiate(this.#guest.features);
    this.#broken = false;
  }

  #other(step: Exclude<Step, RequestStep>): void {
    switch (step.kind) {
      case 'access':
        if (!this.#broken) this.#access(step);
        return;
      case 'post':
        if (!this.#broken && this.#guest.post(step.bytes)) this.model.postEvent(step.bytes);
        return;
      case 'config':
        return this.#config(step);
      case 'reset':
        return this.#reset(step);
      case 'save':
        if (!this.#broken) this.#target.save?.();
    }
  }

  #send(): void {
    const steps = this.#held;
    if (steps.length === 0) return;
    this.#held = [];
    const completions = this.#guest.batch(steps);
    for (const [index, step] of steps.entries()) {
      this.tally.requests += 1;
      const answer = this.#judge(step, completions[index]);
      if (answer.completed) continue;
      this.#broken = true;
      return;
    }
  }

  #judge(step: RequestStep, completion: Completion | undefined): Answer {
    const prediction = this.model.predict(readableOf(step), roomOf(step));
    const { answer, rule } = prediction;
    const fits = completion === undefined ? !answer.completed : agrees(answer, completion);
    if (!fits)
      throw new Deviation(
        'answer',
        `${rule}: expected ${formatAnswer(answer)}, got ${formatCompletion(completion)}`,
        `request of type ${step.readable[0]}`,
      );
    this.model.commit(prediction);
    this.coverage?.add(rule);
    return answer;
  }

  #access(step: AccessStep): void {
    const { endpoint, direction, address, length } = step;
    const dma = this.#target.endpoints.find(({ id }) => id === endpoint)?.dma;
    if (dma === undefined || this.#target.dma === undefined) return;
    const { last = LAST, align = 1, bytesMax = 4096 } = dma;
    if (address + BigInt(length) - 1n > last || length > bytesMax) return;
    if (align > 1 && (address % BigInt(align) !== 0n || length % align !== 0)) return;

    const right = direction === 'read' ? MapFlag.READ : MapFlag.WRITE;
    const { pieces, fault } = this.model.predictAccess(endpoint, address, length, right);
    const reach = fault === undefined ? this.#data.reach(pieces) : 'nowhere';
    if (reach === 'elsewhere') return;
    this.tally.accesses += 1;
    this.coverage?.add(fault === undefined ? direction : nameOf(fault.reason));
    const expected = this.model.access(endpoint, address, length, right).events;
    const before = this.#data.pattern(length);
    const bytes = before.slice();
    const outcome = this.#guest.access(step, bytes);
    if (fault !== undefined) {
      this.tally.faults += 1;
      if (outcome === 'done')
        throw new Deviation(
          'access',
          `a ${direction} is let through that a fault is due for: ${nameOf(fault.reason)}`,
          `endpoint ${endpoint}, 0x${address.toString(16)}, ${length} bytes`,
        );
    } else if (reach === 'data') {
      if (outcome === 'refused')
        throw new Deviation(
          'access',
          `a ${direction} is refused (${[...new Set(pieces.map(({ kind }) => kind))].join()})`,
          `endpoint ${endpoint}, 0x${address.toString(16)}, ${length} bytes`,
        );
      if (direction === 'write') this.#data.written(pieces, bytes);
      else if (!sameBytes(bytes, this.#data.read(pieces, before)))
        throw new Deviation('access', 'a read gets other bytes', `0x${address.toString(16)}`);
    }
    this.#checkEvents(expected);
    this.#sinceData += 1;
  }

  #checkEvents(expected: readonly Event[]): void {
    const seen = this.#guest.takeEvents(expected.length);
    if (seen.length !== expected.length)
      throw new Deviation(
        'event',
        seen.length < expected.length ? 'an event is missing' : 'an event too many',
        `${seen.length}, not ${expected.length}`,
      );
    for (const [index, event] of seen.entries()) {
      const { buffer, usedLength, record } = expected[index]!; // As many.
      if (event.buffer !== buffer || event.usedLength !== usedLength)
        throw new Deviation(
          'event',
          'another used length',
          `${event.usedLength} in buffer ${event.buffer}, not ${usedLength} in ${buffer}`,
        );
      const at = record.findIndex((byte, place) => byte !== event.record[place]);
      if (at >= 0)
        throw new Deviation(
          'event',
          `the record differs at ${at}`,
          `it holds ${event.record[at]}, not ${record[at]}`,
        );
    }
  }

  #config({ offset, width, value }: ConfigStep): void {
    this.#target.writeConfig(offset, width, value);
    this.model.writeConfig(offset, width, value);
    checkConfig(this.#target, this.model);
    this.#broken ||= this.model.needsReset;
  }

  #reset({ of, refuse }: ResetStep): void {
    const system = of === 'system' && this.#target.resets.includes('system');
    if (system) {
      this.#target.reset?.('system');
      this.model.systemReset();
    } else {
      this.#target.writeStatus(0);
      this.model.reset();
    }
    this.#lookAtAll();
    this.#start(refuse);
  }

  /** As often as looking costs no more than the steps themselves. */
  #look(): void {
    const { books } = this.#target;
    this.#sinceBooks += 1;
    if (books !== undefined && this.#sinceBooks * LOOK_SHARE > this.#size()) {
      checkBooks(this.#target, books, this.model);
      this.#sinceBooks = 0;
    }
    if (this.#sinceData >= DATA_LOOK) {
      this.#data.check();
      this.#sinceData = 0;
    }
  }

  #lookAtAll(): void {
    const { books } = this.#target;
    if (books !== undefined) checkBooks(this.#target, books, this.model);
    checkConfig(this.#target, this.model);
    this.#data.check();
    // Nothing but an access has events.
    if (!this.#broken) this.#checkEvents([]);
  }

  #size(): number {
    let size = 0;
    for (const id of this.model.domains) size += this.model.mappings(id).length;
    return size;
  }
}

const LAST = 0xffff_ffff_ffff_ffffn;
/** Mappings looked at for each step. */
const LOOK_SHARE = 4;

function formatAnswer({ completed, status, usedLength }: Answer): string {
  if (!completed) return 'DEVICE_NEEDS_RESET';
  return `${status === undefined ? 'nothing written' : formatStatus(status)}, length ${usedLength}`;
}

/** What came back, as far as it is the same for all requests of its kind. */
function formatCompletion(completion: Completion | undefined): string {
  if (completion === undefined) return 'DEVICE_NEEDS_RESET';
  const { before, after, usedLength } = completion;
  if (sameBytes(before, after)) return `nothing written, length ${usedLength}`;
  const tail = after[usedLength - 4];
  return `${tail === undefined ? 'bytes' : formatStatus(tail)}, length ${usedLength}`;
}

function nameOf(reason: FaultReason): string {
  return Object.entries(FaultReason).find(([, value]) => value === reason)?.[0] ?? String(reason);
}
