/** Bytes in guest memory by guest-physical address, wherever that memory is. */

import type { Fields, Struct, StructInput, StructValue } from '@viommu/common';
import type { GuestMemory } from '@viommu/ring';

/** The position of `length` bytes at a guest-physical address. @throws {RangeError} if they are not in this memory. */
export function locate(memory: GuestMemory, address: bigint, length: number): number {
  const position = memory.locate(Number(address & 0xffff_ffffn), Number(address >> 32n), length);
  if (position < 0)
    throw new RangeError(`There are no ${length} bytes of memory at 0x${address.toString(16)}.`);
  return position;
}

/** A copy of `length` bytes. */
export function readBytes(memory: GuestMemory, address: bigint, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  if (length > 0) memory.read(locate(memory, address, length), bytes, 0, length);
  return bytes;
}

export function writeBytes(memory: GuestMemory, address: bigint, bytes: Uint8Array): void {
  if (bytes.length > 0) memory.write(locate(memory, address, bytes.length), bytes, 0, bytes.length);
}

export function readStruct<F extends Fields>(
  memory: GuestMemory,
  layout: Struct<F>,
  address: bigint,
): StructValue<F> {
  const bytes = readBytes(memory, address, layout.size);
  return layout.read(new DataView(bytes.buffer));
}

export function writeStruct<F extends Fields>(
  memory: GuestMemory,
  layout: Struct<F>,
  address: bigint,
  value: StructInput<F>,
): void {
  writeBytes(memory, address, layout.encode(value));
}
