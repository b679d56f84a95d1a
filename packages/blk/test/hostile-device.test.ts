/** The driver against a device that breaks the rules. */

import { type BlkDriver, BlkRequestType } from '@viommu/blk';
import { IommuError, UsedElement, UsedRing } from '@viommu/common';
import type { Chain } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { CONTEXT, Rig, fillBytes } from './kit/rig.ts';
import { ScriptedDisk, complete } from './kit/scripted-disk.ts';

const { IN, OUT } = BlkRequestType;
const PAGE = 4096;

function setUp(answer: ScriptedDisk['answer']): {
  rig: Rig;
  disk: ScriptedDisk;
  driver: BlkDriver;
} {
  const disk = new ScriptedDisk();
  disk.answer = answer;
  const rig = new Rig({ virtio: disk });
  return { rig, disk, driver: rig.driver({ depth: 4, timeoutMs: 50 }) };
}

describe('an answer', () => {
  it.each<[string, (chain: Chain) => number, string | undefined]>([
    ['that is right', (chain) => complete(chain), undefined],
    ['of an error', (chain) => complete(chain, 1), 'EIO'],
    ['of no support', (chain) => complete(chain, 2), 'EOPNOTSUPP'],
    ['of a status that is none', (chain) => complete(chain, 3), 'EIO'],
    ['of a status that was not written', (chain) => chain.writableBytes, 'EIO'],
    ['of 0 bytes', (chain) => complete(chain, 0, -chain.writableBytes), 'EIO'],
    ['of a byte too few', (chain) => complete(chain, 0, -1), 'EIO'],
    ['of a byte too many', (chain) => complete(chain, 0, 1), 'EIO'],
    ['of 4 GiB', (chain) => complete(chain, 0, 0xffff_0000), 'EIO'],
  ])('%s', (_name, answer, error) => {
    const { rig, driver } = setUp(answer);
    const page = rig.fill(1, 1);
    const live = rig.dma.live.size;
    expect(driver.readSync(CONTEXT, 0, page, 0, 512)).toBe(error);
    expect(driver.writeSync(CONTEXT, 0, page, 0, 512)).toBe(error);
    expect(driver.flushSync(CONTEXT)).toBe(error);
    expect([rig.dma.live.size, driver.lost]).toEqual([live, undefined]);
  });

  it('that never comes is waited for with a bound, and costs the device', () => {
    const { rig, driver } = setUp(() => -1);
    const page = rig.fill(1, 1);
    driver.submit(CONTEXT, OUT, 0, page, 0, 512);
    const live = rig.dma.live.size;
    const before = rig.clock.nowMs;
    expect(driver.wait(20)).toBe(false);
    expect(rig.clock.nowMs - before).toBeLessThanOrEqual(21);
    expect([driver.lost, driver.reap(CONTEXT), rig.dma.live.size]).toEqual([undefined, -1, live]);
    expect(driver.readSync(CONTEXT, 0, page, 0, 512)).toBe('EIO');
    expect(driver.lost).toMatch(/no progress/);
    expect(rig.clock.nowMs - before).toBeLessThan(200);
    expect([driver.reap(CONTEXT) >= 0, driver.error, driver.reap(CONTEXT)]).toEqual([
      true,
      'EIO',
      -1,
    ]);
    expect(rig.dma.live.size).toBe(live - 1);
  });

  it('with an id that was never given breaks the ring, and all fail once', () => {
    const { rig, driver, disk } = setUp((chain, { port }) => {
      expect(typeof port).toBe('object');
      chain.id = 1000;
      return complete(chain);
    });
    const page = rig.fill(1, 1);
    for (let index = 0; index < 3; index += 1) driver.submit(CONTEXT, IN, index, page, 0, 512);
    const resets = disk.resets;
    driver.wait(10);
    const errors: unknown[] = [];
    while (driver.reap(CONTEXT) >= 0) errors.push(driver.error);
    expect(errors).toEqual(['EIO', 'EIO', 'EIO']);
    expect(driver.lost).toMatch(/used id/);
    // It was reset before anything was unmapped.
    expect(disk.resets).toBe(resets + 1);
    disk.answer = (chain) => complete(chain);
    driver.reset(CONTEXT);
    expect(driver.readSync(CONTEXT, 0, page, 0, 512)).toBeUndefined();
  });

  it('that comes twice breaks the ring', () => {
    const { rig, driver, disk } = setUp((chain, session) => {
      const [queue] = session.queues;
      queue?.push(chain, complete(chain));
      return complete(chain);
    });
    const page = rig.fill(1, 1);
    driver.submit(CONTEXT, IN, 0, page, 0, 512);
    driver.submit(CONTEXT, IN, 1, page, 0, 512);
    rig.mmio.serve();
    driver.kick();
    rig.mmio.serve();
    const ended: unknown[] = [];
    driver.wait(1);
    while (driver.reap(CONTEXT) >= 0) ended.push(driver.error);
    expect(ended.length).toBe(2);
    expect(ended[1]).toBe('EIO');
    expect([driver.outstanding, driver.lost === undefined]).toEqual([0, false]);
    expect(disk.session).toBeUndefined();
  });

  it('of registers that do not answer costs the device', () => {
    const { rig, driver } = setUp(() => -1);
    const page = rig.fill(1, 1);
    driver.submit(CONTEXT, IN, 0, page, 0, 512);
    rig.transport.acknowledgeInterrupts = () => {
      throw new IommuError('ETIMEDOUT', 'The device does not answer.');
    };
    expect(driver.wait(10)).toBe(true);
    expect(driver.lost).toMatch(/ETIMEDOUT/);
    expect([driver.reap(CONTEXT) >= 0, driver.error]).toEqual([true, 'EIO']);
  });

  it('of DEVICE_NEEDS_RESET costs the device, with a reason', () => {
    const { rig, driver, disk } = setUp((_chain, { port }) => {
      port.needsReset('a test wants it');
      return -1;
    });
    const page = rig.fill(1, 1);
    expect(driver.readSync(CONTEXT, 0, page, 0, 512)).toBe('EIO');
    expect(driver.lost).toBe('the device needs a reset');
    disk.answer = (chain) => complete(chain);
    driver.reset(CONTEXT);
    expect(driver.readSync(CONTEXT, 0, page, 0, 512)).toBeUndefined();
  });
});

