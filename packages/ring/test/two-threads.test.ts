/** Driver and device in two threads that sleep at every wait: no wake-up may be lost, and no answer be wrong. */

import { guestPhysical } from '@viommu/common';
import type { QueueLayout } from '@viommu/ring';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import {
  BASE,
  BELL_BYTES,
  MEMORY_BYTES,
  type RoundTripOrder,
  type RoundTripResult,
} from './kit/round-trip-worker.ts';

const LAYOUT: Omit<QueueLayout, 'size'> = {
  descriptorArea: guestPhysical(BASE),
  driverArea: guestPhysical(BASE + 0x1000n),
  deviceArea: guestPhysical(BASE + 0x2000n),
};
/** A wait of this length is a lost wake-up: waits end after some 50 µs, or a few ms on a busy machine. */
const LIMIT_MS = 5000;

interface Case {
  readonly packed: boolean;
  readonly eventIndex: boolean;
  readonly requests: number;
  readonly batch: number;
}

async function exchange(some: Case): Promise<Record<'driver' | 'device', RoundTripResult>> {
  const buffer = new SharedArrayBuffer(BELL_BYTES + MEMORY_BYTES);
  const layout = { ...LAYOUT, size: Math.max(2, 2 * some.batch) };
  const common = { ...some, buffer, layout, limitMs: LIMIT_MS };
  const workers: Worker[] = [];
  const start = (side: RoundTripOrder['side']): Promise<RoundTripResult> =>
    new Promise((resolve, reject) => {
      const workerData: RoundTripOrder = { ...common, side };
      const worker = new Worker(new URL('./kit/round-trip-worker.ts', import.meta.url), {
        workerData,
      });
      workers.push(worker);
      worker.once('message', resolve);
      worker.once('error', reject);
      worker.once('exit', () => reject(new Error(`the ${side} ended without a result`)));
    });
  try {
    const [driver, device] = await Promise.all([start('driver'), start('device')]);
    return { driver, device };
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

describe.each([
  { packed: false, requests: 20_000 },
  { packed: true, requests: 5000 },
])('packed: $packed', ({ packed, requests }) => {
  it.each([true, false])(
    `no wake-up is lost in ${requests} round trips that sleep, event index: %s`,
    async (eventIndex) => {
      const { driver, device } = await exchange({ packed, eventIndex, requests, batch: 1 });
      // They did sleep, and were woken for it; nobody is notified much more often than that.
      expect(driver.sleeps).toBeGreaterThan(requests / 20);
      expect(device.sleeps).toBeGreaterThan(requests / 20);
      expect(device.notifications).toBeGreaterThanOrEqual(driver.sleeps / 2);
      expect(driver.notifications).toBeLessThanOrEqual(requests);
    },
    60_000,
  );

  it('batches of 64 arrive whole, with at most one notification each', async () => {
    const batches = { packed, eventIndex: true, requests: 64 * 1000, batch: 64 };
    const { driver } = await exchange(batches);
    expect(driver.notifications).toBeLessThanOrEqual(1000);
  }, 60_000);
});
