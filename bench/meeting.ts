/**
 * How the two sides of a window meet: a ping-pong until it is fast.
 *
 * A scheduler may have put both threads on one processor, and leaves them there as long as one of them sleeps. Two
 * threads that spin get a processor each within some milliseconds, where there are two to be had.
 */

import { Control } from './pair.ts';

/** So many fast turns in a row are only possible on two processors. */
const TURNS = 256;
const FAST_MS = 0.005;
const PATIENCE_MS = 20;
const OVER = -1;

/** The driver's side. */
export function lead(control: Int32Array): void {
  const end = performance.now() + PATIENCE_MS;
  let last = performance.now();
  for (let turn = 1, fast = 0; fast < TURNS && last < end; turn += 1) {
    Atomics.store(control, Control.THERE, turn);
    while (Atomics.load(control, Control.BACK) !== turn);
    const now = performance.now();
    fast = now - last < FAST_MS ? fast + 1 : 0;
    last = now;
  }
  Atomics.store(control, Control.THERE, OVER);
}

/** The device's side. */
export function follow(control: Int32Array): void {
  for (let turn = 0; turn !== OVER; turn = Atomics.load(control, Control.THERE))
    Atomics.store(control, Control.BACK, turn);
}
