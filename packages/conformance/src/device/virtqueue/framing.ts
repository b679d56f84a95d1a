/** Section "Virtqueues / Message Framing": how a request is cut makes no difference, in either format of the ring. */

import { IommuFeature, VirtioFeature, featureMask } from '@viommu/common';
import { type CaseText, type DeviceCase, defineCase } from '../../case.ts';
import type { Answer } from '../answer.ts';
import type { SendOptions } from '../courier.ts';
import { GOOD_REQUESTS, type GoodRequest, leave, writableOf } from '../iommu/good-request.ts';
import { mapBytes } from '../request.ts';
import type { Session } from '../session.ts';

const INDIRECT = featureMask(VirtioFeature.INDIRECT_DESC);
const PACKED = featureMask(VirtioFeature.RING_PACKED);

const ones = (count: number): number[] => Array.from({ length: count }, () => 1);

type Cut = Pick<SendOptions, 'readableCuts' | 'writableCuts' | 'indirectFrom'>;

/** Ways to cut a request of so many readable and writable bytes. */
const CUTS: Readonly<Record<string, (readable: number, writable: number) => Cut>> = {
  'two-pieces': () => ({}),
  'head-apart': () => ({ readableCuts: [4] }),
  'type-apart': () => ({ readableCuts: [1] }),
  'last-byte-apart': (readable) => ({ readableCuts: [readable - 1] }),
  uneven: () => ({ readableCuts: [3, 7, 2] }),
  'inside-fields': () => ({ readableCuts: [6, 5, 3] }),
  'tail-in-four': (_, writable) => ({ writableCuts: [writable - 4, 1, 1, 1] }),
  'tail-after-status': (_, writable) => ({ writableCuts: [writable - 3] }),
  'tail-apart': (_, writable) => ({ writableCuts: [writable - 4] }),
  'tail-and-more': (_, writable) => ({ writableCuts: [Math.max(1, writable - 6)] }),
  'readable-bytes': (readable) => ({ readableCuts: ones(Math.min(readable, 48)) }),
  'writable-bytes': (_, writable) => ({ writableCuts: ones(Math.min(writable, 48)) }),
  'all-bytes': (readable, writable) => ({
    readableCuts: ones(Math.min(readable, 28)),
    writableCuts: ones(Math.min(writable, 28)),
  }),
};

/** Where a table begins: at the first buffer, at the second … */
const TABLES: Readonly<Record<string, (readable: number, writable: number) => Cut>> = {
  table: () => ({ indirectFrom: 0 }),
  'table-head-apart': () => ({ indirectFrom: 0, readableCuts: [4] }),
  'table-tail-in-four': (_, writable) => ({
    indirectFrom: 0,
    writableCuts: [writable - 4, 1, 1, 1],
  }),
  'table-all-bytes': (readable, writable) => ({
    indirectFrom: 0,
    readableCuts: ones(Math.min(readable, 40)),
    writableCuts: ones(Math.min(writable, 20)),
  }),
};

/** Only a split ring may have descriptors in front of a table. */
const MIXED: Readonly<Record<string, (readable: number, writable: number) => Cut>> = {
  'head-then-table': () => ({ indirectFrom: 1, readableCuts: [4] }),
  'two-then-table': () => ({ indirectFrom: 2, readableCuts: [4, 4] }),
  'table-of-tail': () => ({ indirectFrom: 1 }),
  'table-inside-tail': (_, writable) => ({ indirectFrom: 2, writableCuts: [writable - 2] }),
  'body-then-table': () => ({ indirectFrom: 1, readableCuts: [10] }),
};

const SPLIT_ID = 'split.dev.framing.no-layout-assumption';
const MIXED_ID = 'split.dev.indirect.chain-then-indirect';
const PACKED_ID = 'packed.dev.sg.chained-in-order';

