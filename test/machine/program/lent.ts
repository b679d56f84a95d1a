/** A page, an interrupt and a look at what the machine is made of. */

import { guestPhysical, iova, pageOf } from '@viommu/common';
import { allocPaging, attach, iotlbSync, unmapPages } from '@viommu/driver';
import type { GuestContext } from '@viommu/machine';
import { mapBuffer } from './memory.ts';

export default function program(context: GuestContext): object {
  const engine = context.copyEngine('first');
  const endpoint = context.driver.probeDevice([8]);
  const domain = allocPaging(endpoint);
  attach(domain, endpoint);
  const buffer = mapBuffer(context, domain, 0x10_0000n, 2);
  buffer.pages[0]?.set([0x78, 0x56, 0x34, 0x12]);
  const doorbell = iova(0xfee0_1000n);
  const whole = engine.copy({ from: buffer.iova, to: doorbell, length: 4 }).ok;
  // Not a message: dropped, like writes that an interrupt controller does not understand.
  const half = engine.copy({ from: buffer.iova, to: doorbell, length: 2 }).ok;
  // (6.12) Only a write is an interrupt.
  const read = engine.copy({ from: doorbell, to: buffer.iova, length: 4 }).ok;
  const reserved = engine.copy({ from: buffer.iova, to: iova(0x9000_0000n), length: 4 }).ok;
  unmapPages(domain, pageOf(buffer.iova), 2);
  iotlbSync(domain);
  const error = (act: () => unknown): unknown => {
    try {
      return act();
    } catch (thrown) {
      return (thrown as { code?: unknown }).code;
    }
  };
  return {
    whole,
    half,
    read,
    reserved,
    names: [...context.endpoints.keys()],
    ids: [context.endpoint('second').id, context.endpoint(9).name],
    missing: error(() => context.endpoint('third')),
    notThere: error(() => context.endpoint(10)),
    noEngine: error(() => context.copyEngine('plain')),
    outside: error(() => context.memory.bytes(guestPhysical(0n), 1)),
  };
}
