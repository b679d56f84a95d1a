/**
 * Starts a QEMU and opens its qtest channel, all of it without waiting for the event loop: a run of thousands of short
 * tests is then straight code.
 *
 * The life of the process is bounded from outside: a read from a peer that hangs cannot be given up, so `timeout` ends
 * the peer, and the read with it. Needs Linux.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IommuError, assert } from '@viommu/common';
import { type LossKind, PeerLost } from './peer-lost.ts';
import { Qtest } from './qtest.ts';
import { Watchdog } from './watchdog.ts';

/** Where pipes and memory lie: in memory, if the system has such a place. */
const MEMORY_FOLDER = '/dev/shm';
/** A start takes some 50 ms; on a machine with other work much more. */
const START_MS_MAX = 60_000;
/** How long a process that closed its channel may take to end. */
const END_MS_MAX = 500;
const LAST_WORDS_MAX = 2000;
/**
 * Waits until the pipe is closed, which the system does for a thread that is no more, and ends the group that `timeout`,
 * in place of this shell, has made.
 */
const GUARD = '(read -r line <"$0.life"; kill -s KILL -- -$$) 2>/dev/null';

/** Makes the error that calls end with once the peer is gone. */
export type LostError = (how: LossKind, message: string, lastWords: string) => Error;

export interface PeerProcessOptions {
  /** The program, and arguments that come before all others. */
  readonly command: readonly string[];
  /** The arguments, for a folder that is the process's own as long as it lives. */
  readonly args: (folder: string) => readonly string[];
  /** Called before the start, to put files into that folder. */
  readonly prepare?: (folder: string) => void;
  /** Names of files there that {@link PeerProcess.file} gives access to. */
  readonly files?: readonly string[];
  /** The process is ended after this time, whatever it does. */
  readonly lifeMs: number;
  /**
   * It is kept for long: ended as soon as it hangs, and together with this thread, which a thread that is ended from
   * outside cannot see to.
   */
  readonly kept?: boolean;
  /** A `PeerLost` if absent. */
  readonly lost?: LostError;
}

/** All that this thread has to end. */
const running = new Set<PeerProcess>();

function endAll(): void {
  for (const peer of running) peer.dispose();
}

/**
 * One running peer. Whoever makes it disposes of it. Its folder is gone as soon as the peer has opened what is in it, so
 * that nothing is left behind, however this process or its thread ends.
 */
export class PeerProcess implements Disposable {
  readonly qtest: Qtest;
  readonly pid: number;
  #child: ChildProcess | undefined = undefined;
  readonly #lifeMs: number;
  readonly #startedAt: number;
  readonly #descriptors: number[] = [];
  readonly #files: Map<string, number> = new Map();
  readonly #errors: number;
  #loss: Error | undefined = undefined;
  readonly #lost: LostError;
  readonly #kept: boolean;
  #watchdog: Watchdog | undefined = undefined;
  #disposed = false;

