/** Whose turn it is in a thread: streams have most of the time, and the other fuzzers share the rest. */

import { isStreamed } from './registry.ts';
import { STREAM } from './run-stream.ts';

/** How long a turn is. */
const STREAM_MS = 400;
const OTHER_MS = 100;
/** Shares of the time: of streams from seeds, of each other kind of stream, and of each other fuzzer. */
const SHARE = { seeds: 14, streams: 6, other: 1 } as const;

export interface Turn {
  readonly fuzzer: string;
  readonly timeMs: number;
}

export class Turns {
  /** Milliseconds spent, each divided by its share. */
  readonly #spent: Map<string, number>;

  /** `offset` lets threads begin with different ones. */
  constructor(fuzzers: readonly string[], offset: number) {
    const from = offset % fuzzers.length;
    this.#spent = new Map(
      [...fuzzers.slice(from), ...fuzzers.slice(0, from)].map((one) => [one, 0]),
    );
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
    return { fuzzer: least, timeMs: Math.min(isStreamed(least) ? STREAM_MS : OTHER_MS, leftMs) };
  }

  took(fuzzer: string, timeMs: number): void {
    const spent = this.#spent.get(fuzzer) ?? 0;
    this.#spent.set(fuzzer, spent + timeMs / shareOf(fuzzer));
  }
}

function shareOf(fuzzer: string): number {
  if (fuzzer === STREAM) return SHARE.seeds;
  return isStreamed(fuzzer) ? SHARE.streams : SHARE.other;
}
