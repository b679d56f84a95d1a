/** Every byte of a queue of 8 after one ATTACH, with EVENT_IDX: both sides at their places, and nothing else written. */

import { AttachRequest, guestPhysical } from '@viommu/common';
import {
  BufferList,
  Chain,
  Popped,
  type QueueLayout,
  SplitDeviceQueue,
  SplitDriverQueue,
} from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { Arena } from '../kit/arena.ts';

const at = (address: number) => guestPhysical(BigInt(address));

const layout: QueueLayout = {
  size: 8,
  descriptorArea: at(0x1000),
  driverArea: at(0x1080),
  deviceArea: at(0x1098),
};

/** Lines of a picture: address, then bytes. What no line names is zero. */
const GAP_BYTES = '1096: ee ee';
const DRIVER_BYTES = `
  1000: 00 20 00 00 00 00 00 00  14 00 00 00 01 00 01 00
  1010: 00 21 00 00 00 00 00 00  04 00 00 00 02 00 00 00
  1080: 00 00 01 00 00 00 00 00  00 00 00 00 00 00 00 00
  1090: 00 00 00 00 00 00
  2000: 01 00 00 00 01 00 00 00  08 00 00 00 00 00 00 00
  2010: 00 00 00 00`;
const DEVICE_BYTES = `
  1098: 00 00 01 00 00 00 00 00  04 00 00 00 00 00 00 00
  10dc: 01 00
  2100: 00 00 00 00`;

/** A queue that has come so far in the story. */
function tell(steps: number): Arena {
  const arena = new Arena({ base: 0n });
  const { memory } = arena;
  const features = { indirect: false, eventIndex: true };
  // What was there before the queue must not matter.
  arena.bytes.fill(0xee, 0x1000, 0x10de);
  const driver = new SplitDriverQueue({ memory, layout, features });
  const device = new SplitDeviceQueue({ memory, layout, features });
  const chain = new Chain(memory, 8);
  const story = [
    () => {
      arena.bytes.set(AttachRequest.encode({ type: 1, domain: 1, endpoint: 8, flags: 0 }), 0x2000);
      arena.bytes.fill(0xff, 0x2100, 0x2104);
      const list = new BufferList(2).addReadable(at(0x2000), 20).addWritable(at(0x2100), 4);
      expect(driver.add(list, 7)).toBe(true);
      expect(driver.publish()).toBe(true);
    },
    () => {
      expect(device.pop(chain)).toBe(Popped.CHAIN);
      expect([chain.id, chain.readableBytes, chain.writableBytes]).toEqual([0, 20, 4]);
      chain.writeWord(0, 0);
      device.push(chain, 4);
      expect(device.publish()).toBe(true);
      expect(device.armNotification()).toBe(true);
    },
    () => {
      expect(driver.take()).toBe(7);
      expect(driver.takenBytes).toBe(4);
    },
    () => {
      const list = new BufferList(2).addReadable(at(0x3000), 36).addWritable(at(0x3100), 4);
      expect(driver.add(list, 8)).toBe(true);
      // The device asked for a notification at index 1, which is the one that this fills.
      expect(driver.publish()).toBe(true);
    },
  ];
  for (const step of story.slice(0, steps)) step();
  return arena;
}

describe('one ATTACH in a queue of 8', () => {
  it('begins with parts that are all zero, and what is between them left alone', () => {
    expectImage(tell(0));
  });

  it('has the bytes of the standard once the request is available', () => {
    expectImage(tell(1), DRIVER_BYTES, '2100: ff ff ff ff');
  });

  it('has the bytes of the standard once the request is used', () => {
    expectImage(tell(2), DRIVER_BYTES, DEVICE_BYTES);
  });

  it('gives the request back to the driver without a further byte', () => {
    expectImage(tell(3), DRIVER_BYTES, DEVICE_BYTES);
  });

  it('takes the next free descriptors for the next request', () => {
    expectImage(
      tell(4),
      DRIVER_BYTES.replace('1080: 00 00 01 00 00 00 00 00', '1080: 00 00 02 00 00 00 02 00'),
      DEVICE_BYTES,
      `1020: 00 30 00 00 00 00 00 00  24 00 00 00 01 00 03 00
       1030: 00 31 00 00 00 00 00 00  04 00 00 00 02 00 00 00`,
    );
  });
});

/** Compares all of guest memory with a picture. */
function expectImage(arena: Arena, ...pictures: readonly string[]): void {
  const image = new Uint8Array(arena.bytes.length);
  for (const line of [GAP_BYTES, ...pictures].join('\n').split('\n')) {
    const [address, bytes] = line.split(':');
    if (address === undefined || bytes === undefined) continue;
    const values = bytes.trim().split(/\s+/);
    for (const [index, byte] of values.entries())
      image[Number.parseInt(address, 16) + index] = Number.parseInt(byte, 16);
  }
  const wrong = [...image.keys()].filter((at) => image[at] !== arena.bytes[at]);
  expect(wrong.map((at) => at.toString(16))).toEqual([]);
  expect(arena.guardsIntact()).toBe(true);
}