  /** @throws {IommuError} `ENOENT` if there is no such program or it does not start. */
  constructor(options: PeerProcessOptions) {
    const { command, args, prepare, files = [], lifeMs, kept = false, lost } = options;
    this.#kept = kept;
    this.#lost = lost ?? ((...what) => new PeerLost(...what));
    this.#lifeMs = lifeMs;
    const folder = mkdtempSync(
      join(existsSync(MEMORY_FOLDER) ? MEMORY_FOLDER : tmpdir(), 'viommu-'),
    );
    if (running.size === 0) process.on('exit', endAll);
    running.add(this);
    try {
      const commands = join(folder, 'q.in');
      const replies = join(folder, 'q.out');
      prepare?.(folder);
      for (const name of files)
        this.#files.set(name, this.#keep(openSync(join(folder, name), 'r+')));
      this.#errors = this.#keep(openSync(join(folder, 'stderr'), 'w+'));
      this.#startedAt = performance.now();
      this.#child = this.#spawn(join(folder, 'q'), [...command, ...args(folder)]);
      const { pid } = this.#child;
      if (pid === undefined) throw new IommuError('ENOENT', 'There is no shell.');
      this.pid = pid;
      if (kept) this.#openPipe(join(folder, 'q.life'));
      const writable = this.#openPipe(commands);
      const readable = this.#handshake(replies, writable);
      if (kept) this.#watchdog = new Watchdog(pid);
      this.qtest = new Qtest({
        commands: writable,
        replies: readable,
        lost: () => this.lost(),
        watch: this.#watchdog,
      });
    } catch (error) {
      this.dispose();
      throw error;
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  /** A descriptor of one of the files that were asked for. */
  file(name: string): number {
    const found = this.#files.get(name);
    assert(found !== undefined, 'a peer is asked for files that it was started with');
    return found;
  }

  /** What the process wrote to its error output so far, at most the last 2000 characters. */
  get lastWords(): string {
    const { size } = fstatSync(this.#errors);
    const bytes = Buffer.alloc(Math.min(size, LAST_WORDS_MAX));
    readSync(this.#errors, bytes, 0, bytes.length, size - bytes.length);
    return bytes.toString('utf8').trim();
  }

  /** The error that says how the peer ended, once it closed its channel. */
  lost(): Error {
    this.#loss ??= this.#findOut();
    return this.#loss;
  }

  /** True once it is known to have ended. */
  get isLost(): boolean {
    return this.#loss !== undefined;
  }

  /** How long ago it was started, in milliseconds. */
  get ageMs(): number {
    return performance.now() - this.#startedAt;
  }

  /** Ends the process. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    running.delete(this);
    if (running.size === 0) process.removeListener('exit', endAll);
    // Numbers of descriptors are used again, for other files.
    this.qtest?.close();
    for (const descriptor of this.#descriptors) closeSync(descriptor);
    // Likewise those of processes that have ended.
    const child = this.#child;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    // Together with `timeout`, which has made a group by now, unless it never came to that.
    if (!kill(-child.pid)) kill(child.pid);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #spawn(pipe: string, words: readonly string[]): ChildProcess {
    const life = (this.#lifeMs / 1000).toFixed(3);
    // One process more would cost as much as the whole of a short case.
    const script = this.#kept
      ? `mkfifo "$0.in" "$0.out" "$0.life" && { ${GUARD} & } && exec timeout -s KILL "$@"`
      : 'mkfifo "$0.in" "$0.out" && exec timeout -s KILL "$@"';
    const child = spawn('sh', ['-c', script, pipe, life, ...words], {
      stdio: ['ignore', 'ignore', this.#errors],
    });
    child.once('error', () => {}); // Seen below as a process that has no number.
    child.unref();
    return child;
  }

  /** Opens a pipe for writing, which can be done as soon as somebody reads it. */
  #openPipe(path: string): number {
    const flags = constants.O_WRONLY | constants.O_NONBLOCK;
    return this.#poll(['ENOENT', 'ENXIO'], () => this.#keep(openSync(path, flags)));
  }

  /** Opens the pipe of replies and waits for the first one; then the peer is the only one who writes to it. */
  #handshake(path: string, writable: number): number {
    // Reading and writing: does not wait for the peer to open its end, and keeps the next from waiting as well.
    const guard = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    try {
      const readable = this.#keep(openSync(path, constants.O_RDONLY));
      writeSync(writable, 'readb 0x0\n');
      const bytes = Buffer.alloc(256);
      let text = '';
      const receive = (): number => readSync(guard, bytes, 0, bytes.length, null);
      while (!/^(?!IRQ ).*\n/m.test(text) && text.length < bytes.length)
        text += bytes.toString('latin1', 0, this.#poll(['EAGAIN'], receive));
      if (!/^(?:IRQ .*\n)*OK 0x[\da-f]+\n$/.test(text))
        throw new IommuError('EIO', 'The peer does not speak the qtest protocol.');
      return readable;
    } finally {
      closeSync(guard);
    }
  }

  /** Tries until something else than these failures comes of it, or the process ends. */
  #poll<Result>(failures: readonly string[], attempt: () => Result): Result {
    while (performance.now() - this.#startedAt < START_MS_MAX) {
      try {
        return attempt();
      } catch (error) {
        const { code } = error as { code?: string }; // of a system call
        if (!failures.includes(code ?? '')) throw error;
      }
      if (endOf(this.pid) !== undefined) {
        if (this.#isOver()) throw this.lost();
        const why = this.lastWords.split('\n').at(-1) ?? '';
        throw new IommuError('ENOENT', `The peer does not start: ${why}`);
      }
      sleep(1);
    }
    throw new IommuError('ETIMEDOUT', 'The peer did not start in time.');
  }

  #findOut(): Error {
    const deadline = performance.now() + END_MS_MAX;
    let end = endOf(this.pid);
    while (end === undefined && performance.now() < deadline) {
      sleep(1);
      end = endOf(this.pid);
    }
    const { lastWords } = this;
    if (this.#isOver())
      return this.#lost('hang', 'The peer did not answer before its time was over.', lastWords);
    const way = end === undefined ? 'closed its channel' : `ended with ${end}`;
    return this.#lost('crash', `The peer ${way}.`, lastWords);
  }

  /** True if the time of the process is over. */
  #isOver(): boolean {
    return this.ageMs >= this.#lifeMs || this.#watchdog?.bit === true;
  }

  #keep(descriptor: number): number {
    this.#descriptors.push(descriptor);
    return descriptor;
  }
}

/**
 * How a child ended: `signal 6`, `status 1`; undefined while it runs. Asks the system, as the event loop may not have
 * had a turn.
 */
function endOf(pid: number): string | undefined {
  try {
    // Behind the name, which is in parentheses and may hold anything: state first, exit code last.
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat
      .slice(stat.lastIndexOf(')') + 2)
      .trim()
      .split(' ');
    if (fields[0] !== 'Z' && fields[0] !== 'X') return undefined;
    const code = Number(fields.at(-1));
    return (code & 0x7f) === 0 ? `status ${code >>> 8}` : `signal ${code & 0x7f}`;
  } catch {
    return 'an unknown status';
  }
}

/** False if there is no such process or group. */
function kill(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    return false;
  }
}

const never = new Int32Array(new SharedArrayBuffer(4));

/** Blocks the thread. */
export function sleep(milliseconds: number): void {
  Atomics.wait(never, 0, 0, milliseconds);
}
