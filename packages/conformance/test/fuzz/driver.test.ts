/** The fuzzers of drivers: defects of the driver's side are found by the one they are for, and runs can be made again. */

import { describe, expect, it } from 'vitest';
import { signatureOf } from '../../src/fuzz/deviation.ts';
import { runHonest } from '../../src/fuzz/driver/honest.ts';
import { runHostile } from '../../src/fuzz/driver/hostile.ts';
import { type Fuzzer, replayTape } from '../../src/fuzz/fuzzer.ts';
import { Random } from '../../src/fuzz/random.ts';
import { DRIVER_DEFECTS } from './defect/driver-list.ts';
import { seek } from './defect/run.ts';

const FUZZERS = {
  driver: { name: 'driver', about: '', smokeSeeds: 1, run: runHonest },
  hostile: { name: 'hostile', about: '', smokeSeeds: 1, run: runHostile },
} satisfies Record<string, Fuzzer>;

/** What a run did, in words. */
async function notesOf(run: Fuzzer['run'], random: Random): Promise<string> {
  const notes: string[] = [];
  await run(random, { requests: 0, note: (line) => notes.push(line()) });
  return notes.join('\n');
}

describe('a run', () => {
  it.each(Object.values(FUZZERS))('of $name depends on its seed alone', async ({ run }) => {
    const first = await notesOf(run, new Random(7));
    await notesOf(run, new Random(8));
    expect(await notesOf(run, new Random(7))).toBe(first);
    expect(first.length).toBeGreaterThan(1000);
  });

  it.each(Object.values(FUZZERS))(
    'of $name is a tape, which may be cut anywhere',
    async (fuzzer) => {
      const random = new Random(3).keep();
      const notes = await notesOf(fuzzer.run, random);
      expect(await notesOf(fuzzer.run, Random.of(random.drawn))).toBe(notes);
      for (const length of [0, 1, 40, 300, 2000]) {
        const { finding } = await replayTape(fuzzer, random.drawn.slice(0, length), 3);
        expect(finding && signatureOf(finding), `${length} draws`).toBeUndefined();
      }
    },
  );
});

describe('planted defects', () => {
  it.each([
    ['driver', 'a sync is over with the first answer'],
    ['driver', 'mappings are not brought along'],
    ['hostile', 'a used id outside the ring is looked up'],
    ['hostile', 'a used index that jumps is believed'],
  ])('are found by %s: %s', async (fuzzer, name) => {
    const defect = DRIVER_DEFECTS.find((one) => one.name === name);
    if (defect === undefined) throw new Error('There is no such defect.');
    expect((await seek(defect, 30, fuzzer)).matter).toBeDefined();
  });
});
