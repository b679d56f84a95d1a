/** Fuzzers of rings: with our own rings they find nothing, whatever they draw; with one that is wrong they say what is. */

import { IommuDevice } from '@viommu/device';
import {
  Chain,
  PackedDriverQueue,
  SplitDeviceQueue,
  SplitDriverQueue,
  TranslatedMemory,
} from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { Deviation } from '../../src/fuzz/deviation.ts';
import type { Fuzzer } from '../../src/fuzz/fuzzer.ts';
import { Random } from '../../src/fuzz/random.ts';
import {
  ringDevice,
  ringDriver,
  ringMemory,
  ringRace,
  ringRewrite,
} from '../../src/fuzz/ring/index.ts';
import { WRONGS } from '../../src/fuzz/ring/wrong.ts';

const REPLAYED = [ringDevice, ringDriver, ringRewrite, ringMemory];

/** What a run draws, does and tells. */
async function run(fuzzer: Fuzzer, random: Random): Promise<{ requests: number; notes: string[] }> {
  const notes: string[] = [];
  const journal = { requests: 0, note: (line: () => string) => void notes.push(line()) };
  await fuzzer.run(random, journal);
  return { requests: journal.requests, notes };
}

describe.each(REPLAYED)('$name', (fuzzer) => {
  it('draws and does the same for the same seed, whatever ran before', async () => {
    const first = new Random(5).keep();
    const before = await run(fuzzer, first);
    for (let seed = 6; seed < 10; seed += 1) await run(fuzzer, new Random(seed));
    const second = new Random(5).keep();
    expect(await run(fuzzer, second)).toEqual(before);
    expect(second.drawn).toEqual(first.drawn);
    expect(await run(fuzzer, Random.of(first.drawn))).toEqual(before);
    expect(before.requests).toBeGreaterThan(0);
  });

  it('ends where its tape ends', async () => {
    const random = new Random(11).keep();
    await run(fuzzer, random);
    for (const share of [0.1, 0.5, 0.9])
      await run(fuzzer, Random.of(random.drawn.slice(0, share * random.drawn.length)));
    const { requests } = await run(fuzzer, Random.of([]));
    expect(requests).toBe(0);
  });
});

describe('ring-device', () => {
  it('breaks every rule by its name', async () => {
    const left = new Set(WRONGS.map(({ name }) => name));
    for (let seed = 1; seed <= 100 && left.size > 0; seed += 1) {
      const { notes } = await run(ringDevice, new Random(seed));
      for (const note of notes) left.delete(note.replace(/: .*/, ''));
    }
    expect([...left]).toEqual([]);
  });
});

/** A method of a class that does something else for the time of a test. */
interface Fault {
  readonly fuzzer: Fuzzer;
  readonly of: { readonly prototype: object };
  readonly method: string;
  readonly to: (
    right: (...values: unknown[]) => unknown,
  ) => (this: object, ...values: unknown[]) => unknown;
  readonly matter: RegExp;
}

const FAULTS: readonly Fault[] = [
  {
    fuzzer: ringDevice,
    of: SplitDeviceQueue,
    method: 'publish',
    to: (right) =>
      function (...values) {
        right.apply(this, values);
        return false;
      },
    matter: /^split: device: an interrupt/,
  },
  {
    fuzzer: ringDevice,
    of: Chain,
    method: 'write',
    to: () => () => 0,
    matter: /device: a chain has another room to write/,
  },
  {
    fuzzer: ringDriver,
    of: PackedDriverQueue,
    method: 'take',
    to: (right) =>
      function (...values) {
        const token = Number(right.apply(this, values));
        return token === 3 ? 4 : token;
      },
    matter: /^packed: driver: another token/,
  },
  {
    fuzzer: ringDriver,
    of: SplitDriverQueue,
    method: 'armNotification',
    to: () => () => true,
    matter: /^split: driver: (it|an interrupt)/,
  },
  {
    fuzzer: ringRewrite,
    of: Chain,
    method: 'read',
    to: (right) =>
      function (...values) {
        right.apply(this, values);
        return right.apply(this, values);
      },
    matter: /rewrite: (a|what) .* something else/,
  },
  {
    fuzzer: ringMemory,
    of: TranslatedMemory,
    method: 'invalidate',
    to: () => () => undefined,
    matter: /^memory: /,
  },
  {
    fuzzer: ringRace,
    of: IommuDevice,
    method: 'handleChain',
    to: () => () => 0,
    matter: /race: a tail that is no answer/,
  },
];

describe('a ring that is wrong', () => {
  it.each(FAULTS)(
    '$fuzzer.name finds another $method',
    async ({ fuzzer, of, method, to, matter }) => {
      const { prototype } = of as { readonly prototype: Record<string, unknown> }; // Its methods.
      const right = prototype[method] as (...values: unknown[]) => unknown; // One of them.
      prototype[method] = to(right);
      let found: unknown;
      try {
        for (let seed = 1; seed <= 50 && found === undefined; seed += 1)
          await run(fuzzer, new Random(seed)).catch((error: unknown) => (found = error));
      } finally {
        prototype[method] = right;
      }
      expect(found).toBeInstanceOf(Deviation);
      expect(found).toHaveProperty('matter', expect.stringMatching(matter));
    },
  );
});

describe('ring-race', () => {
  it('finds nothing, with another thread that did write', async () => {
    for (let seed = 1; seed <= 4; seed += 1) {
      const { requests } = await run(ringRace, new Random(seed));
      expect(requests).toBeGreaterThan(0);
    }
  });
});
