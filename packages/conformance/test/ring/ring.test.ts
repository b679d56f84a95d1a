/** The suite's own rings against the device's side of `@viommu/ring`: what they write is legal, and they see what comes back. */

import { guestPhysical } from '@viommu/common';
import { Chain, type DeviceQueue, Popped, SharedMemory, createDeviceQueue } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { PackedRing } from '../../src/ring/packed-ring.ts';
import { SplitRing } from '../../src/ring/split-ring.ts';
import type { ChainBuffer, TestRing } from '../../src/ring/test-ring.ts';

const BASE = 0x4000_0000n;
const SIZE = 8;
const DATA = BASE + 0x2000n;
const TABLE = BASE + 0x3000n;

function pair(format: 'split' | 'packed'): {
  readonly memory: SharedMemory;
  readonly ring: TestRing;
  readonly device: DeviceQueue;
} {
  const buffer = new SharedArrayBuffer(0x4000);
  const memory = new SharedMemory({ buffer, offset: 0, size: 0x4000, base: guestPhysical(BASE) });
  const ring =
    format === 'split' ? new SplitRing(memory, BASE, SIZE) : new PackedRing(memory, BASE, SIZE);
  const features = { indirect: true, eventIndex: false, packed: format === 'packed' };
  return { memory, ring, device: createDeviceQueue({ memory, layout: ring.layout, features }) };
}

const buffers: readonly ChainBuffer[] = [
  { address: DATA, length: 3, writable: false },
  { address: DATA + 3n, length: 5, writable: false },
  { address: DATA + 8n, length: 4, writable: true },
];

describe.each(['split', 'packed'] as const)('a %s ring of the suite', (format) => {
  it('makes chains that a device takes, in any framing, lap after lap', () => {
    const { memory, ring, device } = pair(format);
    const chain = new Chain(memory, SIZE);
    for (let turn = 0; turn < 10 * SIZE; turn += 1) {
      memory.setUint8(0x2000, turn);
      const indirectFrom = [3, 0, format === 'split' ? 1 : 3][turn % 3] ?? 3;
      const id = ring.offer(buffers, { indirectFrom, tableAt: TABLE });
      expect(ring.ready()).toBe(false);
      expect(device.pop(chain)).toBe(Popped.CHAIN);
      expect([chain.readableBytes, chain.writableBytes]).toEqual([8, 4]);
      chain.writeWord(0, turn);
      device.push(chain, 4);
      device.publish();
      expect(ring.ready()).toBe(true);
      expect(ring.take()).toMatchObject({ id, length: 4 });
      expect(memory.getUint32(0x2008)).toBe(turn);
      expect(ring.take()).toBeUndefined();
    }
  });

  it('has several chains in flight, and says of each what came back', () => {
    const { memory, ring, device } = pair(format);
    const ids = [1, 2].map(() => ring.offer(buffers));
    const chain = new Chain(memory, SIZE);
    for (const length of [4, 0]) {
      device.pop(chain);
      device.push(chain, length);
    }
    device.publish();
    const [one, other] = [ring.take(), ring.take()];
    expect([one?.id, other?.id]).toEqual(ids);
    expect([one?.length, other?.length]).toEqual([4, 0]);
    if (format === 'packed') expect([one?.writeFlag, other?.writeFlag]).toEqual([true, false]);
  });
});
