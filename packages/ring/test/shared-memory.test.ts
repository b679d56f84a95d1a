/** Guest memory in a shared buffer: where it may lie, what it calls its own, and how it is read and written. */

import { IommuError, guestPhysical } from '@viommu/common';
import { SharedMemory, type SharedMemoryOptions } from '@viommu/ring';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Arena } from './kit/arena.ts';

describe('the place in the buffer', () => {
  const buffer = new SharedArrayBuffer(0x4000);
  const fine = { buffer, offset: 0, size: 0x1000, base: guestPhysical(0x4000_0000n) };
  const codeOf = (changes: Partial<SharedMemoryOptions>): string => {
    try {
      return `${new SharedMemory({ ...fine, ...changes }).size} bytes`;
    } catch (error) {
      if (error instanceof IommuError) return error.code;
      throw error;
    }
  };

  it('is of whole pages that lie inside, at a multiple of 8', () => {
    expect(codeOf({})).toBe('4096 bytes');
    expect(codeOf({ size: 0x4000 })).toBe('16384 bytes');
    expect(codeOf({ offset: 8, size: 0x3000 })).toBe('12288 bytes');
    for (const size of [0, -4096, 1, 4095, 4097, 0x5000, 2 ** 30 + 4096, Number.NaN])
      expect(codeOf({ size }), `size ${size}`).toBe('EINVAL');
    for (const offset of [-8, 1, 4, 0x3008, 0x4000, 0.5, Number.NaN])
      expect(codeOf({ offset }), `offset ${offset}`).toBe('EINVAL');
  });

  it('has an address that is a multiple of the page and does not cross a 4 GiB line', () => {
    for (const base of [0n, 0xffff_f000n, 0x1_0000_0000n, 2n ** 64n - 4096n])
      expect(codeOf({ base: guestPhysical(base) })).toBe('4096 bytes');
    for (const base of [1n, 0x800n, 2n ** 64n - 1n])
      expect(codeOf({ base: guestPhysical(base) }), `base ${base}`).toBe('EINVAL');
    expect(codeOf({ size: 0x2000, base: guestPhysical(0xffff_f000n) })).toBe('EINVAL');
  });

  it('may be the memory of a WebAssembly module', () => {
    // The language level has no WebAssembly; every engine that runs this has.
    const { WebAssembly } = globalThis as unknown as {
      WebAssembly: { Memory: new (of: object) => { buffer: SharedArrayBuffer } };
    };
    const wasm = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true });
    const memory = new SharedMemory({ ...fine, buffer: wasm.buffer, offset: 0x1000, size: 0xf000 });
    memory.setUint32(0, 0x0403_0201);
    expect([...new Uint8Array(wasm.buffer, 0x1000, 4)]).toEqual([1, 2, 3, 4]);
  });
});

describe('locate', () => {
  it('agrees with the definition, for any address and length', () => {
    const word = fc.oneof(
      fc.integer({ min: 0, max: 0xffff_ffff }),
      fc.integer({ min: 0x3fff_ffc0, max: 0x4000_1040 }),
      fc.constantFrom(0, 1, 0x4000_0fff, 0x4000_1000, 0xffff_ffff),
    );
    for (const base of [0n, 0x4000_0000n, 0x5_4000_0000n, 2n ** 64n - 0x1000n]) {
      const { memory } = new Arena({ sizeBytes: 0x1000, base });
      const high = fc.oneof(fc.constantFrom(0, 5, 0xffff_ffff), word);
      fc.assert(
        fc.property(word, high, word, (low, top, length) => {
          const address = (BigInt(top) << 32n) | BigInt(low);
          const inside = address >= base && address + BigInt(length) <= base + 0x1000n;
          expect(memory.locate(low, top, length)).toBe(inside ? Number(address - base) : -1);
        }),
        { seed: 3, numRuns: 2000 },
      );
    }
  });

  it('knows both ends of the address space', () => {
    const { memory } = new Arena({ sizeBytes: 0x1000, base: 2n ** 64n - 0x1000n });
    expect(memory.locate(0xffff_f000, 0xffff_ffff, 0x1000)).toBe(0);
    expect(memory.locate(0xffff_ffff, 0xffff_ffff, 1)).toBe(0xfff);
    expect(memory.locate(0xffff_ffff, 0xffff_ffff, 2)).toBe(-1);
    expect(memory.locate(0, 0, 1)).toBe(-1);
  });
});

describe('access', () => {
  it('is little-endian and needs no alignment', () => {
    const { memory, bytes } = new Arena();
    for (const at of [0, 1, 2, 3, 0xfffc]) {
      memory.setUint32(at, 0x8403_0281);
      expect(Array.from(bytes.subarray(at, at + 4))).toEqual([0x81, 0x02, 0x03, 0x84]);
      expect(memory.getUint32(at)).toBe(0x8403_0281);
      expect([memory.getUint16(at), memory.getUint16(at + 2)]).toEqual([0x0281, 0x8403]);
      expect([memory.getUint8(at), memory.getUint8(at + 3)]).toEqual([0x81, 0x84]);
      memory.setUint16(at, 0xfffe);
      memory.setUint8(at + 3, 0xfd);
      expect(Array.from(bytes.subarray(at, at + 4))).toEqual([0xfe, 0xff, 0x03, 0xfd]);
    }
  });

  it('of an index is a 16-bit word at its position', () => {
    const { memory, bytes } = new Arena();
    for (const at of [0, 2, 0xfffe]) {
      memory.storeUint16(at, 0xa5c3);
      expect(Array.from(bytes.subarray(at, at + 2))).toEqual([0xc3, 0xa5]);
      expect(memory.loadUint16(at)).toBe(0xa5c3);
    }
  });

  it('of many bytes copies just these', () => {
    const arena = new Arena();
    const { memory, bytes } = arena;
    memory.write(
      0xfff0,
      Uint8Array.from({ length: 32 }, (_, index) => index),
      5,
      16,
    );
    expect(Array.from(bytes.subarray(0xfff0))).toEqual(
      [...Array(16).keys()].map((index) => index + 5),
    );
    expect(bytes[0xffef]).toBe(0);
    const target = new Uint8Array(8).fill(0xee);
    memory.read(0xfff0, target, 2, 3);
    expect([...target]).toEqual([0xee, 0xee, 5, 6, 7, 0xee, 0xee, 0xee]);
    expect(arena.guardsIntact()).toBe(true);
  });

  it('does not reach beyond the memory, even where a caller is wrong', () => {
    const arena = new Arena();
    expect(() => arena.memory.getUint32(0xfffd)).toThrow(RangeError);
    expect(() => arena.memory.setUint16(0xffff, 1)).toThrow(RangeError);
    expect(() => arena.memory.getUint8(-1)).toThrow(RangeError);
    expect(arena.guardsIntact()).toBe(true);
  });
});
