/**
 * Wrong devices are caught, and by the clause that they break: each is our device with one line changed.
 *
 * Only the cases of that clause are run. With `MUTANTS=whole` in the environment the whole suite is, and prints what else
 * catches each of them.
 */

import { readFileSync } from 'node:fs';
import { type CaseResult, type RingFormat, entryOf } from '@viommu/conformance';
import { Piscina } from 'piscina';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Mutant } from './change.ts';
import { MUTANTS, SECTIONS, mutate } from './mutant.ts';
import type { MutantTask } from './mutant-worker.ts';

const THREADS = 2;
const MUTANT_MS = 60_000;
const WHOLE = process.env['MUTANTS'] === 'whole';

type Verdicts = readonly CaseResult[];

let pool: Piscina<MutantTask, Verdicts>;
/** What became of each mutant, or the error instead. */
let outcomes: readonly Promise<Verdicts | Error>[] = [];

beforeAll(() => {
  pool = new Piscina({
    filename: new URL('./mutant-worker.ts', import.meta.url).href,
    minThreads: THREADS,
    maxThreads: THREADS,
  });
  // Lanes and not the pool's queue: the time of a mutant begins when it is its turn.
  const waiting = MUTANTS.map(() => Promise.withResolvers<Verdicts | Error>());
  outcomes = waiting.map(({ promise }) => promise);
  const turns = MUTANTS.entries();
  const lane = async (): Promise<void> => {
    for (const [index, { caught, format }] of turns)
      waiting[index]?.resolve(
        await run(index, WHOLE ? undefined : [caught], format).catch(
          (error: unknown) => error as Error,
        ), // what is thrown here is one
      );
  };
  for (let count = 0; count < THREADS; count += 1) void lane();
});

afterAll(() => pool.destroy());

async function run(
  mutant: number | undefined,
  ids: readonly string[] | undefined,
  format: RingFormat = 'split',
): Promise<Verdicts> {
  return pool.run({ mutant, ids, format }, { signal: AbortSignal.timeout(MUTANT_MS) });
}

const isBad = ({ result }: CaseResult): boolean => result === 'fail' || result === 'warn';
/** Of the clause, or the case, that has to catch the mutant. */
const isOf =
  ({ caught }: Mutant) =>
  ({ id, clause }: CaseResult): boolean =>
    id === caught || clause === caught;
const clausesOf = (results: Verdicts): readonly string[] => [
  ...new Set(results.filter(isBad).map(({ clause }) => clause)),
];

async function isCaught(index: number, mutant: Mutant): Promise<boolean> {
  const outcome = await outcomes[index];
  return outcome instanceof Array && outcome.filter(isOf(mutant)).some(isBad);
}

describe('a device that is wrong in one line', () => {
  it('is one of many, each wrong in a way of its own', () => {
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
    expect(MUTANTS.filter(({ file }) => file.startsWith('device/')).length).toBeGreaterThan(70);
    for (const mutant of MUTANTS) {
      expect(entryOf(mutant.caught), mutant.name).toBeDefined();
      // Throws for a text that is not there, or stands there twice.
      expect(mutate(mutant), mutant.name).toContain(mutant.replace);
    }
  });

  it('is right without it', async () => {
    for (const format of ['split', 'packed'] as const) {
      const ids = MUTANTS.filter((one) => (one.format ?? 'split') === format).map(
        ({ caught }) => caught,
      );
      const results = await run(undefined, ids, format);
      for (const id of ids) {
        const own = results.filter((one) => one.id === id || one.clause === id);
        expect(own.filter(isBad), id).toEqual([]);
        expect(
          own.map(({ result }) => result),
          id,
        ).toContain('pass');
      }
    }
  });

  it.each(MUTANTS.map((mutant, index) => [mutant.name, mutant.caught, index, mutant] as const))(
    '%s: %s',
    async (name, caught, index, mutant) => {
      const outcome = await outcomes[index];
      if (outcome === undefined || outcome instanceof Error) throw outcome;
      const own = outcome.filter(isOf(mutant)).filter(isBad);
      if (own.length === 0) {
        const others = clausesOf(await run(index, undefined, mutant.format));
        expect.fail(`No case of ${caught} fails; these do: ${others.join(', ') || 'none'}.`);
      }
      // One that dies tells nothing about the clause.
      expect(own.filter(({ how }) => how === 'crash')).toEqual([]);
      if (WHOLE)
        process.stdout.write(
          `${name}: ${own.map(({ id }) => id).join(' ')}; also ${clausesOf(outcome).join(' ')}\n`,
        );
    },
  );

  it('is counted in the README', async () => {
    const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
    const caught = await Promise.all(MUTANTS.map((mutant, index) => isCaught(index, mutant)));
    const counts: number[] = [];
    let first = 0;
    for (const { mutants } of SECTIONS) {
      counts.push(caught.slice(first, first + mutants.length).filter(Boolean).length);
      first += mutants.length;
    }
    const row = (name: string, cells: readonly (number | string)[]): string =>
      `| ${[name, ...cells].join(' | ')} |\n`;
    const sizes = SECTIONS.map(({ mutants }) => mutants.length);
    expect(readme).toContain(
      row('wrong in', [...SECTIONS.map(({ name }) => name), 'all']) +
        row('---', [...sizes.map(() => '---'), '---']) +
        row('mutants', [...sizes, MUTANTS.length]) +
        row('caught', [...counts, caught.filter(Boolean).length]),
    );
  });
});
