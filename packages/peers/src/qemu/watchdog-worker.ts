/** The thread of `watchdog.ts`. */

import { readFileSync } from 'node:fs';
import { workerData } from 'node:worker_threads';
import { Place } from './watchdog.ts';

/** Between two looks. */
const LOOK_MS = 25;
/** The longest notifications, with a hundred requests that each build address spaces anew, work for a third of it. */
const WORK_MS_MAX = 250;
/** A peer that does not even work. */
const SILENCE_MS_MAX = 10_000;
/** The unit of what the system tells: 100 a second on all of Linux that there is. */
const TICK_MS = 10;

watch(workerData as Int32Array); // what `watchdog.ts` gives

function watch(words: Int32Array): never {
  let commands = 0;
  let since = 0;
  let workBefore = 0;
  for (;;) {
    // Nobody ever wakes it.
    Atomics.wait(words, Place.ENDED, Atomics.load(words, Place.ENDED), LOOK_MS);
    const pid = Atomics.load(words, Place.PID);
    const now = Atomics.load(words, Place.COMMANDS);
    if (pid === 0) continue;
    const work = workOf(pid);
    if (now !== commands) {
      commands = now;
      since = performance.now();
      workBefore = work;
    } else if (work - workBefore > WORK_MS_MAX || performance.now() - since > SILENCE_MS_MAX) {
      // Said first: whoever waits looks for it as soon as the peer is gone.
      Atomics.store(words, Place.ENDED, pid);
      end(pid);
    }
  }
}

/** Time of processors that a process and its children have used, in milliseconds. */
function workOf(pid: number): number {
  const children = read(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean);
  let ticks = 0;
  for (const each of [pid, ...children]) {
    const stat = read(`/proc/${each}/stat`);
    // Behind the name, which is in parentheses and may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  }
  return ticks * TICK_MS;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1').trim();
  } catch {
    return '';
  }
}

function end(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It is gone already.
  }
}
