/** Rings that no driver may make: no rule says what a device does then, and it should neither die nor hang. */

import { DescriptorFlag, DeviceStatus, VirtioFeature, featureMask } from '@viommu/common';
import { type CaseText, type DeviceCase, defineCase } from '../../case.ts';
import type { SplitRing } from '../../ring/split-ring.ts';
import { settle } from '../place.ts';
import { unmapBytes } from '../request.ts';
import type { Session } from '../session.ts';
import { notify, prepare } from './burst.ts';
import { splitRing } from './split.ts';

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;
const INDIRECT_DESC = featureMask(VirtioFeature.INDIRECT_DESC);
const PACKED = featureMask(VirtioFeature.RING_PACKED);
/** Beyond the memory of any target. */
const NOWHERE = 0xf_ffff_ffff_f000n;

interface Damage {
  readonly id: string;
  readonly title: string;
  /** Writes the ring; `request` and `tail` are the buffers of a good request. */
  readonly make: (ring: SplitRing, request: Element, tail: Element, s: Session) => void;
  readonly needs?: CaseText['needs'];
  readonly with?: bigint;
}

interface Element {
  readonly addr: bigint;
  readonly len: number;
}

/** Makes descriptor 0 available. */
function available(ring: SplitRing, head = 0): void {
  ring.entry(ring.availableIndex % ring.size, head);
  ring.publish(ring.availableIndex + 1);
}

const TABLE: Pick<Damage, 'needs' | 'with'> = { needs: ['indirect'], with: INDIRECT_DESC };

const DAMAGES: readonly Damage[] = [
  {
    id: 'open.10.1',
    title: 'an available index that is ahead by more than the queue',
    make: (ring) => ring.publish(ring.availableIndex + ring.size + 1),
  },
  {
    id: 'open.10.1#far',
    title: 'an available index that is half a lap ahead',
    make: (ring) => ring.publish(ring.availableIndex + 0x8000),
  },
  {
    id: 'open.10.2#head',
    title: 'a head behind the end of the table',
    make: (ring) => available(ring, ring.size),
  },
  {
    id: 'open.10.2#head-max',
    title: 'a head of 65535',
    make: (ring) => available(ring, 0xffff),
  },
  {
    id: 'open.10.2#next',
    title: 'a next behind the end of the table',
    make: (ring, request) => {
      ring.descriptor(0, { ...request, flags: NEXT, next: ring.size });
      available(ring);
    },
  },
  {
    id: 'open.10.2#loop',
    title: 'a chain that leads to its own head',
    make: (ring, request) => {
      ring.descriptor(0, { ...request, flags: NEXT, next: 0 });
      available(ring);
    },
  },
  {
    id: 'open.10.2#long-loop',
    title: 'a chain with a loop of writable descriptors',
    make: (ring, request, tail) => {
      ring.descriptor(0, { ...request, flags: NEXT, next: 1 });
      ring.descriptor(1, { ...tail, flags: NEXT | WRITE, next: 2 });
      ring.descriptor(2, { ...tail, flags: NEXT | WRITE, next: 1 });
      available(ring);
    },
  },
  {
    id: 'open.10.3',
    title: 'a descriptor of no bytes',
    make: (ring, request, tail) => {
      ring.descriptor(0, { ...request, flags: NEXT, next: 1 });
      ring.descriptor(1, { addr: request.addr, len: 0, flags: NEXT, next: 2 });
      ring.descriptor(2, { ...tail, flags: WRITE });
      available(ring);
    },
  },
  {
    id: 'open.10.4',
    title: 'a writable descriptor in front of a readable one',
    make: (ring, request, tail) => {
      ring.descriptor(0, { ...tail, flags: NEXT | WRITE, next: 1 });
      ring.descriptor(1, { ...request });
      available(ring);
    },
  },
  ...[0, 8, 24].map((len) => ({
    ...TABLE,
    id: `open.10.5#length-${len}`,
    title: `a table of ${len} bytes`,
    make: (ring: SplitRing, request: Element) => {
      ring.descriptor(0, { addr: request.addr, len, flags: INDIRECT });
      available(ring);
    },
  })),
  {
    ...TABLE,
    id: 'open.10.5#nested',
    title: 'a table in a table',
    make: (ring, request, tail, s) => {
      const [outer, inner] = [s.arena.allocate(32), s.arena.allocate(32)];
      ring.tableEntry(inner, 0, { ...request, flags: NEXT, next: 1 });
      ring.tableEntry(inner, 1, { ...tail, flags: WRITE });
      ring.tableEntry(outer, 0, { addr: inner, len: 32, flags: INDIRECT });
      ring.descriptor(0, { addr: outer, len: 16, flags: INDIRECT });
      available(ring);
    },
  },
  {
    ...TABLE,
    id: 'open.10.5#and-next',
    title: 'a table with NEXT',
    make: (ring, request, tail, s) => {
      const table = s.arena.allocate(16);
      ring.tableEntry(table, 0, { ...request });
      ring.descriptor(0, { addr: table, len: 16, flags: INDIRECT | NEXT, next: 1 });
      ring.descriptor(1, { ...tail, flags: WRITE });
      available(ring);
    },
  },
  {
    id: 'open.10.5#not-accepted',
    title: 'a table without INDIRECT_DESC',
    make: (ring, request, tail, s) => {
      const table = s.arena.allocate(32);
      ring.tableEntry(table, 0, { ...request, flags: NEXT, next: 1 });
      ring.tableEntry(table, 1, { ...tail, flags: WRITE });
      ring.descriptor(0, { addr: table, len: 32, flags: INDIRECT });
      available(ring);
    },
  },
  {
    id: 'open.10.6#readable',
    title: 'a readable buffer where there is no memory',
    make: (ring, request, tail) => {
      ring.descriptor(0, { addr: NOWHERE, len: request.len, flags: NEXT, next: 1 });
      ring.descriptor(1, { ...tail, flags: WRITE });
      available(ring);
    },
  },
  {
    id: 'open.10.6#writable',
    title: 'a writable buffer where there is no memory',
    make: (ring, request, tail) => {
      ring.descriptor(0, { ...request, flags: NEXT, next: 1 });
      ring.descriptor(1, { addr: NOWHERE, len: tail.len, flags: WRITE });
      available(ring);
    },
  },
  {
    id: 'open.10.7',
    title: 'a chain of more than 4 GiB',
    make: (ring, request, tail) => {
      ring.descriptor(0, { ...request, flags: NEXT, next: 1 });
      ring.descriptor(1, { ...tail, flags: WRITE | NEXT, next: 2 });
      ring.descriptor(2, { addr: 0n, len: 0xffff_ffff, flags: WRITE | NEXT, next: 3 });
      ring.descriptor(3, { addr: 0n, len: 0xffff_ffff, flags: WRITE });
      available(ring);
    },
  },
];

