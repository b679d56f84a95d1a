/** A little of everything that a recording can hold. With `args` of `successes`, nothing that only version 2 can say. */

import { DetachRequest, IommuConfig, RequestType, iova, pageOf } from '@viommu/common';
import { allocPaging, attach, detach, iotlbSync, unmapPages } from '@viommu/driver';
import type { GuestContext } from '@viommu/machine';
import { mapBuffer } from './memory.ts';

export default function program(context: GuestContext): void {
  const engine = context.copyEngine('first');
  const endpoint = context.driver.probeDevice([8]);
  const domain = allocPaging(endpoint);
  attach(domain, endpoint);
  const buffer = mapBuffer(context, domain, 0x10_0000n, 2);
  engine.copy({ from: buffer.iova, to: iova(0xfee0_0000n), length: 4 });
  engine.copy({ from: buffer.iova, to: iova(buffer.iova + 0xfffn), length: 2 });
  if (context.args !== 'successes') {
    engine.copy({ from: iova(0n), to: buffer.iova, length: 1 });
    context.transport.writeConfig(IommuConfig.offset.bypass, 1, 1);
    const wrong = DetachRequest.encode({ type: RequestType.DETACH, domain: 9, endpoint: 8 });
    context.requestQueue.sendReqSync(wrong);
    context.transport.reset();
    context.startDriver();
    const base = iova(context.memory.base);
    engine.copy({ from: base, to: base, length: 1 });
    return;
  }
  unmapPages(domain, pageOf(buffer.iova), 2);
  iotlbSync(domain);
  detach(endpoint);
  // Nothing follows this reset, which therefore changes nothing that anybody could see.
  context.driver.remove();
}
