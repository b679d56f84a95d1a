/**
 * The device's half of a queue, for watching a driver: takes chains apart with every rule of the standard in mind, and
 * gives them back with whatever id and length a script wants.
 */

import type { GuestMemory, QueueLayout } from '@viommu/ring';
import { readBytes } from '../ring/bytes.ts';
import type { Ledger } from './ledger.ts';

/** One buffer of a chain, in the order of the chain. */
export interface Element {
  readonly address: bigint;
  readonly length: number;
  readonly writable: boolean;
}

/** Bytes of the ring that belong to the device until it gives the chain back. */
export interface Snapshot {
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

/** A chain that the driver made available. */
export interface DriverChain {
  /** Head or buffer id. */
  readonly id: number;
  readonly elements: readonly Element[];
  /** Slots of a packed ring that it takes. */
  readonly slots: number;
  readonly snapshots: readonly Snapshot[];
}

export interface DeviceRingOptions {
  readonly memory: GuestMemory;
  readonly layout: QueueLayout;
  readonly features: bigint;
  readonly ledger: Ledger;
}

/** One queue, of either format. */
export interface DeviceRing {
  readonly layout: QueueLayout;
  /** Chains seen and not taken. */
  readonly waiting: number;
  /** Chains in the device's hands, taken or not. */
  readonly inFlight: number;
  /** How far the driver has come: changes whenever it makes a chain available. */
  readonly position: number;
  /** Looks at what the driver has made available since. */
  look(): void;
  take(): DriverChain | undefined;
  /** Gives a chain back. `id` forges another one. */
  give(chain: DriverChain, usedBytes: number, id?: number): void;
  /** Gives several back by one entry, with the id of the last (IN_ORDER). */
  giveBatch(chains: readonly DriverChain[], usedBytes: number): void;
  /** Asks for notifications of new chains, or for none. */
  wantNotifications(wanted: boolean): void;
}

/** Elements of a chain that are looked at. */
export const ELEMENTS_MAX = 1024;
/** More than this is odd for requests of two parts. */
const FEW_ELEMENTS = 8;

/** What both formats ask of a chain. */
export function checkElements(
  format: 'split' | 'packed',
  elements: readonly Element[],
  { ledger, memory }: Pick<DeviceRingOptions, 'ledger' | 'memory'>,
): void {
  const firstWritable = elements.findIndex(({ writable }) => writable);
  const ordered =
    firstWritable < 0 || elements.slice(firstWritable).every(({ writable }) => writable);
  ledger.check(
    format === 'split' ? 'split.drv.framing.writable-last' : 'packed.drv.sg.writable-last',
    ordered,
    'a readable buffer follows a writable one',
  );
  if (format === 'split') {
    ledger.check(
      'split.drv.framing.few-descriptors',
      elements.length <= FEW_ELEMENTS,
      `a chain has ${elements.length} buffers`,
    );
    const sum = elements.reduce((total, { length }) => total + length, 0);
    ledger.check('split.drv.desc.chain-total-length', sum <= 2 ** 32, `a chain has ${sum} bytes`);
  }
  for (const { address, length } of elements)
    ledger.check(
      'basic.drv.reserved.no-access-platform-physical',
      length === 0 || located(memory, address, length),
      () => `a buffer of ${length} bytes lies at 0x${address.toString(16)}, where no memory is`,
    );
}

export function located(memory: GuestMemory, address: bigint, length: number): boolean {
  return memory.locate(Number(address & 0xffff_ffffn), Number(address >> 32n), length) >= 0;
}

/** What the readable elements hold. Elements outside memory are left out. */
export function readableOf(memory: GuestMemory, elements: readonly Element[]): Uint8Array {
  const parts = elements
    .filter(({ writable, address, length }) => !writable && located(memory, address, length))
    .map(({ address, length }) => readBytes(memory, address, Math.min(length, 0x1_0000)));
  const bytes = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export function snapshot(memory: GuestMemory, address: bigint, length: number): Snapshot {
  return { address, bytes: readBytes(memory, address, length) };
}

/** True if the bytes are as they were. */
export function unchanged(memory: GuestMemory, { address, bytes }: Snapshot): boolean {
  return readBytes(memory, address, bytes.length).every((byte, at) => byte === bytes[at]);
}
