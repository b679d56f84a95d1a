/**
 * Every byte of a ring of 4 while three requests go through one wrap: A of three descriptors, B of two across the end of
 * the ring, C of two in the next lap. First the device against the bytes of a driver, then the driver against the bytes
 * of a device, then both together.
 */

import { guestPhysical } from '@viommu/common';
import {
  BufferList,
  Chain,
  PackedDeviceQueue,
  PackedDriverQueue,
  Popped,
  type QueueLayout,
} from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { Arena } from '../kit/arena.ts';

const RING = 0x1000;
const EVENTS = 0x1040;
const at = (address: number) => guestPhysical(BigInt(address));
const layout: QueueLayout = {
  size: 4,
  descriptorArea: at(RING),
  driverArea: at(EVENTS),
  deviceArea: at(EVENTS + 4),
};
const features = { indirect: false, eventIndex: true };
const EMPTY = '00 00 00 00 00 00 00 00  00 00 00 00  00 00  00 00';

/** A request as the driver has it, what the device says of it, and the descriptors of both. */
interface Request {
  readonly buffers: () => BufferList;
  readonly id: number;
  readonly readableBytes: number;
  /** By slot, in the order of the list. */
  readonly available: readonly [Slot, ...Slot[]];
  readonly used: Slot;
}

type Slot = readonly [index: number, bytes: string];

const A: Request = {
  buffers: () =>
    new BufferList(3)
      .addReadable(at(0x2000), 4)
      .addReadable(at(0x2010), 16)
      .addWritable(at(0x2100), 4),
  id: 0,
  readableBytes: 20,
  available: [
    [0, '00 20 00 00 00 00 00 00  04 00 00 00  00 00  81 00'],
    [1, '10 20 00 00 00 00 00 00  10 00 00 00  00 00  81 00'],
    [2, '00 21 00 00 00 00 00 00  04 00 00 00  00 00  82 00'],
  ],
  used: [0, '00 20 00 00 00 00 00 00  04 00 00 00  00 00  82 80'],
};

const B: Request = {
  buffers: () => new BufferList(2).addReadable(at(0x2200), 20).addWritable(at(0x2300), 4),
  id: 1,
  readableBytes: 20,
  available: [
    [3, '00 22 00 00 00 00 00 00  14 00 00 00  00 00  81 00'],
    [0, '00 23 00 00 00 00 00 00  04 00 00 00  01 00  02 80'],
  ],
  used: [3, '00 22 00 00 00 00 00 00  04 00 00 00  01 00  82 80'],
};

/** Our driver writes the id of the last descriptor, the only one that counts, into the others as well. */
function everywhere({ id, available: [first, ...more] }: Request): Request['available'] {
  const withId = ([slot, bytes]: Slot): Slot => [
    slot,
    `${bytes.slice(0, -12)}0${id} 00${bytes.slice(-7)}`,
  ];
  return [withId(first), ...more.map(withId)];
}

/** Ids are the driver's choice: the example takes 0 again, our driver the one that was free for longest. */
const withId = (id: number): Request => ({
  buffers: () => new BufferList(2).addReadable(at(0x2400), 20).addWritable(at(0x2500), 4),
  id,
  readableBytes: 20,
  available: [
    [1, '00 24 00 00 00 00 00 00  14 00 00 00  00 00  01 80'],
    [2, `00 25 00 00 00 00 00 00  04 00 00 00  0${id} 00  02 80`],
  ],
  used: [1, `00 24 00 00 00 00 00 00  04 00 00 00  0${id} 00  02 00`],
});

