/** Sizes, alignments and bounds of a packed queue's parts. */

import { IommuError, guestPhysical } from '@viommu/common';
import {
  BufferList,
  Chain,
  type GuestMemory,
  PackedDeviceQueue,
  PackedDriverQueue,
  Popped,
  type QueueFeatures,
  type QueueLayout,
  packedQueueBytes,
} from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { Arena } from '../kit/arena.ts';
import { must } from '../kit/must.ts';
import { PackedPlace } from '../kit/packed-place.ts';

interface Options {
  readonly memory: GuestMemory;
  readonly layout: QueueLayout;
  readonly features: QueueFeatures;
}

const SIZES = [1, 2, 3, 5, 7, 8, 255, 256, 32_767, 32_768];
const features = { indirect: false, eventIndex: true };
const SIDES = [
  ['driver', (options: Options) => new PackedDriverQueue(options)],
  ['device', (options: Options) => new PackedDeviceQueue(options)],
] as const;

describe('sizes of the parts', () => {
  it.each(SIZES)('a queue of %i has 16 bytes a descriptor, and 4 for each event', (size) => {
    expect(packedQueueBytes(size)).toEqual({
      descriptorArea: 16 * size,
      driverArea: 4,
      deviceArea: 4,
    });
  });

  it.each(SIZES)('fact.packed.any-size: a queue of %i carries requests lap after lap', (size) => {
    const arena = new Arena({ sizeBytes: 0x10_0000 });
    const { memory } = arena;
    const place = new PackedPlace(arena, size);
    const { layout } = place;
    const driver = new PackedDriverQueue({ memory, layout, features });
    const device = new PackedDeviceQueue({ memory, layout, features });
    const chain = new Chain(memory, size);
    const list = arena.buffers([], [4]);
    for (let lap = 0; lap < 3; lap += 1) {
      expect(driver.position).toBe(lap % 2 === 0 ? 0x8000 : 0);
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
      // Used in this lap: both bits as its wrap counter.
      for (const slot of [0, size - 1])
        expect(place.slot(slot).flags & 0x8080).toBe(lap % 2 === 0 ? 0x8080 : 0);
      for (let token = 0; token < size; token += 1)
        must(driver.take() === token, 'a token is wrong');
      expect([driver.take(), driver.inFlight]).toEqual([-1, 0]);
    }
  });

  it.each([3, 5, 7, 255])(
    'fact.packed.any-size: lists of two cross the end of a ring of %i',
    (size) => {
      const arena = new Arena();
      const { memory } = arena;
      const { layout } = new PackedPlace(arena, size);
      const driver = new PackedDriverQueue({ memory, layout, features });
      const device = new PackedDeviceQueue({ memory, layout, features });
      const chain = new Chain(memory, size);
      const list = arena.buffers([Uint8Array.of(7)], [4]);
      for (let round = 0; round < 3 * size; round += 1) {
        must(driver.add(list, round), 'no room');
        driver.publish();
        must(device.pop(chain) === Popped.CHAIN && chain.slots === 2, 'a chain is missing');
        device.push(chain, 4);
        device.publish();
        must(driver.take() === round, `the driver finds ${driver.fault}`);
      }
      // Six laps, which end where they began.
      expect(driver.position).toBe(0x8000);
    },
  );

  it.each([0, -1, 1.5, 32_769, 65_535, 65_536, Number.NaN])('refuses a queue of %d', (size) => {
    for (const [, create] of SIDES)
      expect(codeOf(() => create(optionsFor(new Arena(), { size })))).toBe('EINVAL');
  });
});

describe.each(SIDES)('places of the parts: %s', (side, create) => {
  it(`${side === 'driver' ? 'packed.drv.layout.part-alignment: ' : ''}they begin at multiples of 16, 4 and 4`, () => {
    const cases = [
      ['descriptorArea', 16],
      ['driverArea', 4],
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
    ['descriptorArea', 112],
    ['driverArea', 4],
    ['deviceArea', 4],
  ] as const)('the %s may end at the last byte of memory and no later', (part, bytes) => {
    const end = 0x4000_0000n + 0x1_0000n;
    const step = part === 'descriptorArea' ? 16n : 4n;
    const last = end - BigInt(bytes);
    const place = (address: bigint) =>
      codeOf(() => create(optionsFor(new Arena(), { [part]: guestPhysical(address) })));
    expect(place(last)).toBeUndefined();
    expect(place(last + step)).toBe('EFAULT');
    expect(place(end)).toBe('EFAULT');
    expect(place(0x4000_0000n - step)).toBe('EFAULT');
    expect(place(last + (1n << 32n))).toBe('EFAULT');
    expect(place(0xffff_ffff_ffff_fff0n)).toBe('EFAULT');
  });

  it('a queue works at the two ends of the address space', () => {
    for (const base of [0n, 0x1_0000_0000n, 2n ** 64n - 0x1_0000n]) {
      const arena = new Arena({ base });
      // As far up as the alignment of the ring lets it.
      arena.allocate(0x1_0000 - 7 * 16 - 16);
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
    const { ring, driverEvent, deviceEvent, layout } = new PackedPlace(arena, 7);
    const driver = new PackedDriverQueue({ memory: arena.memory, layout, features });
    expect(driver.inFlight).toBe(0);
    const expected = new Uint8Array(arena.bytes.length).fill(0xee);
    expected.fill(0, ring, ring + 112);
    expected.fill(0, driverEvent, driverEvent + 4);
    expected.fill(0, deviceEvent, deviceEvent + 4);
    expect(arena.bytes.findIndex((byte, position) => byte !== expected[position])).toBe(-1);
  });

  it('refuses indirect tables outside memory', () => {
    const arena = new Arena();
    const options = { ...optionsFor(arena, {}), features: { indirect: true, eventIndex: true } };
    const code = (position: number, buffersPerChain: number) =>
      codeOf(
        () =>
          new PackedDriverQueue({
            ...options,
            indirect: { address: arena.address(position), buffersPerChain },
          }),
      );
    expect(code(0x1_0000 - 7 * 2 * 16, 2)).toBeUndefined();
    expect(code(0x1_0000 - 7 * 2 * 16 + 16, 2)).toBe('EFAULT');
    expect(code(0x1_0000, 2)).toBe('EFAULT');
  });

  it.each([0, 2, 16])(
    'refuses a list of more buffers than slots for good, not for now; tables of %i',
    (buffersPerChain) => {
      const arena = new Arena();
      const driver = new PackedDriverQueue({
        ...optionsFor(arena, {}),
        features: { indirect: buffersPerChain > 0, eventIndex: true },
        indirect: { address: arena.address(0x8000), buffersPerChain },
      });
      const list = new BufferList(8);
      for (let count = 0; count < 7; count += 1) list.addWritable(arena.address(0), 1);
      let lists = 0;
      while (driver.add(list, 0)) lists += 1;
      // A table takes one slot, whatever its length.
      expect(lists).toBe(buffersPerChain === 16 ? 7 : 1);
      list.addWritable(arena.address(0), 1);
      expect(codeOf(() => driver.add(list, 1))).toBe('EINVAL');
      expect(driver.inFlight).toBe(lists);
    },
  );
});

function optionsFor(arena: Arena, changes: Partial<QueueLayout>): Options {
  const layout = { ...new PackedPlace(arena, 7).layout, ...changes };
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
