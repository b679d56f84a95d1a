/** Checks of an area that the driver programs into the transport, whatever the ring's format. */

import { type GuestPhysical, IommuError } from '@viommu/common';
import type { GuestMemory } from './guest-memory.ts';

/** The position of an area. @throws {IommuError} `EINVAL` if it is not aligned, `EFAULT` if it is outside memory. */
export function locateArea(
  memory: GuestMemory,
  address: GuestPhysical,
  bytes: number,
  alignment: number,
): number {
  if (address % BigInt(alignment) !== 0n)
    throw new IommuError('EINVAL', `A queue area at 0x${address.toString(16)} is not aligned.`);
  const low = Number(address & 0xffff_ffffn);
  const high = Number(address >> 32n);
  const position = memory.locateArea?.(low, high, bytes) ?? memory.locate(low, high, bytes);
  if (position < 0)
    throw new IommuError('EFAULT', `A queue area at 0x${address.toString(16)} is outside memory.`);
  return position;
}

/** Clears memory that a driver is about to hand to a device. */
export function clearArea(memory: GuestMemory, position: number, bytes: number): void {
  memory.write(position, new Uint8Array(bytes), 0, bytes);
}
