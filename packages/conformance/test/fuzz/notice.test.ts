/** Notifications that are missing, or that nobody asked for, are found. */

import { describe, expect, it } from 'vitest';
import { IommuQueue } from '@viommu/common';
import { Notices } from '../../src/fuzz/notice.ts';
import type { DeviceTarget, TargetInterrupts } from '../../src/target.ts';

const { REQUEST, EVENT } = IommuQueue;

function after(...seen: TargetInterrupts[]): Notices {
  const taken = [...seen];
  const target = { takeInterrupts: () => taken.shift() ?? { used: 0, config: 0 } };
  return new Notices(target as unknown as DeviceTarget); // nothing else is looked at
}

const NONE = { used: 0, config: 0 };
const USED = { used: 1, config: 0 };
const CONFIG = { used: 0, config: 1 };

describe('a driver that wants notifications', () => {
  it('of each used buffer misses any', () => {
    const notices = after(USED, NONE);
    notices.wish(REQUEST, 'each');
    notices.check(REQUEST);
    expect(() => notices.check(REQUEST)).toThrow('queue 0');
  });

  it('of the next one takes others as they come', () => {
    const notices = after(USED, NONE, USED);
    notices.wish(EVENT, 'next');
    for (let turn = 0; turn < 3; turn += 1) expect(() => notices.check(EVENT)).not.toThrow();
  });

  it('of the next one misses that', () => {
    const notices = after(NONE);
    notices.wish(EVENT, 'next');
    expect(() => notices.check(EVENT)).toThrow('queue 1');
  });

  it('of one queue is not told of the other', () => {
    const notices = after(USED);
    notices.wish(EVENT, 'each');
    expect(() => notices.check(REQUEST)).toThrow('queue 0');
  });

  it('of nothing is told of no configuration', () => {
    expect(() => after(CONFIG).check()).toThrow('queue undefined');
    after(NONE).check();
  });
});

describe('a device that needs a reset', () => {
  it('says so once', () => {
    after(CONFIG).checkNeedsReset();
    after({ used: 1, config: 1 }).checkNeedsReset();
    expect(() => after(NONE).checkNeedsReset()).toThrow('none came');
    expect(() => after(CONFIG, CONFIG).checkNeedsReset()).toThrow('it came back');
  });

  it('has nothing to say after it', () => {
    after(NONE).checkNone();
    expect(() => after(CONFIG).checkNone()).toThrow('1 config');
  });
});
