/** Data through a disk, both directions, with every format of ring and every way to memory, compared by checksum. */

import { BlkCounter, BlkFeature, BlkRequestType } from '@viommu/blk';
import { VirtioFeature, featureMask, hasFeature } from '@viommu/common';
import { ScatterEntry } from '@viommu/iommu';
import { describe, expect, it } from 'vitest';
import { CONTEXT, Rig, checksum, fillBytes } from './kit/rig.ts';
import { must } from './kit/must.ts';

const { IN, OUT } = BlkRequestType;
const PAGE = 4096;

const FORMATS = [
  ['split', { packed: false, indirect: false, eventIndex: false, inOrder: false }],
  ['split, everything', { packed: false, indirect: true, eventIndex: true, inOrder: true }],
  ['split, indirect', { packed: false, indirect: true, eventIndex: false, inOrder: false }],
  ['packed', { packed: true, indirect: false, eventIndex: false, inOrder: false }],
  ['packed, everything', { packed: true, indirect: true, eventIndex: true, inOrder: true }],
  ['packed, event index', { packed: true, indirect: false, eventIndex: true, inOrder: false }],
] as const;

describe.each(FORMATS)('%s', (_name, features) => {
  it.each([
    ['translated', true],
    ['physical', false],
  ])('%s: what is written is on the disk and comes back', (_way, translated) => {
    const rig = new Rig({ device: { features }, translated, sectors: 256 });
    const driver = rig.driver({ depth: 8, segmentsMax: 16 });
    expect(hasFeature(driver.features, VirtioFeature.RING_PACKED)).toBe(features.packed);
    expect(driver.dma.kind).toBe(translated ? 'iommu' : 'physical');
    const mapped = rig.dma.live.size;
    for (let round = 0; round < 40; round += 1) {
      const sectors = 1 + ((round * 7) % 100);
      const sector = (round * 53) % (256 - sectors);
      const offset = (round * 312) % PAGE;
      const bytes = sectors * 512;
      const pages = Math.ceil((offset + bytes) / PAGE);
      const from = rig.fill(pages, round);
      const to = rig.fill(pages, round + 1000);
      const around = checksum(rig.guest.at(to, 0, offset));
      const behind = rig.backing.bytes.subarray((sector + sectors) * 512);
      const untouched = checksum(behind);
      expect(driver.writeSync(CONTEXT, sector, from, offset, bytes)).toBeUndefined();
      expect(checksum(behind)).toBe(untouched);
      const sum = checksum(rig.guest.at(from, offset, bytes));
      const stored = rig.backing.bytes.subarray(sector * 512, (sector + sectors) * 512);
      expect(checksum(stored)).toBe(sum);
      fillBytes(stored, round + 2000);
      expect(driver.readSync(CONTEXT, sector, to, offset, bytes)).toBeUndefined();
      expect(checksum(rig.guest.at(to, offset, bytes))).toBe(checksum(stored));
      // The rest of the pages is as it was.
      expect(checksum(rig.guest.at(to, 0, offset))).toBe(around);
      rig.guest.give(from);
      rig.guest.give(to);
      expect(rig.dma.live.size).toBe(mapped);
    }
    expect(driver.requests).toBe(80);
    const { counters } = rig.device;
    expect(counters[BlkCounter.REQUESTS]).toBe(80);
    expect([counters[BlkCounter.FAILURES], counters[BlkCounter.REFUSED]]).toEqual([0, 0]);
    expect(counters[BlkCounter.READ_BYTES]).toBe(counters[BlkCounter.WRITTEN_BYTES]);
  });

  it('lists of pieces, cut anywhere, many at a time and told in any order', () => {
    const rig = new Rig({ device: { features } });
    const driver = rig.driver({ depth: 8, segmentsMax: 16 });
    const page = rig.fill(64, 5);
    const back = rig.guest.take(64);
    // 24 sectors in pieces that are no sectors.
    const cuts = [1, 511, 700, 4096, 4096, 100, 2684, 100].map(
      (bytes, at, all) => [all.slice(0, at).reduce((sum, part) => sum + part, 0), bytes] as const,
    );
    const total = 24 * 512;
    expect(cuts.reduce((sum, [, bytes]) => sum + bytes, 0)).toBe(total);
    const listAt = (start: number, slot: number): ScatterEntry[] =>
      cuts.map(([at, sizeBytes], index) => {
        const entry = new ScatterEntry();
        // Pieces lie apart.
        const place = slot * 8 * PAGE + at + index * 9;
        entry.page = start + Math.floor(place / PAGE);
        entry.offset = place % PAGE;
        entry.sizeBytes = sizeBytes;
        return entry;
      });
    for (const type of [OUT, IN] as const) {
      const tokens = new Set<number>();
      for (let slot = 0; slot < 8; slot += 1) {
        const list = listAt(type === OUT ? page : back, slot);
        const token = driver.submitList(CONTEXT, type, slot * 24, list, list.length);
        if (token === 'EBUSY') {
          expect(features.indirect).toBe(false);
          driver.wait(10);
          while (driver.reap(CONTEXT) >= 0) expect(driver.error).toBeUndefined();
          slot -= 1;
          continue;
        }
        expect(typeof token).toBe('number');
        tokens.add(Number(token));
      }
      while (driver.outstanding > 0) {
        expect(driver.wait(10)).toBe(true);
        while (driver.reap(CONTEXT) >= 0) expect(driver.error).toBeUndefined();
      }
      if (type === OUT) {
        const gathered = listAt(page, 3).map((entry) =>
          rig.guest.at(entry.page, entry.offset, entry.sizeBytes),
        );
        const stored = rig.backing.bytes.subarray(72 * 512, 96 * 512);
        expect(Buffer.compare(Buffer.concat(gathered), stored)).toBe(0);
        fillBytes(rig.backing.bytes, 99);
      }
    }
    for (let slot = 0; slot < 8; slot += 1) {
      const gathered = listAt(back, slot).map((entry) =>
        rig.guest.at(entry.page, entry.offset, entry.sizeBytes),
      );
      const stored = rig.backing.bytes.subarray(slot * total, (slot + 1) * total);
      expect(checksum(Buffer.concat(gathered))).toBe(checksum(stored));
    }
  });
});

