/** Guest memory through a translator: what is reached, what is refused, and that nothing outlives its mapping. */

import { IommuError, guestPhysical } from '@viommu/common';
import {
  Access,
  BufferList,
  Chain,
  IDENTITY,
  Popped,
  Translated,
  TranslatedMemory,
  type Translator,
  createDeviceQueue,
  createDriverQueue,
  queueBytes,
} from '@viommu/ring';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Arena } from './kit/arena.ts';
import { PageMap } from './kit/page-map.ts';
import { Random } from './kit/random.ts';
import { WatchedMemory } from './kit/watched-memory.ts';

const { READ, WRITE } = Access;
const PAGE = 4096;
const BASE = 0x4000_0000n;
const BASE_PAGE = Number(BASE / 4096n);
/** The last page of 64 bits. */
const TOP = 0xf_ffff_ffff_ffff;

function setUp(pages = 16) {
  const arena = new Arena({ sizeBytes: pages * PAGE, base: BASE });
  arena.bytes.set(new Random(8).bytes(arena.bytes.length));
  const map = new PageMap();
  const memory = new TranslatedMemory({ memory: arena.memory, translator: map });
  /** The position of an address given by page and offset. */
  const locate = (page: number, offset: number, length: number): number =>
    memory.locate(...wordsOf(page, offset), length);
  const area = (page: number, offset: number, length: number): number =>
    memory.locateArea(...wordsOf(page, offset), length);
  return { arena, map, memory, locate, area };
}

function wordsOf(page: number, offset: number): [low: number, high: number] {
  const address = BigInt(page) * 4096n + BigInt(offset);
  return [Number(address & 0xffff_ffffn), Number(address >> 32n)];
}

describe('positions', () => {
  it('are there for every range of 64 bits, mapped or not, and for no other', () => {
    const { memory, locate, area, map } = setUp();
    for (const page of [0, 1, 0xf_ffff, 0x10_0000, 0x8_0000_0000, TOP]) {
      expect(locate(page, 0, PAGE)).toBeGreaterThanOrEqual(0);
      expect(area(page, 4, PAGE - 4)).toBeGreaterThanOrEqual(0);
    }
    expect(locate(TOP, 1, PAGE)).toBe(-1);
    expect(area(TOP, 0, PAGE + 1)).toBe(-1);
    expect(locate(TOP - 1, 0, 3 * PAGE)).toBe(-1);
    expect([memory.faulted, map.asked]).toEqual([false, []]);
  });

  it('keep the offset in the page, so that alignment stays what it was', () => {
    const { locate, area } = setUp();
    for (const offset of [0, 1, 2, 0x234, PAGE - 1]) {
      expect(locate(TOP, offset, 1) % PAGE).toBe(offset);
      expect(area(TOP, offset, 1) % PAGE).toBe(offset);
    }
  });

  it('of buffers end with the next chain, those of areas do not', () => {
    const { memory, map, locate, area, arena } = setUp();
    map.map(100, BASE_PAGE + 3);
    const buffer = locate(100, 8, 4);
    const ring = area(100, 8, 4);
    const expected = arena.view.getUint32(3 * PAGE + 8, true);
    expect([memory.getUint32(buffer), memory.getUint32(ring)]).toEqual([expected, expected]);
    memory.dropBuffers();
    expect([memory.getUint32(ring), memory.faulted]).toEqual([expected, false]);
    memory.invalidateAll();
    expect([memory.getUint32(buffer), memory.faulted]).toEqual([0, true]);
  });

  it('of buffers begin again from the start now and then, and then mean what they say', () => {
    const { memory, map, locate, arena } = setUp();
    for (let page = 0; page < 16; page += 1) map.map(page, BASE_PAGE + page);
    const length = 200 << 20;
    for (let round = 0; round < 40; round += 1) {
      memory.dropBuffers();
      expect(locate(1000, 0, length)).toBeGreaterThanOrEqual(0);
      const page = round % 16;
      const position = locate(page, 16, 4);
      expect(memory.getUint32(position)).toBe(arena.view.getUint32(page * PAGE + 16, true));
    }
  });

  it('of one chain are not endless: beyond nearly 2 GiB a buffer has none', () => {
    const { memory, locate } = setUp();
    expect(locate(0, 0, 0xffff_ffff)).toBe(-1);
    let count = 0;
    while (count < 100 && locate(0, 0, 256 << 20) >= 0) count += 1;
    expect(count).toBe(7);
    memory.dropBuffers();
    expect(locate(0, 0, 256 << 20)).toBeGreaterThanOrEqual(0);
  });

  it('of a hundred buffers side by side lead where they should, in any order', () => {
    const { memory, map, locate, arena } = setUp();
    const random = new Random(3);
    for (let page = 0; page < 16; page += 1) map.map(0x1_0000_0000 - page, BASE_PAGE + page);
    const located = Array.from({ length: 100 }, () => {
      const page = random.below(16);
      const offset = random.below(PAGE - 4);
      return { page, offset, position: locate(0x1_0000_0000 - page, offset, 4) };
    });
    for (const { page, offset, position } of random.shuffle(located))
      expect(memory.getUint32(position)).toBe(arena.view.getUint32(page * PAGE + offset, true));
  });

  it('of areas are the same for the same area, and run out', () => {
    const { memory, area } = setUp();
    const first = area(5, 64, 2 * PAGE);
    expect(area(5, 64, 2 * PAGE)).toBe(first);
    expect(area(5, 128, PAGE)).toBe(first + 64);
    let count = 0;
    while (count < 10_000 && area(100 + 2 * count, 0, PAGE) >= 0) count += 1;
    expect(count).toBe(8192 - 3);
    memory.forget();
    expect(area(100_000, 0, PAGE)).toBeGreaterThanOrEqual(0);
  });
});

