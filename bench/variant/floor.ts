/** What the machine itself can do: two threads, one word each way, nothing else. */

import type { Variant } from '../pair.ts';

const THERE = 64; // Two lines, far apart.
const BACK = 128;
const CLOCK_PERIOD = 64;

/** Both threads poll. One batch of any size is one round trip. */
const pingPong: Variant = {
  device({ buffer, stopped }) {
    const words = new Int32Array(buffer);
    for (let turn = 1; ; turn += 1) {
      while (Atomics.load(words, THERE) !== turn) if (stopped()) return;
      Atomics.store(words, BACK, turn);
    }
  },
  driver({ buffer }, _batch, deadlineMs) {
    const words = new Int32Array(buffer);
    for (let turn = 1; ; turn += 1) {
      if (turn % CLOCK_PERIOD === 0 && performance.now() > deadlineMs) return turn - 1;
      Atomics.store(words, THERE, turn);
      while (Atomics.load(words, BACK) !== turn);
    }
  },
};

/** Both threads sleep for each other's word. */
const waitNotify: Variant = {
  device({ buffer, stopped }) {
    const words = new Int32Array(buffer);
    for (let turn = 1; ; turn += 1) {
      while (Atomics.load(words, THERE) !== turn) {
        if (stopped()) return;
        Atomics.wait(words, THERE, turn - 1, 5);
      }
      Atomics.store(words, BACK, turn);
      Atomics.notify(words, BACK);
    }
  },
  driver({ buffer }, _batch, deadlineMs) {
    const words = new Int32Array(buffer);
    for (let turn = 1; ; turn += 1) {
      if (performance.now() > deadlineMs) return turn - 1;
      Atomics.store(words, THERE, turn);
      Atomics.notify(words, THERE);
      while (Atomics.load(words, BACK) !== turn) Atomics.wait(words, BACK, turn - 1);
    }
  },
};

export const floorVariants = { 'ping-pong': pingPong, 'wait-notify': waitNotify } as const;
