/** How a side waits: a bounded number of looks that follows what waits needed, then a sleep with a time limit. */

import { Bell, type Waitable, Waiter } from '@viommu/ring';
import { describe, expect, it } from 'vitest';

/** A queue that becomes ready at a certain look, counted from now. */
class FakeQueue implements Waitable {
  looks = 0;
  /** The look at which there is something to do; 0 is none. */
  readyAt = 0;
  armResult = true;
  readonly log: string[] = [];

  ready(): boolean {
    this.looks += 1;
    return this.readyAt > 0 && this.looks >= this.readyAt;
  }

  armNotification(): boolean {
    this.log.push('arm');
    return this.armResult;
  }

  suppressNotification(): void {
    this.log.push('suppress');
  }
}

/** A bell that writes down what is done with it and never sleeps. */
class FakeBell extends Bell {
  readonly #log: string[];
  onWait: (() => void) | undefined;

  constructor(log: string[]) {
    super(new Int32Array(new SharedArrayBuffer(4)), 0);
    this.#log = log;
  }

  override value(): number {
    this.#log.push('value');
    return 42;
  }

  override wait(seen: number, timeoutMs: number): boolean {
    this.#log.push(`wait ${seen} ${timeoutMs}`);
    this.onWait?.();
    return true;
  }
}

function setUp(pollsMax?: number) {
  const queue = new FakeQueue();
  const bell = new FakeBell(queue.log);
  const waiter = new Waiter({ bell, ...(pollsMax === undefined ? {} : { pollsMax }) });
  /** Polls once; how many looks that took. */
  const poll = (readyAt: number): number => {
    queue.looks = 0;
    queue.readyAt = readyAt;
    expect(waiter.poll(queue)).toBe(readyAt > 0 && readyAt <= queue.looks);
    return queue.looks;
  };
  return { queue, bell, waiter, poll };
}

describe('polling', () => {
  it('ends at the first look that finds something, without a word to the other side', () => {
    const { queue, waiter } = setUp(1000);
    for (const readyAt of [1, 2, 17, 900]) {
      queue.looks = 0;
      queue.readyAt = readyAt;
      expect(waiter.wait(queue, 10)).toBe(true);
      expect(queue.looks).toBe(readyAt);
    }
    expect([queue.log, waiter.sleeps]).toEqual([[], 0]);
  });

  it('is bounded', () => {
    for (const pollsMax of [0, 1, 7, 500]) {
      const { poll } = setUp(pollsMax);
      const looks = Array.from({ length: 100 }, () => poll(0));
      expect(Math.max(...looks)).toBeLessThanOrEqual(pollsMax + 1);
    }
    expect(setUp().poll(0)).toBeLessThanOrEqual(10_001);
  });

  it('forgives a failure at the first success', () => {
    const { poll } = setUp(1000);
    poll(0);
    poll(1);
    // Not the shortest poll, which a success at the first look would be enough for.
    expect(poll(0)).toBe(1001);
  });

  it('finds what comes with its last look', () => {
    const { poll } = setUp(10);
    expect(poll(11)).toBe(11);
  });

  it('gives up the polling that keeps failing, but for a full one less and less often', () => {
    const { poll } = setUp(1000);
    const looks = Array.from({ length: 5000 }, () => poll(0));
    // What failing costs until it is given up is less than two full polls.
    const first = looks.indexOf(1);
    expect(first).toBeLessThan(10);
    expect(looks.slice(0, first).reduce((sum, count) => sum + count)).toBeLessThan(2100);
    const full = looks.flatMap((count, wait) => (wait > first && count > 1 ? [wait] : []));
    expect(full.map((wait) => looks[wait])).toEqual(full.map(() => 1001));
    const gaps = full.slice(1).map((wait, index) => wait - (full[index] ?? 0));
    expect(gaps).toEqual([32, 64, 128, 256, 512, 1024, 1024, 1024]);
  });

  it('comes back once it pays again', () => {
    const { poll } = setUp(1000);
    while (poll(0) > 2);
    // Among the next sixteen there is a long one, which sees the answer.
    const found = Array.from({ length: 16 }, () => poll(50)).filter((looks) => looks === 50);
    expect(found.length).toBeGreaterThan(0);
    expect(poll(150)).toBe(150);
  });

  it('counts what comes with its last look as found, however few looks there are', () => {
    const { poll } = setUp(1000);
    // Down to the one look that every wait has.
    while (poll(0) > 1);
    // No look is spent on finding out: polling has just succeeded, so it pays.
    const looks = Array.from({ length: 100 }, () => poll(1));
    expect(looks).toEqual(looks.map(() => 1));
    expect(poll(0)).toBeGreaterThan(100);
    // A success, however late, ends the row of failures that leads to a poll of full length.
    while (poll(0) > 1);
    for (let turn = 0; turn < 100; turn += 1) {
      expect(poll(1)).toBe(1);
      expect(poll(0)).toBeLessThan(900);
    }
  });

  it('goes on for about twice as long as the last wait needed, or longer', () => {
    for (const needed of [2, 50, 150, 300, 490]) {
      const { poll } = setUp(1000);
      while (poll(0) > 2);
      while (poll(needed) !== needed);
      expect(poll(0)).toBeGreaterThan(1.9 * needed);
    }
  });

  it('keeps its limit however long the last wait took', () => {
    const { poll } = setUp(300);
    poll(290);
    expect(poll(0)).toBeLessThanOrEqual(301);
  });
});

