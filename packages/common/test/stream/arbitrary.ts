/** Random events for property tests, with values pressed against the edges of their fields. */

import {
  type RefusedRequest,
  type StreamAccess,
  type StreamEvent,
  domainId,
  endpointId,
  guestPhysical,
  iova,
} from '@viommu/common';
import fc from 'fast-check';

const EDGES_64 = [0n, 1n, 0xfffn, 0x1000n, 0xffff_ffffn, 1n << 32n, (1n << 53n) - 1n, 1n << 53n];
const EDGES_32 = [0, 1, 9, 10, 15, 16, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe];

export const word64 = fc.oneof(
  fc.constantFrom(...EDGES_64, (1n << 64n) - 1n),
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
);
export const word32 = fc.oneof(
  fc.constantFrom(...EDGES_32, 0xffff_ffff),
  fc.integer({ min: 0, max: 0xffff_ffff }),
);
const byte = fc.integer({ min: 0, max: 0xff });

const domain = word32.map(domainId);
const endpoint = word32.map(endpointId);
const virt = word64.map(iova);
const phys = word64.map(guestPhysical);
const access = fc.constantFrom<StreamAccess>('r', 'w', 'rw');

/** Two values in order. */
const span64 = fc
  .tuple(word64, word64)
  .map(([a, b]) => (a < b ? { start: a, last: b } : { start: b, last: a }));
const virtSpan = span64.map(({ start, last }) => ({ start: iova(start), last: iova(last) }));

const is = <const Kind extends string>(kind: Kind) => ({ kind: fc.constant(kind) });

const attach = fc.record({ ...is('attach'), domain, endpoint, flags: word32 });
const detach = fc.record({ ...is('detach'), domain, endpoint });

/** A request that was refused: any fields at all. */
export const anyRequest: fc.Arbitrary<RefusedRequest> = fc.oneof(
  fc.record({ ...is('probe'), endpoint }),
  attach,
  detach,
  fc.record({
    ...is('map'),
    domain,
    virtStart: virt,
    virtLast: virt,
    physStart: phys,
    flags: word32,
  }),
  fc.record({ ...is('unmap'), domain, virtStart: virt, virtLast: virt }),
);

const map = fc
  .tuple(domain, virtSpan, phys, word32)
  .map(([at, { start, last }, physStart, flags]) => {
    return { kind: 'map', domain: at, virtStart: start, virtLast: last, physStart, flags } as const;
  });
const unmap = fc
  .tuple(domain, virtSpan, fc.array(virtSpan, { maxLength: 5 }))
  .map(([at, { start, last }, removed]) => {
    return { kind: 'unmap', domain: at, virtStart: start, virtLast: last, removed } as const;
  });
const probe = fc
  .tuple(endpoint, byte, span64)
  .map(([from, subtype, span]) => ({ kind: 'probe', endpoint: from, subtype, ...span }) as const);

/** The F line. */
export const anyFeatures = fc.record({ ...is('features'), bits: word64 });

/** The C line. */
export const anyConfig = fc
  .tuple(word64, span64, word32, word32, word32, byte)
  .map(([pageSizeMask, input, a, b, probeSize, bypass]) => {
    return {
      kind: 'config',
      pageSizeMask,
      inputStart: input.start,
      inputLast: input.last,
      domainFirst: Math.min(a, b),
      domainLast: Math.max(a, b),
      probeSize,
      bypass,
    } as const;
  });

/** Any event that may follow F and C. */
export const anyEvent: fc.Arbitrary<StreamEvent> = fc.oneof(
  probe,
  attach,
  detach,
  map,
  unmap,
  fc.record({
    ...is('access'),
    endpoint,
    address: virt,
    access,
    result: fc.oneof(phys, fc.constant('=' as const)),
  }),
  fc.record({ ...is('probe-empty'), endpoint }),
  fc.record({
    ...is('refused'),
    status: fc.integer({ min: 1, max: 0xff }),
    request: anyRequest,
  }),
  fc.record({ ...is('fault'), endpoint, address: virt, access, reason: byte }),
  fc.record(is('device-reset')),
  fc.record(is('system-reset')),
  fc.record({ ...is('bypass'), value: byte }),
  fc.record({ ...is('notify'), queue: fc.integer({ min: 0, max: 0xffff }) }),
);
