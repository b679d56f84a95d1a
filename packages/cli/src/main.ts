#!/usr/bin/env node
/** The `viommu` command: reads the command line, runs one command, and turns failures into one line and a code. */

import { readFileSync } from 'node:fs';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { ConformOptions } from './conform.ts';
import { ExitCode, Failure, oneLine, usageFailure } from './failure.ts';
import type { FuzzFlags } from './fuzz.ts';
import { withLimits } from './limits.ts';
import { Output } from './output.ts';
import { BATCH_MODES, type BatchMode } from './replay/walk.ts';
import { RING_FORMATS, type RingFormat } from './ring-format.ts';
import type { PolicyFlags } from './run/policy-option.ts';

interface CommonOptions {
  readonly json?: true;
  readonly timeout?: number;
}

/** What a command does once its options are read; the number is the exit code. */
type Work = (output: Output, signal: AbortSignal) => Promise<number>;

/** The longest `--timeout`: what a timer takes. */
const TIMEOUT_MAX_S = 2_147_483;

const POLICY_LIST = 'direct, identity, lazy, lazy-single, strict, bounce, grant or all';
const WORKLOAD_LIST = 'randread, randwrite, seqread, seqwrite or mixed';
/** More threads than this help nobody. */
const THREADS_MAX = 256;
/** The most requests in flight. */
const DEPTH_MAX = 256;

const BARE_COMMAND = 'start';
const OWN_OPTIONS: readonly string[] = ['-h', '--help', '-V', '--version'];

