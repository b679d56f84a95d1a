/** What the plain driver does in the right way, piece by piece; a mutant does one of them otherwise. */

import { FaultFlag, type FaultRecord } from '@viommu/common';
import type { ChainBuffer } from '../../src/ring/test-ring.ts';
import type { TargetRegion } from '../../src/target.ts';
import { parseProperties } from './property-reader.ts';

type Fault = ReturnType<typeof FaultRecord.read>;

export interface Habits {
  readonly resetFirst: boolean;
  readonly awaitReset: boolean;
  /** Status writes before features. */
  readonly steps: readonly number[];
  accept(offered: bigint): bigint;
  /** Looks whether FEATURES_OK is still there. */
  readonly readBack: boolean;
  readonly giveUp: boolean;
  readonly earlyNotify: boolean;
  readonly resetAtEnd: boolean;
  readonly generation: boolean;
  /** Reads fields whose features are not there. */
  readonly readAll: boolean;
  queueSize(max: number): number;
  readonly ringOffset: bigint;
  readonly notify: boolean;
  order(buffers: readonly ChainBuffer[]): readonly ChainBuffer[];
  /** The last touch to the bytes of a request. */
  bytes(request: Uint8Array): Uint8Array;
  readonly prefill: number;
  readonly patience: boolean;
  readonly checkId: boolean;
  readonly checkLength: boolean;
  success(status: number, reserved: Uint8Array): boolean;
  readonly probeFirst: boolean;
  /** Bytes behind the properties. */
  readonly probeRoom: number;
  parse(properties: Uint8Array): readonly TargetRegion[] | undefined;
  firstDomain(first: number): number;
  attachFlags(bypass: boolean, others: number): number;
  readonly canMap: boolean;
  readonly mapBypass: boolean;
  readonly checkRange: boolean;
  readonly checkMmio: boolean;
  mapEnd(start: bigint, last: bigint): bigint;
  mapFlags(flags: number): number;
  readonly unmapKnown: boolean;
  unmapRange(start: bigint, last: bigint, granule: bigint): readonly [bigint, bigint];
  acknowledge(bits: number): number;
  readonly repost: boolean;
  readonly checkEventLength: boolean;
  fault(record: Fault): { endpoint: number; address?: bigint } | undefined;
  readonly bypassAlways: boolean;
  readonly bypassWidth: number;
  bypass(value: boolean): number;
}

const bit = (number: number): bigint => 1n << BigInt(number);

/** INPUT_RANGE, DOMAIN_RANGE, MAP_UNMAP, PROBE, MMIO, BYPASS_CONFIG, VERSION_1, ACCESS_PLATFORM, RING_PACKED, ORDER_PLATFORM. */
export const KNOWN: bigint = [0, 1, 2, 4, 5, 6, 32, 33, 34, 36].reduce(
  (set, one) => set | bit(one),
  0n,
);

export const RIGHT: Habits = {
  resetFirst: true,
  awaitReset: true,
  steps: [1, 3],
  accept: (offered) => offered & KNOWN,
  readBack: true,
  giveUp: true,
  earlyNotify: false,
  resetAtEnd: true,
  generation: true,
  readAll: false,
  queueSize: (max) => Math.min(max, 64),
  ringOffset: 0n,
  notify: true,
  order: (buffers) => buffers,
  bytes: (request) => request,
  prefill: 0xff,
  patience: true,
  checkId: true,
  checkLength: true,
  success: (status) => status === 0,
  probeFirst: true,
  probeRoom: 4,
  parse: parseProperties,
  firstDomain: (first) => first,
  attachFlags: (bypass) => (bypass ? 1 : 0),
  canMap: true,
  mapBypass: false,
  checkRange: true,
  checkMmio: true,
  mapEnd: (_start, last) => last,
  mapFlags: (flags) => flags,
  unmapKnown: true,
  unmapRange: (start, last) => [start, last],
  acknowledge: (bits) => bits & 3,
  repost: true,
  checkEventLength: true,
  fault: ({ reserved, flags, endpoint, address }) => {
    if (reserved.some((byte) => byte !== 0)) return undefined;
    return (flags & FaultFlag.ADDRESS) === 0 ? { endpoint } : { endpoint, address };
  },
  bypassAlways: false,
  bypassWidth: 1,
  bypass: (value) => (value ? 1 : 0),
};
