/**
 * saved state that no queue can be in. It is refused as a whole, or it is a state that a queue works on from.
 *
 * First by name, then by writing every value that may do harm into every place of a true state.
 */

import { AvailableRing, IommuError } from '@viommu/common';
import {
  type ChainState,
  Chain,
  type DeviceQueueState,
  type DriverQueueState,
  Popped,
} from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { FORMATS, PACKED, SPLIT } from './kit/format.ts';
import { Station, asText } from './kit/station.ts';

const SIZE = 8;

/** A driver with two chains in flight and one held back, each of two buffers. */
function busyStation(format: typeof SPLIT, { buffersPerTable = 0, inOrder = false } = {}): Station {
  const station = new Station({ format, size: SIZE, buffersPerTable, inOrder, batchUsed: inOrder });
  const list = station.arena.buffers([Uint8Array.of(1)], [4]);
  for (const token of inOrder ? [10, 11, 12] : [10, 11]) station.driver.add(list, token);
  station.driver.publish();
  station.driver.add(list, 13);
  if (!inOrder) return station;
  // One chain of a batch of two is taken, so that the batch goes on.
  const chain = new Chain(station.arena.memory, SIZE);
  for (let turn = 0; turn < 2; turn += 1) {
    station.device.pop(chain);
    station.device.push(chain, 4);
  }
  station.device.publish();
  station.driver.take();
  return station;
}

/** What making a queue of a state ends with. */
function outcome(make: () => unknown): string {
  try {
    make();
    return 'made';
  } catch (error) {
    return error instanceof IommuError ? error.code : String(error);
  }
}

type Changed = Partial<Record<keyof DriverQueueState, unknown>>;

function changed<State extends DeviceQueueState>(state: State, change: Changed): State {
  return { ...state, ...change } as State; // Wrong on purpose.
}

describe.each(FORMATS)('R-20 $name: saved state', (format) => {
  const station = busyStation(format);
  const state = station.driver.save();
  const device = new Station({ format, size: SIZE }).device.save();
  const driverOf = (change: Changed) => outcome(() => station.createDriver(changed(state, change)));
  const deviceOf = (change: Changed) =>
    outcome(() => station.createDevice(changed(device, change)));
  const chainsOf = (change: Partial<ChainState>, index = 0) =>
    driverOf({ chains: state.chains.with(index, { ...state.chains[index]!, ...change }) }); // There are three.

  it('of another version, size, format or with other features', () => {
    expect([driverOf({}), deviceOf({})]).toEqual(['made', 'made']);
    for (const change of [
      { version: 2 },
      { size: 16 },
      { size: 4 },
      ...(['indirect', 'eventIndex', 'inOrder', 'packed'] as const).map((name) => ({
        features: { ...state.features, [name]: !state.features[name] },
      })),
    ])
      expect([driverOf(change), deviceOf(change)], JSON.stringify(change)).toEqual([
        'EINVAL',
        'EINVAL',
      ]);
    expect(driverOf({ buffersPerTable: 4 })).toBe('EINVAL');
  });

  it('with a position outside the ring', () => {
    const outside = [-1, 0x1_0000, 0.5, ...(format === PACKED ? [SIZE, SIZE | 0x8000] : [])];
    for (const position of outside)
      expect([driverOf({ position }), deviceOf({ position })]).toEqual(['EINVAL', 'EINVAL']);
  });

  it('with descriptors outside the ring, in two places or in none', () => {
    const [first = 0, ...others] = state.free;
    for (const free of [
      [...others, SIZE],
      [...others, -1],
      [...state.free, first],
      others,
      [...others, state.chains[0]?.ids[0]],
    ])
      expect(driverOf({ free }), String(free)).toBe('EINVAL');
    const [id = 0, ...more] = state.chains[0]?.ids ?? [];
    for (const ids of [
      [SIZE, ...more],
      [first, ...more],
      [],
      [id, ...more, first],
      state.chains[1]?.ids ?? [],
    ])
      expect(chainsOf({ ids }), String(ids)).toBe('EINVAL');
  });

  it('with more in flight than there is', () => {
    const [chain] = state.chains;
    expect(driverOf({ chains: Array(SIZE + 1).fill(chain) })).toBe('EINVAL');
    expect(driverOf({ chains: Array(0x1_0000).fill(chain) })).toBe('EINVAL');
    expect(driverOf({ unpublished: 5 })).toBe('EINVAL');
    for (const slots of [0, SIZE - 3, SIZE + 1, 0x8000]) expect(chainsOf({ slots })).toBe('EINVAL');
  });

  it('with tokens, lengths and flags that no driver has', () => {
    for (const token of [-1, 2 ** 31, 1.5]) expect(chainsOf({ token })).toBe('EINVAL');
    for (const writableBytes of [-1, 2 ** 32, 1.5])
      expect(chainsOf({ writableBytes })).toBe('EINVAL');
    for (const heldFlags of [0, 2, 4, 5, 0x81, 0x8001].filter((flags) => flags !== state.heldFlags))
      expect(driverOf({ heldFlags })).toBe('EINVAL');
    expect(driverOf({ unpublished: 0 })).toBe(format === PACKED ? 'EINVAL' : 'made');
  });

  it('with a batch where there is none, or of a chain that is not in it', () => {
    expect(driverOf({ batch: { last: state.chains[1]?.ids[0], bytes: 0 } })).toBe('EINVAL');
    const batching = busyStation(format, { inOrder: true });
    const true_ = batching.driver.save();
    const batchOf = (batch: unknown) =>
      outcome(() => batching.createDriver(changed(true_, { batch })));
    expect([batchOf(true_.batch), batchOf(undefined)]).toEqual(['made', 'made']);
    const [held, free] = [true_.chains.at(-1)?.ids[0], true_.free[0]];
    for (const last of [held, free, -1, SIZE, undefined])
      expect(batchOf({ last, bytes: 4 }), String(last)).toBe('EINVAL');
    expect(batchOf({ ...true_.batch, bytes: 2 ** 32 })).toBe('EINVAL');
  });

  it.each([
    { buffersPerTable: 0, inOrder: false },
    { buffersPerTable: 4, inOrder: false },
    { buffersPerTable: 0, inOrder: true },
    { buffersPerTable: 4, inOrder: true },
  ])('with any value in any place: tables of $buffersPerTable, in order $inOrder', (options) => {
    const busy = busyStation(format, options);
    const memory = busy.arena.copy(0, busy.arena.bytes.length);
    const outcomes = new Map<string, number>();
    const all = [...variants(busy.driver.save())] as DriverQueueState[]; // Or anything else.
    for (const variant of all) {
      busy.arena.bytes.set(memory);
      let driver = busy.driver;
      const result = outcome(() => (driver = busy.createDriver(variant)));
      outcomes.set(result, (outcomes.get(result) ?? 0) + 1);
      if (result !== 'made') continue;
      // It is a state, and nothing of it got lost.
      const saved = driver.save();
      expect(tokens(saved)).toEqual(tokens(variant));
      expect(busy.createDriver(asText(saved)).save()).toEqual(saved);
      expect(outcome(() => exercise(busy, driver))).toBe('made');
    }
    expect(busy.arena.guardsIntact()).toBe(true);
    expect([...outcomes.keys()].toSorted()).toEqual(['EINVAL', 'made']);
    expect(outcomes.get('EINVAL')).toBeGreaterThan(all.length / 2);
    expect(outcomes.get('made')).toBeGreaterThan(20);
  });

  it('of a device with any value in any place', () => {
    const results = [...variants(device)].map(
      (variant) => outcome(() => station.createDevice(variant as DeviceQueueState)), // Or anything else.
    );
    expect([...new Set(results)].toSorted()).toEqual(['EINVAL', 'made']);
  });
});