describe('sleeping', () => {
  it('reads the bell, asks to be notified, sleeps on what it read, and asks for silence', () => {
    const { queue, bell, waiter } = setUp(0);
    bell.onWait = () => {
      queue.readyAt = 1;
    };
    expect(waiter.wait(queue, 1234)).toBe(true);
    expect(queue.log).toEqual(['value', 'arm', 'wait 42 1234', 'suppress']);
    expect(waiter.sleeps).toBe(1);
  });

  it('does not sleep if something is there after all', () => {
    const { queue, waiter } = setUp(0);
    queue.armResult = false;
    queue.readyAt = 2;
    expect(waiter.wait(queue, 1234)).toBe(true);
    expect(queue.log).toEqual(['value', 'arm', 'suppress']);
    expect(waiter.sleeps).toBe(0);
  });

  it('says so if nothing came', () => {
    const { queue, waiter } = setUp(0);
    expect(waiter.wait(queue, 5)).toBe(false);
    expect(queue.looks).toBeLessThanOrEqual(3);
  });

  it('ends with its time limit', () => {
    const bell = new Bell(new Int32Array(new SharedArrayBuffer(4)), 0);
    const start = performance.now();
    expect(new Waiter({ bell, pollsMax: 10 }).wait(new FakeQueue(), 20)).toBe(false);
    expect(performance.now() - start).toBeGreaterThan(15);
  });

  it('does not miss a bell that rings between the look and the sleep', () => {
    const bell = new Bell(new Int32Array(new SharedArrayBuffer(4)), 0);
    const queue = new FakeQueue();
    queue.armNotification = () => {
      bell.ring();
      queue.readyAt = 1;
      return true;
    };
    const start = performance.now();
    expect(new Waiter({ bell, pollsMax: 0 }).wait(queue, 10_000)).toBe(true);
    expect(performance.now() - start).toBeLessThan(5000);
  });
});

describe('a bell', () => {
  it('has a new value after each ring, also where the word wraps', () => {
    const words = new Int32Array(new SharedArrayBuffer(16));
    const bell = new Bell(words, 2);
    words[2] = 0x7fff_ffff;
    for (let turn = 0; turn < 4; turn += 1) {
      const before = bell.value();
      bell.ring();
      expect(bell.value()).not.toBe(before);
    }
    // The words beside it belong to others.
    expect([words[0], words[1], words[3]]).toEqual([0, 0, 0]);
  });

  it('has a new value after a bump, which wakes nobody', async () => {
    const words = new Int32Array(new SharedArrayBuffer(8));
    const bell = new Bell(words, 1);
    const sleep = bell.waitAsync(0, 20);
    bell.bump();
    expect([bell.value(), words[0]]).toEqual([1, 0]);
    expect(await sleep).toBe(false);
    expect(bell.wait(0, 1000)).toBe(true);
  });

  it('is slept on only while it has the value that was seen', () => {
    const bell = new Bell(new Int32Array(new SharedArrayBuffer(4)), 0);
    const seen = bell.value();
    expect(bell.wait(seen, 1)).toBe(false);
    bell.ring();
    expect(bell.wait(seen, 10_000)).toBe(true);
  });

  it('wakes a waiter that must not block', async () => {
    const bell = new Bell(new Int32Array(new SharedArrayBuffer(4)), 0);
    const seen = bell.value();
    const woken = bell.waitAsync(seen, 10_000);
    bell.ring();
    expect(await woken).toBe(true);
    expect(await bell.waitAsync(seen, 10_000)).toBe(true);
    expect(await bell.waitAsync(bell.value(), 1)).toBe(false);
  });
});
