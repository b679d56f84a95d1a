/** Sizes, alignments and bounds of a split queue's parts. */

import { IommuError, guestPhysical } from '@viommu/common';
import {
  BufferList,
  Chain,
  type DeviceQueueOptions,
  Popped,
  type QueueLayout,
  SplitDeviceQueue,
  SplitDriverQueue,
  splitQueueBytes,
} from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { Arena } from '../kit/arena.ts';
import { must } from '../kit/must.ts';
import { SplitPlace } from '../kit/split-place.ts';

const POWERS = Array.from({ length: 16 }, (_, power) => 1 << power);
const features = { indirect: false, eventIndex: true };
/** What either side is made of. */
type BothOptions = Omit<DeviceQueueOptions, 'state'>;
const SIDES = [
  ['driver', (options: BothOptions) => new SplitDriverQueue(options)],
  ['device', (options: BothOptions) => new SplitDeviceQueue(options)],
] as const;

describe('sizes of the parts', () => {
  it.each(POWERS)('a queue of %i has 16, 6 + 2 and 6 + 8 bytes a descriptor', (size) => {
    expect(splitQueueBytes(size)).toEqual({
      descriptorArea: 16 * size,
      driverArea: 6 + 2 * size,
      deviceArea: 6 + 8 * size,
    });
  });

  it.each(POWERS)(
    'fact.split.size: a queue of %i carries requests through all its slots',
    (size) => {
      const arena = new Arena({ sizeBytes: 0x10_0000 });
      const { memory } = arena;
      const { layout } = new SplitPlace(arena, size);
      const driver = new SplitDriverQueue({ memory, layout, features });
      const device = new SplitDeviceQueue({ memory, layout, features });
      const chain = new Chain(memory, size);
      const list = arena.buffers([], [4]);
      for (let lap = 0; lap < 3; lap += 1) {
        for (let token = 0; token < size; token += 1) must(driver.add(list, token), 'no room');
        expect(driver.add(list, size)).toBe(false);
        expect(driver.inFlight).toBe(size);
        driver.publish();
        for (let turn = 0; turn < size; turn += 1) {
          must(device.pop(chain) === Popped.CHAIN, 'a chain is missing');
          device.push(chain, 4);
        }
        expect(device.pop(chain)).toBe(Popped.EMPTY);
        device.publish();
        for (let token = 0; token < size; token += 1)
          must(driver.take() === token, 'a token is wrong');
        expect(driver.take()).toBe(-1);
        expect(driver.inFlight).toBe(0);
      }
    },
  );

  it.each([0, -1, 3, 6, 12, 1.5, 65_535, 65_536, Number.NaN])('refuses a queue of %d', (size) => {
    for (const [, create] of SIDES)
      expect(codeOf(() => create(optionsFor(new Arena(), { size })))).toBe('EINVAL');
  });
});

describe.each(SIDES)('places of the parts: %s', (side, create) => {
  it(`${side === 'driver' ? 'split.drv.layout.part-alignment: ' : ''}they begin at multiples of 16, 2 and 4`, () => {
    const cases = [
      ['descriptorArea', 16],
      ['driverArea', 2],
      ['deviceArea', 4],
    ] as const;
    for (const [part, align] of cases) {
      for (let shift = 0; shift < 2 * align; shift += 1) {
        const moved = guestPhysical(0x4000_8000n + BigInt(shift));
        const code = codeOf(() => create(optionsFor(new Arena(), { [part]: moved })));
        expect(code, `${part} moved by ${shift}`).toBe(shift % align === 0 ? undefined : 'EINVAL');
      }
    }
  });

  it.each([
    ['descriptorArea', 128],
    ['driverArea', 22],
    ['deviceArea', 70],
  ] as const)('the %s may end at the last byte of memory and no later', (part, bytes) => {
    const end = 0x4000_0000n + 0x1_0000n;
    // The last place that is aligned to whatever part this is.
    const last = (end - BigInt(bytes)) & ~15n;
    const arena = () => new Arena();
    const place = (address: bigint) =>
      codeOf(() => create(optionsFor(arena(), { [part]: guestPhysical(address) })));
    expect(place(last)).toBeUndefined();
    expect(place(last + 16n)).toBe('EFAULT');
    expect(place(end)).toBe('EFAULT');
    expect(place(0x4000_0000n - 16n)).toBe('EFAULT');
    expect(place(last + (1n << 32n))).toBe('EFAULT');
    expect(place(0xffff_ffff_ffff_fff0n)).toBe('EFAULT');
  });

  it('a queue works at the two ends of the address space', () => {
    for (const base of [0n, 0x1_0000_0000n, 2n ** 64n - 0x1_0000n]) {
      const arena = new Arena({ base });
      // Up to the last two bytes of memory: the used ring of a queue of 8 begins at a multiple of 4 and has 70 bytes.
      arena.allocate(0x1_0000 - 128 - 22 - 2 - 70 - 2);
      const queue = create(optionsFor(arena, {}));
      expect(queue.fault).toBeUndefined();
      expect(queue.armNotification()).toBe(true);
      expect(arena.guardsIntact()).toBe(true);
    }
  });
});

describe('the driver', () => {
  it('clears the parts and touches nothing beside them', () => {
    const arena = new Arena();
    arena.bytes.fill(0xee);
    arena.allocate(48);
    const { table, available, used, layout } = new SplitPlace(arena, 8);
    const driver = new SplitDriverQueue({ memory: arena.memory, layout, features });
    expect(driver.inFlight).toBe(0);
    const expected = new Uint8Array(arena.bytes.length).fill(0xee);
    expected.fill(0, table, table + 128);
    expected.fill(0, available, available + 22);
    expected.fill(0, used, used + 70);
    expect(arena.bytes.findIndex((byte, position) => byte !== expected[position])).toBe(-1);
  });

  it('refuses indirect tables outside memory', () => {
    const arena = new Arena();
    const options = { ...optionsFor(arena, {}), features: { indirect: true, eventIndex: true } };
    const code = (position: number, buffersPerChain: number) =>
      codeOf(
        () =>
          new SplitDriverQueue({
            ...options,
            indirect: { address: arena.address(position), buffersPerChain },
          }),
      );
    expect(code(0x1_0000 - 8 * 2 * 16, 2)).toBeUndefined();
    expect(code(0x1_0000 - 8 * 2 * 16 + 16, 2)).toBe('EFAULT');
    expect(code(0x1_0000, 2)).toBe('EFAULT');
  });

  it('refuses a chain of more buffers than descriptors for good, not for now', () => {
    const arena = new Arena();
    const driver = new SplitDriverQueue(optionsFor(arena, {}));
    const list = new BufferList(9);
    for (let count = 0; count < 8; count += 1) list.addWritable(arena.address(0), 1);
    expect(driver.add(list, 0)).toBe(true);
    expect(driver.add(list, 1)).toBe(false);
    list.addWritable(arena.address(0), 1);
    expect(codeOf(() => driver.add(list, 1))).toBe('EINVAL');
    expect(driver.inFlight).toBe(1);
  });
});

function optionsFor(arena: Arena, changes: Partial<QueueLayout>): BothOptions {
  const layout = { ...new SplitPlace(arena, 8).layout, ...changes };
  return { memory: arena.memory, layout, features };
}

/** The code of the error that `run` throws; undefined if it throws none. */
function codeOf(run: () => unknown): string | undefined {
  try {
    run();
  } catch (error) {
    if (error instanceof IommuError) return error.code;
    throw error;
  }
  return undefined;
}
