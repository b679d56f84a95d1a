/** A chain as the device holds it: one that is reused shows nothing of the chain before. */

import { AssertionError } from '@viommu/common';
import { BufferList, Popped } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { FORMATS } from './kit/format.ts';
import { createPair } from './kit/pair.ts';

describe.each(FORMATS)('$name: a reused chain', (format) => {
  function popTwo(second: { readable: Uint8Array[]; writable: number[] }) {
    const pair = createPair({ format, size: 8 });
    const { arena, driver, device, chain } = pair;
    driver.add(arena.buffers([new Uint8Array(64).fill(7)], [64]), 0);
    driver.add(arena.buffers(second.readable, second.writable), 1);
    driver.publish();
    expect(device.pop(chain)).toBe(Popped.CHAIN);
    expect([chain.readableBytes, chain.writableBytes]).toEqual([64, 64]);
    expect(device.pop(chain)).toBe(Popped.CHAIN);
    return pair;
  }

  it('has no writable byte if the new one has none', () => {
    const { arena, chain } = popTwo({ readable: [Uint8Array.of(1, 2)], writable: [] });
    const before = arena.bytes.slice();
    expect([chain.readableBytes, chain.writableBytes]).toEqual([2, 0]);
    expect(chain.write(0, new Uint8Array(8).fill(9), 0, 8)).toBe(0);
    expect(() => chain.writeWord(0, 9)).toThrow(AssertionError);
    expect(arena.bytes).toEqual(before);
  });

  it('has no readable byte if the new one has none', () => {
    const { chain } = popTwo({ readable: [], writable: [3] });
    expect([chain.readableBytes, chain.writableBytes]).toEqual([0, 3]);
    expect(chain.read(0, new Uint8Array(8), 0, 8)).toBe(0);
    expect(chain.contiguous(0)).toBe(-1);
    expect(() => chain.writeWord(0, 9)).toThrow(AssertionError);
  });

  it('has nothing that could be read or written while a buffer is out of reach', () => {
    const pair = createPair({ format, size: 8 });
    const { arena, driver, device, chain } = pair;
    const list = new BufferList(3)
      .addReadable(arena.address(0x8000), 4)
      .addWritable(arena.address(0x9000), 4)
      .addWritable(arena.address(arena.bytes.length - 1), 4);
    driver.add(list, 0);
    driver.publish();
    expect(device.pop(chain)).toBe(Popped.CHAIN);
    expect([chain.reachable, chain.writableBytes]).toEqual([false, 8]);
    expect(chain.contiguous(4)).toBe(-1);
    expect(() => chain.read(0, new Uint8Array(4), 0, 4)).toThrow(AssertionError);
    expect(() => chain.write(0, new Uint8Array(4), 0, 4)).toThrow(AssertionError);
    expect(() => chain.writeWord(0, 0)).toThrow(AssertionError);
    // The next chain is reachable again.
    device.push(chain, 0);
    driver.add(arena.buffers([], [4]), 1);
    driver.publish();
    expect(device.pop(chain)).toBe(Popped.CHAIN);
    expect(chain.reachable).toBe(true);
  });
});
