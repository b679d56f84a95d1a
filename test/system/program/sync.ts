/** The same requests in three guests: one that waits for each map and unmap, a strict one, and a lazy one. */

import { BlkRequestType } from '@viommu/blk';
import { ScatterEntry } from '@viommu/iommu';
import { type GuestContext, GuestSystem } from '@viommu/machine';
import { driverOf } from '../kit/disks.ts';
import { syncAlways } from '../kit/sync-always.ts';

const CONTEXT = { cpu: 0 };
const PIECES = 16;

export interface SyncArgs {
  readonly rounds: number;
  readonly requests: number;
}

/** Of all rounds: milliseconds, doorbells rung at the IOMMU, and requests sent to it. */
export interface Measured {
  milliseconds: number;
  notifications: number;
  requests: number;
}

const WAYS = ['each', 'strict', 'lazy'] as const;

export default function program(context: GuestContext): Record<(typeof WAYS)[number], Measured> {
  const { rounds, requests } = context.args as SyncArgs; // What the test passes.
  const make = (): Measured => ({ milliseconds: 0, notifications: 0, requests: 0 });
  const results = { each: make(), strict: make(), lazy: make() };
  // In turn, so that all have their share of what else the machine does.
  for (let round = 0; round < rounds; round += 1)
    for (const way of WAYS) {
      const commandLine = `iommu.strict=${way === 'lazy' ? 0 : 1}`;
      const system = new GuestSystem(context, { commandLine });
      const disk = system.plugDisk('iommu');
      const ops = disk.device.group?.domain?.ops;
      if (way === 'each' && ops !== undefined) syncAlways(ops);
      const result = results[way];
      const { notifications } = context.transport;
      const { added } = system.driver.requests;
      const begun = context.clock.now();
      read(system, disk, requests);
      result.milliseconds += context.clock.now() - begun;
      result.notifications += context.transport.notifications - notifications;
      result.requests += system.driver.requests.added - added;
      system.unplugDisk(disk);
    }
  return results;
}

function read(
  system: GuestSystem,
  disk: ReturnType<GuestSystem['plugDisk']>,
  requests: number,
): void {
  const driver = driverOf(disk);
  const page = system.ram.allocatePages(2 * PIECES);
  // No two lie side by side, so that each is a mapping of its own.
  const list = Array.from({ length: PIECES }, (_, index) =>
    Object.assign(new ScatterEntry(), { page: page + 2 * index, sizeBytes: 4096 }),
  );
  for (let request = 0; request < requests; request += 1) {
    driver.submitList(CONTEXT, BlkRequestType.IN, 0, list, PIECES);
    if (!driver.wait(5000)) throw new Error('The disk stands still.');
    driver.reap(CONTEXT);
    system.poll();
  }
  system.ram.freePages(page);
}