export const FRAMING_CASES: readonly DeviceCase[] = [
  ...Object.entries(CUTS).flatMap(([name, cut]) => [
    framing(SPLIT_ID, name, cut, { start: { without: PACKED } }),
    framing(PACKED_ID, name, cut, inPacked()),
  ]),
  ...Object.entries(TABLES).flatMap(([name, cut]) => [
    framing(SPLIT_ID, name, cut, {
      needs: ['indirect'],
      start: { without: PACKED, with: INDIRECT },
    }),
    framing(PACKED_ID, name, cut, inPacked(INDIRECT, ['indirect'])),
  ]),
  ...Object.entries(MIXED).map(([name, cut]) =>
    framing(MIXED_ID, name, cut, {
      needs: ['indirect'],
      start: { without: PACKED, with: INDIRECT },
    }),
  ),
  ...(['split', 'packed'] as const).map((format) =>
    defineCase({
      id: `${format === 'split' ? SPLIT_ID : PACKED_ID}#around-the-end`,
      title: `chains that go around the end of a small ${format} ring are as good as others`,
      needs: format === 'split' ? ['endpoint', 'map-unmap'] : ['endpoint', 'map-unmap', 'packed'],
      wish: format === 'split' ? {} : { withFeatures: PACKED },
      start:
        format === 'split' ? { without: PACKED, queueSize: 8 } : { with: PACKED, queueSize: 8 },
      run: (s) => {
        if (s.running.requests.size < 8) s.skip('the queue is too small for this case');
        const domain = s.attached();
        for (let turn = 0; turn < 40; turn += 1) {
          const cuts = {
            readableCuts: [4, 4, 8].slice(0, turn % 4),
            writableCuts: [1].slice(0, turn % 2),
          };
          const map = {
            domain,
            virtStart: s.page(turn),
            virtEnd: s.last(turn),
            physStart: s.physical(1),
          };
          s.check(s.send(mapBytes(map), cuts).ok, `turn ${turn} is refused`);
        }
      },
    }),
  ),
];

function inPacked(
  more = 0n,
  needs: CaseText['needs'] = [],
): Pick<CaseText, 'needs' | 'wish' | 'start'> {
  return {
    needs: ['packed', ...needs],
    wish: { withFeatures: PACKED },
    start: { with: PACKED | more },
  };
}

/** One cut, for a request of each type. */
function framing(
  id: string,
  name: string,
  cut: (readable: number, writable: number) => Cut,
  { needs = [], ...more }: Pick<CaseText, 'needs' | 'wish' | 'start'>,
): DeviceCase {
  return defineCase({
    ...more,
    id: `${id}#${name}`,
    title: `requests of all types, cut: ${name}`,
    needs: ['endpoint', 'map-unmap', ...needs],
    run: (s) => {
      for (const good of GOOD_REQUESTS) {
        if (good.name === 'probe' && !s.has(IommuFeature.PROBE)) continue;
        const cuts = cut(good.bytes, writableOf(good, s));
        const { readableCuts = [], writableCuts = [] } = cuts;
        // A chain is no longer than the queue, not even in a table.
        if (readableCuts.length + writableCuts.length + 2 > s.running.requests.size) continue;
        const whole = s.setUp(exchange(s, good, {}));
        const pieces = exchange(s, good, cuts);
        for (const what of ['status', 'length'] as const)
          s.check(
            whole[what] === pieces[what],
            `${good.name.toUpperCase()} has ${what} ${whole[what]} in two pieces, ${pieces[what]} in these`,
          );
        s.check(whole.bytes.join() === pieces.bytes.join(), 'other bytes were written');
      }
    },
  });
}

/** Sends one, sees that it took effect, and takes that back. */
function exchange(s: Session, good: GoodRequest, cuts: Cut): Answer {
  const request = good.make(s);
  const answer = s.send(request, { writable: writableOf(good, s), ...cuts });
  if (answer.ok) s.must(good.took(s, request), `${good.name.toUpperCase()} did not take effect`);
  leave(s, good, request);
  return answer;
}