describe('R-20 split: a device that comes back to a ring', () => {
  it('whose available index does not fit is broken at the first look', () => {
    for (const [position, index, broken] of [
      [0, SIZE, false],
      [0, SIZE + 1, true],
      [0xfffc, 4, false],
      [0xfffc, 5, true],
      [5, 4, true],
      [0x8000, 0, true],
    ] as const) {
      const station = new Station({ format: SPLIT, size: SIZE });
      station.driver.add(station.arena.buffers([], [4]), 1);
      const at = station.ring + 16 * SIZE + AvailableRing.offset.idx;
      station.arena.view.setUint16(at, index, true);
      const device = station.createDevice(changed(station.device.save(), { position }));
      const chain = new Chain(station.arena.memory, SIZE);
      expect(device.pop(chain), `${position} ${index}`).toBe(broken ? Popped.BROKEN : Popped.CHAIN);
    }
  });
});

/** The state with each of its values replaced, one at a time, by each of those that may do harm. */
function* variants(value: unknown): Generator<unknown> {
  const numbers = [0, 1, 2, 3, 6, 7, 8, 9, 15, 16, 0x7fff, 0x8000, 0xffff, 0x1_0000, 2 ** 31 - 1];
  yield* [...numbers, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53, -1, 0.5, NaN, Infinity];
  yield* ['1', '', null, true, false, [], {}, [1, 2], [undefined], 5n, Symbol.iterator];
  if (Array.isArray(value)) {
    yield* [value.toReversed(), value.slice(1), value.slice(0, -1), [...value, ...value]];
    yield* [Array(value.length), Array(2 ** 30), Array(SIZE * 2).fill(value[0])];
    for (const [index, item] of value.entries())
      for (const variant of variants(item)) yield value.with(index, variant);
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, item] of Object.entries(value)) {
      for (const variant of variants(item)) yield { ...value, [key]: variant };
      yield Object.fromEntries(Object.entries(value).filter(([other]) => other !== key));
    }
  }
}

function tokens({ chains }: DriverQueueState): readonly number[] {
  return chains.map(({ token }) => token).toSorted((a, b) => a - b);
}

/** Whatever it remembers, a driver neither throws nor goes on for ever. */
function exercise({ arena, end, device }: Station, driver: Station['driver']): void {
  arena.reuse(end);
  const list = arena.buffers([Uint8Array.of(1)], [4]);
  const chain = new Chain(arena.memory, SIZE);
  for (let turn = 0; turn < 2 * SIZE; turn += 1) {
    driver.add(list, turn);
    driver.publish();
    if (device.pop(chain) === Popped.CHAIN) device.push(chain, 4);
    device.publish();
    driver.armNotification();
    driver.take();
    driver.suppressNotification();
  }
  driver.save();
}