describe('a configuration that changes', () => {
  it('is looked at: a disk that shrinks or grows has its new size', () => {
    const { rig, driver, disk } = setUp((chain, { port }) => {
      disk.config[0] = 32;
      port.configChanged();
      return complete(chain);
    });
    const page = rig.fill(1, 1);
    expect(driver.capacity).toBe(64);
    driver.submit(CONTEXT, IN, 60, page, 0, 512);
    driver.wait(5);
    while (driver.reap(CONTEXT) >= 0) expect(driver.error).toBeUndefined();
    disk.answer = () => -1;
    driver.submit(CONTEXT, IN, 1, page, 0, 512);
    expect(driver.wait(5)).toBe(false);
    expect([driver.capacity, driver.submit(CONTEXT, IN, 60, page, 0, 512)]).toEqual([32, 'ERANGE']);
  });
});

describe('random bytes in the ring', () => {
  it('never crash the driver, lose a request or tell one twice', () => {
    for (let seed = 1; seed <= 60; seed += 1) {
      const { rig, driver, disk } = setUp((chain) => complete(chain, seed % 3));
      const page = rig.fill(1, 1);
      const outstanding = new Set<unknown>();
      const noise = new Uint8Array(64);
      for (let round = 0; round < 12; round += 1) {
        fillBytes(noise, seed * 100 + round);
        const token = driver.submit(CONTEXT, round % 2 === 0 ? IN : OUT, 0, page, 0, 512);
        if (typeof token === 'number') {
          expect(outstanding.has(token)).toBe(false);
          outstanding.add(token);
        }
        driver.kick();
        // The used ring, or anything in the memory of the queue.
        const [coherent] = [...rig.dma.entries.values()];
        const at = (noise[0]! * 256 + noise[1]!) % (PAGE - 64); // There are such bytes.
        const place = rig.guest.at(coherent?.to ?? page, at, 64);
        if (seed % 2 === 0) place.set(noise.subarray(0, noise[2]! % 64)); // Likewise.
        else place.set(noise.subarray(0, UsedRing.size + UsedElement.size));
        rig.step();
        for (let ended = driver.reap(CONTEXT); ended >= 0; ended = driver.reap(CONTEXT))
          expect(outstanding.delete(ended)).toBe(true);
      }
      expect(driver.outstanding).toBe(outstanding.size);
      disk.answer = (chain) => complete(chain);
      driver.reset(CONTEXT);
      for (let ended = driver.reap(CONTEXT); ended >= 0; ended = driver.reap(CONTEXT))
        expect(outstanding.delete(ended)).toBe(true);
      expect(outstanding.size).toBe(0);
      expect(driver.readSync(CONTEXT, 0, page, 0, 512)).toBeUndefined();
      driver.remove(CONTEXT);
      expect([rig.dma.live.size, rig.guest.inUse]).toEqual([0, 1]);
    }
  });
});
