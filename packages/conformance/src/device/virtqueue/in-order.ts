/** What the standard says, without a keyword, about IN_ORDER in split rings. */

import { IommuQueue, UsedElement, UsedRing, VirtioFeature, featureMask } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import { SplitRing } from '../../ring/split-ring.ts';
import { attachBytes, detachBytes } from '../request.ts';
import { prepare } from './burst.ts';

/** No device writes this id. */
const NOBODY = 0xffff_ffff;
const PAIRS = 4;

export const IN_ORDER_CASES: readonly DeviceCase[] = [
  defineCase({
    id: 'fact.split.in-order-offset',
    title: 'an entry for several buffers lies where that of the first would, and names the last',
    needs: ['in-order', 'endpoint', 'split-format'],
    start: { with: featureMask(VirtioFeature.IN_ORDER) },
    run: (s) => {
      const ring = s.running.requests;
      if (!(ring instanceof SplitRing)) return s.skip('the ring is not split');
      if (ring.size < 4 * PAIRS) return s.skip('the queue is too small for this case');
      const { memory } = s.target;
      const slots = Array.from({ length: 2 * PAIRS }, (_, index) => index);
      const usedAt = memory.locate(
        Number(ring.layout.deviceArea & 0xffff_ffffn),
        Number(ring.layout.deviceArea >> 32n),
        UsedRing.size + UsedElement.size * slots.length,
      );
      const idAt = (slot: number): number =>
        usedAt + UsedRing.size + UsedElement.size * slot + UsedElement.offset.id;
      for (const slot of slots) memory.setUint32(idAt(slot), NOBODY);
      // All of them at once, so that a device that likes to can give them back together.
      const domain = s.domain();
      const requests = slots.map((slot) =>
        slot % 2 === 0 ? attachBytes(domain, s.a) : detachBytes(domain, s.a),
      );
      const posted = requests.map((request, slot) => {
        const { buffers, ...one } = prepare(s, request);
        const id = ring.chain(buffers);
        ring.entry(slot, id);
        return { ...one, id };
      });
      ring.publish(slots.length);
      s.target.notify(IommuQueue.REQUEST, ring.position);
      s.target.wait(() => ring.deviceIndex() === slots.length, 3000);
      s.check(
        ring.deviceIndex() === slots.length,
        `the used index is ${ring.deviceIndex()} after ${slots.length} requests`,
      );
      let first = 0;
      let entries = 0;
      while (first < slots.length) {
        const id = memory.getUint32(idAt(first));
        const last = posted.findIndex((one, index) => index >= first && one.id === id);
        s.check(last >= 0, `used entry ${first} names ${id}, which is no buffer from there on`);
        for (let slot = first + 1; slot <= last; slot += 1)
          s.should(
            memory.getUint32(idAt(slot)) === NOBODY,
            `used entry ${slot} is written although the one at ${first} stands for it`,
          );
        entries += 1;
        first = last + 1;
      }
      s.note(`${entries} used entries for ${slots.length} requests`);
      ring.usedIndex = slots.length;
    },
  }),
];
