import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Direction, type ScatterEntry } from '../src/dma-ops.ts';
import { RAM_PAGE, type WorldOptions, createWorld, isIdle, piece } from './dma-world.ts';
import { WRITE } from './scripted-domain.ts';

/**
 * Drivers that map and unmap at random, held against the set of pages that a device may reach. An address that is given
 * out while a mapping, or an unmap nobody has waited for, still covers it is a failure; so is anything that stays.
 */
const POLICIES: [name: string, options: WorldOptions][] = [
  ['S4.16 strict', {}],
  ['S4.17 lazy', { type: 'DMA-FQ', boot: { flushQueueSize: 16 } }],
  [
    'S4.17 lazy, with one queue',
    { type: 'DMA-FQ', boot: { flushQueue: 'single', flushQueueSize: 32 } },
  ],
  ['S4.2 untrusted', { device: { untrusted: true } }],
  ['S3.6 bounced', { boot: { bounce: { force: 'force' } } }],
  ['S3.6 bounced and lazy', { type: 'DMA-FQ', boot: { bounce: { force: 'force' } } }],
];

const FIRST = RAM_PAGE + 300;
const direction = fc.constantFrom(
  Direction.TO_DEVICE,
  Direction.FROM_DEVICE,
  Direction.BIDIRECTIONAL,
);
const cpu = fc.integer({ min: 0, max: 1 });
const buffer = fc.record({
  page: fc.integer({ min: FIRST, max: FIRST + 500 }),
  offset: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 5000 })),
  size: fc.oneof(
    fc.constantFrom(1, 4095, 4096, 4097, 8192),
    fc.integer({ min: 1, max: 20_000 }),
    fc.integer({ min: 1, max: 200_000 }),
  ),
});

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('map'), buffer, direction, cpu }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('unmap'), which: fc.nat(30), cpu }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('list'),
      buffers: fc.array(buffer, { minLength: 1, maxLength: 6 }),
      direction,
      cpu,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('coherent'),
      pages: fc.integer({ min: 1, max: 40 }),
      cpu,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('wait'), ms: fc.integer({ min: 1, max: 12 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('refuse'), when: fc.integer({ min: 0, max: 5 }) }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** What a driver has mapped: pages of addresses, and how to end it. */
interface Live {
  readonly start: number;
  readonly pages: number;
  unmap(cpu: number): void;
}

function run(options: WorldOptions, steps: readonly Step[]): void {
  const world = createWorld({ poolSlots: 512, ...options });
  const { user, device, iommu, cookie, ram, pool, clock, log } = world;
  const { ops } = user;
  const taken = ram.pagesTaken;
  const live: Live[] = [];
  // Pages whose unmap nobody has waited for.
  const pending = new Set<number>();
  iommu.script.onServed = () => pending.clear();
  // Asked before anybody waits for the mapping, which also ends what is pending.
  iommu.script.queueMap = ({ start, pages }) => {
    for (let n = 0; n < pages; n += 1)
      if (pending.has(start + n)) throw new Error(`page ${start + n} is not gone yet`);
    return undefined;
  };

  const born = (start: number, pages: number, unmap: (cpu: number) => void): void => {
    expect(start).toBeGreaterThan(0);
    for (const other of live)
      if (start + pages > other.start && start < other.start + other.pages)
        throw new Error(`page ${start} is given out twice`);
    live.push({ start, pages, unmap });
  };
  const end = (which: number, onCpu: number): void => {
    const [gone] = live.splice(which % live.length, 1);
    if (gone === undefined) return;
    for (let n = 0; n < gone.pages; n += 1) pending.add(gone.start + n);
    gone.unmap(onCpu);
    // What is strict has waited before it returned.
    if (cookie.flushQueue === undefined) expect(pending.size).toBe(0);
  };

  for (const one of steps) {
    if (one.kind === 'map') {
      const { page, offset, size } = one.buffer;
      const address = user.map(page, offset, size, one.direction, { cpu: one.cpu });
      if (address === undefined) continue;
      const pages = Math.ceil((address.offset + size) / 4096);
      born(address.page, pages, (onCpu) =>
        user.unmap(address, size, one.direction, { cpu: onCpu }),
      );
      expectReach(world, address.page, address.offset, size, one.direction, { page, offset });
    } else if (one.kind === 'list') {
      const list = one.buffers.map(({ page, offset, size }) => piece(page, offset, size));
      const segments = user.mapList(list, one.direction, { cpu: one.cpu });
      if (typeof segments !== 'number') {
        for (const { dmaSizeBytes } of list) expect(dmaSizeBytes).toBe(0);
        continue;
      }
      expectSegments(world, list, segments, one.direction);
      const parts = list.slice(0, segments).map(pagesOf);
      const unmap = (onCpu: number) => user.unmapList(list, one.direction, { cpu: onCpu });
      const first = parts[0];
      const last = parts.at(-1);
      if (ops.mappingBytesMax(device) !== Infinity)
        parts.forEach(([start, pages], n) => born(start, pages, n === 0 ? unmap : () => undefined));
      else if (first && last) born(first[0], last[0] + last[1] - first[0], unmap);
      // Entry by entry, they only end together.
      if (parts.length > 1 && ops.mappingBytesMax(device) !== Infinity) {
        const joined = live.splice(-parts.length);
        for (const { start, pages } of joined)
          for (let n = 0; n < pages; n += 1) pending.delete(start + n);
        unmap(one.cpu);
      }
    } else if (one.kind === 'coherent') {
      const memory = ops.allocateCoherent({ cpu: one.cpu }, device, one.pages * 4096);
      if (memory === undefined) continue;
      born(memory.dmaPage, one.pages, (onCpu) => ops.freeCoherent({ cpu: onCpu }, device, memory));
    } else if (one.kind === 'unmap') {
      if (live.length > 0) end(one.which, one.cpu);
    } else if (one.kind === 'wait') {
      clock.advance(one.ms);
    } else {
      let left = one.when;
      iommu.script.map = () => (left-- === 0 ? 'ENOMEM' : undefined);
    }
  }
  delete iommu.script.map;
  while (live.length > 0) end(live.length - 1, 0);
  expect(isIdle(cookie)).toBe(true);
  iommu.sync();
  expect([iommu.tree.size, iommu.table.size, pool.slots.used]).toEqual([0, 0, 0]);
  expect(ram.pagesTaken).toBe(taken);
  expect([log.counters.iovaLeaked, log.counters.unmapShort, log.counters.unmapUnknown]).toEqual([
    0, 0, 0,
  ]);
}

type World = ReturnType<typeof createWorld>;

/** The device reaches every page of a mapping; unless it bounced, at the buffer's own place. */
function expectReach(
  { iommu, pool }: World,
  dmaPage: number,
  dmaOffset: number,
  size: number,
  access: Direction,
  buffer: { page: number; offset: number },
): void {
  const at = buffer.page * 4096 + buffer.offset;
  const wrong: number[] = [];
  for (let n = 0; n * 4096 < dmaOffset + size; n += 1) {
    const phys = iommu.reach(dmaPage + n, access);
    const bounced = phys !== undefined && pool.contains(phys);
    if (phys === undefined || (!bounced && phys !== Math.floor(at / 4096) + n)) wrong.push(n);
    if ((access & WRITE) === 0 && iommu.reach(dmaPage + n, WRITE) !== undefined) wrong.push(n);
  }
  expect(wrong).toEqual([]);
}

/** The segments of a list are its bytes in their order. */
function expectSegments(
  world: World,
  list: ScatterEntry[],
  segments: number,
  access: Direction,
): void {
  let segment = 0;
  let used = 0;
  for (const { page, offset, sizeBytes } of list) {
    const now = list[segment];
    if (now === undefined) throw new Error('too few segments');
    const at = now.dmaOffset + used;
    expectReach(world, now.dmaPage + Math.floor(at / 4096), at % 4096, sizeBytes, access, {
      page,
      offset,
    });
    used += sizeBytes;
    expect(used).toBeLessThanOrEqual(now.dmaSizeBytes);
    if (used === now.dmaSizeBytes) {
      segment += 1;
      used = 0;
    }
  }
  expect(segment).toBe(segments);
}

function pagesOf({
  dmaPage,
  dmaOffset,
  dmaSizeBytes,
}: ScatterEntry): [start: number, pages: number] {
  return [dmaPage, Math.ceil((dmaOffset + dmaSizeBytes) / 4096)];
}

describe('buffers that come and go', () => {
  it.each(POLICIES)('%s: no address has two meanings, and nothing stays', (_, options) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => run(options, steps)),
      { seed: 1522, numRuns: 40 },
    );
  });
});
