import fc from 'fast-check';
import { Concurrency, IommuError } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { FLUSH_QUEUE_DEFAULTS, FlushQueue, type FlushQueueOptions } from '../src/flush-queue.ts';
import { IovaSpace } from '../src/iova-space.ts';
import { CoreLog } from '../src/log.ts';
import { ManualClock } from './manual-clock.ts';

const LIMIT = 0xfffff;
const cpu0 = { cpu: 0 };
const cpu1 = { cpu: 1 };

/**
 * A domain in which unmaps only take effect at a flush, as the device of a lazy domain sees it: an address that is
 * given out while the device still reaches it fails the test.
 */
function create(options: Partial<FlushQueueOptions> = {}) {
  const concurrency = new Concurrency();
  const clock = new ManualClock();
  const log = new CoreLog();
  const cpus = 2;
  const space = new IovaSpace({ concurrency, clock, cpus, firstPage: 1 });
  const reachable = new Set<number>();
  const unmapped = new Set<number>();
  const device = { flushes: 0, broken: false };
  const queue = new FlushQueue({
    space,
    flush: () => {
      device.flushes += 1;
      if (device.broken) throw new IommuError('EIO', 'The device does not answer.');
      for (const page of unmapped) reachable.delete(page);
      unmapped.clear();
    },
    isStuck: () => false,
    clock,
    concurrency,
    cpus,
    mode: 'percpu',
    log,
    ...options,
  });
  const map = (context = cpu0): number => {
    const page = space.allocate(1, LIMIT, true, context);
    expect(page).not.toBe(0);
    expect(reachable.has(page)).toBe(false);
    reachable.add(page);
    return page;
  };
  const unmap = (page: number, context = cpu0): void => {
    unmapped.add(page);
    queue.queue(page, 1, context);
  };
  const isFree = (page: number): boolean => {
    space.flushCaches();
    return !space.usedWithin(page, page);
  };
  return { concurrency, clock, log, space, device, queue, map, unmap, isFree };
}

