/** The driver resets one queue of a device at work: section "Virtqueue Reset", driver side, over MMIO. */

import { describe, expect, it } from 'vitest';
import { ENDPOINT, R, RecordedGuest } from './recorded-guest.ts';

/** The log as `w 0c0=1`, from entry `from` on. */
function lines({ log }: RecordedGuest, from: number): string[] {
  return log.slice(from).map(({ kind, offset, value }) => {
    const name = `${kind.slice(0, 1)} ${offset.toString(16).padStart(3, '0')}`;
    return kind === 'read' || kind === 'write' ? `${name}=${value.toString(16)}` : kind;
  });
}

describe('queue reset', () => {
  it('mmio.drv.reg.queue-reset-wait: nothing else happens until QueueReset reads 0', () => {
    const guest = new RecordedGuest();
    const driver = guest.probe();
    let busy = 5;
    guest.onRead = (offset, value) => (offset === R.queueReset && busy-- > 0 ? 1 : value);
    const from = guest.log.length;
    driver.resetRequestQueue();
    const log = lines(guest, from);
    const begin = log.indexOf('w 0c0=1');
    expect(begin).toBeGreaterThanOrEqual(0);
    expect(log.slice(begin + 1, begin + 7)).toEqual([
      ...Array.from({ length: 5 }, () => 'r 0c0=1'),
      'r 0c0=0',
    ]);
    // Only now.
    expect(log.findIndex((line) => line.startsWith('w 080='))).toBeGreaterThan(begin + 6);
    expect(log.indexOf('free')).not.toBeLessThan(0);
    expect(log.indexOf('free')).toBeGreaterThan(begin + 6);
  });

  it('mmio.drv.reg.queue-reset-new-values: half the size, at another place', () => {
    const guest = new RecordedGuest();
    const driver = guest.probe();
    const [size = 0] = guest.written(R.queueSize);
    const before = guest.areas(0);
    driver.resetRequestQueue(size / 2);
    expect(guest.written(R.queueSize).at(-1)).toBe(size / 2);
    for (const [index, area] of guest.areas(0).entries()) expect(area).not.toBe(before[index]);
    const page = guest.mapOnePage(driver, ENDPOINT);
    expect(guest.reaches(ENDPOINT, page)).toBe(true);
  });
});
