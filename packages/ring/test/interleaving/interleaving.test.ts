/** Every interleaving of two requests, and proof that the visit would see a fault. */

import { Waiter, createDeviceQueue, createDriverQueue } from '@viommu/ring';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type Visit, explore } from './explorer.ts';
import { FAULTS, plant } from './planted.ts';
import {
  CASE_BYTES,
  type Case,
  type QueueMakers,
  deviceProgram,
  driverProgram,
} from './programs.ts';

const OWN: QueueMakers = { device: createDeviceQueue, driver: createDriverQueue, Waiter };
const STATES_MAX = 200_000;

/** The cases under the names that they have in the README. */
const CASES: Record<string, Pick<Case, 'order' | 'asleep' | 'batchUsed'>> = {
  'one request after the other': { order: 'in turn' },
  'both requests at once': { order: 'together' },
  'the second while the first is under way': { order: 'overlapping' },
  'at once, in one used entry': { order: 'together', batchUsed: true },
  'under way, in used entries for several': { order: 'overlapping', batchUsed: true },
  'under way, a device that is asleep': { order: 'overlapping', asleep: 'device' },
  'under way, a driver that is asleep': { order: 'overlapping', asleep: 'driver' },
};

/** The columns of the table there. */
const FORMATS = [false, true].flatMap((packed) =>
  [false, true].map((eventIndex) => ({ packed, eventIndex })),
);

/** How a device serves: popping and pushing, in one call for each request, in one call for as many as there are. */
const WAYS = [{}, { burst: 1 }, { burst: 2 }] as const;

function visit(
  makers: QueueMakers,
  name: string,
  format: (typeof FORMATS)[number],
  way: (typeof WAYS)[number] = {},
): Visit {
  const some = CASES[name];
  if (some === undefined) throw new Error(`no case has the name ${name}`);
  const features = { indirect: false, inOrder: some.batchUsed === true, ...format };
  const of: Case = { makers, features, ...some, ...way };
  return explore({
    programs: [driverProgram(of), deviceProgram(of)],
    bytes: CASE_BYTES,
    statesMax: STATES_MAX,
  });
}

/** What was visited before: popped and pushed with the queues of the package. */
const popped = new Map<string, Visit[]>();

function visitsOf(name: string): Visit[] {
  const visits = popped.get(name) ?? FORMATS.map((format) => visit(OWN, name, format));
  popped.set(name, visits);
  return visits;
}

describe('two requests: no lost wake-up, nothing twice, nothing early', () => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');

  it.each(Object.keys(CASES))('%s, with the states of the README', (name) => {
    const visits = visitsOf(name);
    expect(visits.map(({ failure }) => failure)).toEqual(FORMATS.map(() => undefined));
    const counts = visits.map(({ states }) => states.toLocaleString('en-US'));
    const row = readme.split('\n').find((line) => line.startsWith(`| ${name} `)) ?? 'no such row';
    expect(row.split('|').map((cell) => cell.trim())).toEqual(['', name, ...counts, '']);
    expect(Math.min(...visits.map(({ states }) => states))).toBeGreaterThan(1000);
  });

  it.each(Object.keys(CASES))('%s, served: one by one in the same states', (name) => {
    const served = FORMATS.map((format) => visit(OWN, name, format, { burst: 1 }));
    expect(served).toEqual(visitsOf(name));
    for (const format of FORMATS) {
      const { states, failure } = visit(OWN, name, format, { burst: 2 });
      expect([states > 1000, failure]).toEqual([true, undefined]);
    }
  });
});

describe('a planted fault is found', () => {
  it.each(FAULTS)('$name', async (fault) => {
    const makers = await plant(fault);
    const packed = fault.file.startsWith('packed');
    const formats = FORMATS.filter((format) => format.packed === packed);
    const found = Object.keys(CASES).some((name) =>
      formats.some((format) =>
        WAYS.some((way) => visit(makers, name, format, way).failure !== undefined),
      ),
    );
    expect(found).toBe(true);
  });
});
