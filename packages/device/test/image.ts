/** Images of saved devices, written byte by byte as decision 0012 has them: true ones and others. */

import { crc32 } from 'node:zlib';
import { IommuError } from '@viommu/common';

/** Little-endian bytes, one field behind the other. */
export class Bytes {
  readonly #bytes: number[] = [];

  u8(...values: readonly number[]): this {
    this.#bytes.push(...values);
    return this;
  }

  u16(value: number): this {
    return this.u8(value & 0xff, value >>> 8);
  }

  u32(...values: readonly number[]): this {
    for (const value of values) this.u16(value & 0xffff).u16(value >>> 16);
    return this;
  }

  u64(...values: readonly bigint[]): this {
    for (const value of values) this.u32(Number(value & 0xffff_ffffn), Number(value >> 32n));
    return this;
  }

  add(bytes: Iterable<number>): this {
    return this.u8(...bytes);
  }

  done(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.#bytes);
  }
}

export const MMIO = 1;
export const DEVICE = 2;

/** Puts a header before a body. */
export function seal(kind: number, body: Uint8Array, version = 1): Uint8Array<ArrayBuffer> {
  const header = new Bytes().u8(0x76, 0x49, 0x4f, 0x73).u16(kind).u16(version);
  return header
    .u32(16 + body.length, crc32(body))
    .add(body)
    .done();
}

/** An image with length and checksum put right, those of an image inside it first. */
export function reseal(image: Uint8Array, inner?: number): Uint8Array<ArrayBuffer> {
  const fixed = Uint8Array.from(image);
  if (inner !== undefined && fixed.length >= inner + 16)
    fixed.set(reseal(fixed.subarray(inner)), inner);
  if (fixed.length < 16) return fixed;
  const view = new DataView(fixed.buffer);
  view.setUint32(8, fixed.length, true);
  view.setUint32(12, crc32(fixed.subarray(16)), true);
  return fixed;
}

export interface ImageMapping {
  readonly start: bigint;
  readonly last: bigint;
  readonly phys?: bigint;
  readonly flags?: number;
}

export interface ImageDomain {
  readonly id: number;
  readonly flags?: number;
  readonly endpoints?: readonly number[];
  readonly mappings?: readonly ImageMapping[];
  /** Other numbers than there are. */
  readonly endpointCount?: number;
  readonly mappingCount?: number;
}

export interface DeviceImage {
  readonly offered: bigint;
  readonly features: bigint;
  readonly dropped?: bigint;
  readonly dropSeen?: number;
  readonly pageSizeMask?: bigint;
  readonly input?: readonly [bigint, bigint];
  readonly domainRange?: readonly [number, number];
  readonly probeSize?: number;
  /** By id, each with the properties that a PROBE returns. */
  readonly endpoints?: readonly (readonly [id: number, properties: Uint8Array])[];
  readonly bypass?: number;
  readonly domains?: readonly ImageDomain[];
  readonly domainCount?: number;
  /** Bytes behind the last. */
  readonly more?: Uint8Array;
}

const ALL = 0xffff_ffff_ffff_ffffn;

export function deviceImage(image: DeviceImage): Uint8Array<ArrayBuffer> {
  const { endpoints = [], domains = [], input = [0n, ALL], domainRange = [0, 0xffff_ffff] } = image;
  const bytes = new Bytes()
    .u64(image.offered, image.features, image.dropped ?? 0n)
    .u32(image.dropSeen ?? 0)
    .u64(image.pageSizeMask ?? 0xffff_ffff_ffff_f000n, ...input)
    .u32(...domainRange, image.probeSize ?? 512, 0)
    .u32(image.bypass ?? 0, endpoints.length, image.domainCount ?? domains.length);
  for (const [id, properties] of endpoints) bytes.u32(id, properties.length).add(properties);
  for (const { id, flags = 0, endpoints: members = [8], mappings = [], ...counts } of domains) {
    const { endpointCount = members.length, mappingCount = mappings.length } = counts;
    bytes.u32(id, flags, endpointCount, mappingCount).u32(...members);
    for (const mapping of mappings)
      bytes.u64(mapping.start, mapping.last, mapping.phys ?? 0n).u32(mapping.flags ?? 3);
  }
  return seal(DEVICE, bytes.add(image.more ?? []).done());
}

export interface ImageQueue {
  readonly size?: number;
  readonly ready?: number;
  readonly broken?: number;
  readonly position?: number;
  readonly areas?: readonly [bigint, bigint, bigint];
}

export interface MmioImage {
  readonly deviceId?: number;
  readonly status?: number;
  readonly interruptStatus?: number;
  readonly configPending?: number;
  readonly foreign?: number;
  /** Of device features, of driver features, of queues. */
  readonly selectors?: readonly [number, number, number];
  readonly generation?: number;
  readonly written?: bigint;
  readonly features?: bigint;
  readonly queues?: readonly ImageQueue[];
  readonly queueCount?: number;
}

export function mmioImage(image: MmioImage, device: Uint8Array): Uint8Array<ArrayBuffer> {
  const { queues = [{}, {}], features = 0n } = image;
  const bytes = new Bytes()
    .u32(image.deviceId ?? 23, image.queueCount ?? queues.length)
    .u8(image.status ?? 0, image.interruptStatus ?? 0)
    .u8(image.configPending ?? 0, image.foreign ?? 0)
    .u32(...(image.selectors ?? [0, 0, 0]), image.generation ?? 0)
    .u64(image.written ?? features, features);
  for (const { size = 0, ready = 0, broken = 0, position = 0, areas = [0n, 0n, 0n] } of queues)
    bytes
      .u32(size)
      .u8(ready, broken)
      .u16(position)
      .u64(...areas);
  return seal(MMIO, bytes.add(device).done());
}

/** What a call ends with. */
export function outcome(call: () => void): string {
  try {
    call();
    return 'taken over';
  } catch (error) {
    return error instanceof IommuError ? error.code : String(error);
  }
}

export const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
