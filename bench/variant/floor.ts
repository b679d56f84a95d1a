/** What the machine itself can do: two threads, one word each way, nothing else. */

import type { Variant } from './variant.ts';

// Words that are far apart, each in a line of its own.
const THERE = 64;
const BACK = 128;

/** Both threads poll. One batch of any size is one round trip. */
const pingPong: Variant = {
  device({ buffer, meet, stopped }) {
    const words = new Int32Array(buffer);
    meet();
    for (let turn = 1; ; turn += 1) {
      while (Atomics.load(words, THERE) !== turn) if (stopped()) return;
      Atomics.store(words, BACK, turn);
    }
  },
  driver({ buffer, meet }, _batch, limit) {
    const words = new Int32Array(buffer);
    meet();
    for (let turn = 1; ; turn += 1) {
      if (turn % 64 === 0 && limit.reached(turn - 1)) return turn - 1;
      Atomics.store(words, THERE, turn);
      while (Atomics.load(words, BACK) !== turn);
    }
  },
};

/** How long the device sleeps before it looks whether it may end. */
const SLEEP_MS = 5;

/** Each thread sleeps until the other has written its word. */
const waitNotify: Variant = {
  device({ buffer, meet, stopped }) {
    const words = new Int32Array(buffer);
    meet();
    for (let turn = 1; ; turn += 1) {
      while (Atomics.load(words, THERE) !== turn) {
        if (stopped()) return;
        Atomics.wait(words, THERE, turn - 1, SLEEP_MS);
      }
      Atomics.store(words, BACK, turn);
      Atomics.notify(words, BACK);
    }
  },
  driver({ buffer, meet }, _batch, limit) {
    const words = new Int32Array(buffer);
    meet();
    for (let turn = 1; ; turn += 1) {
      if (limit.reached(turn - 1)) return turn - 1;
      Atomics.store(words, THERE, turn);
      Atomics.notify(words, THERE);
      while (Atomics.load(words, BACK) !== turn) Atomics.wait(words, BACK, turn - 1);
    }
  },
};

export const variants = { 'ping-pong': pingPong, 'wait-notify': waitNotify } as const;
