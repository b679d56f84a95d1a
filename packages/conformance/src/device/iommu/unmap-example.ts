/** The seven examples of section "IOMMU Device / UNMAP request", in pages, in single bytes, and as accesses see them. */

import { Status } from '@viommu/common';
import { type CaseText, type DeviceCase, defineCase } from '../../case.ts';
import { memory, unit } from '../place.ts';
import { unmapBytes } from '../request.ts';
import type { Session } from '../session.ts';

/** First and last, in units. */
type Span = readonly [number, number];

interface Example {
  readonly maps: readonly Span[];
  readonly unmap: Span;
  readonly status: Status;
}

const EXAMPLES: readonly Example[] = [
  { maps: [], unmap: [0, 4], status: Status.OK },
  { maps: [[0, 9]], unmap: [0, 9], status: Status.OK },
  {
    maps: [
      [0, 4],
      [5, 9],
    ],
    unmap: [0, 9],
    status: Status.OK,
  },
  { maps: [[0, 9]], unmap: [0, 4], status: Status.RANGE },
  {
    maps: [
      [0, 4],
      [5, 9],
    ],
    unmap: [0, 4],
    status: Status.OK,
  },
  { maps: [[0, 4]], unmap: [0, 9], status: Status.OK },
  {
    maps: [
      [0, 4],
      [10, 14],
    ],
    unmap: [0, 14],
    status: Status.OK,
  },
];

const ALL_BITS = 0xffff_ffff_ffff_ffffn;

export const UNMAP_EXAMPLE_CASES: readonly DeviceCase[] = EXAMPLES.flatMap((example, index) => {
  const title = `example ${index + 1}: ${describe(example)}`;
  const base: Pick<CaseText, 'needs'> = { needs: ['map-unmap', 'endpoint'] };
  return [
    defineCase({
      ...base,
      id: `fact.iommu.unmap-examples#${index + 1}`,
      title: `${title}, in pages`,
      run: (s) => replay(s, example),
    }),
    defineCase({
      id: `fact.iommu.unmap-examples#${index + 1}-bytes`,
      title: `${title}, in bytes`,
      needs: ['map-unmap', 'endpoint', 'granule-1'],
      wish: { pageSizeMask: ALL_BITS },
      run: (s) => replay(s, example),
    }),
    defineCase({
      id: `fact.iommu.unmap-examples#${index + 1}-access`,
      title: `${title}, as accesses see it`,
      needs: ['map-unmap', 'dma'],
      run: (s) => replayWithAccess(s, example),
    }),
  ];
});

function describe({ maps, unmap, status }: Example): string {
  const mapped = maps.map(([first, last]) => `${first} to ${last}`).join(' and ') || 'nothing';
  const outcome = status === Status.OK ? 'succeeds' : 'is refused and removes nothing';
  return `with ${mapped} mapped, UNMAP of ${unmap[0]} to ${unmap[1]} ${outcome}`;
}

/** What is left, by UNMAP as the examples have it. */
function remaining({ maps, unmap, status }: Example): readonly Span[] {
  if (status !== Status.OK) return maps;
  return maps.filter(([first, last]) => first < unmap[0] || last > unmap[1]);
}

function replay(s: Session, example: Example): void {
  const domain = s.attached();
  for (const [first, last] of example.maps) s.mapped(domain, first, last - first + 1);
  const [first, last] = example.unmap;
  s.expect(s.provoke(unmapBytes(domain, s.page(first), s.last(last))), example.status);
  const left = remaining(example);
  for (let page = 0; page < 15; page += 1) {
    const mapped = left.some(([from, to]) => page >= from && page <= to);
    s.check(
      s.mapPages(domain, page).ok !== mapped,
      `${page} is ${mapped ? 'not mapped any more' : 'mapped'}`,
    );
  }
}

function replayWithAccess(s: Session, example: Example): void {
  const endpoint = s.dma.endpoint();
  const domain = s.attached(endpoint);
  const bytes = unit(s, 0).virtEnd - unit(s, 0).virtStart + 1n;
  const base = memory(s, 15);
  const virt = (index: number): bigint => unit(s, 0).virtStart + BigInt(index) * bytes;
  for (const [first, last] of example.maps)
    s.setUp(
      s.map({
        domain,
        virtStart: virt(first),
        virtEnd: virt(last + 1) - 1n,
        physStart: base + BigInt(first) * bytes,
      }),
    );
  const [first, last] = example.unmap;
  s.expect(s.provoke(unmapBytes(domain, virt(first), virt(last + 1) - 1n)), example.status);
  const left = remaining(example);
  for (let index = 0; index < 15; index += 1) {
    const mapped = left.some(([from, to]) => index >= from && index <= to);
    const { reached } = s.dma.write(endpoint, virt(index), base + BigInt(index) * bytes);
    s.check(!reached || mapped, `an access at ${index}, which is not mapped, goes through`);
    s.check(reached || !mapped, `an access at ${index}, which is mapped, does not go through`);
  }
}
