/** Two endpoints in two domains: the same addresses lead to different memory, and neither reaches the other's. */

import { iova, pageOf } from '@viommu/common';
import { allocPaging, attach, detach, iotlbSync, unmapPages } from '@viommu/driver';
import type { GuestContext } from '@viommu/machine';
import { fill, mapBuffer } from './memory.ts';

const SHARED = 0x10_0000n;
const OWN_FIRST = 0x20_0000n;
const OWN_SECOND = 0x30_0000n;

export default function program(context: GuestContext): object {
  const first = context.driver.probeDevice([8]);
  const second = context.driver.probeDevice([9]);
  const domains = [allocPaging(first), allocPaging(second)] as const;
  attach(domains[0], first);
  attach(domains[1], second);
  // The same addresses in both domains, on different pages.
  const mine = mapBuffer(context, domains[0], SHARED, 1);
  const yours = mapBuffer(context, domains[1], SHARED, 1);
  const firstOnly = mapBuffer(context, domains[0], OWN_FIRST, 1);
  const secondOnly = mapBuffer(context, domains[1], OWN_SECOND, 1);
  fill(mine, 1);
  fill(yours, 2);
  const firstByte = mine.pages[0]?.[0];
  const secondByte = yours.pages[0]?.[0];

  const move = (name: string, from: bigint, to: bigint): boolean =>
    context.copyEngine(name).copy({ from: iova(from), to: iova(to), length: 1 }).ok;
  const allowed = [move('first', SHARED, OWN_FIRST), move('second', SHARED, OWN_SECOND)];
  const arrived = [
    firstOnly.pages[0]?.[0] === firstByte,
    secondOnly.pages[0]?.[0] === secondByte,
    firstByte !== secondByte,
  ];
  const crossed = [
    move('first', SHARED, OWN_SECOND),
    move('first', OWN_SECOND, SHARED),
    move('second', SHARED, OWN_FIRST),
    move('second', OWN_FIRST, SHARED),
  ];
  // What one domain unmaps the other keeps.
  unmapPages(domains[0], pageOf(SHARED), 1);
  iotlbSync(domains[0]);
  const afterUnmap = [move('first', SHARED, OWN_FIRST), move('second', SHARED, OWN_SECOND)];
  detach(second);
  const afterDetach = [move('second', SHARED, OWN_SECOND)];
  // Both in one domain: the second sees what the first has.
  attach(domains[0], second);
  const together = [move('second', OWN_FIRST, OWN_FIRST)];
  return { allowed, arrived, crossed, afterUnmap, afterDetach, together };
}
