/** Uses the endpoint of `endpoint/watcher.ts`. */

import { PAGE_SIZE, pageOf } from '@viommu/common';
import { allocPaging, attach, iotlbSync, iotlbSyncMap, mapPages, unmapPages } from '@viommu/driver';
import type { GuestContext } from '@viommu/machine';
import { Register } from '../endpoint/watcher.ts';
import { READ_WRITE } from './memory.ts';

export default function program(context: GuestContext): object {
  const { port, interruptBell } = context.endpoint('watcher');
  const endpoint = context.driver.probeDevice([8]);
  const domain = allocPaging(endpoint);
  attach(domain, endpoint);
  const base = context.memory.allocate(4 * PAGE_SIZE);
  for (const page of [0, 1, 3]) mapPages(domain, 100 + page, pageOf(base) + page, 1, READ_WRITE);
  iotlbSyncMap(domain, 100, 4);

  const access = (page: number): number | undefined => {
    const seen = interruptBell.value();
    port.write(Register.PAGE, 4, page);
    port.write(Register.GO, 4, 8);
    // It rang while the write was under way.
    if (interruptBell.value() === seen) throw new Error('no interrupt');
    const refused = port.read(Register.OUTCOME, 4) !== 0;
    return refused ? undefined : port.read(Register.PHYSICAL_PAGE, 4) - pageOf(base);
  };
  const before = [100, 101, 102, 103].map(access);
  unmapPages(domain, 100, 2);
  iotlbSync(domain);
  const between = [100, 101, 102, 103].map(access);
  port.write(Register.SYSTEM_RESET, 4, 1);
  const after = [100, 101, 102, 103].map(access);
  return { before, between, after, status: context.transport.status() };
}
