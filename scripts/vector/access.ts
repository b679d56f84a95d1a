/** Vectors of accesses: what endpoints reach, and what the driver hears of it if they do not. */

import { AttachFlag, IommuConfig, MapFlag } from '@viommu/common';
import {
  type AccessOutcome,
  CHOICES,
  type ChoiceName,
  type Choices,
  type Model,
} from '@viommu/conformance/model';
import {
  A,
  ABSENT,
  B,
  DEVICES,
  type DeviceName,
  LAST,
  attach,
  detach,
  hex,
  map,
  modelOf,
  number,
  unmap,
} from './device.ts';

const PAGE = 0x1000n;
const { READ, WRITE } = MapFlag;

/** One step: a request that has to succeed, a buffer for faults, the `bypass` field, a reset, or an access. */
type Step =
  | { readonly request: Uint8Array }
  | { readonly post: number }
  | { readonly bypass: 0 | 1 }
  | { readonly reset: 'device' }
  | {
      readonly endpoint: number;
      readonly address: bigint;
      readonly length: number;
      readonly access: 'read' | 'write';
    };

interface Source {
  readonly clause: string;
  readonly about?: string;
  readonly device?: DeviceName;
  readonly steps: readonly Step[];
}

const sent = (...requests: readonly Uint8Array[]): Step[] =>
  requests.map((request) => ({ request }));
const read = (endpoint: number, address: bigint, length = 4): Step => ({
  endpoint,
  address,
  length,
  access: 'read',
});
const write = (endpoint: number, address: bigint, length = 4): Step => ({
  endpoint,
  address,
  length,
  access: 'write',
});

const MAPPED = sent(attach(1, A), map(1, PAGE, 2n * PAGE - 1n, 0xa000n));

const SOURCES: readonly Source[] = [
  { clause: 'fact.iommu.translate', about: 'first byte', steps: [...MAPPED, read(A, PAGE, 1)] },
  { clause: 'fact.iommu.translate', about: 'in the middle', steps: [...MAPPED, write(A, 0x1804n)] },
  { clause: 'fact.iommu.translate', about: 'last byte', steps: [...MAPPED, read(A, 0x1fffn, 1)] },
  {
    clause: 'fact.iommu.translate',
    about: 'two mappings',
    steps: [...MAPPED, ...sent(map(1, 2n * PAGE, 3n * PAGE - 1n, 0x3000n)), read(A, 0x1ffcn, 8)],
  },
  {
    clause: 'fact.iommu.translate',
    about: 'the last address',
    steps: [...sent(attach(1, A), map(1, LAST - PAGE + 1n, LAST, 0n)), read(A, LAST - 3n)],
  },
  {
    clause: 'iommu.dev.fault.address-optional',
    about: 'nothing mapped',
    steps: [...MAPPED, { post: 24 }, write(A, 0x2010n)],
  },
  {
    clause: 'iommu.dev.fault.address-optional',
    about: 'the second half',
    steps: [...MAPPED, { post: 24 }, read(A, 0x1ffcn, 8)],
  },
  {
    clause: 'iommu.dev.fault.no-multi-buffer',
    steps: [...MAPPED, { post: 8 }, { post: 24 }, read(A, 0n)],
  },
  {
    clause: 'iommu.dev.fault.reserved-zero',
    about: 'a larger buffer',
    steps: [...MAPPED, { post: 32 }, read(A, 0n)],
  },
  { clause: 'iommu.dev.fault.endpoint-valid', steps: [{ post: 24 }, read(ABSENT, 0n)] },
  { clause: 'iommu.dev.req.unattached-no-access', steps: [{ post: 24 }, read(A, PAGE)] },
  {
    clause: 'iommu.dev.map.write-needs-flag',
    steps: [
      ...sent(attach(1, A), map(1, 0n, PAGE - 1n, 0n, READ)),
      { post: 24 },
      read(A, 0n),
      write(A, 0n),
    ],
  },
  {
    clause: 'iommu.dev.map.write-only-may-read',
    steps: [...sent(attach(1, A), map(1, 0n, PAGE - 1n, 0n, WRITE)), write(A, 0n)],
  },
  {
    clause: 'iommu.dev.detach.no-access-after',
    steps: [...MAPPED, read(A, PAGE), ...sent(detach(1, A)), { post: 24 }, read(A, PAGE)],
  },
  {
    clause: 'iommu.dev.unmap.partial-coverage-ok',
    steps: [...MAPPED, ...sent(unmap(1, 0n, 4n * PAGE - 1n)), { post: 24 }, read(A, PAGE)],
  },
  {
    clause: 'fact.iommu.isolation',
    steps: [
      ...MAPPED,
      ...sent(attach(2, B), map(2, PAGE, 2n * PAGE - 1n, 0xc000n)),
      read(A, PAGE),
      read(B, PAGE),
    ],
  },
  {
    clause: 'iommu.dev.attach.shared-domain-allowed',
    steps: [...MAPPED, ...sent(attach(1, B)), read(B, PAGE)],
  },
  {
    clause: 'fact.iommu.bypass-identity',
    about: 'a bypass domain',
    steps: [...sent(attach(1, A, AttachFlag.BYPASS)), read(A, 0x1234n)],
  },
  {
    clause: 'fact.iommu.bypass-identity',
    about: 'the field',
    steps: [{ bypass: 1 }, write(A, 0x1234n), { bypass: 0 }, { post: 24 }, write(A, 0x1234n)],
  },
  {
    clause: 'fact.iommu.bypass-identity',
    about: 'not for who is attached',
    steps: [{ bypass: 1 }, ...MAPPED, { post: 24 }, read(A, 0n)],
  },
  {
    clause: 'iommu.dev.config.bypass-kept-on-device-reset',
    steps: [{ bypass: 1 }, { reset: 'device' }, read(A, 0x1234n)],
  },
  {
    clause: 'fact.iommu.reset-unattached',
    steps: [...MAPPED, { reset: 'device' }, { post: 24 }, read(A, PAGE)],
  },
  {
    clause: 'iommu.dev.resv.access-contained',
    steps: [{ bypass: 1 }, { post: 24 }, read(B, 0x4000n), read(B, 0x3ffcn), read(B, 0x5000n)],
  },
  {
    clause: 'iommu.dev.resv.access-contained',
    about: 'an interrupt',
    steps: [...sent(attach(1, B)), write(B, 0xfee0_0000n)],
  },
];

