import { expect, it } from 'vitest';
import { ENDPOINT } from './kit/disks.ts';
import type { Measured, SyncArgs } from './program/sync.ts';
import { run } from './run.ts';

const REQUESTS = 1200;

// The exact counts, with a device that wants every notification, are in domain.test.ts.
it('S1.7 measured with a disk in another thread: fewer notifications and more throughput with sync-map and deferred flush', async () => {
  const args: SyncArgs = { rounds: 6, requests: REQUESTS / 6 };
  const { value } = await run('sync', {
    args,
    endpoints: { iommu: { kind: 'disk', id: ENDPOINT } },
  });
  const { each, strict, lazy } = value as Record<'each' | 'strict' | 'lazy', Measured>; // What the program returns.
  // All of them map and unmap as much, but for the rings.
  expect(Math.abs(each.requests - strict.requests)).toBeLessThan(REQUESTS);
  expect(Math.abs(lazy.requests - strict.requests)).toBeLessThan(REQUESTS);
  expect(lazy.notifications).toBeLessThan(each.notifications / 2);
  expect(strict.notifications).toBeLessThan(each.notifications);
  // Several times, in fact; much less on a machine that is busy with other things.
  expect(each.milliseconds / strict.milliseconds).toBeGreaterThan(1.2);
  expect(each.milliseconds / lazy.milliseconds).toBeGreaterThan(1.4);
}, 60_000);
