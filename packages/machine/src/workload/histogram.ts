/** How long requests took: counts in steps of a few percent, so that adding one costs a few instructions. */

/** Steps in each doubling; a figure read back is at most one step too high. */
const STEPS = 32;
const STEP_BITS = 5;
const UNIT_US = 0.1;
/** Doublings: up to some 200 seconds. */
const OCTAVES = 26;

/** Counts of durations. */
export class Histogram {
  /** The longest, in microseconds. */
  readonly #max: Float64Array = new Float64Array(1);
  readonly #counts: Uint32Array = new Uint32Array(STEPS * OCTAVES);
  #total = 0;

  /** Durations so far. */
  get count(): number {
    return this.#total;
  }

  /** The longest one, 0 without any. */
  get maxUs(): number {
    return this.#max[0]!; // One cell.
  }

  add(us: number): void {
    if (us > this.maxUs) this.#max[0] = us;
    const units = Math.min(us / UNIT_US, 0x7fff_ffff) | 0;
    this.#counts[stepOf(units)]! += 1; // Below the length.
    this.#total += 1;
  }

  /** Microseconds that a share 0..1 of the durations do not exceed; 0 without any. */
  percentile(share: number): number {
    let left = Math.max(1, Math.ceil(this.#total * share));
    for (let step = 0; step < this.#counts.length; step += 1) {
      left -= this.#counts[step]!; // Below the length.
      if (left <= 0) return Math.min(endOf(step) * UNIT_US, this.maxUs);
    }
    return this.maxUs;
  }

  clear(): void {
    this.#counts.fill(0);
    this.#max[0] = 0;
    this.#total = 0;
  }
}

/** Up to twice {@link STEPS} a step for each unit; then as many for each doubling. */
function stepOf(units: number): number {
  if (units < 2 * STEPS) return units;
  const shift = 31 - STEP_BITS - Math.clz32(units);
  return Math.min(shift * STEPS + (units >>> shift), STEPS * OCTAVES - 1);
}

/** The first number of units beyond a step. */
function endOf(step: number): number {
  if (step < 2 * STEPS) return step + 1;
  const shift = Math.floor(step / STEPS) - 1;
  return (step - shift * STEPS + 1) * 2 ** shift;
}