export const DAMAGE_CASES: readonly DeviceCase[] = DAMAGES.flatMap((damage) => [
  defineCase({
    id: damage.id,
    title: `${damage.title}: the device asks for a reset, or goes on, and works after the reset`,
    needs: ['map-unmap', ...(damage.needs ?? [])],
    start: { without: PACKED, with: damage.with ?? 0n },
    mayBreak: true,
    run: (s) => {
      const status = inflict(s, damage);
      const broken = (status & DeviceStatus.DEVICE_NEEDS_RESET) !== 0;
      s.note(broken ? 'it asks for a reset' : `its status is 0x${status.toString(16)}`);
      // Whatever it made of that, a reset sets it right.
      s.start({ without: PACKED });
      s.checkServes();
    },
  }),
]);

/** The damages that no device can go on from. */
const HOPELESS = ['open.10.1', 'open.10.2#head', 'open.10.2#loop'] as const;

export const NEEDS_RESET_CASES: readonly DeviceCase[] = HOPELESS.flatMap((id) => {
  const damage = DAMAGES.find((one) => one.id === id);
  if (damage === undefined) return [];
  const name = id.slice('open.'.length).replace('#', '-');
  return [
    defineCase({
      id: `basic.dev.status.set-needs-reset#${name}`,
      title: `${damage.title}: DEVICE_NEEDS_RESET is set, or the device can still be used`,
      needs: ['map-unmap'],
      start: { without: PACKED },
      mayBreak: true,
      run: (s) => {
        const status = inflict(s, damage);
        s.note(`the status is 0x${status.toString(16)}`);
        if ((status & DeviceStatus.DEVICE_NEEDS_RESET) !== 0) return;
        // The other queue says nothing; the bits that the driver has set are to be there.
        s.check((status & DeviceStatus.DRIVER_OK) !== 0, 'the status is neither');
      },
    }),
    defineCase({
      id: `basic.dev.status.needs-reset-notify#${name}`,
      title: `${damage.title}: DEVICE_NEEDS_RESET comes with a configuration change notification`,
      needs: ['map-unmap', 'interrupts'],
      start: { without: PACKED },
      mayBreak: true,
      run: (s) => {
        s.target.takeInterrupts?.();
        const status = inflict(s, damage);
        if ((status & DeviceStatus.DEVICE_NEEDS_RESET) === 0) s.skip('it does not ask for a reset');
        let seen = 0;
        s.target.wait(() => {
          seen += s.target.takeInterrupts?.().config ?? 0;
          return seen > 0;
        }, 1000);
        s.check(seen > 0, 'there is none');
      },
    }),
  ];
});

/** Shows the device a ring with this damage, and returns its status. */
function inflict(s: Session, damage: Damage): number {
  const ring = splitRing(s);
  const { buffers } = prepare(s, unmapBytes(s.config.domainRange.last, 0n, 0n));
  const [request, tail] = buffers.map(({ address, length }) => ({ addr: address, len: length }));
  if (request !== undefined && tail !== undefined) damage.make(ring, request, tail, s);
  notify(s, ring);
  settle(s);
  s.target.wait(
    () => (s.target.readStatus() & DeviceStatus.DEVICE_NEEDS_RESET) !== 0,
    s.target.quietMs,
  );
  return s.target.readStatus();
}
