/** Who has the processors while we measure. */

import { cpus } from 'node:os';

/** Counts from when it is made. */
export class Processors {
  readonly #begun = counted();
  readonly #own = process.cpuUsage();

  /**
   * The share of all processors (0..1) that was neither idle nor ours, where `childrenMs` are our children's.
   * Ticks are 10 ms: for runs of seconds.
   */
  othersShare(childrenMs: number): number {
    const now = counted();
    const all = now.all - this.#begun.all;
    const { user, system } = process.cpuUsage(this.#own);
    const others = now.busy - this.#begun.busy - (user + system) / 1000 - childrenMs;
    return all > 0 ? Math.min(1, Math.max(0, others / all)) : 0;
  }
}

/** Milliseconds of all processors together. */
function counted(): { all: number; busy: number } {
  let all = 0;
  let busy = 0;
  for (const { times } of cpus()) {
    const used = times.user + times.nice + times.sys + times.irq;
    all += used + times.idle;
    busy += used;
  }
  return { all, busy };
}
