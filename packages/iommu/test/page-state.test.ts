import { describe, expect, it } from 'vitest';
import { PageStates } from '../src/page-state.ts';

const pages = () => new PageStates({ states: new Uint8Array(8), firstPage: 0x100 });

describe('PageStates', () => {
  it('S3.7 all pages are private until they are shared, and a range is shared only as a whole', () => {
    const states = pages();
    expect(states.shared(0x100, 1)).toBe(false);
    states.share(0x101, 3);
    expect([states.shared(0x101, 3), states.shared(0x100, 2), states.shared(0x103, 2)]).toEqual([
      true,
      false,
      false,
    ]);
    states.unshare(0x102, 1);
    expect([states.shared(0x101, 1), states.shared(0x101, 3)]).toEqual([true, false]);
  });

  it('S3.7 pages outside guest memory are not shared and cannot be', () => {
    const states = pages();
    states.share(0x100, 8);
    expect([states.shared(0xff, 2), states.shared(0x107, 2), states.shared(0x100, 0)]).toEqual([
      false,
      false,
      false,
    ]);
    for (const [start, count] of [
      [0xff, 1],
      [0x107, 2],
      [0x100, 0],
    ] as const)
      expect(() => states.share(start, count)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });
});
