/** What a thread of the fuzzer says while it runs, in shared memory, so that a run that never ends is known. */

/** Where each number is. */
export const RunCell = {
  SEED: 0,
  /** Steps of the seed's stream, or values drawn. */
  COUNT: 1,
  /** Runs that began. */
  RUNS: 2,
  /** Not 0 while what the seed showed is shrunk. */
  SHRINKS: 3,
} as const;

/** Cells in which no run began. */
export function runCells(seed: number): Float64Array {
  const cells = new Float64Array(new SharedArrayBuffer(4 * Float64Array.BYTES_PER_ELEMENT));
  cells[RunCell.SEED] = seed;
  return cells;
}

/** What all threads are told, in a shared cell. */
export const Stop = {
  NONE: 0,
  /** The time is over: nothing new begins. */
  OVER: 1,
  /** Everything ends at once. */
  HALT: 2,
} as const;
