/** PROBE and what it tells: sections "PROBE request" and "PROBE properties". */

import { ReservedMemoryType, RequestType } from '@viommu/common';
import { type DriverCase, defineDriverCase } from './case.ts';
import { type AnyRegion, list, property, region } from './property.ts';
import { A, type DriverSession, knows, page } from './session.ts';

const { MAP, PROBE } = RequestType;
const PROBE_SIZE = 128;
const device = { config: { probeSize: PROBE_SIZE } };

/** Pages 16 to 31 of the range that cases use; in the second half of them, and far behind. */
const FIRST = { start: page(16), end: page(32) - 1n } as const;
const SECOND = { start: page(64), end: page(80) - 1n } as const;
const rangeOf = ({ start, end }: AnyRegion): { start: bigint; last: bigint } => ({
  start,
  last: end,
});

/** Answers every PROBE with these properties. */
function tell(s: DriverSession, ...properties: readonly Uint8Array[]): void {
  s.device.answer = ({ type }) =>
    type === PROBE ? { properties: list(PROBE_SIZE, ...properties) } : undefined;
}

/**
 * The driver is told these properties and then asked to map into each region and beside it. It keeps off what is
 * reserved, by word or by deed, and uses the rest.
 */
function keepsOff(
  s: DriverSession,
  properties: readonly Uint8Array[],
  ...reserved: readonly AnyRegion[]
): void {
  tell(s, ...properties);
  s.up();
  const outcome = s.supported(s.probe(A));
  s.check(outcome.result === 'ok', 'the driver does not take the endpoint');
  s.setUp(s.attach(A));
  for (const one of reserved) {
    const index = Number((one.start - page(0)) >> 12n);
    const before = s.device.seen.length;
    const first = s.map(index);
    const last = s.map(index + 15);
    const sent = s.requests(MAP, before).length;
    s.check(
      sent === 0 &&
        (knows(outcome, rangeOf(one)) || (first.result === 'refused' && last.result === 'refused')),
      `a MAP into the reserved region 0x${one.start.toString(16)}..0x${one.end.toString(16)} was sent, or it is not known`,
    );
  }
  s.setUp(s.map(15));
  const overlapping = s
    .requests(MAP)
    .filter(({ fields }) =>
      reserved.some(
        ({ start, end }) =>
          fields?.kind === 'map' && fields.virtStart <= end && fields.virtLast >= start,
      ),
    );
  s.check(overlapping.length === 0, 'a MAP touches a reserved region');
}

/** The driver uses the range of a property that it must overlook, and keeps off the one that follows. */
function overlooks(s: DriverSession, overlooked: Uint8Array, free: AnyRegion): void {
  tell(s, overlooked);
  s.up();
  const outcome = s.supported(s.probe(A));
  s.check(outcome.result === 'ok', 'the driver does not take the endpoint');
  s.check(
    !knows(outcome, rangeOf(free)),
    'the driver takes the region of a property that it must overlook',
  );
  s.setUp(s.attach(A));
  s.check(s.map(16).result === 'ok', 'the driver does not map where nothing is reserved');
}

const UNKNOWN = property(0x7ff, 4);

