import { describe, expect, it } from 'vitest';
import { PolledClock } from '../src/polled-clock.ts';

function world() {
  const time = { ms: 100 };
  const clock = new PolledClock({ now: () => time.ms });
  const called: string[] = [];
  const set = (name: string, delayMs: number) => clock.setTimer(delayMs, () => called.push(name));
  return { time, clock, called, set };
}

describe('PolledClock', () => {
  it('calls what is due, in the order of time, from poll alone', () => {
    const { time, clock, called, set } = world();
    set('late', 20);
    set('early', 10);
    set('also early', 10);
    clock.poll();
    expect([called, clock.nextMs]).toEqual([[], 110]);
    time.ms = 115;
    clock.poll();
    expect([called, clock.nextMs]).toEqual([['early', 'also early'], 120]);
    time.ms = 120;
    clock.poll();
    clock.poll();
    expect([called, clock.nextMs]).toEqual([['early', 'also early', 'late'], Infinity]);
  });

  it('calls nothing that was cancelled, not even by what is called before it', () => {
    const { time, clock, called, set } = world();
    const first = set('first', 1);
    const third = set('third', 3);
    clock.setTimer(2, () => third.cancel());
    first.cancel();
    time.ms = 200;
    clock.poll();
    expect(called).toEqual([]);
  });

  it('leaves a timer that is set in a callback for the next time', () => {
    const { time, clock, called } = world();
    const again = (): void => {
      called.push('again');
      clock.setTimer(0, again);
    };
    clock.setTimer(0, again);
    clock.poll();
    expect(called.length).toBe(1);
    time.ms += 1;
    clock.poll();
    expect(called.length).toBe(2);
  });
});
