/** What ends a command before its work is done: Ctrl-C, a termination signal, and `--timeout`. */

import { ExitCode, Failure } from './failure.ts';

/** After this long the process ends whatever its workers do. */
const GRACE_MS = 3000;

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The exit codes of a shell: 128 and the number of the signal. */
const SIGNAL_EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/**
 * Does `work` with a signal that is aborted, with a {@link Failure} as its reason, when the user or the clock ends it.
 *
 * Work that does not heed the signal is left behind: the process ends all the same, with the same line and code.
 */
export async function withLimits<Result>(
  timeoutS: number | undefined,
  work: (signal: AbortSignal) => Promise<Result>,
  abandon: (failure: Failure) => never,
): Promise<Result> {
  const controller = new AbortController();
  const timers: NodeJS.Timeout[] = [];
  const stop = (failure: Failure): void => {
    if (controller.signal.aborted) abandon(failure);
    timers.push(setTimeout(() => abandon(failure), GRACE_MS));
    controller.abort(failure);
  };
  const interrupt = (signal: (typeof SIGNALS)[number]): void =>
    stop(new Failure(SIGNAL_EXIT_CODES[signal], `ended by ${signal}`));
  for (const signal of SIGNALS) process.on(signal, interrupt);
  if (timeoutS !== undefined)
    timers.push(
      setTimeout(
        () => stop(new Failure(ExitCode.FAILED, `not done after ${timeoutS} s (--timeout)`)),
        timeoutS * 1000,
      ),
    );
  try {
    return await work(controller.signal);
  } catch (error) {
    // Whatever broke while ending is a consequence.
    throw controller.signal.aborted ? controller.signal.reason : error;
  } finally {
    for (const timer of timers) clearTimeout(timer);
    for (const signal of SIGNALS) process.off(signal, interrupt);
  }
}
