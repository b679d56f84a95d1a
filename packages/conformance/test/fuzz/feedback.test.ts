/** Inputs made of others: in a thread with instrumented packages, and without anything of that kind. */

import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { entryOf } from '../../src/fuzz/corpus-file.ts';
import { Announcement } from '../../src/fuzz/feedback/announcement.ts';
import { cutDown } from '../../src/fuzz/feedback/cut-down.ts';
import { Feedback } from '../../src/fuzz/feedback/feedback.ts';
import { GuidedRunner } from '../../src/fuzz/feedback/guided-runner.ts';
import { mutate, solve } from '../../src/fuzz/feedback/mutation.ts';
import { fieldsOf } from '../../src/fuzz/feedback/step-field.ts';
import { streamOfPlan } from '../../src/fuzz/feedback/trial.ts';
import { mapBytes } from '../../src/fuzz/request-bytes.ts';
import { Random } from '../../src/fuzz/random.ts';
import { streamOf } from '../../src/fuzz/run-stream.ts';
import type { Step, Stream } from '../../src/fuzz/stream.ts';
import { stepFrom } from '../../src/fuzz/stream-shape.ts';
import { coreTarget } from '../../src/targets/core.ts';
import type { ThreadOutcome, ThreadTask } from './feedback/thread.ts';

function inThread(workerData: ThreadTask): Promise<ThreadOutcome> {
  return new Promise((resolve, reject) => {
    const url = new URL('feedback/thread.ts', import.meta.url);
    const worker = new Worker(url, { workerData, stderr: true });
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

const SECONDS = 40;
/** On a machine that is busy with other things. */
const PATIENCE_MS = 240_000;

describe('a thread with instrumented packages', () => {
  it(
    'finds two numbers of 32 bits, which blind streams do not with twice the requests',
    async () => {
      const task = { planted: true, seconds: SECONDS, requestsMax: Infinity } as const;
      const guided = await inThread({ ...task, mode: 'guided' });
      expect(guided.matter).toMatch(/^(?:answer|books)/);
      const blind = await inThread({ ...task, mode: 'blind', requestsMax: 2 * guided.requests });
      expect(blind.matter).toBeUndefined();
    },
    PATIENCE_MS,
  );

  it(
    'knows how much it has reached, and does the same again',
    async () => {
      const task = { mode: 'guided', planted: false, seconds: SECONDS, requestsMax: 1500 } as const;
      const [one, other] = await Promise.all([inThread(task), inThread(task)]);
      expect(one.matter).toBeUndefined();
      expect(one.edges).toBeGreaterThan(500);
      expect(one.edgesThere).toBeGreaterThan(one.edges);
      expect(one.comparisons).toBeGreaterThan(50);
      expect(one.names.length).toBeGreaterThan(5);
      expect(other).toEqual({ ...one, seconds: other.seconds });
    },
    PATIENCE_MS,
  );
});

describe('a runner without instruments', () => {
  const runner = (): GuidedRunner => new GuidedRunner(coreTarget, { feedback: new Feedback() });

  it('is steered by pairs of rules, and gives away what is new', async () => {
    const one = runner();
    for (let seed = 1; seed <= 10; seed += 1) expect((await one.run(seed)).finding).toBeUndefined();
    const entries = one.takeNew();
    expect(entries.length).toBe(one.size);
    expect(one.takeNew()).toEqual([]);
    const { pairs } = one.takeReached();

    const other = runner();
    await other.add(entries);
    const reached = new Set(other.takeReached().pairs);
    expect(pairs.filter((pair) => !reached.has(pair))).toEqual([]);
    const { size } = other;
    await other.add(entries);
    expect(other.size).toBe(size);
    expect(other.takeNew()).toEqual([]);
  });
});

describe('an announcement', () => {
  it('makes an input again that never returned', async () => {
    const shared = new Announcement();
    const runner = new GuidedRunner(coreTarget, {
      feedback: new Feedback(),
      announcement: shared,
    });
    expect(shared.plan).toBeUndefined();
    for (let seed = 1; seed <= 4; seed += 1) await runner.run(seed);
    const stream = await streamOf(coreTarget, 3, 40, []);
    shared.begin({ stream, seed: 5, more: 30 });
    shared.steps = 60;

    const { plan, steps } = new Announcement(shared.buffer);
    expect(plan).toEqual({ stream, seed: 5, more: 30 });
    const made = await streamOfPlan(coreTarget, plan!, steps); // as expected above
    expect(made.steps).toHaveLength(60);
    expect(made.steps.slice(0, 40)).toEqual(stream.steps);
    expect((await streamOfPlan(coreTarget, plan!, 0)).steps).toEqual([]);
    expect(await streamOfPlan(coreTarget, plan!, 61)).toMatchObject({ setup: stream.setup });
  });
});

describe('mutation', () => {
  it('makes streams of streams that are such themselves, the same for the same values', async () => {
    const one = await streamOf(coreTarget, 7, 60, []);
    const other = await streamOf(coreTarget, 8, 60, []);
    const seen = new Set<string>();
    for (let seed = 1; seed <= 200; seed += 1) {
      const made = mutate(new Random(seed), one, other);
      for (const step of made.steps) expect(stepFrom(step)).toEqual(step);
      expect(mutate(new Random(seed), one, other)).toEqual(made);
      seen.add(entryOf(made).name);
    }
    expect(seen.size).toBeGreaterThan(100);
  });

  it('puts a number where a comparison had the other one: whole, as a page, or at a distance', () => {
    const readable = mapBytes(3, 0x5000n, 0x6fffn, 0x9000n, 3);
    const { setup } = STREAM;
    const stream: Stream = { setup, steps: [{ kind: 'request', readable, room: 4, held: false }] };
    const made = (left: bigint, right: bigint): Set<bigint> => {
      const values = new Set<bigint>();
      for (let seed = 1; seed <= 40; seed += 1)
        for (const step of solve(new Random(seed), stream, { comparison: 0, step: 0, left, right })
          .steps)
          for (const { value } of fieldsOf(step)) values.add(value);
      return values;
    };
    expect(made(3n, 0xcafe_f00dn)).toContain(0xcafe_f00dn);
    expect(made(0x1234_5678n, 5n)).toContain(0x1234_5678n * 0x1000n);
    // Two pages are compared with a hundred.
    expect(made(2n, 100n)).toContain(0x6fffn + 98n * 0x1000n);
  });

  it('cuts away what is not needed, within its bounds', async () => {
    const steps: Step[] = Array.from({ length: 40 }, (_, index) => ({
      kind: 'post',
      bytes: index + 1,
    }));
    const has = (stream: Stream, bytes: number): boolean =>
      stream.steps.some((step) => step.kind === 'post' && step.bytes === bytes);
    const needs = async (stream: Stream): Promise<boolean> => has(stream, 7) && has(stream, 33);
    const { setup } = STREAM;
    const cut = await cutDown({ setup, steps }, needs, 1e9);
    expect(cut.steps).toEqual([steps[6], steps[32]]);
    expect((await cutDown({ setup, steps }, needs, 200)).steps.length).toBeGreaterThan(2);
  });
});

const STREAM: Stream = {
  setup: { wish: {}, format: 'split', refuse: 0n, queueSize: 16, indirect: false },
  steps: [],
};
