/** What vectors of framing, ATTACH, DETACH and PROBE send. */

import { AttachFlag } from '@viommu/common';
import {
  A,
  ABSENT,
  B,
  type DeviceName,
  attach,
  changed,
  detach,
  map,
  probe,
  sized,
} from './device.ts';

/** One request: its bytes, and the writable bytes behind it if they are not as many as usual. */
export type Sent = Uint8Array | readonly [bytes: Uint8Array, room: number];

export interface Source {
  readonly clause: string;
  /** What the vector is about, where the clause has several. */
  readonly about?: string;
  readonly device?: DeviceName;
  readonly steps: readonly Sent[];
}

const PAGE = 0x1000n;
const { BYPASS } = AttachFlag;
const ATTACHED = attach(1, A);
const MAPPED = [ATTACHED, map(1, PAGE, 2n * PAGE - 1n, 0xa000n)] as const;
const BYPASSED = attach(2, A, BYPASS);
const PROBE_ROOM = 68;

export const ATTACHMENT: readonly Source[] = [
  { clause: 'iommu.dev.req.status-ok', steps: [ATTACHED, detach(1, A)] },
  { clause: 'iommu.dev.req.unknown-type-not-written', steps: [Uint8Array.of(0x63, 0, 0, 0)] },
  { clause: 'iommu.dev.req.unknown-type-used-len-zero', steps: [new Uint8Array(20), ATTACHED] },
  {
    clause: 'iommu.dev.req.head-reserved-ignored',
    steps: [changed(ATTACHED, 1), changed(detach(1, A), 3)],
  },
  { clause: 'iommu.dev.req.tail-reserved-zero', steps: [[ATTACHED, 4], attach(1, ABSENT)] },
  {
    clause: 'fact.iommu.parse-failure',
    about: 'no head',
    steps: [Uint8Array.of(1, 0, 0), ATTACHED],
  },
  { clause: 'fact.iommu.parse-failure', about: 'no room for a tail', steps: [[ATTACHED, 3]] },
  { clause: 'fact.iommu.parse-failure', about: 'a byte is missing', steps: [sized(ATTACHED, 19)] },
  { clause: 'fact.iommu.parse-failure', about: 'a byte too many', steps: [sized(ATTACHED, 21)] },
  { clause: 'fact.iommu.parse-failure', about: 'room behind the tail', steps: [[ATTACHED, 12]] },

  ...[16, 17, 18, 19].map((at) => ({
    clause: 'iommu.dev.attach.reserved-nonzero',
    about: `byte ${at}`,
    steps: [changed(ATTACHED, at, 1), map(1, 0n, PAGE - 1n, 0n)],
  })),
  ...[1, 15, 31].map((bit) => ({
    clause: 'iommu.dev.attach.flags-unknown',
    about: `bit ${bit}`,
    steps: [attach(1, A, 2 ** bit), ATTACHED],
  })),
  { clause: 'iommu.dev.attach.endpoint-missing', steps: [attach(1, ABSENT)] },
  { clause: 'iommu.dev.attach.shared-domain-allowed', steps: [ATTACHED, attach(1, B)] },
  { clause: 'iommu.dev.attach.bypass-flag-mismatch', steps: [BYPASSED, attach(2, B)] },
  {
    clause: 'iommu.dev.attach.move-detaches-first',
    steps: [...MAPPED, attach(2, A), detach(2, A)],
  },
  {
    clause: 'iommu.dev.attach.move-acts-like-detach',
    steps: [...MAPPED, attach(2, A), map(1, 0n, PAGE - 1n, 0n)],
  },
  {
    clause: 'iommu.dev.attach.incompatible-properties',
    steps: [ATTACHED, map(1, 0x4000n, 0x4fffn, 0n), attach(1, B)],
  },
  { clause: 'iommu.dev.attach.accepted-means-attached', steps: [ATTACHED, detach(1, A)] },
  {
    clause: 'iommu.dev.attach.accepted-means-attached',
    about: 'twice',
    steps: [...MAPPED, ATTACHED, map(1, PAGE, 2n * PAGE - 1n, 0n)],
  },
  {
    clause: 'iommu.dev.attach.accepted-means-attached',
    about: 'all domains',
    steps: [attach(0, A), attach(0xffff_ffff, A)],
  },
  {
    clause: 'iommu.dev.attach.accepted-means-attached',
    about: 'outside the range',
    device: 'small',
    steps: [attach(101, A)],
  },

  {
    clause: 'iommu.dev.detach.reserved-ignored',
    steps: [ATTACHED, changed(changed(detach(1, A), 12), 19)],
  },
  { clause: 'iommu.dev.detach.endpoint-missing', steps: [ATTACHED, detach(1, ABSENT)] },
  { clause: 'iommu.dev.detach.wrong-domain', steps: [ATTACHED, detach(2, A), detach(1, A)] },
  { clause: 'iommu.dev.detach.wrong-domain', about: 'attached nowhere', steps: [detach(1, A)] },
  {
    clause: 'fact.iommu.last-detach-destroys',
    steps: [...MAPPED, detach(1, A), map(1, 0n, PAGE - 1n, 0n), ATTACHED, MAPPED[1]],
  },

  { clause: 'iommu.dev.probe.fill-zero', steps: [[probe(A), PROBE_ROOM]] },
  { clause: 'iommu.dev.probe.property-stride', steps: [[probe(B), PROBE_ROOM]] },
  {
    clause: 'iommu.dev.probe.reserved-ignored',
    steps: [[changed(changed(probe(B), 8), 71), PROBE_ROOM]],
  },
  { clause: 'iommu.dev.probe.endpoint-missing', steps: [[probe(ABSENT), PROBE_ROOM]] },
  {
    clause: 'iommu.dev.probe.too-small-inval',
    steps: [
      [probe(B), PROBE_ROOM - 1],
      [probe(A), PROBE_ROOM],
    ],
  },
  { clause: 'iommu.dev.probe.too-small-no-property', steps: [[probe(B), 30]] },
  {
    clause: 'iommu.dev.probe.too-small-no-property',
    about: 'room for the tail alone',
    steps: [[probe(B), 4]],
  },
  {
    clause: 'iommu.dev.probe.property-length',
    about: 'room behind the tail',
    steps: [[probe(B), PROBE_ROOM + 8]],
  },
  {
    clause: 'iommu.dev.probe.not-offered-untouched',
    device: 'bare',
    steps: [[probe(A), PROBE_ROOM]],
  },
  {
    clause: 'iommu.dev.probe.not-offered-used-len',
    about: 'offered, not accepted',
    device: 'declined',
    steps: [[probe(A), PROBE_ROOM]],
  },
  {
    clause: 'iommu.dev.map.flags-unknown',
    about: 'MMIO not accepted',
    device: 'bare',
    steps: [ATTACHED, map(1, 0n, PAGE - 1n, 0n, 7)],
  },
  {
    clause: 'iommu.dev.attach.flags-unknown',
    about: 'BYPASS not accepted',
    device: 'declined',
    steps: [BYPASSED],
  },
  {
    clause: 'iommu.dev.attach.flags-unknown',
    about: 'BYPASS not offered',
    device: 'bare',
    steps: [BYPASSED],
  },
  {
    clause: 'iommu.dev.req.unknown-type-not-written',
    about: 'MAP not accepted',
    device: 'declined',
    steps: [ATTACHED, map(1, 0n, PAGE - 1n, 0n)],
  },
];
