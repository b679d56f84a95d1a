/** What vectors of MAP and UNMAP send. */

import { AttachFlag, MapFlag } from '@viommu/common';
import type { Source } from './attachment.ts';
import { A, B, LAST, attach, changed, map, unmap } from './device.ts';

const PAGE = 0x1000n;
const { BYPASS } = AttachFlag;
const ATTACHED = attach(1, A);
const MAPPED = [ATTACHED, map(1, PAGE, 2n * PAGE - 1n, 0xa000n)] as const;
const BYPASSED = attach(2, A, BYPASS);

/** The seven examples of UNMAP, as the standard has them, in bytes: what is mapped, what is unmapped, what is left. */
const EXAMPLES: readonly (readonly [maps: readonly (readonly [bigint, bigint])[], end: bigint])[] =
  [
    [[], 4n],
    [[[0n, 9n]], 9n],
    [
      [
        [0n, 4n],
        [5n, 9n],
      ],
      9n,
    ],
    [[[0n, 9n]], 4n],
    [
      [
        [0n, 4n],
        [5n, 9n],
      ],
      4n,
    ],
    [[[0n, 4n]], 9n],
    [
      [
        [0n, 4n],
        [10n, 14n],
      ],
      14n,
    ],
  ];

export const MAPPING: readonly Source[] = [
  {
    clause: 'iommu.dev.map.unaligned',
    about: 'start',
    steps: [ATTACHED, map(1, 1n, PAGE - 1n, 0n)],
  },
  { clause: 'iommu.dev.map.unaligned', about: 'end', steps: [ATTACHED, map(1, 0n, PAGE, 0n)] },
  {
    clause: 'iommu.dev.map.unaligned',
    about: 'physical',
    steps: [ATTACHED, map(1, 0n, PAGE - 1n, 1n)],
  },
  { clause: 'iommu.dev.map.overlap', about: 'the same', steps: [...MAPPED, MAPPED[1]] },
  {
    clause: 'iommu.dev.map.overlap',
    about: 'its first page',
    steps: [...MAPPED, map(1, 0n, 2n * PAGE - 1n, 0n)],
  },
  {
    clause: 'iommu.dev.map.overlap',
    about: 'its last page',
    steps: [...MAPPED, map(1, PAGE, 3n * PAGE - 1n, 0n)],
  },
  {
    clause: 'iommu.dev.map.overlap',
    about: 'neighbours are none',
    steps: [...MAPPED, map(1, 0n, PAGE - 1n, 0n), map(1, 2n * PAGE, 3n * PAGE - 1n, 0n)],
  },
  ...[3, 31].map((bit) => ({
    clause: 'iommu.dev.map.flags-unknown',
    about: `bit ${bit}`,
    steps: [ATTACHED, map(1, 0n, PAGE - 1n, 0n, 3 + 2 ** bit), map(1, 0n, PAGE - 1n, 0n)],
  })),
  { clause: 'iommu.dev.map.domain-missing', steps: [ATTACHED, map(2, 0n, PAGE - 1n, 0n)] },
  { clause: 'iommu.dev.map.bypass-domain', steps: [BYPASSED, map(2, 0n, PAGE - 1n, 0n)] },
  {
    clause: 'fact.iommu.input-range-fails',
    about: 'below',
    device: 'small',
    steps: [ATTACHED, map(1, 0n, PAGE - 1n, 0n)],
  },
  {
    clause: 'fact.iommu.input-range-fails',
    about: 'above',
    device: 'small',
    steps: [ATTACHED, map(1, 1n << 32n, (1n << 32n) + PAGE - 1n, 0n)],
  },
  {
    clause: 'fact.iommu.input-range-fails',
    about: 'its edges',
    device: 'small',
    steps: [ATTACHED, map(1, PAGE, 2n * PAGE - 1n, 0n), map(1, 0xffff_f000n, 0xffff_ffffn, 0n)],
  },
  {
    clause: 'fact.iommu.translate',
    about: 'the last page',
    steps: [ATTACHED, map(1, LAST - PAGE + 1n, LAST, 0n), unmap(1, 0n, LAST)],
  },
  {
    clause: 'fact.iommu.translate',
    about: 'all addresses',
    steps: [ATTACHED, map(1, 0n, LAST, 0n), unmap(1, 0n, LAST)],
  },
  {
    clause: 'fact.iommu.translate',
    about: 'an end before the start',
    steps: [ATTACHED, map(1, 2n * PAGE, PAGE - 1n, 0n)],
  },
  {
    clause: 'fact.iommu.translate',
    about: 'beyond physical memory',
    steps: [ATTACHED, map(1, 0n, 2n * PAGE - 1n, LAST - PAGE + 1n)],
  },
  {
    clause: 'fact.iommu.translate',
    about: 'no access at all',
    steps: [ATTACHED, map(1, 0n, PAGE - 1n, 0n, 0)],
  },
  {
    clause: 'iommu.dev.map.write-only-may-read',
    steps: [ATTACHED, map(1, 0n, PAGE - 1n, 0n, MapFlag.WRITE)],
  },
  {
    clause: 'iommu.dev.resv.map-overlap-rejected',
    steps: [attach(1, B), map(1, 0x4000n, 0x4fffn, 0n), map(1, 0x3000n, 0x3fffn, 0n)],
  },
  {
    clause: 'iommu.dev.resv.map-overlap-rejected',
    about: 'interrupts',
    steps: [attach(1, B), map(1, 0xfeef_f000n, 0xfef0_0fffn, 0n)],
  },

  ...EXAMPLES.map(([maps, end], index) => ({
    clause: 'fact.iommu.unmap-examples',
    about: `${index + 1}`,
    device: 'bytes' as const,
    steps: [
      ATTACHED,
      ...maps.map(([start, last]) => map(1, start, last, start)),
      unmap(1, 0n, end),
      unmap(1, 0n, 14n),
    ],
  })),
  {
    clause: 'iommu.dev.unmap.reserved-nonzero-status',
    steps: [...MAPPED, changed(unmap(1, PAGE, 2n * PAGE - 1n), 24, 1)],
  },
  { clause: 'iommu.dev.unmap.domain-missing', steps: [unmap(1, 0n, PAGE - 1n)] },
  { clause: 'iommu.dev.unmap.bypass-domain', steps: [BYPASSED, unmap(2, 0n, PAGE - 1n)] },
  {
    clause: 'iommu.dev.unmap.split-status',
    steps: [ATTACHED, map(1, 0n, 2n * PAGE - 1n, 0n), unmap(1, 0n, PAGE - 1n)],
  },
  {
    clause: 'iommu.dev.unmap.split-removes-nothing',
    steps: [
      ...MAPPED,
      map(1, 4n * PAGE, 6n * PAGE - 1n, 0n),
      unmap(1, 0n, 5n * PAGE - 1n),
      MAPPED[1],
    ],
  },
  {
    clause: 'iommu.dev.unmap.partial-coverage-ok',
    steps: [
      ...MAPPED,
      map(1, 4n * PAGE, 5n * PAGE - 1n, 0n),
      unmap(1, 0n, 8n * PAGE - 1n),
      MAPPED[1],
    ],
  },
  {
    clause: 'iommu.dev.unmap.partial-coverage-ok',
    about: 'nothing is mapped',
    steps: [ATTACHED, unmap(1, 0n, PAGE - 1n)],
  },
  {
    clause: 'iommu.dev.unmap.partial-coverage-ok',
    about: 'off the granule',
    steps: [...MAPPED, unmap(1, 1n, 3n * PAGE)],
  },
  {
    clause: 'iommu.dev.unmap.partial-coverage-ok',
    about: 'outside the input range',
    device: 'small',
    steps: [...MAPPED, unmap(1, 0n, 2n * PAGE - 1n)],
  },
  {
    clause: 'iommu.dev.unmap.partial-coverage-ok',
    about: 'an end before the start',
    steps: [...MAPPED, unmap(1, 2n * PAGE, 0n), MAPPED[1]],
  },
];
