import { fileURLToPath } from 'node:url';
import { type ErrorCode, IommuError } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import type { MachineEvent } from '../src/message.ts';
import { type NodeMachineOptions, createMachine } from '../src/node.ts';
import { inline } from './inline.ts';

/** How long a machine may take to end once something has gone wrong. */
const END_MS = 5000;
/** To start one takes its time too, on a machine that has other things to do. */
const TEST_MS = 60_000;

type Options = Partial<NodeMachineOptions>;

async function run(source: string, options: Options = {}): Promise<unknown> {
  const machine = createMachine({
    program: inline(source),
    driver: 'manual',
    memoryBytes: 1 << 20,
    ...options,
  });
  return (await machine.run()).value;
}

/** The error of a run. If the guest program says that it is up, the run must be over soon after. */
async function failure(source: string, options: Options = {}): Promise<IommuError> {
  let upSince = Number.POSITIVE_INFINITY;
  const onEvent = async (event: MachineEvent): Promise<void> => {
    upSince = Math.min(upSince, performance.now());
    await options.onEvent?.(event);
  };
  const error: unknown = await run(source, { ...options, onEvent }).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(performance.now() - upSince).toBeLessThan(END_MS);
  expect(error).toBeInstanceOf(IommuError);
  return error as IommuError;
}

function refusal(code: ErrorCode, message: RegExp): object {
  return { code, message: expect.stringMatching(message) };
}

const SPIN = "export default ({ log }) => { log('up'); for (;;); }";
const BLOCK = 'export default () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)';
const NEVER = 'export default () => new Promise(() => {})';

describe.concurrent('a run that ends well', { timeout: TEST_MS }, () => {
  it('returns what the guest program returned', async () => {
    expect(await run('export default ({ args }) => [args, 2n]', { args: { one: 1 } })).toEqual([
      { one: 1 },
      2n,
    ]);
  });

  it('waits for a program that is asynchronous', async () => {
    const source =
      "import { setTimeout } from 'node:timers/promises'; export default () => setTimeout(20, 'late')";
    expect(await run(source)).toBe('late');
  });

  it('passes every event on in order before it is over', async () => {
    const events: MachineEvent[] = [];
    const source = `export default (context) => {
      for (let index = 0; index < 1000; index += 1) context.report({ index });
      context.log('last');
    }`;
    await run(source, {
      onEvent: async (event) => {
        await Promise.resolve();
        events.push(event);
      },
    });
    expect(events).toHaveLength(1001);
    expect(events.slice(0, 1000)).toEqual(
      Array.from({ length: 1000 }, (_, index) => ({
        type: 'report',
        from: 'guest',
        event: { index },
      })),
    );
    expect(events[1000]).toEqual({ type: 'log', from: 'guest', text: 'last' });
  });

  it('passes text of a program on if asked to', async () => {
    const texts: [string, string][] = [];
    await run("export default () => { console.log('hello'); console.error('there'); }", {
      onOutput: (text, stream) => void texts.push([stream, text]),
    });
    expect(new Set(texts.map(([stream, text]) => `${stream}: ${text}`))).toEqual(
      new Set(['stderr: there\n', 'stdout: hello\n']),
    );
  });

  it('ends a guest worker whose program left something open', async () => {
    expect(await run('export default () => { setInterval(() => {}, 1000); return 1; }')).toBe(1);
  });

  it('says when somebody else looks', async () => {
    const machine = createMachine({ program: inline('export default () => 1'), driver: 'manual' });
    expect(machine.stats()).toMatchObject({ copies: 0 });
    await machine.run();
    await expect(machine.run()).rejects.toMatchObject({ code: 'EBUSY' });
  });
});