describe('accesses', () => {
  it('go where the translator says, with the right of their kind', () => {
    const { memory, map, locate, arena } = setUp();
    map.wholePages = false;
    map.map(TOP, BASE_PAGE + 5);
    const at = locate(TOP, 0x100, 64);
    const real = 5 * PAGE + 0x100;
    expect(memory.getUint8(at + 1)).toBe(arena.view.getUint8(real + 1));
    expect(memory.getUint16(at + 2)).toBe(arena.view.getUint16(real + 2, true));
    expect(memory.getUint32(at + 4)).toBe(arena.view.getUint32(real + 4, true));
    expect(memory.loadUint16(at + 8)).toBe(arena.view.getUint16(real + 8, true));
    expect(map.asked.map(({ access, sizeBytes }) => [access, sizeBytes])).toEqual([
      [READ, 1],
      [READ, 2],
      [READ, 4],
      [READ, 2],
    ]);
    map.asked.length = 0;
    memory.setUint8(at, 0x11);
    memory.setUint16(at + 2, 0x2222);
    memory.setUint32(at + 4, 0x3333_3333);
    memory.storeUint16(at + 8, 0x4444);
    expect([...arena.copy(real, 10)].map((byte) => byte.toString(16))).toEqual(
      ['11', arena.bytes[real + 1]!.toString(16), '22', '22', ...Array(4).fill('33'), '44', '44'], // There is such a byte.
    );
    expect(map.asked.every(({ access }) => access === WRITE)).toBe(true);
    expect(memory.faulted).toBe(false);
  });

  it('of bytes and fields may cross into a page that lies elsewhere', () => {
    const { memory, map, locate, arena } = setUp();
    map.map(7, BASE_PAGE + 9);
    map.map(8, BASE_PAGE + 2);
    const at = locate(7, PAGE - 6, 12);
    const bytes = new Uint8Array([...arena.copy(10 * PAGE - 6, 6), ...arena.copy(2 * PAGE, 6)]);
    const target = new Uint8Array(14).fill(9);
    memory.read(at, target, 1, 12);
    expect([...target]).toEqual([9, ...bytes, 9]);
    const view = new DataView(bytes.buffer);
    expect(memory.getUint32(at + 3)).toBe(view.getUint32(3, true));
    expect(memory.getUint16(at + 5)).toBe(view.getUint16(5, true));

    memory.write(
      at,
      Uint8Array.from({ length: 12 }, (_, index) => index),
      0,
      12,
    );
    expect([...arena.copy(10 * PAGE - 6, 6), ...arena.copy(2 * PAGE, 6)]).toEqual([
      0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
    ]);
    memory.setUint32(at + 4, 0xddcc_bbaa);
    memory.setUint16(at + 5, 0x1122);
    expect([...arena.copy(10 * PAGE - 2, 2), ...arena.copy(2 * PAGE, 2)]).toEqual([
      0xaa, 0x22, 0x11, 0xdd,
    ]);
    expect(memory.faulted).toBe(false);
  });

  it.each([
    ['READ', READ],
    ['WRITE', WRITE],
  ] as const)('without %s are refused, and what has the other right is not', (_name, missing) => {
    const { memory, map, locate, arena } = setUp();
    map.map(7, BASE_PAGE + 1, 3 & ~missing);
    const at = locate(7, 0, 64);
    const before = arena.copy(PAGE, PAGE);
    memory.setUint32(at, 1);
    const read = memory.getUint32(at);
    expect([memory.faulted, memory.faults]).toEqual([true, 1]);
    if (missing === READ) {
      expect(read).toBe(0);
      expect(arena.view.getUint32(PAGE, true)).toBe(1);
    } else expect(arena.copy(PAGE, PAGE)).toEqual(before);
    // A read that was allowed and kept says nothing about a write, and the other way round.
    map.map(7, BASE_PAGE + 1, missing);
    memory.invalidate(7, 7);
    memory.getUint32(at);
    memory.setUint32(at + 8, 2);
    expect(memory.faults).toBe(2);
  });

  it('that are refused give zeros, write nowhere, and are all or nothing', () => {
    const { memory, map, locate, arena } = setUp();
    map.map(7, BASE_PAGE + 1);
    const at = locate(7, PAGE - 8, 16);
    const before = arena.bytes.slice();
    const target = new Uint8Array(16).fill(0xee);
    memory.read(at, target, 0, 16);
    memory.write(at, target.fill(5), 0, 16);
    memory.setUint32(at + 6, 0xffff_ffff);
    expect(memory.getUint32(at + 6)).toBe(0);
    expect(arena.bytes).toEqual(before);
    expect(memory.faults).toBe(4);
    target.fill(0xee);
    memory.read(at, target, 2, 12);
    expect([...target]).toEqual([0xee, 0xee, ...Array(12).fill(0), 0xee, 0xee]);
    memory.read(locate(8, 0, 8), target, 0, 2);
    expect([...target.subarray(0, 2)]).toEqual([0, 0]);
  });

  it('to where no memory is, and pieces that do not add up, are refused', () => {
    const { arena } = setUp();
    const answers: ((...given: Parameters<Translator['translate']>) => void)[] = [
      (_page, offset, size, _access, into) => into.add(1, offset, size),
      (_page, offset, size, _access, into) => into.add(BASE_PAGE + 16, offset, size),
      (_page, _offset, size, _access, into) => into.add(BASE_PAGE + 15, PAGE - 1, size),
      (_page, offset, size, _access, into) => into.add(BASE_PAGE, offset, size - 1),
      (_page, offset, size, _access, into) => into.add(BASE_PAGE, offset, size + 1),
      () => {},
    ];
    for (const answer of answers) {
      const translator: Translator = {
        generation: 0,
        wholePages: true,
        translate(...given) {
          answer(...given);
          return Translated.OK;
        },
      };
      const memory = new TranslatedMemory({ memory: arena.memory, translator });
      const at = memory.locate(0, 0, 64);
      const before = arena.bytes.slice();
      memory.setUint32(at, 7);
      memory.write(at, new Uint8Array(64), 0, 64);
      expect([memory.getUint32(at), memory.faults]).toEqual([0, 3]);
      expect(memory.pieces(at, 64, WRITE, memory.newViewList())).toBe(false);
      expect(arena.bytes).toEqual(before);
      expect(arena.guardsIntact()).toBe(true);
    }
  });

  it('that must not be tried are told apart', () => {
    const { memory, map, locate } = setUp();
    const at = locate(7, 0, 8);
    memory.getUint8(at);
    expect([memory.faulted, memory.fatal]).toEqual([true, false]);
    map.refusal = Translated.FATAL;
    memory.getUint8(at);
    expect([memory.faulted, memory.fatal]).toEqual([true, true]);
    memory.forget();
    expect([memory.faulted, memory.fatal]).toEqual([false, false]);
  });
});

