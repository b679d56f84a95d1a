/** Many requests with one wait for the IOMMU on their way out, and one on their way back. */

import { type BlkDriver, BlkRequestType } from '@viommu/blk';
import { IommuError } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { CONTEXT, Rig, checksum } from './kit/rig.ts';
import { ScriptedDisk } from './kit/scripted-disk.ts';

const { IN, OUT } = BlkRequestType;
const PAGE = 4096;
const SECTORS = PAGE / 512;

/** Everything that can be reaped: token and error. */
function reapAll(driver: BlkDriver): [token: number, error: string | undefined][] {
  const ended: [number, string | undefined][] = [];
  for (let token = driver.reap(CONTEXT); token >= 0; token = driver.reap(CONTEXT))
    ended.push([token, driver.error]);
  return ended;
}

/** Writes pages from `page` on to the disk from its start on, a request each. */
function writeEach(driver: BlkDriver, page: number, count: number): number[] {
  return Array.from({ length: count }, (_, n) => {
    const token = driver.submit(CONTEXT, OUT, n * SECTORS, page + n, 0, PAGE);
    if (typeof token === 'string') throw new Error(token);
    return token;
  });
}

const well = (tokens: readonly number[]) => tokens.map((token) => [token, undefined]);

describe('requests that are shown together', () => {
  it('S1.2 wait once until the device reaches all of their memory, and once until it reaches none', () => {
    const rig = new Rig();
    const driver = rig.driver();
    const page = rig.fill(8, 1);
    const live = rig.dma.live.size;
    rig.dma.waits = 0;
    const tokens = writeEach(driver, page, 8);
    expect(rig.dma.waits).toBe(0);
    driver.kick();
    driver.kick();
    expect([rig.dma.waits, driver.notifications]).toEqual([1, 1]);
    rig.step();
    expect(reapAll(driver)).toEqual(well(tokens));
    expect([rig.dma.waits, rig.dma.live.size]).toEqual([2, live]);
    const written = rig.backing.bytes.subarray(0, 8 * PAGE);
    expect(checksum(written)).toBe(checksum(rig.guest.at(page, 0, 8 * PAGE)));
  });

  it('S1.1 the device sees none of them before, though it looks all the time', () => {
    const rig = new Rig();
    const driver = rig.driver();
    const page = rig.fill(8, 1);
    rig.dma.onWait = () => rig.step();
    const tokens = writeEach(driver, page, 8);
    rig.step();
    driver.kick();
    rig.step();
    expect(reapAll(driver)).toEqual(well(tokens));
  });

  it('S1.4 one whose memory the IOMMU refuses ends with ENOMEM, once, and the others as ever', () => {
    const rig = new Rig();
    const driver = rig.driver();
    const page = rig.fill(4, 1);
    const live = rig.dma.live.size;
    rig.dma.refuses = (first) => first === page + 1;
    const tokens = writeEach(driver, page, 4);
    expect(driver.wait(10)).toBe(true);
    rig.step();
    const ended = new Map(reapAll(driver));
    expect(ended).toEqual(
      new Map(tokens.map((token, n) => [token, n === 1 ? 'ENOMEM' : undefined])),
    );
    expect([driver.outstanding, rig.dma.live.size, driver.lost]).toEqual([0, live, undefined]);
    expect([driver.requests, driver.failures]).toEqual([4, 1]);
    expect(rig.backing.bytes.subarray(PAGE, 2 * PAGE).some((byte) => byte !== 0)).toBe(false);
    // It was the memory's fault, and the slot is free again.
    rig.dma.refuses = () => false;
    expect(driver.writeSync(CONTEXT, SECTORS, page + 1, 0, PAGE)).toBeUndefined();
  });

  it('S1.4 whoever waits for one that was refused is told at once, also if it has many pieces', () => {
    const rig = new Rig({ device: { segmentBytesMax: 512 } });
    const driver = rig.driver();
    const page = rig.fill(2, 1);
    const live = rig.dma.live.size;
    rig.dma.refuses = () => true;
    expect(driver.writeSync(CONTEXT, 0, page, 0, 2 * PAGE)).toBe('ENOMEM');
    expect(driver.readSync(CONTEXT, 0, page, 0, 512)).toBe('ENOMEM');
    const token = driver.submit(CONTEXT, IN, 0, page, 0, 512);
    expect([driver.wait(10), reapAll(driver)]).toEqual([true, [[token, 'ENOMEM']]]);
    expect([rig.dma.live.size, rig.clock.nowMs]).toEqual([live, 0]);
  });

  it('S1.4 a device that is lost meanwhile ends it once all the same', () => {
    const rig = new Rig();
    const driver = rig.driver();
    const page = rig.fill(2, 1);
    rig.dma.refuses = (first) => first === page;
    const tokens = writeEach(driver, page, 2);
    driver.kick();
    driver.reset(CONTEXT);
    expect(new Map(reapAll(driver))).toEqual(
      new Map([
        [tokens[0], 'ENOMEM'],
        [tokens[1], 'EIO'],
      ]),
    );
    expect(driver.outstanding).toBe(0);
  });

  it('those that were not shown fail with the device, and their memory is given back', () => {
    const rig = new Rig();
    const driver = rig.driver();
    const page = rig.fill(3, 1);
    const live = rig.dma.live.size;
    const tokens = writeEach(driver, page, 3);
    driver.reset(CONTEXT);
    expect(reapAll(driver)).toEqual(tokens.map((token) => [token, 'EIO']));
    driver.kick();
    rig.step();
    expect([rig.dma.live.size, rig.backing.bytes.some((byte) => byte !== 0)]).toEqual([
      live,
      false,
    ]);
    expect(driver.writeSync(CONTEXT, 0, page, 0, PAGE)).toBeUndefined();
  });

  it('take no more room than the ring has', () => {
    const rig = new Rig({ device: { queueSize: 8, features: { indirect: false } } });
    const driver = rig.driver({ depth: 8 });
    const page = rig.fill(4, 1);
    const submit = () => driver.submit(CONTEXT, OUT, 0, page, 0, PAGE);
    const live = rig.dma.live.size;
    const tokens = [submit(), submit()];
    expect([submit(), driver.submitFlush(CONTEXT)]).toEqual(['EBUSY', expect.any(Number)]);
    expect([submit(), rig.dma.live.size]).toEqual(['EBUSY', live + 2]);
    driver.kick();
    rig.step();
    expect(reapAll(driver).slice(0, 2)).toEqual(well(tokens as number[]));
    // Refused ones give it back.
    rig.dma.refuses = () => true;
    for (let round = 0; round < 5; round += 1) {
      expect([typeof submit(), typeof submit(), submit()]).toEqual(['number', 'number', 'EBUSY']);
      driver.kick();
      expect(reapAll(driver).length).toBe(2);
    }
  });

  it('S1.7 while the device is quick, the next ones are shown a quarter at a time', () => {
    const rig = new Rig();
    const driver = rig.driver({ depth: 16 });
    const page = rig.fill(1, 1);
    const submit = () => driver.submit(CONTEXT, OUT, 0, page, 0, 512);
    /** The device ends one, and the next one is submitted. */
    const turn = (): void => {
      rig.mmio.serve();
      expect(driver.wait(10)).toBe(true);
      expect(driver.reap(CONTEXT)).toBeGreaterThanOrEqual(0);
      submit();
    };
    for (let n = 0; n < 16; n += 1) submit();
    driver.kick();
    rig.dma.waits = 0;
    const shown: number[] = [];
    for (let turns = 0; turns < 9; turns += 1) {
      turn();
      // One wait of each turn is for the memory of the request that ended.
      shown.push(rig.dma.waits - turns - 1);
    }
    expect(shown).toEqual([0, 0, 0, 0, 1, 1, 1, 1, 2]);
  });

  it('all of them are shown when the device is not, or has few left', () => {
    const rig = new Rig();
    const clock = { now: () => performance.now() };
    const driver = rig.sleepingDriver({ depth: 16, pollsMax: 10, clock });
    const page = rig.fill(1, 1);
    const submit = () => driver.submit(CONTEXT, OUT, 0, page, 0, 512);
    for (let n = 0; n < 15; n += 1) submit();
    driver.kick();
    submit();
    rig.dma.waits = 0;
    expect([driver.wait(1), rig.dma.waits]).toEqual([false, 1]);
    rig.step();
    expect(reapAll(driver).length).toBe(16);
    submit();
    rig.dma.waits = 0;
    expect([driver.wait(1), rig.dma.waits]).toEqual([false, 1]);
  });
});

