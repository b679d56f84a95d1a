/** The devices that vectors are for, and the requests that they are made of. */

import {
  AttachRequest,
  DetachRequest,
  IommuFeature,
  MapFlag,
  MapRequest,
  ProbeRequest,
  RequestType,
  UnmapRequest,
  VirtioFeature,
  featureMask,
  featureSet,
} from '@viommu/common';
import { CHOICES, type Choices, Model, type ModelEndpoint } from '@viommu/conformance/model';

/** A device as a vector wants it. */
export interface VectorDevice {
  readonly offered: bigint;
  readonly accepted: bigint;
  readonly pageSizeMask: bigint;
  readonly inputRange: { readonly start: bigint; readonly last: bigint };
  readonly domainRange: { readonly first: number; readonly last: number };
  readonly probeSize: number;
  readonly bypass: boolean;
  readonly endpoints: readonly ModelEndpoint[];
}

/** Endpoints of all devices: without regions, with some, and one that is not there. */
export const A = 8;
export const B = 0x1_0009;
export const ABSENT = 77;

export const LAST = 0xffff_ffff_ffff_ffffn;
const RW = MapFlag.READ | MapFlag.WRITE;

const ALL = featureSet(
  [...Object.values(IommuFeature), VirtioFeature.VERSION_1].filter(
    (bit) => bit !== IommuFeature.BYPASS,
  ),
);

const plain: VectorDevice = {
  offered: ALL,
  accepted: ALL,
  pageSizeMask: LAST - 0xfffn,
  inputRange: { start: 0n, last: LAST },
  domainRange: { first: 0, last: 0xffff_ffff },
  probeSize: 64,
  bypass: false,
  endpoints: [
    { id: A },
    {
      id: B,
      reserved: [
        { start: 0x4000n, last: 0x4fffn, type: 'reserved' },
        { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' },
      ],
    },
  ],
};

/** The devices, by the name that vectors call them by. */
export const DEVICES = {
  plain,
  /** The granule is one byte, as in the standard's examples of UNMAP. */
  bytes: { ...plain, pageSizeMask: 1n },
  /** Small ranges. */
  small: {
    ...plain,
    inputRange: { start: 0x1000n, last: 0xffff_ffffn },
    domainRange: { first: 1, last: 100 },
  },
  /** Offers no more than MAP and UNMAP. */
  bare: {
    ...plain,
    offered: featureMask(IommuFeature.MAP_UNMAP) | featureMask(VirtioFeature.VERSION_1),
    accepted: featureMask(IommuFeature.MAP_UNMAP) | featureMask(VirtioFeature.VERSION_1),
    endpoints: [{ id: A }],
  },
  /** Offers everything to a driver that wants none of it. */
  declined: { ...plain, accepted: featureMask(VirtioFeature.VERSION_1) },
} as const satisfies Readonly<Record<string, VectorDevice>>;

export type DeviceName = keyof typeof DEVICES;

/** A model of one of them. */
export function modelOf(name: DeviceName, choices: Partial<Choices> = {}): Model {
  const model = new Model({ ...DEVICES[name], choices });
  model.negotiate(DEVICES[name].accepted);
  return model;
}

/** True if choices go against a SHOULD. */
export function warns(chosen: Partial<Choices>): boolean {
  return Object.entries(chosen).some(([name, value]) => {
    const { warns: against }: { warns: readonly unknown[] } = CHOICES[name as keyof Choices]; // Its own keys.
    return against.includes(value);
  });
}

export function attach(domain: number, endpoint: number, flags = 0): Uint8Array {
  return AttachRequest.encode({ type: RequestType.ATTACH, domain, endpoint, flags });
}

export function detach(domain: number, endpoint: number): Uint8Array {
  return DetachRequest.encode({ type: RequestType.DETACH, domain, endpoint });
}

export function map(
  domain: number,
  virtStart: bigint,
  virtEnd: bigint,
  physStart: bigint,
  flags: number = RW,
): Uint8Array {
  const type = RequestType.MAP;
  return MapRequest.encode({ type, domain, virtStart, virtEnd, physStart, flags });
}

export function unmap(domain: number, virtStart: bigint, virtEnd: bigint): Uint8Array {
  return UnmapRequest.encode({ type: RequestType.UNMAP, domain, virtStart, virtEnd });
}

export function probe(endpoint: number): Uint8Array {
  return ProbeRequest.encode({ type: RequestType.PROBE, endpoint });
}

/** The bytes with one of them changed. */
export function changed(bytes: Uint8Array, at: number, value = 0xff): Uint8Array {
  return bytes.with(at, value);
}

/** So many bytes: cut off, or with zeros behind them. */
export function sized(bytes: Uint8Array, length: number): Uint8Array {
  const sizedBytes = new Uint8Array(length);
  sizedBytes.set(bytes.subarray(0, length));
  return sizedBytes;
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** A number that may be beyond what JSON readers keep exactly. */
export function number(value: bigint): string {
  return `0x${value.toString(16)}`;
}
