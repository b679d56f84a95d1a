/** The `viommu` command as a child process, as a user has it. */

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..');
const NODE = join(ROOT, 'node_modules', '.bin', 'node');
const MAIN = join(ROOT, 'packages', 'cli', 'src', 'main.ts');
/** A command that takes longer than this is ended: it hangs. */
const TIME_LIMIT_MS = 30_000;
/** For tests that run commands: on a busy machine even a short one takes its time. */
export const TEST_LIMIT_MS = 60_000;

/** The recording of real Linux traffic. */
export const LINUX_RECORDING: string = join(ROOT, 'recordings', 'linux-6.12-lazy.stream.gz');

/** A recording among the tests, by its name. */
export function stream(name: string): string {
  return join(import.meta.dirname, 'streams', `${name}.stream`);
}

export interface Outcome {
  /** `null` if a signal ended the command. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly elapsedMs: number;
  /** How long the command took to end after the signal. */
  readonly sinceSignalMs: number;
}

export interface CommandOptions {
  /** What standard input holds; it stays open if this is `undefined`, and holds nothing if it is not there. */
  readonly input?: string | Uint8Array | undefined;
  /** Sends this signal as soon as standard output or standard error holds the text. */
  readonly signal?: { readonly name: NodeJS.Signals; readonly after: string };
  /** Reads nothing of standard output. */
  readonly closeStdout?: boolean;
}

/** Start-up is half of what these commands do; coverage is exact only without a cache. */
const ENVIRONMENT =
  process.env['NODE_V8_COVERAGE'] === undefined
    ? { ...process.env, NODE_COMPILE_CACHE: join(ROOT, 'node_modules', '.cache', 'compile') }
    : process.env;

/** Runs `viommu` with these arguments to its end. */
export async function viommu(
  args: readonly string[],
  options: CommandOptions = {},
): Promise<Outcome> {
  const started = performance.now();
  const child = spawn(NODE, ['--conditions=@viommu/source', MAIN, ...args], {
    cwd: ROOT,
    env: ENVIRONMENT,
    timeout: TIME_LIMIT_MS,
    killSignal: 'SIGKILL',
  });
  let stdout = '';
  let stderr = '';
  let signalledAt: number | undefined;
  const watch = (): void => {
    const { signal } = options;
    if (signal === undefined || signalledAt !== undefined) return;
    if (!(stdout + stderr).includes(signal.after)) return;
    signalledAt = performance.now();
    child.kill(signal.name);
  };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    watch();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    watch();
  });
  if (options.closeStdout === true) child.stdout.destroy();
  // A command that finds its input damaged does not read to the end.
  child.stdin.on('error', () => undefined);
  const { input = '' } = options;
  if (!('input' in options) || options.input !== undefined) child.stdin.end(input);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject).on('close', resolve);
  });
  const ended = performance.now();
  const sinceSignalMs = ended - (signalledAt ?? ended);
  return { code, stdout, stderr, elapsedMs: ended - started, sinceSignalMs };
}

/** The objects on standard output under `--json`. Throws if anything else is there. */
export function events({ stdout }: Outcome): Record<string, unknown>[] {
  return stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Files of this test file's own, gone when it is done. */
export function scratch(): (name: string, content: string | Uint8Array) => string {
  const folder = mkdtempSync(join(tmpdir(), 'viommu-test-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return (name, content) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
}
