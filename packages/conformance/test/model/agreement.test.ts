/**
 * The model and the device, side by side: random devices, random streams, compared after every step. Both were written
 * from the standard; where they differ, one of them is wrong.
 */

import { describe, expect, it } from 'vitest';
import { Random } from './random.ts';
import { runStream } from './stream.ts';

const SEEDS = 300;
const STEPS = 200;

describe('the model and the device', () => {
  it('agree on random streams', () => {
    const statuses = Array.from({ length: 10 }, () => 0);
    let accesses = 0;
    let reordered = 0;
    let faults = 0;
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      let counts;
      try {
        counts = runStream(new Random(seed), STEPS);
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
      counts.statuses.forEach((count, status) => (statuses[status]! += count)); // Both have ten.
      accesses += counts.accesses;
      reordered += counts.reordered;
      faults += counts.faults;
    }
    // Our device finds errors in the order of the model.
    expect(reordered).toBe(0);
    // The streams reach what they are for.
    const [ok = 0, , unsupp = 0, , inval = 0, range = 0, noent = 0, , nomem = 0, untouched = 0] =
      statuses;
    expect(Math.min(ok, inval, range, noent)).toBeGreaterThan(500);
    expect(Math.min(nomem, untouched)).toBeGreaterThan(30);
    expect(unsupp).toBeGreaterThan(0);
    expect(faults).toBeGreaterThan(1000);
    expect(accesses - faults).toBeGreaterThan(1000);
  });
});
