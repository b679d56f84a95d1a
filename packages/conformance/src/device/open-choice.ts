/** Choices that the standard leaves open and that no other case tells of: which one a device has made. */

import {
  AttachFlag,
  IommuConfig,
  IommuFeature,
  IommuQueue,
  Status,
  VirtioFeature,
} from '@viommu/common';
import { featureMask } from '@viommu/common';
import { type DeviceCase, defineCase } from '../case.ts';
import { settle } from './place.ts';
import { mapBytes, probeBytes, unmapBytes, withBytes } from './request.ts';
import { collect, notify, post, ringBytes, statusOf } from './virtqueue/burst.ts';

const PACKED = featureMask(VirtioFeature.RING_PACKED);

export const OPEN_CHOICE_CASES: readonly DeviceCase[] = [
  defineCase({
    id: 'open.1.11',
    title: 'a type that nobody knows comes back untouched, or with a status',
    run: (s) => {
      const answer = s.provoke(withBytes(new Uint8Array(36), { 0: 0x42 }));
      s.note(answer.toString());
      s.must(!answer.ok, 'it is reported as OK');
      s.check(answer.untouched, 'it is written');
    },
  }),
  defineCase({
    id: 'open.1.13',
    title: 'what is not written is said by the WRITE flag or by a length of 0',
    needs: ['packed'],
    wish: { withFeatures: PACKED },
    start: { with: PACKED },
    run: (s) => {
      const { writeFlag, length, untouched } = s.provoke(new Uint8Array(20).fill(0x66));
      s.note(`WRITE is ${writeFlag === true ? 'set' : 'clear'}, the length ${length}`);
      if (untouched) s.check(writeFlag === false || length === 0, 'it is neither');
    },
  }),
  defineCase({
    id: 'open.4.8',
    title: 'a range outside of input_range is refused',
    needs: ['map-unmap', 'endpoint', 'input-range'],
    wish: { inputRange: { start: 0x1_0000n, last: 0x3f_ffffn } },
    run: (s) => {
      const { last } = s.config.inputRange;
      const virtStart = last + 1n;
      if (virtStart > 0xffff_ffff_ffff_0000n) s.skip('there is nothing beyond');
      const [virtEnd, physStart] = [virtStart + s.granule - 1n, s.physical(1)];
      const answer = s.provoke(mapBytes({ domain: s.attached(), virtStart, virtEnd, physStart }));
      s.note(answer.toString());
      s.expectRefused(answer);
    },
  }),
  defineCase({
    id: 'open.5.7',
    title: 'reserved bytes of UNMAP are ignored, or INVAL',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const domain = s.attached();
      s.mapped(domain, 2);
      const request = withBytes(unmapBytes(domain, s.page(2), s.last(2)), { 25: 7 });
      const answer = s.provoke(request);
      s.note(answer.toString());
      s.expect(answer, Status.OK, Status.INVAL);
    },
  }),
  defineCase({
    id: 'open.6.1',
    title:
      'the status of a PROBE with little room is in the last four bytes, or nothing is written',
    needs: ['probe', 'endpoint'],
    run: (s) => {
      const { probeSize } = s.config;
      if (probeSize < 8) s.skip(`probe_size is ${probeSize}`);
      const writable = probeSize + 3;
      const { length, status, untouched } = s.provoke(probeBytes(s.a), { writable });
      s.note(`used length ${length}`);
      s.check(
        (untouched && length === 0) || (length === writable && status !== 0),
        'it is neither',
      );
    },
  }),
  defineCase({
    id: 'open.7.1',
    title: 'bypass is kept over a device reset',
    needs: ['bypass-config'],
    run: (s) => {
      const value = 1 - s.config.bypass;
      s.config.bypass = value;
      s.target.writeStatus(0);
      s.check(s.config.bypass === value, 'it has changed');
    },
  }),
  defineCase({
    id: 'open.7.10',
    title: 'domains may be there after a device reset, and can be left',
    needs: ['endpoint', 'map-unmap'],
    run: (s) => {
      const domain = s.attached();
      s.mapped(domain, 0);
      s.target.writeStatus(0);
      s.start();
      s.note(
        s.detach(domain, s.a).ok
          ? 'the endpoint is still attached'
          : 'the endpoint is not attached',
      );
      s.must(s.attach(domain, s.a).ok, 'the endpoint cannot be attached');
      s.must(s.mapPages(domain, 0).ok, 'a mapping is left although the endpoint was detached');
    },
  }),
  defineCase({
    id: 'open.7.12',
    title: 'fields of features that are not offered may be anything',
    start: false,
    run: (s) => {
      const fields = [
        [IommuFeature.INPUT_RANGE, 'inputRangeStart'],
        [IommuFeature.DOMAIN_RANGE, 'domainRangeStart'],
        [IommuFeature.PROBE, 'probeSize'],
      ] as const;
      for (const [bit, field] of fields)
        if (!s.offers(bit))
          s.note(`${field} is ${s.target.readConfig(IommuConfig.offset[field], 4)}`);
    },
  }),
  defineCase({
    id: 'open.8.6',
    title: 'an event buffer with readable pieces does no harm',
    start: { events: 0 },
    mayBreak: true,
    run: (s) => {
      const at = s.arena.allocate(64);
      s.events.ring.offer([
        { address: at, length: 8, writable: false },
        { address: at + 16n, length: 24, writable: true },
      ]);
      s.target.notify(IommuQueue.EVENT, s.events.ring.position);
      settle(s);
      s.note(`the status is 0x${s.target.readStatus().toString(16)}`);
    },
  }),
  defineCase({
    id: 'open.9.1',
    title: 'requests that are there at once take effect in their order, or in another',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const ring = s.running.requests;
      const domain = s.attached();
      const [virtStart, virtEnd, physStart] = [s.page(1), s.last(1), s.physical(1)];
      const map = mapBytes({ domain, virtStart, virtEnd, physStart });
      const posted = post(s, ring, [map, unmapBytes(domain, virtStart, virtEnd), map, map]);
      notify(s, ring);
      collect(s, ring, posted);
      const got = posted.map((one) => statusOf(s, one)).join(' ');
      s.note(got === '0 0 0 4' ? 'in their order' : `statuses ${got}`);
    },
  }),
  defineCase({
    id: 'open.9.2',
    title: 'a batch may come back in parts',
    needs: ['map-unmap'],
    run: (s) => {
      const ring = s.running.requests;
      const count = Math.min(32, ring.size >> 1);
      const { last } = s.config.domainRange;
      const posted = post(
        s,
        ring,
        Array.from({ length: count }, () => unmapBytes(last, 0n, 0n)),
      );
      notify(s, ring);
      collect(s, ring, posted);
    },
  }),
  defineCase({
    id: 'open.9.6',
    title: 'a batch is announced at least once, after the last of it',
    needs: ['map-unmap', 'interrupts'],
    run: (s) => {
      const ring = s.running.requests;
      const { last } = s.config.domainRange;
      s.target.takeInterrupts?.();
      const count = Math.min(16, ring.size >> 1);
      const posted = post(
        s,
        ring,
        Array.from({ length: count }, () => unmapBytes(last, 0n, 0n)),
      );
      notify(s, ring);
      collect(s, ring, posted);
      let seen = 0;
      s.target.wait(() => {
        seen += s.target.takeInterrupts?.().used ?? 0;
        return seen > 0;
      }, 1000);
      s.must(seen > 0, 'it is not announced');
      s.note(`${seen} notifications for ${count} requests`);
    },
  }),
  defineCase({
    id: 'open.11.22',
    title:
      'requests behind a damaged one come back or do not, and nothing is used after a reset is asked for',
    needs: ['map-unmap'],
    start: { without: PACKED },
    mayBreak: true,
    run: (s) => {
      const ring = s.running.requests;
      const { last } = s.config.domainRange;
      // Readable only: nobody can answer that.
      ring.offer([{ address: s.target.window.start, length: 28, writable: false }]);
      post(s, ring, [unmapBytes(last, 0n, 0n)]);
      notify(s, ring);
      settle(s);
      const status = s.target.readStatus();
      s.note(`the status is 0x${status.toString(16)}`);
      if ((status & 0x40) === 0) return s.start({ without: PACKED });
      const before = ringBytes(s, ring).join();
      notify(s, ring);
      settle(s);
      s.check(ringBytes(s, ring).join() === before, 'the ring was written afterwards');
    },
  }),
  defineCase({
    id: 'open.2.8',
    title: 'an endpoint that joins a bypass domain brings its regions along',
    needs: ['two-endpoints', 'bypass-config', 'reserved'],
    run: (s) => {
      const domain = s.attached(s.a, AttachFlag.BYPASS);
      const answer = s.attach(domain, s.b, AttachFlag.BYPASS);
      s.note(answer.toString());
      s.expect(answer, Status.OK, Status.UNSUPP);
    },
  }),
];