/** All vectors as they go into the file. */
export function accessVectors(): unknown[] {
  return SOURCES.map(({ clause, about, device = 'plain', steps }) => {
    const model = modelOf(device);
    return {
      name: about === undefined ? clause : `${clause}: ${about}`,
      clause,
      device,
      steps: steps.map((step) => stepOf(model, device, step)),
    };
  });
}

function stepOf(model: Model, device: DeviceName, step: Step): unknown {
  if ('request' in step) {
    const { status } = model.request(step.request, 4);
    if (status !== 0) throw new Error(`A request of a vector gets ${status}.`);
    return { request: hex(step.request) };
  }
  if ('post' in step) {
    model.postEvent(step.post);
    return step;
  }
  if ('bypass' in step) {
    model.writeConfig(IommuConfig.offset.bypass, 1, step.bypass);
    return step;
  }
  if ('reset' in step) {
    model.reset();
    model.negotiate(DEVICES[device].accepted);
    return step;
  }
  const { endpoint, address, length, access } = step;
  const flags = access === 'read' ? READ : WRITE;
  const records = recordsOf(model, endpoint, address, length, flags);
  const { pieces, fault, events } = model.access(endpoint, address, length, flags);
  return {
    access: { endpoint, address: number(address), length, kind: access },
    ...(fault === undefined
      ? { pieces: pieces.map((piece) => ({ ...piece, address: number(piece.address) })) }
      : { fault: true, events: eventsOf(events), ...(records.length > 0 && { records }) }),
  };
}

function eventsOf(events: AccessOutcome['events']): unknown[] {
  return events.map(({ buffer, usedLength, record }) => ({
    buffer,
    usedLength,
    record: hex(record),
  }));
}

/** Every record that conforms, the recommended one first. */
function recordsOf(
  model: Model,
  endpoint: number,
  address: bigint,
  length: number,
  flags: number,
): string[] {
  const names = [
    'faultAccess',
    'faultAddress',
    'faultPermission',
    'faultUnattached',
    'faultReserved',
  ] as const;
  let all: Partial<Choices>[] = [{}];
  for (const name of names)
    all = all.flatMap((chosen) => valuesOf(name).map((value) => ({ ...chosen, [name]: value })));
  const records = all.map((chosen) => {
    const copy = model.copy();
    copy.choose(chosen);
    return copy.access(endpoint, address, length, flags).events.at(-1)?.record;
  });
  return [...new Set(records.flatMap((record) => (record === undefined ? [] : [hex(record)])))];
}

function valuesOf(name: ChoiceName): readonly string[] {
  return CHOICES[name].values;
}
