/** Waiting for a disk in another thread, or for one that never answers: on the bell of its interrupts. */

import { type BlkDriver, BlkRequestType } from '@viommu/blk';
import { describe, expect, it } from 'vitest';
import { CONTEXT, Rig } from './kit/rig.ts';

const { IN } = BlkRequestType;

/** A driver that polls and sleeps, as with a device in another thread. */
function setUp(): { rig: Rig; driver: BlkDriver; page: number } {
  const rig = new Rig();
  const driver = rig.sleepingDriver({ pollsMax: 0, clock: performance, timeoutMs: 30 });
  return { rig, driver, page: rig.fill(1, 1) };
}

describe('a wait', () => {
  it('for nothing ends at once', () => {
    const { driver } = setUp();
    const before = performance.now();
    expect(driver.wait(10_000)).toBe(false);
    expect(performance.now() - before).toBeLessThan(1000);
  });

  it('for a device that does not answer ends with its time', () => {
    const { driver, page } = setUp();
    driver.submit(CONTEXT, IN, 0, page, 0, 512);
    const before = performance.now();
    expect(driver.wait(30)).toBe(false);
    expect(performance.now() - before).toBeGreaterThanOrEqual(29);
    expect([driver.sleeps > 0, driver.lost, driver.outstanding]).toEqual([true, undefined, 1]);
    // A synchronous call gives the device up after that.
    expect(driver.readSync(CONTEXT, 1, page, 0, 512)).toBe('EIO');
    expect(driver.lost).toMatch(/no progress for 30 ms/);
  });

  it('for what is there already does not sleep', () => {
    const { rig, driver, page } = setUp();
    const token = driver.submit(CONTEXT, IN, 0, page, 0, 512);
    driver.kick();
    rig.step();
    expect([driver.wait(10_000), driver.sleeps]).toEqual([true, 0]);
    expect([driver.reap(CONTEXT), driver.error]).toEqual([token, undefined]);
  });

  it('is woken by an interrupt, and told of a device that needs a reset', () => {
    const { rig, driver, page } = setUp();
    driver.submit(CONTEXT, IN, 0, page, 0, 512);
    driver.kick();
    // The ring is gone when the device looks: it interrupts, and nothing is used.
    for (const first of rig.dma.live.keys())
      for (let at = first; rig.dma.entries.has(at); at += 1) rig.dma.revoke(at);
    rig.mmio.serve();
    const before = performance.now();
    expect(driver.wait(10_000)).toBe(true);
    expect(performance.now() - before).toBeLessThan(5000);
    expect([driver.lost, driver.reap(CONTEXT) >= 0, driver.error]).toEqual([
      'the device needs a reset',
      true,
      'EIO',
    ]);
  });
});
