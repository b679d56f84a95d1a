/** How the bytes of a request become buffers. */

import { READABLE_MAX, WRITABLE_MAX } from './limit.ts';
import type { RequestStep } from './stream.ts';

/** Writable bytes that a request really has: a chain has a buffer. */
export function roomOf({ readable, room }: RequestStep): number {
  return Math.min(Math.max(room, readable.length === 0 ? 1 : 0), WRITABLE_MAX);
}

/** The bytes of a request that the device sees. */
export function readableOf({ readable }: RequestStep): Uint8Array {
  return readable.length > READABLE_MAX ? readable.subarray(0, READABLE_MAX) : readable;
}

/** Calls `add` for buffers of these sizes, and one for what is left. */
export function cut(
  total: number,
  sizes: readonly number[],
  add: (at: number, bytes: number) => void,
): void {
  let at = 0;
  for (const size of sizes) {
    const bytes = Math.min(size, total - at);
    if (bytes > 0) add(at, bytes);
    at += Math.max(bytes, 0);
  }
  if (total > at) add(at, total - at);
}
