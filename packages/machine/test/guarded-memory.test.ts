import { describe, expect, it } from 'vitest';
import { MemoryMap, RAM_BASE } from '../src/memory-map.ts';

const LOW = Number(RAM_BASE);

describe('guest memory as the host reaches it', () => {
  it('S3.7 is open until the guest protects itself; then what touches a private page is refused and counted', () => {
    const map = new MemoryMap({ devices: 1, ramBytes: 4 * 4096 });
    const buffer = map.createBuffer();
    const memory = map.guardedRam(buffer);
    const states = map.pageStates(buffer);
    expect(memory.locate(LOW + 0x1ff0, 0, 0x20)).toBe(0x1ff0);
    states.protect();
    states.share(LOW / 4096 + 1, 1);
    expect(memory.locate(LOW + 0x1ff0, 0, 0x10)).toBe(0x1ff0);
    expect(memory.locate(LOW + 0x1ff0, 0, 0x11)).toBe(-1);
    expect(memory.locate(LOW, 0, 0)).toBe(-1);
    expect(memory.refused).toBe(2);
  });
});