export const PROBE_CASES: readonly DriverCase[] = [
  ...[24, 64, 512, 4096].map((probeSize, turn) =>
    defineDriverCase({
      id: `iommu.drv.probe.properties-size${turn === 0 ? '' : `#${probeSize}`}`,
      title: `room for ${probeSize} bytes of properties where probe_size says so`,
      device: { config: { probeSize } },
      run: (s) => {
        s.up();
        s.setUp(s.probe(A));
        s.judge();
      },
    }),
  ),
  defineDriverCase({
    id: 'iommu.drv.probe.unknown-type-ignored',
    title: 'a property of unknown type before a region',
    device,
    run: (s) => keepsOff(s, [UNKNOWN, region(FIRST)], FIRST),
  }),
  defineDriverCase({
    id: 'iommu.drv.probe.unknown-type-ignored#empty',
    title: 'a property of unknown type and no length before a region',
    device,
    run: (s) => keepsOff(s, [property(0x123, 0), region(FIRST)], FIRST),
  }),
  defineDriverCase({
    id: 'iommu.drv.probe.length-from-header',
    title: 'a region with 8 more bytes before another',
    device,
    run: (s) => keepsOff(s, [region({ ...FIRST, extra: 8 }), region(SECOND)], FIRST, SECOND),
  }),
  defineDriverCase({
    id: 'iommu.drv.probe.reserved-nonzero-ignored',
    title: 'a region whose type has a reserved bit set',
    device,
    run: (s) => overlooks(s, region({ ...FIRST, type: 0x1001 }), FIRST),
  }),
  ...[0x2001, 0x4001, 0x8001, 0xf001].map((type) =>
    defineDriverCase({
      id: `iommu.drv.probe.reserved-nonzero-ignored#${type.toString(16)}`,
      title: `a region of type 0x${type.toString(16)}`,
      device,
      run: (s) => overlooks(s, region({ ...FIRST, type }), FIRST),
    }),
  ),
  defineDriverCase({
    id: 'iommu.drv.probe.continue-after-ignored',
    title: 'a region behind one with a reserved bit set',
    device,
    run: (s) => keepsOff(s, [region({ ...FIRST, type: 0x1001 }), region(SECOND)], SECOND),
  }),
  defineDriverCase({
    id: 'iommu.drv.probe.continue-after-ignored#many',
    title: 'a region behind four properties of unknown types',
    device,
    run: (s) =>
      keepsOff(
        s,
        [2, 3, 0xffe, 0xfff].map((type) => property(type, 4)).concat(region(SECOND)),
        SECOND,
      ),
  }),
  ...Object.entries(ReservedMemoryType).map(([name, subtype], turn) =>
    defineDriverCase({
      id: `iommu.drv.resv.no-map-in-region${turn === 0 ? '' : `#${name.toLowerCase()}`}`,
      title: `no MAP into a region of type ${name}`,
      device,
      run: (s) => keepsOff(s, [region({ ...FIRST, subtype })], FIRST),
    }),
  ),
  defineDriverCase({
    id: 'iommu.drv.resv.reserved-ignored',
    title: 'a region with reserved bytes set is a region',
    device,
    run: (s) => keepsOff(s, [region({ ...FIRST, reserved: [0xff, 0xff, 0xff] })], FIRST),
  }),
  ...[2, 0x7f, 0xff].map((subtype, turn) =>
    defineDriverCase({
      id: `iommu.drv.resv.unknown-subtype${turn === 0 ? '' : `#${subtype}`}`,
      title: `a region of the unknown type ${subtype} counts as reserved`,
      device,
      run: (s) => keepsOff(s, [region({ ...FIRST, subtype })], FIRST),
    }),
  ),
  defineDriverCase({
    id: 'fact.iommu.probe-end',
    title: 'what is behind type 0 is not read',
    device,
    run: (s) => overlooks(s, list(PROBE_SIZE, property(0, 0), region(FIRST)), FIRST),
  }),
  // A list that makes no sense: whatever the driver makes of the endpoint, it lives and goes on.
  ...hostileLists().map(({ name, title, bytes }) =>
    defineDriverCase({
      id: `open.6.8#${name}`,
      title,
      device,
      run: (s) => {
        tell(s, bytes);
        s.up();
        const outcome = s.supported(s.probe(A));
        s.note(
          outcome.result === 'ok'
            ? 'the driver takes the endpoint'
            : 'the driver refuses the endpoint',
        );
        tell(s);
        s.must(s.attach(9).result === 'ok', 'the driver does not go on with another endpoint');
        s.must(s.map(0, 1, 9).result === 'ok', 'the driver does not map for another endpoint');
      },
    }),
  ),
];

function hostileLists(): { name: string; title: string; bytes: Uint8Array }[] {
  const of = (
    name: string,
    title: string,
    ...parts: Uint8Array[]
  ): { name: string; title: string; bytes: Uint8Array } => ({
    name,
    title,
    bytes: list(PROBE_SIZE, ...parts),
  });
  const filler = property(0x7ff, PROBE_SIZE - 4 - 4 - 8);
  return [
    of('length-fffc', 'a region whose length is 0xfffc', region({ ...FIRST, length: 0xfffc })),
    of(
      'length-ffff',
      'an unknown property whose length is 0xffff',
      property(0x7ff, 8).fill(0xff, 2, 4),
    ),
    of('length-0', 'a region whose length is 0', region({ ...FIRST, length: 0 })),
    of('length-19', 'a region whose length is one too short', region({ ...FIRST, length: 19 })),
    of('cut', 'a region that the end of the area cuts', filler, region(FIRST)),
    of(
      'header-cut',
      'less than a header at the end',
      property(0x7ff, PROBE_SIZE - 4 - 2),
      Uint8Array.of(1, 0),
    ),
    of(
      'inverted',
      'a region that ends before it starts',
      region({ start: FIRST.end, end: FIRST.start }),
    ),
    of('everything', 'a region of all addresses', region({ start: 0n, end: 2n ** 64n - 1n })),
    of('one-byte', 'a region of one byte', region({ start: page(16) + 5n, end: page(16) + 5n })),
    of(
      'top',
      'a region that ends with the last address',
      region({ start: 2n ** 64n - 4096n, end: 2n ** 64n - 1n }),
    ),
    of('twice', 'the same region twice', region(FIRST), region(FIRST)),
    of('ones', 'nothing but ones', new Uint8Array(PROBE_SIZE).fill(0xff)),
    of(
      'types-1',
      'nothing but empty properties of unknown type',
      ...Array.from({ length: PROBE_SIZE / 4 }, () => property(0x7ff, 0)),
    ),
  ];
}
