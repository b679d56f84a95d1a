import { Status } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { runWasmGuest } from '../examples/wasm-guest/main.ts';

const { OK, INVAL, NOENT } = Status;

describe('a guest in C, over the memory of a WebAssembly module', () => {
  it('drives the device through the same rings, byte for byte', async () => {
    const { answers, seen } = await runWasmGuest();
    // Start; ATTACH, MAP, the same MAP, MAP up to 2^64 - 1, UNMAP of all, ATTACH of nobody, DETACH.
    expect(answers).toEqual([0, OK, OK, INVAL, OK, OK, NOENT, OK]);
    expect(seen).toEqual([
      'ready',
      'attached 8 to 1',
      'mapped 0x1000-0x1fff to 0xa000 in 1',
      'refused map: INVAL',
      'mapped 0xfffffffffffff000-0xffffffffffffffff to 0xb000 in 1',
      'unmapped 2 in 1',
      'refused attach: NOENT',
      'detached 8 from 1',
    ]);
  }, 20_000);
});
