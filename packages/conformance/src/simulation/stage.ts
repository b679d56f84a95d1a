/**
 * Who may act next, and what goes wrong: the scheduler of a simulation.
 *
 * There is one thread. The guest runs until it waits, touches a register or has touched memory so and so often; there
 * the others get turns, each of them a step that is not interrupted: the host's thread, accesses of endpoints, and
 * whatever is due. All choices come from the random values.
 */

import { Deviation } from '../fuzz/deviation.ts';
import type { Journal } from '../fuzz/fuzzer.ts';
import type { Random } from '../fuzz/random.ts';
import { Timeline } from './timeline.ts';

/** Turns that one call of the guest may take: far more than any of them needs. */
const TURNS_MAX = 30_000;
/** And accesses of the guest to what it shares. */
const VISITS_MAX = 2_000_000;
/** As all times here a multiple of 1/128, so that sums are exact. */
const TURN_MS = 1 / 128;
const DELAYS_MS = [0, 0, 0, 0.0625, 1, 30, 200] as const;

/** What takes turns. */
export interface Cast {
  /** The host's thread. False if it has nothing to do. */
  work(): boolean;
  /** An access of some endpoint. */
  access(): void;
  /** Something goes wrong. */
  strike(): void;
}

export interface StageOptions {
  readonly random: Random;
  readonly journal: Journal;
  /** Turns between two faults, about; 0 for none. */
  readonly strikePeriod: number;
  /** Accesses of the guest between two turns of others, about; 0 if they get them only while it waits. */
  readonly accessPeriod: number;
  readonly delays: boolean;
}

export class Stage {
  readonly random: Random;
  readonly timeline: Timeline = new Timeline();
  /** Set by who casts. */
  cast: Cast | undefined = undefined;
  /** Something happened after which calls may fail and accesses may be refused, until the guest has started anew. */
  excused = false;
  /** Faults strike now, and endpoints make accesses. */
  lively = false;
  readonly #options: StageOptions;
  #turns = 0;
  #visits = 0;
  #untilStrike: number;
  #untilTurn: number;
  #failure: Deviation | undefined = undefined;

  constructor(options: StageOptions) {
    this.#options = options;
    this.random = options.random;
    this.#untilStrike = this.#period(options.strikePeriod);
    this.#untilTurn = this.#period(options.accessPeriod);
  }

  get nowMs(): number {
    return this.timeline.now();
  }

  /** What was found first, whoever caught it. */
  get failure(): Deviation | undefined {
    return this.#failure;
  }

  /** A line of the story. */
  note(line: () => string): void {
    this.#options.journal.note(() => `t=${this.nowMs.toFixed(2)} ${line()}`);
  }

  /** The guest begins another call. */
  begin(): void {
    this.#turns = 0;
    this.#visits = 0;
    this.#options.journal.requests += 1;
  }

  /** Ends the run. */
  fail(kind: string, matter: string, evidence = ''): never {
    throw (this.#failure ??= new Deviation(kind, matter, evidence));
  }

  /** True, unless this is a finding. */
  check(holds: boolean, kind: string, matter: string, evidence?: () => string): void {
    if (!holds) this.fail(kind, matter, evidence?.());
  }

  /** The guest touches shared memory or a register: others may come before it. */
  visit(): void {
    this.#visits += 1;
    if (this.#visits > VISITS_MAX) this.fail('hang', 'a call does not end');
    this.#untilTurn -= 1;
    if (this.#untilTurn > 0 || this.cast === undefined) return;
    this.#untilTurn = this.#period(this.#options.accessPeriod);
    this.turn(this.nowMs + TURN_MS);
  }

  /** Somebody acts, or time passes to the next thing that is due by `untilMs`. False if nothing is left to do by then. */
  turn(untilMs: number): boolean {
    this.#turns += 1;
    if (this.#turns > TURNS_MAX) this.fail('hang', 'a call does not end');
    const { timeline, cast } = this;
    if (cast === undefined || this.nowMs >= untilMs) return false;
    timeline.pass(TURN_MS);
    if (this.lively) {
      this.#untilStrike -= 1;
      if (this.#untilStrike === 0) {
        this.#untilStrike = this.#period(this.#options.strikePeriod);
        cast.strike();
      }
      if (this.random.once(4)) cast.access();
    }
    if (timeline.step(this.nowMs)) return true;
    return cast.work() || timeline.step(untilMs);
  }

  /** The guest has nothing to do for so long. */
  rest(ms: number): void {
    this.wait(() => false, ms);
  }

  /** The guest waits until `ready`, for at most `timeoutMs`. False if it never was. */
  wait(ready: () => boolean, timeoutMs: number): boolean {
    const untilMs = this.nowMs + timeoutMs;
    while (!ready()) {
      if (this.turn(untilMs)) continue;
      this.timeline.pass(Math.max(0, untilMs - this.nowMs));
      return ready();
    }
    return true;
  }

  /** Has something take effect some time from now, perhaps at once, and perhaps twice. */
  deliver(what: string, effect: () => void): void {
    const { random } = this;
    if (!this.#options.delays || !this.lively) return effect();
    const delayMs = random.pick(DELAYS_MS);
    if (delayMs === 0) effect();
    else {
      this.note(() => `${what} takes ${delayMs} ms`);
      this.timeline.after(delayMs, effect);
    }
    if (random.once(16)) this.timeline.after(random.pick(DELAYS_MS), effect);
  }

  #period(about: number): number {
    return about === 0 ? Infinity : 1 + this.random.number(2 * about);
  }
}
