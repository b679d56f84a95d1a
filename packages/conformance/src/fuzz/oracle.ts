/** What knows how a target should behave: one model if its choices are known, or else all that agree so far. */

import { type Answer, type Completion, agrees } from '../model/answer.ts';
import type { AccessPrediction } from '../model/access.ts';
import type { Choices } from '../model/choice.ts';
import { Follower } from '../model/follower.ts';
import type { Model } from '../model/model.ts';
import type { Prediction } from '../model/prediction.ts';
import type { DeviceTarget } from '../target.ts';
import { adopt, breakDown, endOf } from './adoption.ts';
import { type Deviation, signatureOf } from './deviation.ts';
import { modelOf } from './platform.ts';
import { answerDeviation, lengthDeviation } from './wording.ts';

/** What a request came to. */
export interface Verdict {
  readonly answer: Answer;
  /** The rule that decided. */
  readonly rule: string;
  /** What no conforming device does: nothing, another length than that of the answer, or anything else. */
  readonly wrong: 'nothing' | 'length' | 'answer';
}

export class Oracle {
  /** True if every choice is known, so that all that is seen can be compared. */
  readonly strict: boolean;
  readonly #known: ReadonlySet<string>;
  #model: Model;
  readonly #follower: Follower | undefined;

  /**
   * `choices` are those of the target; it is followed if they are not known. `known` are signatures of what it is known to
   * do wrong.
   */
  constructor(
    target: DeviceTarget,
    choices: Partial<Choices> | undefined,
    known: ReadonlySet<string> = new Set(),
  ) {
    this.#known = known;
    this.#model = modelOf(target, choices ?? {});
    this.strict = choices !== undefined;
    this.#follower = this.strict ? undefined : new Follower(this.#model);
  }

  /** The model that is closest. */
  get model(): Model {
    return this.#model;
  }

  /**
   * What a request that is to come will come to, where that is known beforehand: it counts as done then. Where not, it is
   * undefined, and nothing is done yet.
   */
  expect(readable: Uint8Array, room: number): Prediction | undefined {
    if (!this.strict) return undefined;
    const expected = this.#model.predict(readable, room);
    this.#model.commit(expected);
    return expected;
  }

  /**
   * Judges a completion. One whose length alone is wrong is taken for what it says otherwise. `expected` is what
   * {@link expect} returned.
   */
  request(
    readable: Uint8Array,
    room: number,
    completion: Completion | undefined,
    expected: Prediction = this.expect(readable, room) ?? this.#model.predict(readable, room),
  ): Verdict {
    const quick = this.#recognize(expected, readable, room, completion);
    if (quick !== undefined) return quick;
    const found = this.#explain(expected, readable, room, completion);
    if (found !== undefined) return { ...found, wrong: 'nothing' };
    if (completion !== undefined) {
      for (const usedLength of new Set([expected.answer.usedLength, endOf(completion), room])) {
        const other = this.#explain(expected, readable, room, { ...completion, usedLength });
        if (other !== undefined) return { ...other, wrong: 'length' };
      }
    }
    return { ...expected, wrong: 'answer' };
  }

  /** What is known to be wrong need not be wondered about: to look for choices that explain it takes long. */
  #recognize(
    expected: Prediction,
    readable: Uint8Array,
    room: number,
    completion: Completion | undefined,
  ): Verdict | undefined {
    const { answer } = expected;
    const fits = (one: Answer): boolean =>
      completion === undefined ? !one.completed : agrees(one, completion);
    if (this.#known.size === 0 || this.#follower === undefined || fits(answer)) return undefined;
    const knows = (deviation: Deviation): boolean => this.#known.has(signatureOf(deviation));
    if (completion !== undefined && knows(lengthDeviation(answer, completion))) {
      const right = { ...completion, usedLength: answer.usedLength };
      if (agrees(answer, right)) {
        const found = this.#explain(expected, readable, room, right);
        if (found !== undefined) return { ...found, wrong: 'length' };
      }
    }
    if (!knows(answerDeviation(expected, completion))) return undefined;
    const explained = this.#follower.models.some((one) => fits(one.predict(readable, room).answer));
    return explained ? undefined : { ...expected, wrong: 'answer' };
  }

  /** The device did what none does that conforms: false if it cannot be told what became of it. */
  adopt(readable: Uint8Array, room: number, completion: Completion | undefined): boolean {
    let settled = !this.strict;
    if (settled) this.each((model) => (settled &&= adopt(model, readable, room, completion)));
    return settled;
  }

  /** The device shows that it needs a reset, where only some do. */
  breaks(): void {
    this.each(breakDown);
  }

  /** What leads to this completion, which is done by then. */
  #explain(
    expected: Prediction,
    readable: Uint8Array,
    room: number,
    completion: Completion | undefined,
  ): Prediction | undefined {
    const follower = this.#follower;
    if (follower !== undefined) {
      const found = follower.request(readable, room, completion);
      if (found !== undefined) this.#settle();
      return found;
    }
    const { answer } = expected;
    const agreed = completion === undefined ? !answer.completed : agrees(answer, completion);
    return agreed ? expected : undefined;
  }

  /** What becomes of an access as each model sees it, the closest first. */
  accesses(endpoint: number, address: bigint, length: number, right: number): AccessPrediction[] {
    const models = this.#follower?.models ?? [this.#model];
    return models.map((model) => model.predictAccess(endpoint, address, length, right));
  }

  /** What else may become of it where choices are not known. */
  otherAccesses(
    endpoint: number,
    address: bigint,
    length: number,
    right: number,
  ): AccessPrediction[] {
    const models = this.#follower?.models ?? [];
    return models.flatMap((model) =>
      model
        .accessAlternatives(endpoint, address, length, right)
        .map(({ prediction }) => prediction),
    );
  }

  /** Something was seen that only some models do; false if none does. */
  keep(does: (model: Model) => boolean): boolean {
    if (this.#follower === undefined) return does(this.#model);
    const kept = this.#follower.keep(does);
    this.#settle();
    return kept;
  }

  /** Possibilities that have become the same are one from now on. */
  forgetDoubles(): void {
    this.#follower?.forgetDoubles();
    this.#settle();
  }

  /** Something happened that all models take alike. */
  each(does: (model: Model) => void): void {
    if (this.#follower === undefined) does(this.#model);
    else this.#follower.each(does);
  }

  /** A device reset. */
  reset(): void {
    if (this.#follower === undefined) this.#model.reset();
    else this.#follower.reset();
    this.#settle();
  }

  #settle(): void {
    this.#model = this.#follower?.models[0] ?? this.#model;
  }
}
