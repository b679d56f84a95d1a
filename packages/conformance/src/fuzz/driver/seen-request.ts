/** Requests as the device in front of a driver sees them, and what it does with each. */

import { MapRequest } from '@viommu/common';
import type { DriverChain } from '../../driver/device-ring.ts';
import type { MonitoredRequest } from '../../driver/monitor.ts';
import type { Span } from './used-place.ts';

/** In the domain or endpoint field of a request that means nothing, above its serial number. */
export const RAW_TAG = 0x5a00_0000;
const RAW_MASK = 0x00ff_ffff;
/** All requests but a short one have that field. */
const TAG_AT = MapRequest.offset.domain;
/** No status: the driver has to take the request for one that nobody knows about. */
export const UNCLEAR = -1;

/** What is done with a request, if not what our device does. */
export interface Answer {
  /** In the tail; that of our device if absent. */
  readonly status?: number;
  /** The three bytes behind it. */
  readonly reserved?: readonly number[];
  /** Our device does not do it. */
  readonly undone?: boolean;
  /** The used length; the exact one if absent. */
  readonly length?: number;
  /** Nothing is written. */
  readonly untouched?: boolean;
  /** Of a PROBE; what is behind them is zero. */
  readonly properties?: Uint8Array;
  /** The zeros are not written: they are there already. */
  readonly sparse?: boolean;
  /** Never given back. */
  readonly kept?: boolean;
}

/** `no`: nothing was done. `instead`: the request is not given back, and never will be. `also`: it was given back, and more. */
export type Forged = 'no' | 'instead' | 'also';

/** A request that the device has seen. */
export interface Seen {
  readonly fields: MonitoredRequest | undefined;
  readonly type: number;
  readonly bytes: Uint8Array;
  /** The serial number of one that means nothing. */
  readonly raw: number | undefined;
  readonly chain: DriverChain;
  readonly writableBytes: number;
  readonly spans: readonly Span[];
  /** The tail that was written. */
  status: number;
  /** The used length to be given. */
  length: number;
  kept: boolean;
  /** Given back: what the driver has to take it for, a status byte or `UNCLEAR`. */
  outcome: number | undefined;
  /** When it was given back: a number that grows. */
  turn: number;
}

/** The serial number of a request that means nothing. */
export function serialOf(bytes: Uint8Array): number | undefined {
  if (bytes.length < TAG_AT + Uint32Array.BYTES_PER_ELEMENT) return undefined;
  const tag = new DataView(bytes.buffer, bytes.byteOffset).getUint32(TAG_AT, true);
  return (tag & ~RAW_MASK) === RAW_TAG ? tag & RAW_MASK : undefined;
}

/** Makes a request one that means nothing. */
export function writeSerial(bytes: Uint8Array, serial: number): void {
  new DataView(bytes.buffer).setUint32(TAG_AT, RAW_TAG | serial, true);
}

/** For people. */
export function describeRequest({ fields, raw, status, length }: Seen): string {
  const parts = Object.entries(fields ?? {}).map(([name, value]) =>
    typeof value === 'bigint'
      ? `0x${value.toString(16)}`
      : name === 'flags'
        ? `flags ${value}`
        : String(value),
  );
  const what = raw === undefined ? parts.join(' ') : `number ${raw}`;
  return `${what}: status ${status}, ${length} bytes`;
}
