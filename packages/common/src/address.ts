/**
 * Addresses and ids that do not mix, and the arithmetic that stays exact to 2^64 - 1.
 *
 * At public edges an address is a `bigint`. On the hot paths it is a *page* and an *offset*: the page is a plain
 * number, exact because 2^64 / 4096 = 2^52 is below 2^53, and the offset is 0..4095. The unit is always 4096 bytes,
 * whatever granule a device offers, so that any granule from one byte up is represented exactly.
 */

import { assert } from './error.ts';

declare const brand: unique symbol;

/** An address an endpoint uses: what the standard calls a virtual address. Unsigned, 64 bits. */
export type Iova = bigint & { readonly [brand]: 'Iova' };
/** An address in the guest's memory map. Unsigned, 64 bits. Only translation makes one out of an {@link Iova}. */
export type GuestPhysical = bigint & { readonly [brand]: 'GuestPhysical' };
/** The number of a domain, 0..2^32 - 1. */
export type DomainId = number & { readonly [brand]: 'DomainId' };
/** The number of an endpoint, 0..2^32 - 1; what it names is the platform's choice. */
export type EndpointId = number & { readonly [brand]: 'EndpointId' };
/** The index of a descriptor in a table, below the queue size. */
export type DescriptorIndex = number & { readonly [brand]: 'DescriptorIndex' };
/** A free-running ring index, modulo 2^16. */
export type RingIndex = number & { readonly [brand]: 'RingIndex' };

/** Bytes in one page, the unit of page numbers. Not the granule, which is the device's. */
export const PAGE_SIZE = 4096;
/** The largest address. */
export const ADDRESS_MAX = 0xffff_ffff_ffff_ffffn;
/** The page that holds {@link ADDRESS_MAX}. */
export const PAGE_MAX = 0xf_ffff_ffff_ffff;

const PAGE_SHIFT = 12n;
const PAGES_PER_HIGH_WORD = 1 << 20;
const U32_MAX = 0xffff_ffff;

/** Checks and brands an address of an endpoint. */
export function iova(value: bigint): Iova {
  assert(value >= 0n && value <= ADDRESS_MAX, 'an IOVA is an unsigned 64-bit number');
  return value as Iova;
}

/** Checks and brands an address of guest memory. */
export function guestPhysical(value: bigint): GuestPhysical {
  assert(
    value >= 0n && value <= ADDRESS_MAX,
    'a guest-physical address is an unsigned 64-bit number',
  );
  return value as GuestPhysical;
}

/** Checks and brands a domain number. */
export function domainId(value: number): DomainId {
  assert(isUint32(value), 'a domain id is an unsigned 32-bit number');
  return value as DomainId;
}

/** Checks and brands an endpoint number. */
export function endpointId(value: number): EndpointId {
  assert(isUint32(value), 'an endpoint id is an unsigned 32-bit number');
  return value as EndpointId;
}

/** True if `value` is an integer that fits 32 unsigned bits. */
export function isUint32(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= U32_MAX;
}

/** The page of an address given as its two 32-bit halves, each unsigned. */
export function pageOfWords(low: number, high: number): number {
  return (low >>> 12) + high * PAGES_PER_HIGH_WORD;
}

/** The low 32 bits, unsigned, of the address at `offset` in `page`. */
export function lowWord(page: number, offset: number): number {
  // Bit operations take the low 32 bits of any whole number below 2^53, and a remainder would be slow.
  return (((page & 0xf_ffff) << 12) | offset) >>> 0;
}

/** The high 32 bits of any address in `page`. */
export function highWord(page: number): number {
  return Math.floor(page / PAGES_PER_HIGH_WORD);
}

/** The page an address lies in. */
export function pageOf(address: bigint): number {
  return Number(address >> PAGE_SHIFT);
}

/** How far into its page an address lies, 0..4095. */
export function offsetInPage(address: bigint): number {
  return Number(address & 0xfffn);
}

/** The address at `offset` in `page`; the inverse of {@link pageOf} and {@link offsetInPage}. */
export function addressAt(page: number, offset: number): bigint {
  return (BigInt(page) << PAGE_SHIFT) | BigInt(offset);
}