describe.concurrent('a guest program that fails', { timeout: TEST_MS }, () => {
  it('reaches the caller with its code, its message and its stack', async () => {
    const source = `export default function program() {
      const error = new Error('no more disks', { cause: new TypeError('inner') });
      error.name = 'IommuError';
      error.code = 'ENOSPC';
      throw error;
    }`;
    const error = await failure(source);
    // Its class came from another copy of the module, or none: the name and the code are what counts.
    expect(error.message).toBe('The guest program failed: no more disks');
    expect(error.cause).toMatchObject({ message: 'no more disks', code: 'ENOSPC' });
    expect((error.cause as Error).stack).toContain('program');
    expect((error.cause as Error).cause).toMatchObject({ name: 'TypeError', message: 'inner' });
  });

  it('keeps the code of our own errors', async () => {
    const source = 'export default (context) => context.memory.allocate(1 << 30)';
    expect(await failure(source)).toMatchObject(
      refusal('ENOMEM', /^The guest program failed: No 262144 free pages/),
    );
  });

  it('rejects', async () => {
    expect(await failure("export default async () => { throw new Error('later'); }")).toMatchObject(
      refusal('ESHUTDOWN', /: later$/),
    );
  });

  it('throws where nobody catches', async () => {
    const source =
      "export default () => { setTimeout(() => { throw new Error('loose'); }); return new Promise(() => {}); }";
    expect(await failure(source)).toMatchObject(
      refusal('ESHUTDOWN', /^The guest worker ended with an error: loose$/),
    );
  });

  it('returns something that cannot be sent', async () => {
    expect(await failure('export default () => () => 1')).toMatchObject({ code: 'ESHUTDOWN' });
  });

  it('exits', async () => {
    expect(await failure('export default () => process.exit(7)')).toMatchObject(
      refusal('ESHUTDOWN', /^The guest worker ended with exit code 7/),
    );
  });

  it('has no default function', async () => {
    expect(await failure('export const main = 1')).toMatchObject(
      refusal('EINVAL', /^The guest program .* has no default function\.$/),
    );
  });

  it('is no program', async () => {
    expect(await failure('export default {')).toMatchObject(
      refusal('EINVAL', /^The guest program .* cannot be loaded: /),
    );
  });

  it('is not there', async () => {
    const machine = createMachine({ program: 'no/such/program.ts' });
    await expect(machine.run()).rejects.toMatchObject(
      refusal('ENOENT', /^There is no guest program .*no\/such\/program\.ts\.$/),
    );
    const folder = createMachine({ program: fileURLToPath(new URL('.', import.meta.url)) });
    await expect(folder.run()).rejects.toMatchObject(refusal('EINVAL', /is not a file\.$/));
  });
});

describe.concurrent('a guest program that does not end', { timeout: TEST_MS }, () => {
  it.each([
    ['spins', SPIN],
    ['blocks', BLOCK],
    ['waits for nothing', NEVER],
  ])('is ended after the time limit if it %s', async (_, source) => {
    expect(await failure(source, { timeoutMs: 200 })).toMatchObject(
      refusal('ETIMEDOUT', /within 200 ms/),
    );
  });

  it('is ended when the signal is aborted, which is the cause', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('Ctrl-C')), 200);
    const error = await failure(SPIN, { signal: controller.signal });
    expect(error).toMatchObject(refusal('ESHUTDOWN', /aborted/));
    expect(error.cause).toMatchObject({ message: 'Ctrl-C' });
  });

  it('is not even started when the signal is aborted before', async () => {
    const signal = AbortSignal.abort();
    expect(await failure(SPIN, { signal })).toMatchObject({ code: 'ESHUTDOWN' });
  });

  it('is ended by stop, which waits for the workers', async () => {
    const machine = createMachine({ program: inline(SPIN), driver: 'manual' });
    const ended = machine.run().catch((error: unknown) => error);
    setTimeout(() => void machine.stop(), 200);
    expect(await ended).toMatchObject(refusal('ESHUTDOWN', /^The machine was stopped/));
    await machine.stop();
  });

  it('may end itself when it is asked to', async () => {
    const source =
      'export default ({ log, stopped }) => { log("up"); while (!stopped()); return 1; }';
    const machine = createMachine({
      program: inline(source),
      driver: 'manual',
      onEvent: () => void machine.stop(),
    });
    expect(await machine.run()).toMatchObject({ value: 1 });
  });

  it('has failed if the time limit asked it to end', async () => {
    const source = 'export default ({ stopped }) => { while (!stopped()); return 1; }';
    expect(await failure(source, { timeoutMs: 100 })).toMatchObject({ code: 'ETIMEDOUT' });
  });

  it('cannot flood its creator', async () => {
    // It sends as fast as it can, and its creator takes its time: the messages on their way stay few.
    let taken = 0;
    const source = `export default (context) => {
      let sent = 0;
      while (!context.stopped()) { context.report({}); sent += 1; }
      return sent;
    }`;
    const machine = createMachine({
      program: inline(source),
      driver: 'manual',
      async onEvent() {
        taken += 1;
        if (taken === 50) void machine.stop();
        await new Promise((resolve) => setTimeout(resolve, 1));
      },
    });
    const { value } = await machine.run();
    expect(value).toBe(taken);
    expect(value).toBeLessThan(2000);
  });
});

