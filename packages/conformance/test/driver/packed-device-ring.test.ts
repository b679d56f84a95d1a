/** The device's half of a packed ring, as it watches a driver. */

import { VirtioFeature, featureMask, guestPhysical } from '@viommu/common';
import { BufferList, PackedDriverQueue, SharedMemory } from '@viommu/ring';
import { expect, it } from 'vitest';
import { Ledger } from '../../src/driver/ledger.ts';
import { PackedDeviceRing } from '../../src/driver/packed-device-ring.ts';

const BASE = 0x4000_0000n;

it('lets a driver use slots again that belong to a list in flight, once another one was used in their place', () => {
  const buffer = new SharedArrayBuffer(0x1000);
  const memory = new SharedMemory({ buffer, offset: 0, size: 0x1000, base: guestPhysical(BASE) });
  const layout = {
    size: 4,
    descriptorArea: guestPhysical(BASE),
    driverArea: guestPhysical(BASE + 0x100n),
    deviceArea: guestPhysical(BASE + 0x200n),
  };
  const features = { indirect: false, eventIndex: false, packed: true };
  const driver = new PackedDriverQueue({ memory, layout, features });
  const ledger = new Ledger();
  const packed = featureMask(VirtioFeature.RING_PACKED);
  const ring = new PackedDeviceRing({ memory, layout, features: packed, ledger });
  const [first, second, third] = [0x400n, 0x500n, 0x600n].map((at) =>
    new BufferList(2)
      .addReadable(guestPhysical(BASE + at), 8)
      .addWritable(guestPhysical(BASE + at + 8n), 8),
  );
  if (first === undefined || second === undefined || third === undefined) throw new Error();

  driver.add(first, 1);
  driver.add(second, 2);
  driver.publish();
  ring.look();
  const [a, b] = [ring.take(), ring.take()];
  if (a === undefined || b === undefined) throw new Error('The lists are not there.');
  ring.give(b, 8);
  expect(driver.take()).toBe(2);
  // Where the first list was, which the device still has.
  driver.add(third, 3);
  driver.publish();
  ring.look();
  ring.give(a, 8);
  expect(driver.take()).toBe(1);
  expect(ledger.findings).toEqual([]);
});