describe('nothing outlives its mapping', () => {
  it('a page used again and again is translated once, as long as nothing changes', () => {
    const { memory, map, area } = setUp();
    map.map(7, BASE_PAGE + 1);
    const at = area(7, 0, PAGE);
    for (let index = 0; index < 1000; index += 1) memory.getUint16(at + 2 * index);
    for (let index = 0; index < 1000; index += 1) memory.setUint16(at + 2 * index, index);
    expect(map.asked.length).toBe(2);
  });

  it.each(['generation', 'invalidate', 'invalidateAll'] as const)(
    'after %s the next access of either kind is translated anew',
    (how) => {
      const { memory, map, area, arena } = setUp();
      map.map(7, BASE_PAGE + 1);
      map.map(8, BASE_PAGE + 2);
      const at = area(7, 0, 2 * PAGE);
      memory.setUint32(at, 1);
      memory.setUint32(at + PAGE, 1);
      expect(memory.getUint32(at) + memory.getUint32(at + PAGE)).toBe(2);
      map.unmap(7);
      map.map(8, BASE_PAGE + 3);
      if (how === 'generation') map.generation += 1;
      else if (how === 'invalidate') memory.invalidate(7, 8);
      else memory.invalidateAll();
      memory.setUint32(at, 2);
      expect([memory.getUint32(at), memory.faults]).toEqual([0, 2]);
      memory.setUint32(at + PAGE, 2);
      expect([arena.view.getUint32(PAGE, true), arena.view.getUint32(2 * PAGE, true)]).toEqual([
        1, 1,
      ]);
      expect(arena.view.getUint32(3 * PAGE, true)).toBe(2);
    },
  );

  it('pages outside the range that changed stay', () => {
    const { memory, map, area } = setUp();
    for (const page of [6, 7, 8, TOP]) map.map(page, BASE_PAGE + 1);
    const positions = [6, 7, 8, TOP].map((page) => area(page, 0, PAGE));
    for (const at of positions) memory.getUint8(at);
    map.asked.length = 0;
    memory.invalidate(7, 7);
    for (const at of positions) memory.getUint8(at);
    expect(map.asked.map(({ page }) => page)).toEqual([7]);
  });

  it('where pages have no one answer, nothing is kept', () => {
    const { memory, map, area } = setUp();
    map.wholePages = false;
    map.map(7, BASE_PAGE + 1);
    const at = area(7, 0, PAGE);
    memory.getUint8(at);
    map.unmap(7);
    expect([memory.getUint8(at), memory.faulted]).toEqual([0, true]);
  });

  it('neither another translator nor a reset leaves anything', () => {
    const { memory, map, area, arena } = setUp();
    map.map(7, BASE_PAGE + 1);
    const at = area(7, 0, PAGE);
    memory.getUint8(at);
    memory.use(IDENTITY);
    expect([memory.getUint8(at), memory.faulted]).toEqual([0, true]);
    memory.forget();
    memory.use(map);
    memory.getUint8(at);
    expect(memory.faulted).toBe(true);
    memory.use(IDENTITY);
    const real = memory.locate(Number(BASE) + 100, 0, 4);
    memory.faulted = false;
    expect(memory.getUint32(real)).toBe(arena.view.getUint32(100, true));
    expect(memory.faulted).toBe(false);
  });

  it('agrees with the definition, whatever is mapped and unmapped between accesses', () => {
    const pages = 6;
    const step = fc.record({
      kind: fc.constantFrom('map', 'unmap', 'get', 'set', 'read', 'write', 'drop', 'pieces'),
      page: fc.nat(pages - 1),
      to: fc.nat(pages - 1),
      offset: fc.oneof(fc.nat(PAGE - 1), fc.integer({ min: PAGE - 5, max: PAGE - 1 })),
      length: fc.integer({ min: 1, max: 5000 }),
      access: fc.integer({ min: 1, max: 3 }),
      generation: fc.boolean(),
      ring: fc.boolean(),
    });
    const run = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { memory, map, arena } = setUp(pages);
      const entries = new Map<number, { to: number; access: number }>();
      const at = (page: number): number => TOP - 2 * pages + page;
      const expected = arena.bytes.slice();
      let faults = 0;
      /** Real bytes of an access, or undefined. */
      const places = (
        page: number,
        offset: number,
        length: number,
        access: number,
      ): number[] | undefined => {
        const found: number[] = [];
        for (let index = offset; index < offset + length; index += 1) {
          const entry = entries.get(page + Math.floor(index / PAGE));
          if (entry === undefined || (entry.access & access) === 0) return undefined;
          found.push(entry.to * PAGE + (index % PAGE));
        }
        return found;
      };
      for (const { kind, page, to, offset, length, access, generation, ring } of steps) {
        if (kind === 'map' || kind === 'unmap') {
          if (kind === 'map') entries.set(page, { to, access });
          else entries.delete(page);
          if (kind === 'map') map.map(at(page), BASE_PAGE + to, access);
          else map.unmap(at(page));
          if (generation) map.generation += 1;
          else memory.invalidate(at(page), at(page));
          continue;
        }
        if (kind === 'drop') {
          memory.dropBuffers();
          continue;
        }
        const size = kind === 'get' || kind === 'set' ? 4 : length;
        const words = wordsOf(at(page), offset);
        const position = ring ? memory.locateArea(...words, size) : memory.locate(...words, size);
        const right = kind === 'get' || kind === 'read' ? READ : WRITE;
        const found = places(page, offset, size, right);
        if (found === undefined) faults += 1;
        if (kind === 'get') {
          const bytes = Uint8Array.from(found ?? [0, 0, 0, 0], (real) =>
            found === undefined ? 0 : expected[real]!,
          ); // A byte of the memory.
          expect(memory.getUint32(position)).toBe(new DataView(bytes.buffer).getUint32(0, true));
        } else if (kind === 'set') {
          memory.setUint32(position, 0x0403_0201);
          found?.forEach((real, index) => void (expected[real] = index + 1));
        } else if (kind === 'read') {
          const target = new Uint8Array(size).fill(7);
          memory.read(position, target, 0, size);
          expect([...target]).toEqual(
            found === undefined ? Array(size).fill(0) : found.map((real) => expected[real]),
          );
        } else if (kind === 'write') {
          memory.write(position, new Uint8Array(size).fill(to), 0, size);
          found?.forEach((real) => void (expected[real] = to));
        } else {
          const list = memory.newViewList();
          list.begin();
          expect(memory.pieces(position, size, WRITE, list)).toBe(found !== undefined);
          for (const view of list.end()) view.fill(0x55);
          expect(list.sizeBytes).toBe(found === undefined ? 0 : size);
          found?.forEach((real) => void (expected[real] = 0x55));
        }
      }
      expect(memory.faults).toBe(faults);
      expect(Buffer.compare(arena.bytes.slice(), expected)).toBe(0);
      expect(arena.guardsIntact()).toBe(true);
    });
    fc.assert(run, { seed: 20_261_121, numRuns: 150 });
  });
});