describe('a large request', () => {
  it('is done in chunks, so that others get their turn, and published once', () => {
    const rig = new Rig({ device: { chunkBytes: 4096 } });
    const driver = rig.driver();
    const page = rig.fill(16, 1);
    const token = driver.submit(CONTEXT, OUT, 0, page, 0, 65_536);
    driver.kick();
    const at = (): number => must(rig.device.counters[BlkCounter.REQUESTS]);
    for (let chunk = 0; chunk < 15; chunk += 1) {
      expect(rig.mmio.serve()).toBe(true);
      expect([at(), driver.reap(CONTEXT)]).toEqual([0, -1]);
      const done = (chunk + 1) * 4096;
      expect(checksum(rig.backing.bytes.subarray(0, done))).toBe(
        checksum(rig.guest.at(page, 0, done)),
      );
      expect(rig.backing.bytes.subarray(done).every((byte) => byte === 0)).toBe(true);
      expect(rig.mmio.arm()).toBe(false);
    }
    expect(rig.mmio.serve()).toBe(true);
    expect([at(), driver.reap(CONTEXT), driver.error]).toEqual([1, token, undefined]);
    expect(rig.mmio.serve()).toBe(false);
    expect(rig.mmio.arm()).toBe(true);
  });

  it('is one request for each call of serve, however small', () => {
    const rig = new Rig();
    const driver = rig.driver();
    const page = rig.fill(1, 1);
    for (let index = 0; index < 5; index += 1) driver.submit(CONTEXT, OUT, index, page, 0, 512);
    driver.kick();
    for (let done = 1; done <= 5; done += 1) {
      expect(rig.mmio.serve()).toBe(true);
      expect(rig.device.counters[BlkCounter.REQUESTS]).toBe(done);
    }
    expect(rig.mmio.serve()).toBe(false);
  });

  it('whose memory is taken away halfway ends with an error, and not a byte later', () => {
    const rig = new Rig({ device: { chunkBytes: 4096 } });
    const driver = rig.driver();
    const page = rig.fill(16, 1);
    driver.submit(CONTEXT, OUT, 0, page, 0, 65_536);
    driver.kick();
    for (let chunk = 0; chunk < 3; chunk += 1) rig.mmio.serve();
    const [dmaPage] = [...rig.dma.live].find(([, pages]) => pages === 16) ?? [0];
    for (let index = 0; index < 16; index += 1) rig.dma.revoke(dmaPage + index);
    rig.step();
    driver.reap(CONTEXT);
    expect(driver.error).toBe('EIO');
    expect(rig.backing.bytes.subarray(3 * PAGE).every((byte) => byte === 0)).toBe(true);
    expect(rig.device.counters[BlkCounter.REFUSED]).toBe(1);
  });
});

