/** A disk whose back-end domain has another thread, which holds on to a page. */

import { BlkRequestType } from '@viommu/blk';
import { type GuestContext, GuestSystem } from '@viommu/machine';
import { Direction, DmaAddress, GRANT_PAGE, GrantDma } from '@viommu/iommu';
import { driverOf } from '../kit/disks.ts';

const CONTEXT = { cpu: 0 };

export interface HolderArgs {
  /** The creator stores 1 when it has mapped the page. */
  readonly held: SharedArrayBuffer;
}

export default function program(context: GuestContext): object {
  const { held } = context.args as HolderArgs; // What the test passes.
  const system = new GuestSystem(context, { xen: true });
  const disk = system.plugDisk('grant');
  const driver = driverOf(disk);
  const page = system.ram.allocatePages(1);
  const fine = driver.writeSync(CONTEXT, 0, page, 0, 512);
  const { dma } = driver;
  const into = new DmaAddress();
  dma.map(CONTEXT, disk.device, page, 0, 4096, Direction.FROM_DEVICE, 0, into);
  context.report({ ref: into.page - GRANT_PAGE });
  Atomics.wait(new Int32Array(held), 0, 0, 20_000);
  dma.unmap(CONTEXT, disk.device, into.page, 0, 4096, Direction.FROM_DEVICE, 0);
  return {
    fine,
    broken: dma instanceof GrantDma && dma.broken,
    afterwards: driver.submit(CONTEXT, BlkRequestType.IN, 0, page, 0, 512),
    alerts: system.core.log.counters.grantBroken,
  };
}
