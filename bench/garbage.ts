/** Garbage collections in steady state: what is made for each request shows here, however small it is. */

import type { Cast } from './cast.ts';
import type { Side } from './contender.ts';
import type { Count } from './figure.ts';

const REQUESTS = 10_000_000;
const WARM_UP_REQUESTS = 1_000_000;
const LIMIT_MS = 60_000;
/** Two threads that do nothing but wait for each other: what Node itself collects meanwhile. */
const BASELINE = 'floor.ping-pong';

/** Collections for each million requests, above the baseline. */
export async function countGarbage({ source }: Count, cast: Cast): Promise<Record<Side, number>> {
  const { variant, batch } = source;
  const contender = cast.get(variant);
  await contender.window({ batch, windowMs: LIMIT_MS, requestsMax: WARM_UP_REQUESTS });
  const run = await contender.window({ batch, windowMs: LIMIT_MS, requestsMax: REQUESTS });
  const baseline = await cast.get(BASELINE).window({ batch: 1, windowMs: run.elapsedMs });
  const above = (side: Side): number => {
    const count = (run.collections?.[side] ?? 0) - (baseline.collections?.[side] ?? 0);
    return (Math.max(0, count) / run.requests) * 1e6;
  };
  return { driver: above('driver'), device: above('device') };
}
