/**
 * What one side of a replay has found out, in memory that the command reads: counts, and the first mismatches as text.
 *
 * Each side writes its own findings and nobody else does. The command reads counts at any time, for the progress line,
 * and mismatches when the side has ended.
 */

/** Counters of a side. */
export const Counter = {
  /** The row that the side works on. */
  ROW: 0,
  /** Requests with an answer. */
  REQUESTS: 1,
  ACCESSES: 2,
  /** Sets of removed mappings that were compared. */
  REMOVED_SETS: 3,
  /** Rows whose answer was another than the recorded one. */
  MISMATCHES: 4,
  /** Notifications that the driver sent. */
  NOTIFICATIONS: 5,
  SYNCS: 6,
  /** How long the requests and accesses took altogether, in microseconds. */
  ELAPSED_US: 7,
  /** Bytes of text behind the counters. */
  TEXT_BYTES: 8,
} as const;

type Counter = (typeof Counter)[keyof typeof Counter];

/** One answer that was another than recorded. */
export interface Mismatch {
  readonly row: number;
  readonly expected: string;
  readonly got: string;
}

const COUNTERS = 16;
const TEXT_AT = 4 * COUNTERS;
const TEXT_BYTES_MAX = 1 << 17;
/** Longer texts are cut: a set of a thousand mappings is no message. */
const TEXT_LENGTH_MAX = 400;

/** The findings of one side. */
export class Findings {
  /** To be passed to the worker of the side. */
  readonly buffer: SharedArrayBuffer;
  readonly #counters: Uint32Array;
  readonly #text: Uint8Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(TEXT_AT + TEXT_BYTES_MAX)) {
    this.buffer = buffer;
    this.#counters = new Uint32Array(buffer, 0, COUNTERS);
    this.#text = new Uint8Array(buffer, TEXT_AT);
  }

  get(counter: Counter): number {
    return this.#counters[counter]!; // counters are below COUNTERS
  }

  set(counter: Counter, value: number): void {
    this.#counters[counter] = value;
  }

  add(counter: Counter, count: number): void {
    this.#counters[counter]! += count; // likewise
  }

  /** Counts a mismatch and keeps its text as long as there is room. */
  mismatch({ row, expected, got }: Mismatch): void {
    this.add(Counter.MISMATCHES, 1);
    const used = this.get(Counter.TEXT_BYTES);
    const text = JSON.stringify([row, cut(expected), cut(got)]);
    const bytes = new TextEncoder().encode(`${text}\n`);
    if (used + bytes.length > TEXT_BYTES_MAX) return;
    this.#text.set(bytes, used);
    this.set(Counter.TEXT_BYTES, used + bytes.length);
  }

  /** The mismatches whose text was kept, in the order in which they were found. */
  mismatches(): Mismatch[] {
    // A decoder does not take shared memory.
    const bytes = this.#text.slice(0, this.get(Counter.TEXT_BYTES));
    return new TextDecoder()
      .decode(bytes)
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [row, expected, got] = JSON.parse(line) as [number, string, string]; // `mismatch` wrote it
        return { row, expected, got };
      });
  }
}

function cut(text: string): string {
  return text.length > TEXT_LENGTH_MAX ? `${text.slice(0, TEXT_LENGTH_MAX)}…` : text;
}
