/** A small guest: memory, an allocator that only goes up, a clock that only tests move. */

import { type Clock, type GuestPhysical, type Logger, guestPhysical } from '@viommu/common';
import { SharedMemory } from '@viommu/ring';
import type { DmaPages } from '@viommu/driver';

const BASE = guestPhysical(0x4000_0000n);
const SIZE = 1 << 20;

export function guestMemory(): SharedMemory {
  return new SharedMemory({
    buffer: new SharedArrayBuffer(SIZE),
    offset: 0,
    size: SIZE,
    base: BASE,
  });
}

/** Hands out guest memory from the first byte on, and knows what is taken. */
export class TestPages implements DmaPages {
  readonly taken: Set<GuestPhysical> = new Set();
  #next: bigint = BASE;

  allocate(sizeBytes: number, alignment: number): GuestPhysical {
    const step = BigInt(alignment);
    const address = guestPhysical(((this.#next + step - 1n) / step) * step);
    this.#next = address + BigInt(sizeBytes);
    this.taken.add(address);
    return address;
  }

  free(address: GuestPhysical): void {
    if (!this.taken.delete(address)) throw new Error('freed what was not taken');
  }
}

export class TestClock implements Clock {
  nowMs = 1000;

  now(): number {
    return this.nowMs;
  }
}

export class TestLogger implements Logger {
  readonly lines: string[] = [];

  warn(message: string): void {
    this.lines.push(message);
  }
}