describe.concurrent('a listener that fails', { timeout: TEST_MS }, () => {
  it('ends the machine', async () => {
    const source = 'export default (context) => { context.log(""); for (;;); }';
    const error = await failure(source, {
      onEvent: () => {
        throw new Error('disk full');
      },
    });
    expect(error).toMatchObject(refusal('ESHUTDOWN', /^The event listener failed: .*disk full/));
    expect(error.cause).toMatchObject({ message: 'disk full' });
  });

  it('ends the machine when it takes text, too', async () => {
    const source = "export default async () => { console.log('x'); await new Promise(() => {}); }";
    const error = await failure(source, {
      onOutput: () => {
        throw new Error('pipe broken');
      },
    });
    expect(error).toMatchObject(refusal('ESHUTDOWN', /pipe broken/));
  });

  it('fails a run that was over before the listener was', async () => {
    const error = await failure('export default (context) => context.log("")', {
      onEvent: async () => {
        await new Promise((resolve) => setTimeout(resolve, 200));
        throw new Error('late');
      },
    });
    expect(error).toMatchObject(refusal('ESHUTDOWN', /late/));
  });
});

describe.concurrent('a host that fails', { timeout: TEST_MS }, () => {
  const endpoint = (source: string): Options => ({
    endpoints: { bad: { kind: 'module', module: inline(source) } },
  });

  it.each([
    ['exits while it is loaded', 'process.exit(4)', /^The host worker ended with exit code 4/],
    [
      'exits while the guest runs',
      'export default () => ({ serve: () => process.exit(5) })',
      /^The host worker ended with exit code 5/,
    ],
    [
      'throws while the guest runs',
      "export default () => ({ serve() { throw new Error('short circuit'); } })",
      /^The host worker failed: short circuit$/,
    ],
  ])('ends the run if an endpoint %s', async (_, source, message) => {
    expect(await failure(BLOCK, endpoint(source))).toMatchObject(refusal('ESHUTDOWN', message));
  });

  it('says that it cannot be built', async () => {
    expect(await failure(BLOCK, endpoint('export {}'))).toMatchObject(
      refusal('EINVAL', /^The module of the endpoint bad has no default function\.$/),
    );
  });

  it('says that an endpoint cannot be closed, after a run that was fine', async () => {
    const source = "export default () => ({ close() { throw new Error('stuck'); } })";
    expect(await failure('export default () => 1', endpoint(source))).toMatchObject(
      refusal('ESHUTDOWN', /stuck/),
    );
  });

  it('is ended if an endpoint never comes back', async () => {
    const source = 'export default () => ({ serve() { for (;;); } })';
    expect(await failure(SPIN, { ...endpoint(source), timeoutMs: 300 })).toMatchObject({
      code: 'ETIMEDOUT',
    });
  });

  it('is ended if an endpoint never comes back after a run that was fine', async () => {
    const source = 'export default () => ({ close() { for (;;); } })';
    expect(await failure('export default () => 1', endpoint(source))).toMatchObject({
      code: 'ESHUTDOWN',
    });
  });
});

describe('options that no machine can have', () => {
  const source = inline('export default () => 1');
  it.each<[string, Options]>([
    ['memory of half a page', { memoryBytes: 2048 }],
    ['a time limit of 0', { timeoutMs: 0 }],
    ['a time limit beyond timers', { timeoutMs: 2 ** 31 }],
    [
      'two endpoints with one number',
      { endpoints: { a: { kind: 'copy', id: 1 }, b: { kind: 'copy', id: 1 } } },
    ],
    ['an endpoint number of 33 bits', { endpoints: { a: { kind: 'copy', id: 2 ** 32 } } }],
    [
      'too many endpoints',
      {
        endpoints: Object.fromEntries(
          Array.from({ length: 15 }, (_, id) => [`e${id}`, { kind: 'copy', id }]),
        ),
      },
    ],
  ])('are %s', (_, options) => {
    expect(() => createMachine({ program: source, ...options })).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
  });

  it('are arguments that cannot be sent', async () => {
    const machine = createMachine({ program: source, args: () => 1 });
    await expect(machine.run()).rejects.toMatchObject({ code: 'EINVAL' });
  });
});
