/** Section "IOMMU Device / PROBE request", the device's side. */

import {
  IommuFeature,
  ProbeProperty,
  ProbeType,
  ReservedMemory,
  Status,
  featureMask,
} from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import type { TargetRegion } from '../../target.ts';
import type { Answer } from '../answer.ts';
import { probeBytes, withBytes } from '../request.ts';
import type { Session } from '../session.ts';
import { type Property, probed, regionsOf, walk } from './property-list.ts';

const PROBE = featureMask(IommuFeature.PROBE);
const RESERVED_AT = 8;
const RESERVED_END = 72;

/** Several regions, so that a list has several properties. */
const REGIONS: readonly TargetRegion[] = [
  { start: 0x800_0000n, last: 0x80f_ffffn, type: 'reserved' },
  { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' },
  { start: 0x1_0000_0000n, last: 0x1_0000_ffffn, type: 'reserved' },
];

/** Rooms that are too small, given the size of the properties. */
const SMALL = {
  'tail-only': () => 4,
  'one-byte': () => 5,
  'one-property': (size: number) => Math.min(24 + 4, size + 3),
  'without-tail': (size: number) => size,
  'one-less': (size: number) => size + 3,
} as const;

export const PROBE_CASES: readonly DeviceCase[] = [
  defineCase({
    id: 'iommu.dev.probe.reserved-ignored',
    title: 'reserved bytes make no difference, whatever is in them',
    needs: ['probe', 'endpoint'],
    run: (s) => {
      const plain = s.setUp(s.probe(s.a));
      const all = Array.from(
        { length: RESERVED_END - RESERVED_AT },
        (_, index) => RESERVED_AT + index,
      );
      for (const places of [[RESERVED_AT], [RESERVED_END - 1], [40], all]) {
        const change = Object.fromEntries(places.map((at) => [at, 0xff]));
        const writable = s.config.probeSize + 4;
        const answer = s.provoke(withBytes(probeBytes(s.a), change), { writable });
        s.expect(answer, Status.OK);
        s.check(answer.bytes.join() === plain.bytes.join(), 'the properties are others');
      }
    },
  }),
  defineCase({
    id: 'iommu.dev.probe.endpoint-missing',
    title: 'an endpoint that does not exist is refused with NOENT',
    needs: ['probe', 'absent'],
    run: (s) => {
      for (const { id, role } of s.target.endpoints) {
        if (role !== 'absent') continue;
        const answer = s.provoke(probeBytes(id), { writable: s.config.probeSize + 4 });
        s.expect(answer, Status.NOENT);
      }
    },
  }),
  ...(['untouched', 'used-len'] as const).map((what) =>
    defineCase({
      id: `iommu.dev.probe.not-offered-${what}`,
      title: `without the feature PROBE comes back ${what === 'untouched' ? 'unwritten' : 'with used length 0'}`,
      needs: ['no-probe'],
      wish: { withoutFeatures: PROBE },
      run: (s) => {
        const endpoint = s.present[0]?.id ?? 0;
        for (const writable of [4, 68, 516]) {
          const answer = s.provoke(probeBytes(endpoint), { writable });
          if (what === 'untouched') s.check(answer.untouched, 'the buffer was written');
          else
            s.check(
              answer.writeFlag === false || answer.length === 0,
              `the used length is ${answer.length}`,
            );
        }
      },
    }),
  ),
  defineCase({
    id: 'open.1.12#probe',
    title: 'PROBE that is offered and not accepted is unknown, refused, or served',
    needs: ['probe', 'endpoint'],
    start: { without: PROBE },
    run: (s) => {
      const writable = s.config.probeSize + 4;
      s.note(s.provoke(probeBytes(s.a), { writable }).toString());
    },
  }),
  defineCase({
    id: 'iommu.dev.probe.property-reserved-zero',
    title: 'the upper four bits of each property type are 0',
    needs: ['probe', 'endpoint'],
    wish: { reserved: REGIONS },
    run: (s) =>
      eachProperty(s, ({ at, reserved }) =>
        s.check(reserved === 0, `those of the property at ${at} are ${reserved}`),
      ),
  }),
  defineCase({
    id: 'iommu.dev.probe.property-length',
    title: 'the length of each property counts the bytes behind its header',
    needs: ['probe', 'endpoint'],
    wish: { reserved: REGIONS },
    run: (s) =>
      eachProperty(s, ({ at, region, length, type }) => {
        if (type !== ProbeType.RESV_MEM) return;
        const what = `the RESV_MEM at ${at} has length ${length}`;
        s.check(region !== undefined, what);
        // More is for versions to come.
        s.should(length === ReservedMemory.size - ProbeProperty.size, what);
      }),
  }),
  defineCase({
    id: 'iommu.dev.probe.property-stride',
    title: 'each property begins behind the last, and the list ends in the room for it',
    needs: ['probe', 'endpoint'],
    wish: { reserved: REGIONS },
    run: (s) => {
      let seen = 0;
      for (const { id, reserved = [] } of s.present) {
        const list = probed(s, id);
        s.check(list.broken === undefined, `endpoint ${id}: ${list.broken}`);
        seen = Math.max(seen, list.properties.length);
        const reached = regionsOf(list);
        for (const { start, last } of reserved)
          s.check(
            reached.some((one) => one.start === start) || !holds(list.area, start, last),
            `endpoint ${id}: the property of ${hex(start)}..${hex(last)} is there, and not reached`,
          );
      }
      s.note(`up to ${seen} properties for an endpoint`);
    },
  }),
  defineCase({
    id: 'iommu.dev.req.status-ok#probe-regions',
    title: 'PROBE tells the regions that the platform has, in whatever order',
    needs: ['probe', 'reserved'],
    wish: { reserved: REGIONS },
    run: (s) => {
      for (const { id, reserved } of s.present) {
        if (reserved === undefined) continue;
        const want = reserved.map(({ start, last, type }) => `${hex(start)}..${hex(last)} ${type}`);
        const got = regionsOf(probed(s, id)).map(
          ({ start, end, type }) => `${hex(start)}..${hex(end)} ${type}`,
        );
        const list = (names: string[]): string => names.toSorted().join(', ') || 'none';
        s.check(
          list(want) === list(got),
          `endpoint ${id}: ${list(got)}, and the platform has ${list(want)}`,
        );
      }
    },
  }),
  ...Object.entries(SMALL).flatMap(([name, room]) => [
    defineCase({
      id: `iommu.dev.probe.too-small-no-property#${name}`,
      title: `room of ${name} holds no property`,
      needs: ['probe', 'endpoint'],
      run: (s) => {
        const answer = probeIn(s, room(s.config.probeSize));
        // A device may think that the tail is at the start: it is no property.
        const from = answer.length === 4 ? 4 : 0;
        const area = answer.bytes.slice(from, Math.max(from, answer.bytes.length - 4));
        s.check(
          area.every((byte) => byte === 0) || area.every((byte) => byte === answer.fill),
          'something was written before the tail',
        );
      },
    }),
    defineCase({
      id: `iommu.dev.probe.too-small-inval#${name}`,
      title: `room of ${name} is refused with INVAL, or comes back with used length 0`,
      needs: ['probe', 'endpoint'],
      run: (s) => {
        const writable = room(s.config.probeSize);
        const answer = probeIn(s, writable);
        const { length, bytes } = answer;
        s.must(!(answer.ok && length > 0), 'the PROBE is reported as OK');
        if (length === 0) return;
        s.check(
          answer.status === Status.INVAL && length === writable,
          length === 4 && writable > 4
            ? `the tail is at the start of the writable part: status ${bytes[0]}`
            : `expected INVAL, got ${answer.toString()}`,
        );
      },
    }),
  ]),
  ...[0xff, 0x5a].map((fill) =>
    defineCase({
      id: `iommu.dev.probe.fill-zero#${fill}`,
      title: `what is left of the room is filled with zeros, over bytes of ${fill}`,
      needs: ['probe', 'endpoint'],
      wish: { reserved: REGIONS },
      run: (s) => {
        for (const { id } of s.present) {
          const { bytes } = s.setUp(s.probe(id, { fill }));
          const area = bytes.slice(0, s.config.probeSize);
          const { end } = walk(area);
          s.check(
            area.subarray(end).every((byte) => byte === 0),
            `endpoint ${id}: bytes behind the list, which ends at ${end}, are not 0`,
          );
        }
      },
    }),
  ),
  defineCase({
    id: 'open.6.2',
    title: 'in larger room the tail is behind probe_size bytes or at the very end',
    needs: ['probe', 'endpoint'],
    run: (s) => {
      const { probeSize } = s.config;
      for (const more of [1, 4, 60]) {
        const writable = probeSize + 4 + more;
        const { bytes, length, fill } = s.provoke(probeBytes(s.a), { writable });
        const usual = bytes[probeSize] === Status.OK && length === probeSize + 4;
        const atEnd = bytes[writable - 4] === Status.OK && length === writable;
        s.note(
          `with ${more} bytes more: ${usual ? 'behind probe_size' : atEnd ? 'at the end' : 'neither'}`,
        );
        s.check(usual || atEnd || bytes.every((byte) => byte === fill), 'it is somewhere else');
      }
    },
  }),
  defineCase({
    id: 'open.6.3',
    title: 'for an endpoint that does not exist the room for properties is zero or untouched',
    needs: ['probe', 'absent'],
    run: (s) => {
      const { bytes, fill } = s.probe(s.absent);
      const area = bytes.subarray(0, s.config.probeSize);
      const [zero, same] = [0, fill].map((value) => area.every((byte) => byte === value));
      s.check(zero === true || same === true, 'there is something in it');
      s.note(zero === true ? 'zero' : 'untouched');
    },
  }),
  defineCase({
    id: 'open.6.5',
    title: 'with a probe_size of 0 PROBE has a tail only',
    needs: ['probe', 'endpoint'],
    run: (s) => {
      if (s.config.probeSize !== 0) s.skip(`probe_size is ${s.config.probeSize}`);
      s.note(s.provoke(probeBytes(s.a), { writable: 4 }).toString());
    },
  }),
  defineCase({
    id: 'open.6.10',
    title: 'PROBE says the same again, before and after ATTACH and DETACH',
    needs: ['probe', 'endpoint'],
    run: (s) => {
      const before = s.setUp(s.probe(s.a)).bytes.join();
      const domain = s.attached();
      s.check(s.probe(s.a).bytes.join() === before, 'it says something else after ATTACH');
      s.setUp(s.detach(domain, s.a));
      s.check(s.probe(s.a).bytes.join() === before, 'it says something else after DETACH');
    },
  }),
];

function eachProperty(s: Session, look: (property: Property) => void): void {
  for (const { id } of s.present) for (const property of probed(s, id).properties) look(property);
}

/** True if both ends of a region stand somewhere in these bytes, whatever is around them. */
function holds(area: Uint8Array, start: bigint, end: bigint): boolean {
  const view = new DataView(area.buffer, area.byteOffset, area.byteLength);
  const { start: startAt, end: endAt } = ReservedMemory.offset;
  const rest = ReservedMemory.size - startAt;
  const between = endAt - startAt;
  for (let at = 0; at + rest <= area.length; at += 1)
    if (view.getBigUint64(at, true) === start && view.getBigUint64(at + between, true) === end)
      return true;
  return false;
}

/** PROBEs with this much room; a device without properties has none that is too small. */
function probeIn(s: Session, writable: number): Answer {
  if (s.config.probeSize === 0) s.skip('probe_size is 0');
  return s.provoke(probeBytes(s.a), { writable });
}

function hex(address: bigint): string {
  return `0x${address.toString(16)}`;
}
