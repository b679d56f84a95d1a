/** `viommu run [PROGRAM]`: a machine of two workers and one memory, with a guest program or the demonstration. */

import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { IommuError } from '@viommu/common';
import { type DemonstrationEvent, type MachineEvent, demonstrationMachine } from '@viommu/machine';
import {
  DEMONSTRATION,
  type Machine,
  type MachineResult,
  type NodeMachineOptions,
  createMachine,
} from '@viommu/machine/node';
import { ExitCode, Failure, inputFailure, printable, usageFailure } from './failure.ts';
import { explain } from './input.ts';
import {
  type Output,
  formatAddress,
  formatBytes,
  formatNoun,
  formatValue,
  roundSeconds,
} from './output.ts';
import { Progress } from './progress.ts';
import { stepText } from './run/demonstration-text.ts';
import type { RingFormat } from './ring-format.ts';
import type { PolicyFlags } from './run/policy-option.ts';
import { RecordingFile } from './run/recording-file.ts';

export interface RunOptions extends Partial<PolicyFlags> {
  /** A guest program: a module whose default function takes a `GuestContext`; the demonstration if not given. */
  readonly program?: string | undefined;
  /** Where to write what happens. */
  readonly record?: string | undefined;
  /** Guest memory in bytes. */
  readonly memory?: number | undefined;
  /** The format of the queues; split if not given. */
  readonly ring?: RingFormat | undefined;
}

/** Runs a guest program to its end; the result is the exit code. */
export async function run(
  options: RunOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const { program, record, policy } = options;
  checkTogether(options);
  if (policy !== undefined) {
    const { runPolicy } = await import('./run/policy.ts');
    return runPolicy({ ...options, policy }, output, signal);
  }
  if (program !== undefined) await checkProgram(program);
  const title = program === undefined ? 'the demonstration' : printable(program);
  let recording: RecordingFile | undefined;
  let progress: Progress | undefined;
  const machine = createRunMachine(options, {
    onEvent(event) {
      progress?.clear();
      if (event.type === 'record') recording?.add(event.lines, event.version);
      else if (output.json) output.event(eventObject(event));
      else printEvent(event, program === undefined, output);
    },
    onOutput(text, stream) {
      progress?.clear();
      output.pass(text, stream);
    },
    signal,
  });
  if (record !== undefined) recording = new RecordingFile(record, `origin: viommu run, ${title}`);
  if (!output.json) output.heading(program === undefined ? HEADING : title);
  const begun = performance.now();
  progress = new Progress(output.notes, () => {
    const seconds = Math.round((performance.now() - begun) / 1000);
    return `running ${title}, ${formatNoun(seconds, 'second')}`;
  });
  let result: MachineResult;
  try {
    result = await machine.run();
  } catch (error) {
    throw failureOf(error, program);
  } finally {
    progress.end();
    await recording?.finish();
  }
  report(result, output);
  if (recording !== undefined && record !== undefined) reportRecording(recording, record, output);
  output.event({
    event: 'summary',
    program: program ?? 'demonstration',
    seconds: roundSeconds(result.seconds),
    ...result.statistics,
    value: result.value,
    ...(recording !== undefined && {
      recording: { file: record, events: recording.lines, version: recording.version },
    }),
  });
  return ExitCode.OK;
}

const HEADING =
  'One endpoint behind an IOMMU: device and driver in two workers, one memory between them';

type Surroundings = Pick<NodeMachineOptions, 'onEvent' | 'onOutput' | 'signal'>;

/** The demonstration's machine; for other programs with a driver that is brought up before they begin. */
function createRunMachine(
  { program, record, memory, ring }: RunOptions,
  surroundings: Surroundings,
): Machine {
  const { driver, device, ...machine } = demonstrationMachine;
  try {
    return createMachine({
      ...machine,
      device: { ...device, features: { ...device?.features, packed: ring === 'packed' } },
      program: program ?? DEMONSTRATION,
      driver: program === undefined ? driver : 'automatic',
      record: record !== undefined,
      memoryBytes: memory,
      ...surroundings,
    });
  } catch (error) {
    if (error instanceof IommuError) throw usageFailure(`--memory: ${error.message}`);
    throw error;
  }
}

