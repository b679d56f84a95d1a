/** Section "IOMMU Device / Fault reporting", the device's side: buffers of all kinds, and none. */

import { FaultFlag, FaultReason, IommuQueue } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import type { EventAnswer } from '../event-queue.ts';
import { mappedUnit, setBypass, settle, unit } from '../place.ts';
import { CAUSES, NEEDS, caused, checkAddress, collect, records } from './cause.ts';

const { ADDRESS } = FaultFlag;
const RECORD_BYTES = 24;

export const FAULT_BUFFER_CASES: readonly DeviceCase[] = [
  defineCase({
    ...NEEDS,
    id: 'open.8.5',
    title: 'the used length is that of a record, in buffers of its size and larger',
    start: { events: 0 },
    run: (s) => {
      for (const bytes of [RECORD_BYTES, RECORD_BYTES + 1, 64]) {
        // One, so that it is used before the next, which is larger.
        s.events.post(bytes);
        s.target.notify(IommuQueue.EVENT, s.events.ring.position);
        for (const { length, record, ...event } of records(
          s,
          caused(s, CAUSES['unmapped-write']),
        )) {
          const more = event.bytes.subarray(RECORD_BYTES, length);
          s.note(`a buffer of ${event.bytes.length} has used length ${length}`);
          s.must(length <= event.bytes.length, 'it is larger than the buffer');
          s.check(length >= RECORD_BYTES, 'it does not cover the record');
          s.check(
            more.every((byte) => byte === 0),
            'bytes behind the record are not 0',
          );
          s.check(record.reason <= FaultReason.MAPPING, `the reason is ${record.reason}`);
        }
      }
    },
  }),
  ...[
    ['bytes', Array.from({ length: RECORD_BYTES }, () => 1)],
    ['uneven', [3, 9, 12]],
    ['halves', [8, 16]],
  ].map(([name, cuts]) =>
    defineCase({
      ...NEEDS,
      id: `iommu.dev.fault.no-multi-buffer#pieces-${String(name)}`,
      title: `a buffer in pieces holds a record as one in one piece does: ${String(name)}`,
      start: { events: 0 },
      run: (s) => {
        for (let count = 0; count < 2; count += 1) s.events.post(...(cuts as number[]));
        s.target.notify(IommuQueue.EVENT, s.events.ring.position);
        const fault = caused(s, CAUSES['unmapped-write']);
        for (const { record, length } of records(s, fault)) {
          s.check(length >= RECORD_BYTES, `the used length is ${length}`);
          s.check(record.endpoint === fault.endpoint, `it names endpoint ${record.endpoint}`);
          s.check(record.reason <= FaultReason.MAPPING, `the reason is ${record.reason}`);
          checkAddress(s, record, fault);
        }
      },
    }),
  ),
  defineCase({
    ...NEEDS,
    id: 'iommu.dev.fault.no-multi-buffer',
    title: 'a record is not spread over buffers that are too small',
    start: { events: 0 },
    mayBreak: true,
    run: (s) => {
      for (let count = 0; count < 8; count += 1) s.events.post(8);
      s.target.notify(IommuQueue.EVENT, s.events.ring.position);
      caused(s, CAUSES['unmapped-write']);
      const events = collect(s);
      s.note(`${events.length} buffers come back`);
      const written = events.filter(
        ({ bytes, length }) => length > 0 && bytes.some((byte) => byte !== 0xff),
      );
      s.check(written.length < 2, `${written.length} of them have pieces`);
    },
  }),
  ...[1, 4, 8, 16, 23].map((bytes) =>
    defineCase({
      ...NEEDS,
      id: `iommu.dev.fault.older-format#${bytes}`,
      title: `a buffer of ${bytes} bytes may be used for less than a record, and nothing behind it is written`,
      start: { events: 0 },
      mayBreak: true,
      run: (s) => {
        for (let count = 0; count < 2; count += 1) s.events.post(bytes);
        s.target.notify(IommuQueue.EVENT, s.events.ring.position);
        caused(s, CAUSES['unmapped-write']);
        for (const { length, overrun, bytes: content } of collect(s)) {
          s.note(`used length ${length}`);
          s.must(!overrun, 'the device wrote behind the buffer');
          s.must(length <= content.length, `the used length is ${length}`);
        }
        s.note(`the status is 0x${s.target.readStatus().toString(16)}`);
      },
    }),
  ),
  defineCase({
    ...NEEDS,
    id: 'open.8.4',
    title: 'a record passes by a buffer that is too small, and is found in the next, or is dropped',
    start: { events: 0 },
    mayBreak: true,
    run: (s) => {
      s.events.post(8);
      s.events.post(RECORD_BYTES);
      s.target.notify(IommuQueue.EVENT, s.events.ring.position);
      caused(s, CAUSES['unmapped-write']);
      const events = collect(s);
      s.note(
        events.map(({ bytes, length }) => `${length} of ${bytes.length}`).join(', ') || 'none',
      );
      for (const { bytes, length } of events)
        if (bytes.length < RECORD_BYTES) s.check(length === 0, 'the small one is said to be used');
    },
  }),
  defineCase({
    ...NEEDS,
    id: 'open.8.2',
    title: 'faults without a buffer are kept or dropped, and requests go on',
    start: { events: 0 },
    run: (s) => {
      for (let count = 0; count < 40; count += 1) caused(s, CAUSES['unmapped-write']);
      s.checkServes();
      s.must(collect(s).length === 0, 'a buffer comes back that was never posted');
      for (let count = 0; count < 8; count += 1) s.events.post(RECORD_BYTES);
      s.target.notify(IommuQueue.EVENT, s.events.ring.position);
      settle(s);
      s.note(`${collect(s).length} records of before come when there are buffers`);
      const fault = caused(s, CAUSES['unmapped-read']);
      for (const { record } of records(s, fault))
        s.check(record.endpoint === fault.endpoint, 'it names another endpoint');
    },
  }),
  defineCase({
    ...NEEDS,
    id: 'open.8.3',
    title: 'buffers are found without a notification',
    start: { events: 0 },
    run: (s) => {
      for (let count = 0; count < 4; count += 1) s.events.post(RECORD_BYTES);
      caused(s, CAUSES['unmapped-write']);
      s.note(`${collect(s).length} records`);
    },
  }),
  defineCase({
    ...NEEDS,
    id: 'open.8.11',
    title: 'the same fault again and again is reported each time, or less often',
    run: (s) => {
      const events: EventAnswer[] = [];
      for (let count = 0; count < 8; count += 1) {
        caused(s, CAUSES['unmapped-write']);
        events.push(...collect(s));
      }
      s.note(`${events.length} records of 8 faults`);
    },
  }),
  defineCase({
    ...NEEDS,
    id: 'open.8.8',
    title: 'the address is in the access, where only its second half is not mapped',
    run: (s) => {
      setBypass(s, false);
      const endpoint = s.dma.endpoint();
      const domain = s.attached(endpoint);
      mappedUnit(s, domain, 2);
      const iova = unit(s, 2).virtEnd - 3n;
      s.dma.access(endpoint, 'write', iova, new Uint8Array(8).fill(0x33));
      for (const { record } of records(s, { endpoint, iova, length: 8 })) {
        checkAddress(s, record, { endpoint, iova, length: 8 });
        if ((record.flags & ADDRESS) !== 0) s.note(`+${record.address - iova}`);
      }
    },
  }),
  defineCase({
    ...NEEDS,
    id: 'open.8.8#above-4g',
    title: 'the address has all of its bits',
    run: (s) => {
      setBypass(s, false);
      const { id: endpoint, dma } = s.dma.endpoints[0] ?? s.skip('there is no such endpoint');
      const iova = 0x12_3456_0000_0010n;
      if ((dma?.last ?? iova) < iova) s.skip('the endpoint does not reach that far');
      s.attached(endpoint);
      s.dma.access(endpoint, 'write', iova, new Uint8Array(8).fill(0x33));
      const fault = { endpoint, iova, length: 8 };
      for (const { record } of records(s, fault)) checkAddress(s, record, fault);
    },
  }),
  defineCase({
    ...NEEDS,
    id: 'open.8.1',
    title: 'accesses that are allowed are not reported',
    run: (s) => {
      const endpoint = s.dma.endpoint();
      const domain = s.attached(endpoint);
      const phys = mappedUnit(s, domain, 2);
      for (const direction of ['write', 'read'] as const)
        s.dma[direction](endpoint, unit(s, 2).virtStart, phys);
      s.check(collect(s).length === 0, 'there is a record');
      caused(s, CAUSES['unmapped-write']);
      s.note(collect(s).length > 0 ? 'faults are reported' : 'faults are not reported');
    },
  }),
];