describe('three requests through a ring of 4', () => {
  it('are used by the device with the bytes of the standard', () => {
    const arena = new Arena({ base: 0n });
    const picture = new Picture(arena);
    const device = new PackedDeviceQueue({ memory: arena.memory, layout, features });
    const chain = new Chain(arena.memory, 4);
    for (const request of [A, B, withId(0)]) {
      for (const [slot, bytes] of request.available.toReversed()) picture.draw(slot, bytes);
      serve(device, chain, request);
      expectRing(picture, request.used);
      picture.draw(...request.used);
    }
    expect(device.pop(chain)).toBe(Popped.EMPTY);
    // At slot 3 of the lap with wrap counter 0, as the device now says.
    expect(device.armNotification()).toBe(true);
    expect(hex(arena.copy(EVENTS + 4, 4))).toBe('03 00 02 00');
  });

  it('are made available by the driver with the bytes of the standard', () => {
    const { arena, driver } = tell();
    const picture = new Picture(arena);
    for (const [token, request] of [A, B, withId(2)].entries()) {
      expect(driver.add(request.buffers(), token)).toBe(true);
      // All but the flags of the first slot, which come last.
      const [[slot, bytes], ...others] = everywhere(request);
      expectRing(picture, [slot, bytes.slice(0, -5) + picture.flags(slot)], ...others);
      expect(driver.publish()).toBe(true);
      expectRing(picture, [slot, bytes]);
      picture.draw(...request.used);
      expect([driver.take(), driver.takenBytes]).toEqual([token, 4]);
      expectRing(picture);
    }
    expect([driver.take(), driver.position]).toEqual([-1, 3]);
    expect(driver.armNotification()).toBe(true);
    expect(hex(arena.copy(EVENTS, 4))).toBe('03 00 02 00');
  });

  it('leave the ring as the standard has it at the end', () => {
    const { arena, driver } = tell();
    const device = new PackedDeviceQueue({ memory: arena.memory, layout, features });
    const chain = new Chain(arena.memory, 4);
    for (const [token, request] of [A, B, withId(2)].entries()) {
      driver.add(request.buffers(), token);
      driver.publish();
      serve(device, chain, request);
      expect(driver.take()).toBe(token);
    }
    const ring = [0, 1, 2, 3].map((slot) => hex(arena.copy(RING + 16 * slot, 16)));
    expect(ring).toEqual(
      [
        '00 23 00 00 00 00 00 00  04 00 00 00  01 00  02 80',
        '00 24 00 00 00 00 00 00  04 00 00 00  02 00  02 00',
        '00 25 00 00 00 00 00 00  04 00 00 00  02 00  02 80',
        '00 22 00 00 00 00 00 00  04 00 00 00  01 00  82 80',
      ].map(spaced),
    );
    // Both sides would go on at the same slot of the same lap.
    driver.armNotification();
    device.armNotification();
    expect(hex(arena.copy(EVENTS, 8))).toBe('03 00 02 00 03 00 02 00');
  });

  it('begin in a ring that is all zero, and leave alone what is beside it', () => {
    const { arena } = tell();
    expectRing(new Picture(arena));
    const beside = [arena.copy(RING - 256, 256), arena.copy(EVENTS + 8, 256)];
    expect(beside.every((bytes) => bytes.every((byte) => byte === 0xee))).toBe(true);
  });
});

/** A driver that begins where something else was before. */
function tell() {
  const arena = new Arena({ base: 0n });
  arena.bytes.fill(0xee);
  const driver = new PackedDriverQueue({ memory: arena.memory, layout, features });
  return { arena, driver };
}

/** The device's part of one request. */
function serve(device: PackedDeviceQueue, chain: Chain, request: Request): void {
  expect(device.pop(chain)).toBe(Popped.CHAIN);
  const { id, readableBytes, writableBytes, slots } = chain;
  expect([id, readableBytes, writableBytes, slots]).toEqual([
    request.id,
    request.readableBytes,
    4,
    request.available.length,
  ]);
  chain.writeWord(0, 0);
  device.push(chain, 4);
  expect(device.publish()).toBe(true);
}

/** The ring as it should be, and as it is. */
class Picture {
  readonly #arena: Arena;
  readonly #slots: string[] = [EMPTY, EMPTY, EMPTY, EMPTY].map(spaced);

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  /** Writes a slot for the other side. */
  draw(slot: number, bytes: string): void {
    this.#slots[slot] = spaced(bytes);
    const values = spaced(bytes).split(' ');
    for (const [index, byte] of values.entries())
      this.#arena.bytes[RING + 16 * slot + index] = Number.parseInt(byte, 16);
  }

  flags(slot: number): string {
    return this.#slots[slot]?.slice(-5) ?? '';
  }

  /** These slots change, by the side under test. */
  change(slots: readonly Slot[]): void {
    for (const [slot, bytes] of slots) this.#slots[slot] = spaced(bytes);
  }

  /** What should stand in the slots, and what does. */
  get expected(): readonly string[] {
    return this.#slots;
  }
  get found(): readonly string[] {
    return this.#slots.map((_, slot) => hex(this.#arena.copy(RING + 16 * slot, 16)));
  }
}

/** These slots have changed, and no others. */
function expectRing(picture: Picture, ...changed: readonly Slot[]): void {
  picture.change(changed);
  expect(picture.found).toEqual(picture.expected);
}

const spaced = (bytes: string): string => bytes.replaceAll(/\s+/g, ' ');
const hex = (bytes: Uint8Array): string =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
