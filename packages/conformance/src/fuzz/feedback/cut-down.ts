/** Takes away the steps of a stream that are not needed for what it reaches. */

import type { Step, Stream } from '../stream.ts';

/**
 * The shortest stream found that still has what `reaches` asks for, which the stream itself has. It stops when about
 * `stepsMax` steps were run.
 */
export async function cutDown(
  stream: Stream,
  reaches: (stream: Stream) => Promise<boolean>,
  stepsMax: number,
): Promise<Stream> {
  const { setup } = stream;
  let best = stream.steps;
  let left = stepsMax;
  for (let count = Math.ceil(best.length / 2); count >= 1; count = Math.floor(count / 2)) {
    // From the end on: what comes first is needed by what follows.
    for (let from = best.length - count; from > -count; from -= count) {
      const steps: readonly Step[] = best.filter(
        (_, index) => index < from || index >= from + count,
      );
      if (steps.length === best.length) continue;
      left -= steps.length + OPENING;
      if (left < 0) return { setup, steps: best };
      if (await reaches({ setup, steps })) best = steps;
    }
  }
  return { setup, steps: best };
}

/** What opening a target costs, in steps. */
const OPENING = 100;