describe('pieces', () => {
  it('are guest memory itself, scattered as it lies', () => {
    const { memory, map, locate, arena } = setUp();
    map.map(7, BASE_PAGE + 9);
    map.map(8, BASE_PAGE + 2);
    const list = memory.newViewList();
    list.begin();
    expect(memory.pieces(locate(7, 100, PAGE), PAGE, WRITE, list)).toBe(true);
    expect(list.end().map(({ length }) => length)).toEqual([PAGE - 100, 100]);
    list.views[0]!.fill(1); // There are two.
    list.views[1]!.fill(2);
    expect(new Set(arena.copy(9 * PAGE + 100, PAGE - 100))).toEqual(new Set([1]));
    expect(new Set(arena.copy(2 * PAGE, 100))).toEqual(new Set([2]));
    expect(arena.bytes[2 * PAGE + 100]).not.toBe(2);
  });

  it('refused leave no doubt about the ring, and nothing in the list', () => {
    const { memory, map, locate } = setUp();
    map.map(7, BASE_PAGE + 9, READ);
    const list = memory.newViewList();
    list.begin();
    const at = locate(7, 0, 2 * PAGE);
    expect(memory.pieces(at, PAGE, WRITE, list)).toBe(false);
    expect(memory.pieces(at, 2 * PAGE, READ, list)).toBe(false);
    expect([memory.faulted, memory.faults, list.end().length]).toEqual([false, 2, 0]);
    expect(memory.pieces(at, PAGE, READ, list)).toBe(true);
    memory.faulted = true;
    memory.pieces(at, PAGE, WRITE, list);
    expect(memory.faulted).toBe(true);
  });

  it('are never kept: each call asks the translator', () => {
    const { memory, map, locate } = setUp();
    map.map(7, BASE_PAGE + 9);
    const at = locate(7, 0, 512);
    const list = memory.newViewList();
    list.begin();
    expect(memory.pieces(at, 512, READ, list)).toBe(true);
    map.unmap(7);
    expect(memory.pieces(at, 512, READ, list)).toBe(false);
  });

  it('reuse the views made before, and only for the same bytes', () => {
    const { arena } = setUp();
    const memory = new TranslatedMemory({ memory: arena.memory, translator: IDENTITY });
    const list = memory.newViewList();
    const random = new Random(5);
    for (let round = 0; round < 5000; round += 1) {
      // Few places and many lengths: some of them meet in one slot.
      const position = round % 2 === 0 ? 512 : 512 * random.below(100);
      const length = 1 + random.below(14_000);
      list.begin();
      list.add(position, length);
      const [view] = list.end();
      expect([view?.byteOffset, view?.length]).toEqual([arena.bytes.byteOffset + position, length]);
    }
    list.begin();
    list.add(512, 512);
    const first = list.end()[0];
    list.begin();
    list.add(512, 512);
    expect(list.end()[0]).toBe(first);
    // A list is as long as its access, whatever it was before.
    list.begin();
    for (const position of [0, 4096, 8192]) list.add(position, 100);
    const { views } = list;
    expect([list.end(), views.length, list.sizeBytes]).toEqual([views, 3, 300]);
    list.begin();
    list.add(4096, 7);
    expect([list.end(), views.length, list.sizeBytes]).toEqual([views, 1, 7]);
  });
});

