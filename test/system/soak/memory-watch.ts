/** Memory over a long run: samples, a table of them, and whether they grow. */

import { performance } from 'node:perf_hooks';

interface Sample {
  readonly seconds: number;
  /** Of the whole process, in MiB: resident; buffers outside of heaps. */
  readonly rss: number;
  readonly buffers: number;
  /** Of the creator's heap, and of the guest's when it last told. */
  readonly heap: number;
  readonly guestHeap: number;
}

const MIB = 1 << 20;
/**
 * Growth that is no growth, as a part and in MiB: what a garbage collector leaves for later. The buffers are those of one
 * machine or two, of 64 MiB each, as the moment has it.
 */
const TOLERATED = 0.15;
const TOLERATED_MIB = { rss: 48, buffers: 96, heap: 8, guestHeap: 12 } as const;
const COLUMNS = ['rss', 'buffers', 'heap', 'guestHeap'] as const;
const SAMPLES_MIN = 12;

export class MemoryWatch {
  readonly #samples: Sample[] = [];
  readonly #begun: number = performance.now();
  #guestHeap = 0;

  /** What a guest said about its heap, in bytes. */
  guest(heapBytes: number): void {
    this.#guestHeap = heapBytes / MIB;
  }

  /** Garbage does not count, if node was started so that it can be collected now. */
  sample(): void {
    globalThis.gc?.();
    const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
    const seconds = (performance.now() - this.#begun) / 1000;
    const sample = {
      seconds,
      rss: rss / MIB,
      buffers: arrayBuffers / MIB,
      heap: heapUsed / MIB,
      guestHeap: this.#guestHeap,
    };
    this.#samples.push(sample);
    console.log(lineOf(sample));
  }

  /** What grows: the median of the last quarter beside that of the second one. */
  findings(): string[] {
    const { length } = this.#samples;
    if (length < SAMPLES_MIN) return [];
    return COLUMNS.flatMap((column) => {
      const before = this.#median(column, length / 4, length / 2);
      const after = this.#median(column, (3 * length) / 4, length);
      const limit = before * (1 + TOLERATED) + TOLERATED_MIB[column];
      return after > limit
        ? [`${column} grew from ${before.toFixed(1)} to ${after.toFixed(1)} MiB`]
        : [];
    });
  }

  /** Some of the samples, for people. */
  table(): string {
    const every = Math.max(1, Math.floor(this.#samples.length / 12));
    const lines = this.#samples.filter((_, index) => index % every === 0).map(lineOf);
    return ['memory in MiB', ...lines].join('\n');
  }

  #median(column: (typeof COLUMNS)[number], from: number, to: number): number {
    const values = this.#samples.slice(Math.floor(from), Math.ceil(to)).map((one) => one[column]);
    return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
  }
}

function lineOf(sample: Sample): string {
  const cells = COLUMNS.map((column) => `${column} ${sample[column].toFixed(1).padStart(7)}`);
  return `${sample.seconds.toFixed(0).padStart(5)} s  ${cells.join('  ')}`;
}
