/** Ring indices run freely modulo 65536: every batch size, over the end and beyond. */

import { Popped } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { FORMATS, SPLIT } from './kit/format.ts';
import { createPair } from './kit/pair.ts';
import { SplitPlace } from './kit/split-place.ts';
import { Arena } from './kit/arena.ts';

/** More than one turn of a 16-bit index. */
const CHAINS = 0x1_0000 + 300;

describe.each(FORMATS)('$name: long runs', (format) => {
  it.each([1, 2, 8, 16])('a ring of %i carries batches of every size over the wrap', (size) => {
    for (let batch = 1; batch <= size; batch += 1) {
      const { arena, driver, device, chain } = createPair({ format, size });
      const list = arena.buffers([], [4]);
      let added = 0;
      let taken = 0;
      let wrong = 0;
      while (taken < CHAINS) {
        if (!device.armNotification() || !driver.armNotification()) wrong += 1;
        for (let turn = 0; turn < batch; turn += 1) {
          if (!driver.add(list, added)) wrong += 1;
          added += 1;
        }
        // The device asked for a notification of the first chain of the batch.
        if (!driver.publish()) wrong += 1;
        for (let turn = 0; turn < batch; turn += 1) {
          if (device.pop(chain) !== Popped.CHAIN) wrong += 1;
          device.push(chain, turn);
        }
        if (device.pop(chain) !== Popped.EMPTY) wrong += 1;
        if (!device.publish()) wrong += 1;
        for (let turn = 0; turn < batch; turn += 1) {
          if (driver.take() !== taken) wrong += 1;
          taken += 1;
        }
        if (driver.take() !== -1 || driver.inFlight !== 0) wrong += 1;
        if (wrong > 0) break;
      }
      expect(`batch ${batch}: ${wrong} wrong after ${taken}`).toBe(
        `batch ${batch}: 0 wrong after ${taken}`,
      );
    }
  });

  it('a ring of 32768 wraps its indices with all chains in flight', () => {
    const size = 32_768;
    const arena = new Arena({ sizeBytes: 0x10_0000 });
    const { driver, device, chain } = createPair({ format, size, arena });
    const list = arena.buffers([], [4]);
    let wrong = 0;
    for (let lap = 0; lap < 5; lap += 1) {
      for (let token = 0; token < size; token += 1) if (!driver.add(list, token)) wrong += 1;
      if (driver.add(list, 0)) wrong += 1;
      driver.publish();
      for (let token = 0; token < size; token += 1) {
        if (device.pop(chain) !== Popped.CHAIN) wrong += 1;
        device.push(chain, 4);
      }
      device.publish();
      for (let token = 0; token < size; token += 1) if (driver.take() !== token) wrong += 1;
      if (driver.take() !== -1) wrong += 1;
    }
    expect(wrong).toBe(0);
  });
});

describe('split: index fields', () => {
  it('fact.split.idx-start: they begin at 0 and count every chain modulo 65536', () => {
    const arena = new Arena();
    const place = new SplitPlace(arena, 4);
    const { layout } = place;
    const features = { indirect: false, eventIndex: true };
    const driver = SPLIT.createDriver({ memory: arena.memory, layout, features });
    const device = SPLIT.createDevice({ memory: arena.memory, layout, features });
    const { chain } = createPair({ arena });
    const list = arena.buffers([], [4]);
    expect([place.availableIndex(), place.usedIndex()]).toEqual([0, 0]);
    let wrong = 0;
    for (let count = 1; count <= CHAINS; count += 1) {
      driver.add(list, 0);
      driver.publish();
      if (place.availableIndex() !== (count & 0xffff)) wrong += 1;
      device.pop(chain);
      device.push(chain, 0);
      device.publish();
      if (place.usedIndex() !== (count & 0xffff)) wrong += 1;
      driver.take();
    }
    expect(wrong).toBe(0);
  });
});