/** Makes the command line's grammar; `execute` runs what was asked for. */
function createProgram(execute: (options: CommonOptions, work: Work) => Promise<void>): Command {
  const program = new Command('viommu')
    .description('The virtio-iommu, both ends of it, over virtqueues in shared memory.')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this, or the options of a command')
    .helpCommand(false)
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
    .addHelpText('after', EPILOGUE);

  const command = (usage: string, description: string): Command =>
    program
      .command(usage)
      .description(description)
      .addOption(new Option('--json', 'one JSON object a line on standard output'))
      .addOption(
        new Option('--timeout <seconds>', 'end with code 1 after this long').argParser(
          number('a number of seconds', 0.001, TIMEOUT_MAX_S),
        ),
      );

  command(BARE_COMMAND, 'the demonstration and the recorded Linux stream (without a command: this)')
    .option('--record <file>', 'write what the demonstration does to a file')
    .action((options: CommonOptions & { record?: string }) =>
      execute(options, async (output, signal) => {
        const { start } = await import('./start.ts');
        return start(options, output, signal);
      }),
    );
  command('run [program]', 'run a guest program, or the demonstration')
    .option('--record <file>', 'write what happens to a file (.gz: packed) that replay takes')
    .addOption(
      new Option('--memory <bytes>', 'guest memory, with K, M or G for KiB, MiB or GiB').argParser(
        parseBytes,
      ),
    )
    .addOption(ringOption('the format of the queues; split if not given'))
    .option('--policy <name>', `measure a disk that reaches memory like this: ${POLICY_LIST}`)
    .option('--workload <name>', `with --policy: ${WORKLOAD_LIST}; randwrite if not given`)
    .addOption(
      new Option(
        '--block-size <bytes>',
        'with --policy: bytes of a request; 64KiB if not given',
      ).argParser(parseBytes),
    )
    .addOption(
      new Option(
        '--depth <requests>',
        'with --policy: requests in flight; 16 if not given',
      ).argParser(number('a number of requests', 1, DEPTH_MAX)),
    )
    .addOption(
      new Option(
        '--seconds <seconds>',
        'with --policy: how long to measure; 5, or for all 30',
      ).argParser(number('a number of seconds', 0.05, TIMEOUT_MAX_S)),
    )
    .option(
      '--disk <file>',
      'with --policy: a file, which is overwritten, or memory; a temporary file if not given',
    )
    .addOption(
      new Option(
        '--disk-size <bytes>',
        'with --policy: bytes of the disk; 32MiB if not given',
      ).argParser(parseBytes),
    )
    .action((programFile: string | undefined, options: CommonOptions & RunFlags) =>
      execute(options, async (output, signal) => {
        const { run } = await import('./run.ts');
        return run({ program: programFile, ...options }, output, signal);
      }),
    );
  command('replay <files...>', 'send recordings through driver and device, check every answer')
    .addOption(
      new Option(
        '--batch <mode>',
        'when requests are sent: as Linux does it with this kind of domain',
      )
        .choices(BATCH_MODES)
        .default('lazy'),
    )
    .addOption(ringOption('the format of the queues; that of the recorded device if not given'))
    .action((files: string[], options: CommonOptions & ReplayFlags) =>
      execute(options, async (output, signal) => {
        const { replay } = await import('./replay.ts');
        return replay(files, options, output, signal);
      }),
    );
  command('inspect <file>', 'say what a recording holds')
    .option('--events', 'list every event after the summary')
    .action((file: string, options: CommonOptions & { events?: true }) =>
      execute(options, async (output, signal) => {
        const { inspect } = await import('./inspect.ts');
        return inspect(file, { events: options.events === true }, output, signal);
      }),
    );
  command('conform', 'hold a virtio-iommu to the standard, clause by clause')
    .addOption(
      new Option(
        '--target <name>',
        'worker (if not given), core, qemu, qemu:PATH or ./module.ts; may be given again',
      ).argParser((name: string, before: readonly string[] | undefined) => [
        ...(before ?? []),
        name,
      ]),
    )
    .addOption(
      new Option('--side <side>', 'whose clauses; those of the device if not given').choices([
        'device',
        'driver',
      ]),
    )
    .option('--only <prefix>', 'only cases whose id begins like this')
    .option('--list', 'name the cases and run none')
    .option('--junit <file>', 'write the results as JUnit XML')
    .option('--html <file>', 'write the results as one page, the targets side by side')
    .option('--manifest <file>', 'divergences that are known and do not count')
    .option('--monitor <file>', 'with --side driver: judge the driver of a recording instead')
    .addOption(ringOption('the format of the queues; split if not given'))
    .addOption(
      new Option('--threads <count>', 'cases at a time; one for each processor').argParser(
        number('a number of threads', 1, THREADS_MAX),
      ),
    )
    .action((options: CommonOptions & ConformOptions) =>
      execute(options, async (output, signal) => {
        const { conform } = await import('./conform.ts');
        return conform(options, output, signal);
      }),
    );
  command(
    'fuzz',
    'try a virtio-iommu at random, in lock-step with a model, and all of our own code',
  )
    .addOption(
      new Option('--target <name>', 'core, worker, qemu, qemu:PATH or ./module.ts').default('core'),
    )
    .addOption(
      new Option('--seconds <seconds>', 'how long')
        .argParser(number('a number of seconds', 0.1, TIMEOUT_MAX_S))
        .default(60),
    )
    .addOption(
      new Option('--seed <number>', 'where the seeds of the streams begin')
        .argParser(number('a seed', 0, Number.MAX_SAFE_INTEGER))
        .default(1),
    )
    .addOption(
      new Option('--threads <count>', 'streams at a time; one for each processor').argParser(
        number('a number of threads', 1, THREADS_MAX),
      ),
    )
    .addOption(
      new Option('--shard <i/n>', 'only the seeds of part i of n, for several machines').argParser(
        parseShard,
      ),
    )
    .option('--against <name>', 'another target, to compare with instead of the model')
    .option('--deviations <file>', 'differences between the two that are known, as JSON')
    .addOption(
      new Option('--fuzzer <names>', 'some of the fuzzers, such as stream,driver').argParser(
        (text) => text.split(','),
      ),
    )
    .option('--simulate', 'only whole machines in one thread, with faults at every point')
    .option(
      '--out <directory>',
      'where findings, inputs and the result are kept (default: "fuzz-findings", for findings)',
    )
    .option('--replay <file>', 'run a saved finding again, and nothing else')
    .option('--merge <directories...>', 'put what runs saved together in --out, and nothing else')
    .action((options: CommonOptions & Omit<FuzzFlags, 'version'>) =>
      execute(options, async (output, signal) => {
        const { fuzz } = await import('./fuzz.ts');
        return fuzz({ ...options, version: version() }, output, signal);
      }),
    );
  command('bench [names...]', 'the benchmarks of a checkout, each beside its floor or alternative')
    .addOption(
      new Option('--seconds <seconds>', 'how long to measure')
        .argParser(number('a number of seconds', 0.1, TIMEOUT_MAX_S))
        .default(20),
    )
    .option('--check', 'end with code 1 if a goal is missed')
    .action((names: string[], options: CommonOptions & { seconds: number; check?: true }) =>
      execute(options, async (output, signal) => {
        const { bench } = await import('./bench.ts');
        return bench(names, { ...options, check: options.check === true }, output, signal);
      }),
    );
  return program;
}

