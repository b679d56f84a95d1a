/** Section "Reserved Feature Bits": IN_ORDER, in both formats of the ring. */

import { VirtioFeature, featureMask } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import { attachBytes, mapBytes, unmapBytes } from '../request.ts';
import type { Session } from '../session.ts';
import { notify, post, statusOf } from '../virtqueue/burst.ts';

const IN_ORDER = featureMask(VirtioFeature.IN_ORDER);
const PACKED = featureMask(VirtioFeature.RING_PACKED);

export const BASIC_IN_ORDER_CASES: readonly DeviceCase[] = (['split', 'packed'] as const).map(
  (format) =>
    defineCase({
      id: `basic.dev.reserved.in-order#${format}`,
      title: `with IN_ORDER buffers of a ${format} ring come back in the order in which they were made available`,
      needs: ['in-order', 'endpoint', 'map-unmap', ...(format === 'packed' ? [format] : [])],
      wish: { withFeatures: format === 'split' ? IN_ORDER : IN_ORDER | PACKED },
      start: format === 'split' ? { with: IN_ORDER, without: PACKED } : { with: IN_ORDER | PACKED },
      run: (s) => {
        const ring = s.running.requests;
        let most = 0;
        for (let turn = 0; turn < 8; turn += 1) {
          const posted = post(s, ring, mixed(s, turn));
          notify(s, ring);
          let next = 0;
          while (next < posted.length) {
            s.target.wait(() => ring.ready(), 3000);
            const used = ring.take();
            if (used === undefined) s.check(false, `${posted.length - next} never come back`);
            // One entry may stand for many, by the id of the last.
            const at = posted.findIndex(({ id }, index) => index >= next && id === used?.id);
            s.check(at >= 0, `${used?.id} comes back out of order`);
            most = Math.max(most, at - next + 1);
            next = at + 1;
          }
          for (const one of posted)
            s.must(statusOf(s, one) !== undefined, 'a request was passed by');
        }
        s.note(`up to ${most} by one entry`);
      },
    }),
);

/** Cheap and costly requests. */
function mixed(s: Session, turn: number): Uint8Array[] {
  const domain = s.domain();
  const map = (page: number): Uint8Array =>
    mapBytes({ domain, virtStart: s.page(page), virtEnd: s.last(page), physStart: s.physical(1) });
  return [
    attachBytes(domain, s.a),
    ...Array.from({ length: 3 + turn }, (_, page) => map(page)),
    unmapBytes(domain, s.page(0), s.last(turn + 2)),
    map(turn),
    map(turn),
  ];
}