describe('a queue that is reset', () => {
  it('in the middle of a large request forgets it, and the others go on', () => {
    const rig = new Rig({ device: { chunkBytes: 4096, queues: 2 } });
    const driver = rig.driver({ queues: 2 });
    const page = rig.fill(16, 1);
    driver.submit({ cpu: 0 }, OUT, 0, page, 0, 65_536);
    driver.kick();
    rig.mmio.serve();
    rig.mmio.serve();
    const token = driver.submit({ cpu: 1 }, OUT, 200, page, 0, 4096);
    driver.kick();
    rig.transport.resetQueue(0);
    expect(rig.mmio.serve()).toBe(true);
    expect(rig.mmio.serve()).toBe(false);
    expect([driver.reap(CONTEXT), driver.error, driver.outstanding]).toEqual([token, undefined, 1]);
    // What was done of it is on the disk, and no more.
    expect(checksum(rig.backing.bytes.subarray(0, 2 * PAGE))).toBe(
      checksum(rig.guest.at(page, 0, 2 * PAGE)),
    );
    expect(rig.backing.bytes.subarray(2 * PAGE, 16 * PAGE).every((byte) => byte === 0)).toBe(true);
  });
});

describe('several queues', () => {
  it('are used by the contexts of several processors, and served in turn', () => {
    const rig = new Rig({ device: { queues: 3 } });
    const driver = rig.driver({ queues: 3, depth: 4 });
    expect(driver.queues).toBe(3);
    const page = rig.fill(8, 1);
    const tokens = new Set<number>();
    for (const cpu of [0, 1, 2, 3, 4, 5]) {
      const token = driver.submit({ cpu }, OUT, cpu * 8, page, 0, PAGE);
      expect(typeof token).toBe('number');
      tokens.add(Number(token));
    }
    expect(tokens.size).toBe(6);
    const taken: number[] = [];
    driver.kick();
    // After three calls each queue has had its turn.
    for (let turn = 0; turn < 3; turn += 1) rig.mmio.serve();
    for (let token = driver.reap(CONTEXT); token >= 0; token = driver.reap(CONTEXT))
      taken.push(token);
    expect(new Set(taken.map((token) => Math.floor(token / 4)))).toEqual(new Set([0, 1, 2]));
    expect(taken.length).toBe(3);
    rig.step();
    for (let token = driver.reap(CONTEXT); token >= 0; token = driver.reap(CONTEXT))
      taken.push(token);
    expect(new Set(taken)).toEqual(tokens);
    expect(taken.length).toBe(6);
  });

  it('without MQ there is one, whatever else is enabled', () => {
    const rig = new Rig({ device: { queues: 3 } });
    const without = rig.device.offeredFeatures & ~featureMask(BlkFeature.MQ);
    const driver = rig.driver({ queues: 3, features: without });
    expect(driver.queues).toBe(1);
    const page = rig.fill(1, 1);
    expect(driver.writeSync({ cpu: 5 }, 0, page, 0, 512)).toBeUndefined();
  });
});