describe('flush queues', () => {
  it('S1.5 S1.6 flush once for a hundred unmaps, after the time limit [C12]', () => {
    const { queue, clock, device, map, unmap, space } = create();
    const pages = new Set<number>();
    for (let i = 0; i < 100; i += 1) {
      const page = map();
      pages.add(page);
      unmap(page);
    }
    // None of them came back in the meantime.
    expect(pages.size).toBe(100);
    clock.advance(9);
    expect([device.flushes, queue.parkedRanges]).toEqual([0, 100]);
    clock.advance(1);
    expect([device.flushes, queue.parkedRanges]).toEqual([1, 0]);
    for (let i = 0; i < 100; i += 1) expect(pages.delete(map())).toBe(true);
    expect(space.tree.rangeCount).toBe(100);
    clock.advance(1000);
    expect(device.flushes).toBe(1);
  });

  it('S1.6 hold 255 entries for a processor, and flush at the 256th [C13]', () => {
    const { queue, device, map, unmap, space } = create();
    for (let i = 0; i < 255; i += 1) unmap(map());
    expect([device.flushes, queue.parkedRanges]).toEqual([0, 255]);
    unmap(map());
    expect([device.flushes, queue.parkedRanges]).toEqual([1, 1]);
    space.flushCaches();
    expect(space.tree.rangeCount).toBe(1);
  });

  it('S1.6 hold 32767 entries for all processors, for a second, if flushes are dear', () => {
    const { queue, device, clock, map, unmap } = create({ mode: 'single' });
    for (let i = 0; i < 32_767; i += 1) unmap(map(), i % 2 === 0 ? cpu0 : cpu1);
    clock.advance(999);
    expect([device.flushes, queue.parkedRanges]).toEqual([0, 32_767]);
    unmap(map());
    expect([device.flushes, queue.parkedRanges]).toEqual([1, 1]);
    clock.advance(1);
    expect([device.flushes, queue.parkedRanges]).toEqual([2, 0]);
    expect(FLUSH_QUEUE_DEFAULTS).toEqual({
      percpu: { size: 256, timeoutMs: 10 },
      single: { size: 32_768, timeoutMs: 1000 },
    });
  });

  it('S1.6 keep the processors apart', () => {
    const { queue, device, map, unmap } = create({ size: 4 });
    for (let i = 0; i < 3; i += 1) {
      unmap(map(), cpu0);
      unmap(map(), cpu1);
    }
    expect(device.flushes).toBe(0);
    unmap(map(), cpu1);
    // The flush was for all, but only its own queue was looked at.
    expect([device.flushes, queue.parkedRanges]).toEqual([1, 4]);
    unmap(map(), cpu0);
    expect([device.flushes, queue.parkedRanges]).toEqual([1, 2]);
  });

  it.each(['timer', 'full ring', 'drain'])(
    'S1.6 do not free by a flush (%s) what was queued during it, but by the next [C14]',
    (cause) => {
      const { queue, clock, concurrency, map, unmap, isFree } = create({ size: 4 });
      const early = map();
      const late = map(cpu1);
      unmap(early);
      concurrency.hook = (point) => {
        if (point === 'fq:flushing') concurrency.run(() => unmap(late, cpu1));
      };
      if (cause === 'timer') clock.advance(10);
      else if (cause === 'drain') expect(queue.drain()).toBe(true);
      else for (let i = 0; i < 3; i += 1) unmap(map());
      concurrency.hook = undefined;
      expect(queue.flushesFinished).toBe(1);
      expect(isFree(early)).toBe(true);
      expect(isFree(late)).toBe(false);
      clock.advance(10);
      expect(queue.flushesFinished).toBe(2);
      expect(isFree(late)).toBe(true);
    },
  );

  it('S1.6 do not free what was queued on the same processor during its flush [C14]', () => {
    const { queue, device, concurrency, map, unmap, isFree } = create({ size: 4 });
    const late = map();
    concurrency.hook = (point) => {
      if (point === 'fq:flushing') concurrency.run(() => unmap(late));
    };
    const early = Array.from({ length: 4 }, () => map());
    for (const page of early) unmap(page);
    concurrency.hook = undefined;
    // The one that came in between found the queue full, and flushed for itself.
    expect(device.flushes).toBe(2);
    expect(early.slice(0, 3).map(isFree)).toEqual([true, true, true]);
    expect([late, early[3] ?? 0].map(isFree)).toEqual([false, false]);
    expect(concurrency.parked).toBe(0);
    expect(queue.drain()).toBe(true);
    expect([late, early[3] ?? 0].map(isFree)).toEqual([true, true]);
  });

  it('start the timer again for what is queued after it ran', () => {
    const { clock, device, map, unmap } = create();
    unmap(map());
    clock.advance(10);
    expect(clock.pending).toBe(0);
    unmap(map());
    unmap(map());
    expect(clock.pending).toBe(1);
    clock.advance(10);
    expect(device.flushes).toBe(2);
  });

  it('give up the oldest entry, and never reuse it, if the device fails while the queue is full', () => {
    const { queue, device, clock, log, map, unmap, isFree } = create({ size: 4 });
    const pages = Array.from({ length: 5 }, () => map());
    device.broken = true;
    for (const page of pages.slice(0, 4)) unmap(page);
    expect(queue.parkedRanges).toBe(3);
    expect(log.counters).toMatchObject({ flushFailed: 1, iovaLeaked: 1 });
    clock.advance(10);
    expect(log.counters).toMatchObject({ flushFailed: 2, iovaLeaked: 1 });
    expect(queue.drain()).toBe(false);
    expect([queue.flushesStarted, queue.flushesFinished]).toEqual([3, 0]);
    expect(pages.map(isFree)).toEqual([false, false, false, false, false]);
    // One flush is enough once the device is well again, however many failed.
    device.broken = false;
    unmap(pages[4] ?? 0);
    expect(pages.map(isFree)).toEqual([false, true, true, true, false]);
    expect(log.counters.iovaLeaked).toBe(1);
  });

  it('leak a range that is stuck on the device', () => {
    const { queue, clock, log, map, unmap, isFree } = create({ isStuck: (page) => page === LIMIT });
    const pages = [map(), map()];
    expect(pages[0]).toBe(LIMIT);
    for (const page of pages) unmap(page);
    clock.advance(10);
    expect(pages.map(isFree)).toEqual([false, true]);
    expect([log.counters.iovaLeaked, queue.parkedRanges]).toEqual([1, 0]);
  });

  it('forget what waits when the domain ends', () => {
    const { queue, device, clock, map, unmap, space } = create();
    unmap(map());
    queue.stop();
    clock.advance(100);
    expect([device.flushes, queue.parkedRanges, space.tree.rangeCount]).toEqual([0, 0, 1]);
    expect(clock.pending).toBe(0);
  });

  it.each([0, 1, 3, 100, -4, Number.NaN])('refuse a size of %d', (size) => {
    expect(() => create({ size })).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  it('refuse a time limit of 0 ms', () => {
    expect(() => create({ timeoutMs: 0 })).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  it('S1.6 never give out what the device may still reach, whoever comes in between', () => {
    const call = fc.record({
      cpu: fc.nat({ max: 1 }),
      what: fc.constantFrom('map', 'map', 'unmap', 'unmap', 'wait', 'drain', 'break', 'mend'),
      pick: fc.nat(),
      // What another context does at the race points on the way.
      meanwhile: fc.array(fc.constantFrom('map', 'unmap', 'drain'), { maxLength: 3 }),
    });
    fc.assert(
      fc.property(
        fc.constantFrom('percpu' as const, 'single' as const),
        fc.array(call, { maxLength: 80 }),
        (mode, calls) => {
          // `map` checks it.
          const { concurrency, queue, device, clock, map, unmap, space, log } = create({
            mode,
            size: 4,
          });
          const held: number[] = [];
          const act = (what: string, cpu: number, pick: number): void => {
            if (what === 'map') held.push(map({ cpu }));
            else if (what === 'wait') clock.advance(10);
            else if (what === 'drain') queue.drain();
            else if (what === 'unmap') {
              const [page] = held.splice(pick % Math.max(1, held.length), 1);
              if (page !== undefined) unmap(page, { cpu });
            } else device.broken = what === 'break';
          };
          for (const { cpu, what, pick, meanwhile } of calls) {
            const others = [...meanwhile];
            concurrency.hook = () => {
              const other = others.shift();
              if (other !== undefined) concurrency.run(() => act(other, 1 - cpu, pick));
            };
            act(what, cpu, pick);
            concurrency.hook = undefined;
            expect(queue.flushesFinished).toBeLessThanOrEqual(queue.flushesStarted);
            expect(queue.parkedRanges).toBeLessThanOrEqual(mode === 'single' ? 3 : 6);
          }
          device.broken = false;
          for (const page of held) unmap(page);
          expect(queue.drain()).toBe(true);
          space.flushCaches();
          expect([queue.parkedRanges, space.tree.rangeCount]).toEqual([0, log.counters.iovaLeaked]);
        },
      ),
      { seed: 20_260_403, numRuns: 200 },
    );
  });
});
