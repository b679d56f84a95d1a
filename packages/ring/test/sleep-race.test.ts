/**
 * a wake-up at the very moment the other side stops looking.
 *
 * One side goes to sleep, the other publishes. Whatever the moment, either the sleeper sees the chain or the publisher
 * is told to notify. All moments are tried: the whole of one side's part before each single access of the other's.
 */

import { describe, expect, it } from 'vitest';
import { Arena } from './kit/arena.ts';
import { FORMATS, type Format } from './kit/format.ts';
import { createPair } from './kit/pair.ts';
import { WatchedMemory } from './kit/watched-memory.ts';

/** The two sides of one race. */
interface Race {
  /** True if this side is now going to sleep. */
  readonly sleep: () => boolean;
  /** True if the other side is to be notified. */
  readonly publish: () => boolean;
  readonly sleeper: WatchedMemory;
  readonly publisher: WatchedMemory;
}

type Sleeper = 'device' | 'driver';

function race(format: Format, eventIndex: boolean, who: Sleeper, chainsBefore: number): Race {
  const arena = new Arena();
  const driverMemory = new WatchedMemory(arena);
  const deviceMemory = new WatchedMemory(arena);
  const pair = createPair({ format, size: 4, eventIndex, arena, driverMemory, deviceMemory });
  const { driver, device, chain } = pair;
  const list = arena.buffers([], [1]);
  const answer = (): boolean => {
    device.pop(chain);
    device.push(chain, 1);
    return device.publish();
  };
  driver.suppressNotification();
  device.suppressNotification();
  for (let before = 0; before < chainsBefore; before += 1) {
    driver.add(list, before);
    driver.publish();
    answer();
    driver.take();
  }
  if (who === 'device') {
    driver.add(list, 0);
    return {
      sleep: () => device.armNotification(),
      publish: () => driver.publish(),
      sleeper: deviceMemory,
      publisher: driverMemory,
    };
  }
  driver.add(list, 0);
  driver.publish();
  return {
    sleep: () => driver.armNotification(),
    publish: answer,
    sleeper: driverMemory,
    publisher: deviceMemory,
  };
}

/** Runs `whole` right before access number `moment` of `step`, or after the last; false if that was after it. */
function at(memory: WatchedMemory, moment: number, step: () => boolean, whole: () => boolean) {
  let left = moment;
  let inner: boolean | undefined;
  memory.before = () => {
    if (left === 0) inner = whole();
    left -= 1;
  };
  const outer = step();
  memory.before = undefined;
  const last = inner === undefined;
  return { outer, inner: inner ?? whole(), last };
}

describe.each(FORMATS)('$name', (format) => {
  const cases = (['device', 'driver'] as const).flatMap((who) =>
    [false, true].map((eventIndex) => ({ who, eventIndex })),
  );

  it.each(cases)(
    'R-14 the $who goes to sleep, event index $eventIndex: it sees the chain or is woken',
    ({ who, eventIndex }) => {
      let seen = 0;
      let woken = 0;
      const judge = (sleeping: boolean, notified: boolean): void => {
        expect(sleeping && !notified, 'a lost wake-up').toBe(false);
        if (sleeping) woken += 1;
        else seen += 1;
      };
      // Some chains before, so that the race takes place in each lap and state of the ring.
      for (let before = 0; before < 12; before += 1) {
        for (let moment = 0, last = false; !last; moment += 1) {
          const one = race(format, eventIndex, who, before);
          const result = at(one.sleeper, moment, one.sleep, one.publish);
          judge(result.outer, result.inner);
          last = result.last;
        }
        for (let moment = 0, last = false; !last; moment += 1) {
          const one = race(format, eventIndex, who, before);
          const result = at(one.publisher, moment, one.publish, one.sleep);
          judge(result.inner, result.outer);
          last = result.last;
        }
      }
      // Both ways out were taken.
      expect(seen).toBeGreaterThan(10);
      expect(woken).toBeGreaterThan(10);
    },
  );

  it('a sleeper that looks first and arms then would be found', () => {
    let lost = 0;
    for (let moment = 0, last = false; !last; moment += 1) {
      const arena = new Arena();
      const memory = new WatchedMemory(arena);
      const { driver, device } = createPair({ format, size: 4, arena, deviceMemory: memory });
      device.suppressNotification();
      driver.add(arena.buffers([], [1]), 0);
      const wrong = (): boolean => {
        const work = device.ready();
        device.armNotification();
        return !work;
      };
      const result = at(memory, moment, wrong, () => driver.publish());
      if (result.outer && !result.inner) lost += 1;
      last = result.last;
    }
    expect(lost).toBeGreaterThan(0);
  });
});

describe.each(FORMATS)('$name: being ready', (format) => {
  it('is what a pop or a take would find, and costs one load', () => {
    const arena = new Arena();
    const driverMemory = new WatchedMemory(arena);
    const deviceMemory = new WatchedMemory(arena);
    const pair = createPair({ format, arena, driverMemory, deviceMemory });
    const { driver, device, chain } = pair;
    const looks = () => {
      const before = [driverMemory.count, deviceMemory.count];
      const found = [driver.ready(), device.ready()];
      expect(driverMemory.count - (before[0] ?? 0)).toBeLessThanOrEqual(1);
      expect(deviceMemory.count - (before[1] ?? 0)).toBeLessThanOrEqual(1);
      return found;
    };
    const list = arena.buffers([], [4]);
    for (let round = 0; round < 20; round += 1) {
      expect(looks()).toEqual([false, false]);
      driver.add(list, 1);
      driver.add(list, 2);
      expect(looks()).toEqual([false, false]);
      driver.publish();
      expect(looks()).toEqual([false, true]);
      device.pop(chain);
      expect(looks()).toEqual([false, true]);
      device.push(chain, 0);
      device.pop(chain);
      expect(looks()).toEqual([false, false]);
      device.push(chain, 0);
      expect(looks()).toEqual([false, false]);
      device.publish();
      expect(looks()).toEqual([true, false]);
      expect(driver.take()).toBe(1);
      expect(looks()).toEqual([true, false]);
      expect(driver.take()).toBe(2);
    }
  });

  it('arming again and again, and suppressing again and again, changes nothing', () => {
    for (const eventIndex of [false, true]) {
      const { arena, driver, device, chain } = createPair({ format, eventIndex });
      const list = arena.buffers([], [4]);
      const exchange = (): boolean[] => {
        driver.add(list, 0);
        const heard = driver.publish();
        device.pop(chain);
        device.push(chain, 4);
        const answered = device.publish();
        driver.take();
        return [heard, answered];
      };
      for (let round = 0; round < 5; round += 1) {
        for (const times of [1, 3]) {
          for (let turn = 0; turn < times; turn += 1)
            expect([driver.armNotification(), device.armNotification()]).toEqual([true, true]);
          expect(exchange()).toEqual([true, true]);
          for (let turn = 0; turn < times; turn += 1) {
            driver.suppressNotification();
            device.suppressNotification();
          }
          expect(exchange()).toEqual([false, false]);
          expect(exchange()).toEqual([false, false]);
        }
      }
    }
  });
});
