/** Whose turn it is in a thread: streams have most of the time, and the other fuzzers share the rest. */

import { STREAM } from './run-stream.ts';

/** How long a turn is. */
const STREAM_MS = 400;
const OTHER_MS = 100;
/** The part of the time that streams have beside others. */
const STREAM_SHARE = 0.75;

export interface Turn {
  readonly fuzzer: string;
  readonly timeMs: number;
}

export class Turns {
  /** Milliseconds spent, each divided by its share. */
  readonly #spent: Map<string, number>;
  readonly #share: (fuzzer: string) => number;

  /** `offset` lets threads begin with different ones. */
  constructor(fuzzers: readonly string[], offset: number) {
    const from = offset % fuzzers.length;
    this.#spent = new Map(
      [...fuzzers.slice(from), ...fuzzers.slice(0, from)].map((one) => [one, 0]),
    );
    const others = fuzzers.filter((one) => one !== STREAM).length;
    const rest = fuzzers.includes(STREAM) ? 1 - STREAM_SHARE : 1;
    this.#share = (fuzzer) => (fuzzer === STREAM ? STREAM_SHARE : rest / others);
  }

  /** The fuzzer that had the least of what is due to it. */
  next(leftMs: number): Turn {
    let least: string = STREAM;
    let spent = Infinity;
    for (const [fuzzer, one] of this.#spent) {
      if (one >= spent) continue;
      spent = one;
      least = fuzzer;
    }
    return { fuzzer: least, timeMs: Math.min(least === STREAM ? STREAM_MS : OTHER_MS, leftMs) };
  }

  took(fuzzer: string, timeMs: number): void {
    const spent = this.#spent.get(fuzzer) ?? 0;
    this.#spent.set(fuzzer, spent + timeMs / this.#share(fuzzer));
  }
}