interface RunFlags extends Partial<PolicyFlags> {
  readonly record?: string;
  readonly memory?: number;
  readonly ring?: RingFormat;
}

interface ReplayFlags {
  readonly batch: BatchMode;
  readonly ring?: RingFormat;
}

const EPILOGUE = `
Recordings are viommu-stream files, plain or gzip; - is standard input.
Exit codes: 0 success, 1 something checked falls short or fails, 2 wrong usage or
damaged input, 130 Ctrl-C. Every failure is one line on standard error.`;

/** Runs the command line; the result is the exit code. */
async function main(args: readonly string[]): Promise<number> {
  let exitCode: number = ExitCode.OK;
  const program = createProgram(async (options, work) => {
    const output = new Output({
      json: options.json === true,
      stdout: process.stdout,
      stderr: process.stderr,
      environment: process.env,
    });
    exitCode = await withLimits(options.timeout, (signal) => work(output, signal), abandon);
  });
  try {
    await program.parseAsync(withCommand(args), { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return ExitCode.OK;
      return fail(usageFailure(usageText(error)));
    }
    return fail(error);
  }
}

/** A command line without a command means `start`. */
function withCommand(args: readonly string[]): string[] {
  const first = args[0];
  const bare = first === undefined || (first.startsWith('-') && !OWN_OPTIONS.includes(first));
  return bare ? [BARE_COMMAND, ...args] : [...args];
}

/** Prints the one line of a failure; the result is its exit code. */
function fail(error: unknown): number {
  process.stderr.write(`${oneLine(error)}\n`);
  return error instanceof Failure ? error.exitCode : ExitCode.FAILED;
}

/** For workers that do not end: ends the process under them. */
function abandon(failure: Failure): never {
  // eslint-disable-next-line node/no-process-exit -- nothing else ends a thread that spins
  process.exit(fail(failure));
}

/** commander's message as one line that says what to do. */
function usageText({ message }: CommanderError): string {
  const text = message
    .replace(/^error: /, '')
    .replace(/\s*\n\(Did you mean (.*)\?\)$/s, '; did you mean $1?')
    .trim();
  return `${text}${/[.?!]$/.test(text) ? '' : ';'} see viommu --help`;
}

/** An option's value as a number in bounds. */
function number(what: string, min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be ${what} from ${min} to ${max}.`);
  };
}

function ringOption(description: string): Option {
  return new Option('--ring <format>', description).choices(RING_FORMATS);
}

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 1 << 10, M: 1 << 20, G: 1 << 30 };

function parseBytes(text: string): number {
  const match = /^(\d{1,15})([KMG]?)(?:iB)?$/i.exec(text);
  const unit = UNITS[(match?.[2] ?? '').toUpperCase()];
  const bytes = Number(match?.[1]) * (unit ?? Number.NaN);
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new InvalidArgumentError('It must be a number of bytes, such as 65536 or 16M.');
}

/** `i/n` as a place from 0 on. */
function parseShard(text: string): { readonly index: number; readonly count: number } {
  const [, part = '', parts = ''] = /^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? [];
  const [index, count] = [Number(part) - 1, Number(parts)];
  if (index >= 0 && index < count) return { index, count };
  throw new InvalidArgumentError('It must be a part of several, such as 1/4.');
}

function version(): string {
  const manifest: unknown = JSON.parse(
    readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
  );
  return (manifest as { version: string }).version; // our own package's
}

// A reader that has seen enough, such as `head`, is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // eslint-disable-next-line node/no-process-exit -- what is left to say reaches nobody
  if (error.code === 'EPIPE') process.exit(ExitCode.OK);
  throw error;
});

process.exitCode = await main(process.argv.slice(2));