describe('requests that have ended together', () => {
  it('S4.16 nobody hears of one before the device reaches none of them', () => {
    const rig = new Rig();
    const driver = rig.driver();
    const page = rig.fill(6, 1);
    const live = rig.dma.live.size;
    const tokens = writeEach(driver, page, 6);
    driver.kick();
    rig.step();
    let waits = 0;
    rig.dma.onWait = () => {
      waits += 1;
      expect([driver.requests, driver.outstanding]).toEqual([0, 6]);
      // Nor does another context, which may ask meanwhile.
      expect([driver.reap(CONTEXT), driver.requests]).toEqual([-1, 0]);
    };
    expect(driver.reap(CONTEXT)).toBe(tokens[0]);
    expect([waits, rig.dma.live.size]).toEqual([1, live]);
    expect(reapAll(driver)).toEqual(well(tokens.slice(1)));
    expect(waits).toBe(1);
  });

  it('S4.16 those that end later wait for themselves', () => {
    const rig = new Rig();
    const driver = rig.driver();
    const page = rig.fill(4, 1);
    const live = rig.dma.live.size;
    const first = writeEach(driver, page, 2);
    driver.kick();
    rig.step();
    expect(driver.reap(CONTEXT)).toBe(first[0]);
    const second = writeEach(driver, page + 2, 2);
    driver.kick();
    rig.step();
    // One is kept from before; the device may still reach the memory of the others.
    expect([driver.reap(CONTEXT), rig.dma.live.size]).toEqual([first[1], live + 2]);
    expect([driver.reap(CONTEXT), rig.dma.live.size]).toEqual([second[0], live]);
    expect(reapAll(driver)).toEqual(well(second.slice(1)));
  });

  it('a context that has to wait in the middle goes on later, or another does', () => {
    const rig = new Rig();
    const driver = rig.driver();
    const page = rig.fill(3, 1);
    const live = rig.dma.live.size;
    const tokens = writeEach(driver, page, 3);
    driver.kick();
    rig.step();
    const unmap = rig.dma.unmap.bind(rig.dma);
    let unmaps = 0;
    rig.dma.unmap = (...args) => {
      if ((unmaps += 1) === 2) rig.dma.parkUnmap = new Error('parked');
      unmap(...args);
    };
    expect(() => driver.reap(CONTEXT)).toThrow('parked');
    expect([driver.outstanding, driver.requests]).toEqual([3, 0]);
    rig.dma.onWait = () => {
      rig.dma.onWait = () => {};
      throw new Error('parked');
    };
    expect(() => driver.reap(CONTEXT)).toThrow('parked');
    expect(reapAll(driver)).toEqual(well(tokens));
    expect([rig.dma.live.size, driver.outstanding]).toEqual([live, 0]);
  });

  it('a context that has to wait while it shows them shows all later, each once', () => {
    const rig = new Rig();
    const driver = rig.driver();
    const page = rig.fill(3, 1);
    const tokens = writeEach(driver, page, 3);
    rig.dma.onWait = () => {
      rig.dma.onWait = () => {};
      throw new Error('parked');
    };
    expect(() => driver.kick()).toThrow('parked');
    rig.step();
    expect(driver.reap(CONTEXT)).toBe(-1);
    rig.dma.onWait = () => {
      // Another context comes by, with a request of its own.
      rig.dma.onWait = () => {};
      tokens.push(...writeEach(driver, page, 1));
      driver.kick();
      rig.step();
      expect(driver.reap(CONTEXT)).toBe(-1);
    };
    driver.kick();
    rig.step();
    expect(reapAll(driver)).toEqual(well(tokens));
  });

  it('a device that does not reset keeps the memory of all of them', () => {
    const rig = new Rig({ virtio: new ScriptedDisk() });
    const driver = rig.driver();
    const page = rig.fill(3, 1);
    const tokens = [0, 1, 2].map((sector) => driver.submit(CONTEXT, IN, sector, page, 0, 512));
    driver.kick();
    rig.step();
    const live = rig.dma.live.size;
    rig.transport.reset = () => {
      throw new IommuError('ETIMEDOUT', 'The device did not reset in time.');
    };
    driver.remove(CONTEXT);
    expect(reapAll(driver)).toEqual(tokens.map((token) => [token, 'EIO']));
    expect([driver.abandoned, rig.dma.live.size]).toEqual([3, live]);
  });
});