describe('a queue whose device has addresses of its own', () => {
  it.each([
    ['split', false, false],
    ['split, indirect', false, true],
    ['packed', true, false],
    ['packed, indirect', true, true],
  ])('%s: both sides meet, each at its own addresses', (_name, packed, indirect) => {
    const { arena, map, memory } = setUp(32);
    const size = 8;
    const buffersPerChain = 4;
    const bytes = queueBytes(size, packed);
    const features = { packed, indirect, eventIndex: true };
    // Every page of the driver's lies at a device address that has nothing to do with it.
    const deviceOf = (position: number): bigint => {
      const page = Math.floor(position / PAGE);
      map.map(TOP - 3 * page, BASE_PAGE + page);
      return BigInt(TOP - 3 * page) * 4096n + BigInt(position % PAGE);
    };
    const areas = [bytes.descriptorArea, bytes.driverArea, bytes.deviceArea].map((length) =>
      arena.allocate(length, PAGE),
    );
    const layoutOf = (address: (position: number) => bigint) => ({
      size,
      descriptorArea: guestPhysical(address(areas[0]!)), // Three were made.
      driverArea: guestPhysical(address(areas[1]!)),
      deviceArea: guestPhysical(address(areas[2]!)),
    });
    const tables = arena.allocate(size * buffersPerChain * 16, PAGE);
    const driver = createDriverQueue({
      memory: arena.memory,
      layout: layoutOf((position) => arena.address(position)),
      features,
      indirect: {
        address: arena.address(tables),
        deviceAddress: deviceOf(tables),
        buffersPerChain,
      },
    });
    const device = createDeviceQueue({ memory, layout: layoutOf(deviceOf), features });
    const chain = new Chain(memory, device.size);
    for (let round = 0; round < 50; round += 1) {
      const at = arena.allocate(64, 64);
      arena.bytes.fill(round + 1, at, at + 32);
      const list = new BufferList(3)
        .addReadable(guestPhysical(deviceOf(at)), 16)
        .addReadable(guestPhysical(deviceOf(at + 16)), 16)
        .addWritable(guestPhysical(deviceOf(at + 32)), 32);
      expect(driver.add(list, round)).toBe(true);
      driver.publish();
      memory.dropBuffers();
      expect(device.pop(chain)).toBe(Popped.CHAIN);
      const request = new Uint8Array(32);
      expect(chain.read(0, request, 0, 32)).toBe(32);
      expect(new Set(request)).toEqual(new Set([round + 1]));
      expect([chain.count, chain.readableCount, chain.length(2)]).toEqual([3, 2, 32]);
      chain.write(0, request.fill(round + 2), 0, 32);
      device.push(chain, 32);
      device.publish();
      expect([driver.take(), driver.takenBytes]).toEqual([round, 32]);
      expect(new Set(arena.copy(at + 32, 32))).toEqual(new Set([round + 2]));
    }
    expect([memory.faults, chain.reachable]).toEqual([0, true]);
    // The areas are revoked: nothing is believed, nothing written.
    map.generation += 1;
    for (const area of areas) map.unmap(TOP - 3 * Math.floor(area / PAGE));
    const before = arena.bytes.slice();
    memory.dropBuffers();
    device.pop(chain);
    expect(memory.faulted).toBe(true);
    device.armNotification();
    expect(Buffer.compare(arena.bytes.slice(), before)).toBe(0);
  });
});

it('memory that is reached by calls only cannot be translated', () => {
  const { arena, map } = setUp();
  let code: string | undefined;
  try {
    code = `${new TranslatedMemory({ memory: new WatchedMemory(arena), translator: map }).faults}`;
  } catch (error) {
    if (!(error instanceof IommuError)) throw error;
    ({ code } = error);
  }
  expect(code).toBe('EINVAL');
});
