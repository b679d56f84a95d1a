/** The ring in C (`twin.c`), compiled when it is asked for. */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Contender, Order, Outcome } from './contender.ts';

const SOURCE = fileURLToPath(new URL('./twin.c', import.meta.url));

/** A process that runs one window after another. */
export class TwinProcess {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  /** Processor time of its threads so far. */
  processorMs = 0;

  private constructor(child: ChildProcess & { stdout: NodeJS.ReadableStream }) {
    this.#process = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** Compiles and starts it. Returns one sentence on why not, where it cannot be. */
  static async start(signal: AbortSignal): Promise<TwinProcess | string> {
    if (availableParallelism() < 2) return 'There is only one processor to pin threads to.';
    const folder = await mkdtemp(join(tmpdir(), 'viommu-bench-'));
    try {
      const program = join(folder, 'twin');
      await promisify(execFile)('gcc', ['-O2', '-pthread', SOURCE, '-o', program], { signal });
      const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
      await once(child, 'spawn'); // From here on the file is not needed.
      return new TwinProcess(child);
    } catch (error) {
      signal.throwIfAborted();
      const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'; // As child_process says it.
      return missing ? 'There is no gcc.' : `gcc failed: ${(error as Error).message}`;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Its threads as a contender: `split`, `static` or `ping-pong`. */
  contender(what: string): Contender {
    return { window: (order) => this.#window(what, order), end: () => this.end() };
  }

  async #window(what: string, { batch, windowMs }: Order): Promise<Outcome> {
    this.#process.stdin?.write(`${what} ${batch} ${windowMs}\n`);
    const line = await this.#lines.next();
    if (line.done === true) throw new Error('The C twin has ended.');
    const [requests = 0, elapsedNs = 0, processorNs = 0] = line.value.split(' ').map(Number);
    this.processorMs = processorNs / 1e6;
    return { requests, elapsedMs: elapsedNs / 1e6 };
  }

  async end(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill('SIGKILL');
    await once(this.#process, 'exit');
  }
}
