import { describe, expect, it } from 'vitest';
import { PageStates } from '../src/page-state.ts';

/** Eight pages from 0x100 on. */
const pages = () => new PageStates({ states: new Uint8Array(9), firstPage: 0x100 });

describe('PageStates', () => {
  it('S3.5 all pages are open until the guest protects itself, which takes nobody else', () => {
    const states = pages();
    expect([states.guarded, states.shared(0x100, 8)]).toEqual([false, true]);
    states.protect();
    expect([states.guarded, states.shared(0x100, 1)]).toEqual([true, false]);
  });

  it('S3.7 a range of a protected guest is shared only as a whole', () => {
    const states = pages();
    states.protect();
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
    for (const [start, count] of [
      [0xff, 2],
      [0x107, 2],
      [0x100, 0],
    ] as const) {
      expect(states.shared(start, count)).toBe(false);
      expect(() => states.share(start, count)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    }
  });
});
