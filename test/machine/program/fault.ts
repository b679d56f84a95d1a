/** Accesses that are refused, each with what the engine says and what the domain's fault handler hears. */

import { FaultFlag, guestPhysical, iova, pageOf } from '@viommu/common';
import {
  Protection,
  allocPaging,
  attach,
  iotlbSync,
  iotlbSyncMap,
  mapPages,
  unmapPages,
} from '@viommu/driver';
import type { GuestContext } from '@viommu/machine';
import { mapBuffer } from './memory.ts';

export default function program(context: GuestContext): void {
  const engine = context.copyEngine('first');
  const endpoint = context.driver.probeDevice([8]);
  const domain = allocPaging(endpoint);
  const faults: object[] = [];
  domain.faultHandler = ({ reason, flags, endpointId, address, domain: where }) => {
    const read = (flags & FaultFlag.READ) !== 0;
    const write = (flags & FaultFlag.WRITE) !== 0;
    faults.push({ reason, read, write, endpointId, address, domain: where?.id === domain.id });
    return undefined;
  };
  attach(domain, endpoint);
  const good = mapBuffer(context, domain, 0x10_0000n, 4);
  const readOnly = mapBuffer(context, domain, 0x20_0000n, 1, Protection.READ);
  const writeOnly = mapBuffer(context, domain, 0x30_0000n, 1, Protection.WRITE);
  readOnly.pages[0]?.fill(1);
  writeOnly.pages[0]?.fill(2);

  const attempt = (name: string, from: bigint, to: bigint, length: number): void => {
    const result = engine.copy({ from: iova(from), to: iova(to), length });
    while (context.driver.serveEvents() > 0);
    context.report({ name, result, faults: faults.splice(0) });
  };
  attempt('fine', good.iova, good.iova + 0x1000n, 16);
  attempt('write to read-only', good.iova, readOnly.iova, 16);
  attempt('read from read-only', readOnly.iova, good.iova, 16);
  attempt('read from write-only', writeOnly.iova, good.iova, 16);
  attempt('write to write-only', good.iova, writeOnly.iova, 16);
  attempt('read from a hole', 0x40_0000n, good.iova, 16);
  attempt('write past the end', good.iova, good.iova + 0x3ff8n, 16);

  // Unmapped: the same access that was fine is refused.
  unmapPages(domain, pageOf(good.iova), 4);
  iotlbSync(domain);
  attempt('after unmap', good.iova, good.iova + 0x1000n, 16);

  // Translated to where no memory is: no fault of the IOMMU's.
  mapPages(domain, 0x500, pageOf(guestPhysical(0x7000_0000n)), 1, Protection.READ);
  iotlbSyncMap(domain, 0x500, 1);
  attempt('read where no memory is', 0x50_0000n, readOnly.iova, 16);
  context.report({ untouched: readOnly.pages[0]?.every((byte) => byte === 1) === true });
}
