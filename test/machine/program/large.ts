/** Copies more than one request to the engine can take. */

import { PAGE_SIZE, guestPhysical, iova, pageOf } from '@viommu/common';
import { allocPaging, attach, iotlbSyncMap, mapPages } from '@viommu/driver';
import type { GuestContext } from '@viommu/machine';
import { READ_WRITE } from './memory.ts';

const BYTES = 3 << 20;

export default function program(context: GuestContext): object {
  const endpoint = context.driver.probeDevice([8]);
  const domain = allocPaging(endpoint);
  attach(domain, endpoint);
  const memory = context.memory.allocate(2 * BYTES);
  mapPages(domain, 0, pageOf(memory), (2 * BYTES) / PAGE_SIZE, READ_WRITE);
  iotlbSyncMap(domain, 0, (2 * BYTES) / PAGE_SIZE);
  const source = context.memory.bytes(memory, BYTES);
  const target = context.memory.bytes(guestPhysical(memory + BigInt(BYTES)), BYTES);
  for (let at = 0; at < BYTES; at += 1) source[at] = at * 7 + (at >>> 8) + (at >>> 16);
  const result = context
    .copyEngine('first')
    .copy({ from: iova(0n), to: iova(BigInt(BYTES)), length: BYTES });
  return { result, equal: target.every((byte, at) => byte === source[at]) };
}
