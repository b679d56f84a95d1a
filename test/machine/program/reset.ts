/** Resets the device in the middle of its work and brings it up again. */

import { iova } from '@viommu/common';
import { allocPaging, attach } from '@viommu/driver';
import type { GuestContext } from '@viommu/machine';
import { mapBuffer } from './memory.ts';

export default function program(context: GuestContext): object {
  const engine = context.copyEngine('first');
  const copy = (): boolean =>
    engine.copy({ from: iova(0x10_0000n), to: iova(0x10_1000n), length: 64 }).ok;
  const setUp = (): void => {
    const endpoint = context.driver.probeDevice([8]);
    const domain = allocPaging(endpoint);
    attach(domain, endpoint);
    mapBuffer(context, domain, 0x10_0000n, 2);
  };
  const outcomes: boolean[] = [];
  setUp();
  outcomes.push(copy());
  context.transport.reset();
  // Nobody is attached any more, and `bypass` is off.
  outcomes.push(copy());
  context.startDriver();
  outcomes.push(copy());
  setUp();
  outcomes.push(copy());
  context.driver.remove();
  outcomes.push(copy());
  return { outcomes, status: context.transport.status() };
}