const POLICY_FLAGS = [
  ['workload', '--workload'],
  ['blockSize', '--block-size'],
  ['depth', '--depth'],
  ['seconds', '--seconds'],
  ['disk', '--disk'],
  ['diskSize', '--disk-size'],
] as const;

/** A policy is measured with a program of its own, and only with that. */
function checkTogether(options: RunOptions): void {
  const { policy, program, record, memory } = options;
  if (policy === undefined) {
    const flag = POLICY_FLAGS.find(([name]) => options[name] !== undefined);
    if (flag !== undefined) throw usageFailure(`${flag[1]} needs --policy`);
  } else if (program !== undefined)
    throw usageFailure('--policy has a guest program of its own; leave yours out');
  else if (record !== undefined || memory !== undefined)
    throw usageFailure(`--${record === undefined ? 'memory' : 'record'} does not go with --policy`);
}

/** A program that is not there is wrong usage, and no failure of the machine. */
async function checkProgram(program: string): Promise<void> {
  if (/^[a-z][a-z0-9+.-]+:/i.test(program)) return; // An address, and not a path.
  try {
    if ((await stat(program)).isFile()) return;
  } catch (error) {
    throw explain(error, program);
  }
  throw inputFailure(program, undefined, 'it is not a file');
}

/** What the machine ended with, and where in the program that was. */
function failureOf(error: unknown, program: string | undefined): unknown {
  if (!(error instanceof IommuError)) return error;
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause)
    if (cause instanceof Failure) return cause;
  const place = program === undefined ? undefined : placeIn(error, basename(program));
  const text = place === undefined ? error.message : `${error.message} (${place})`;
  return new Failure(ExitCode.FAILED, text, { cause: error });
}

/** The first place in the file that the stacks of an error and its causes name. */
function placeIn(error: Error, file: string): string | undefined {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    const frames = cause.stack?.split('\n').slice(1) ?? [];
    const frame = frames.find((line) => line.includes(`/${file}:`));
    const place = frame === undefined ? null : /([^/\s(]+:\d+:\d+)\)?$/.exec(frame);
    if (place !== null) return place[1];
  }
  return undefined;
}

type PublicEvent = Exclude<MachineEvent, { type: 'record' }>;

/** An event for programs. */
function eventObject(event: PublicEvent): Record<string, unknown> {
  const { type, ...rest } = event;
  if (event.type !== 'report') return { event: type, ...rest };
  return { event: 'report', from: event.from, ...event.event };
}

/** An event for people. */
function printEvent(event: PublicEvent, demonstration: boolean, output: Output): void {
  switch (event.type) {
    case 'log':
      output.line(`  ${printable(event.from)}: ${printable(event.text)}`);
      break;
    case 'interrupt':
      if (!demonstration)
        output.line(
          `  endpoint ${event.endpoint}: interrupt ${event.data} at ${formatAddress(event.address)}`,
        );
      break;
    case 'report': {
      if (!demonstration) {
        output.line(`  ${printable(event.from)}: ${formatValue(event.event)}`);
        break;
      }
      const { title, lines } = stepText(event.event as DemonstrationEvent); // What it reports.
      for (const [index, line] of lines.entries())
        output.line(
          `  ${output.style('bold', (index === 0 ? title : '').padEnd(TITLE_WIDTH))}  ${line}`,
        );
      break;
    }
  }
}

const TITLE_WIDTH = 'batches of 64'.length;

function report({ value, seconds, statistics }: MachineResult, output: Output): void {
  if (output.json) return;
  const { notifications, copies, copiedBytes, interruptMessages } = statistics;
  if (value !== undefined) output.line(`  result: ${formatValue(value)}`);
  output.line(
    `  ${output.style('green', 'done')} in ${seconds.toFixed(2)} s:` +
      ` ${formatNoun(notifications, 'notification')},` +
      ` ${formatNoun(copies, 'copy', 'copies')} of ${formatBytes(BigInt(copiedBytes))} through the IOMMU,` +
      ` ${formatNoun(interruptMessages, 'interrupt')}`,
  );
}

function reportRecording({ lines, version }: RecordingFile, file: string, output: Output): void {
  output.line(
    `  recorded ${formatNoun(lines, 'event')} in ${printable(file)} (viommu-stream version ${version})`,
  );
}
