/** IN_ORDER: section "In-order use of descriptors", and the device's part of "Reserved Feature Bits". */

import { Status, guestPhysical } from '@viommu/common';
import {
  BufferList,
  SharedMemory,
  createDeviceQueue,
  createDriverQueue,
  queueFeatures,
} from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { IommuDevice } from '../src/index.ts';
import { A, attachBytes, detachBytes, mapBytes, probeBytes, unmapBytes } from './guest.ts';

const BASE = 0x4000_0000n;
const SIZE = 64;
const STRIDE = 0x400;
const REQUESTS_AT = 0x4000;
const { OK, INVAL } = Status;

/** Cheap requests, costly ones, refused ones and one that is no request. */
const REQUESTS: readonly (readonly [readable: Uint8Array, status: number])[] = [
  [attachBytes(1, A), OK],
  ...Array.from({ length: 30 }, (_, page) => {
    const start = BigInt(page) * 0x1000n;
    return [mapBytes(1, start, start + 0xfffn, 0x8000n), OK] as const;
  }),
  [mapBytes(1, 0n, 0xfffn, 0x9000n), INVAL],
  [unmapBytes(1, 0n, 0xf_ffffn), OK],
  [Uint8Array.of(99, 0, 0, 0), -1],
  [probeBytes(A), OK],
  [mapBytes(1, 0n, 0xfffn, 0x9000n), OK],
  [detachBytes(1, A), OK],
];

/** Makes all requests available at once and lets the device serve them; returns tokens and statuses as they come back. */
function serve(packed: boolean, batchUsed: boolean, driverInOrder: boolean): [number, number][] {
  const device = new IommuDevice({
    endpoints: [{ id: A }],
    probeSize: 24,
    features: { packed },
    batchUsed,
  });
  const memory = new SharedMemory({
    buffer: new SharedArrayBuffer(0x2_0000),
    offset: 0,
    size: 0x2_0000,
    base: guestPhysical(BASE),
  });
  const layout = {
    size: SIZE,
    descriptorArea: guestPhysical(BASE),
    driverArea: guestPhysical(BASE + 0x1000n),
    deviceArea: guestPhysical(BASE + 0x2000n),
  };
  const features = queueFeatures(device.offeredFeatures);
  const queue = createDriverQueue({
    memory,
    layout,
    features: { ...features, inOrder: driverInOrder },
    indirect: { address: guestPhysical(BASE + 0x3000n), buffersPerChain: 2 },
  });
  device.acceptFeatures(device.offeredFeatures);
  device.start({
    features: device.offeredFeatures,
    memory,
    queues: [createDeviceQueue({ memory, layout, features, batchUsed }), undefined],
    port: { interrupt: () => {}, configChanged: () => {}, needsReset: () => {} },
  });
  expect(features.inOrder).toBe(true);
  REQUESTS.forEach(([readable], token) => {
    const at = REQUESTS_AT + token * STRIDE;
    memory.write(at, readable, 0, readable.length);
    memory.write(at + 0x200, new Uint8Array(28).fill(0xff), 0, 28);
    const address = BASE + BigInt(at);
    const list = new BufferList(2)
      .addReadable(guestPhysical(address), readable.length)
      .addWritable(guestPhysical(address + 0x200n), readable[0] === 5 ? 28 : 4);
    expect(queue.add(list, token)).toBe(true);
  });
  queue.publish();
  while (device.serve());
  const found: [number, number][] = [];
  for (let token = queue.take(); token >= 0; token = queue.take()) {
    const [readable] = REQUESTS[token]!; // A token of ours.
    const tail = REQUESTS_AT + token * STRIDE + 0x200 + (readable[0] === 5 ? 24 : 0);
    found.push([token, queue.takenBytes === 0 ? -1 : memory.getUint8(tail)]);
  }
  return found;
}

const EXPECTED = REQUESTS.map(([, status], token) => [token, status]);

describe('a device with IN_ORDER', () => {
  it.each([
    ['split', false],
    ['packed', true],
  ])(
    'basic.dev.reserved.in-order: uses requests in the order they became available, %s',
    (_, packed) => {
      // A driver that does not rely on the order finds each request by its id.
      expect(serve(packed, false, false)).toEqual(EXPECTED);
    },
  );

  it.each([
    ['split', false],
    ['packed', true],
  ])('basic.dev.reserved.in-order: a batch is told of by its last request, %s', (_, packed) => {
    expect(serve(packed, true, true)).toEqual(EXPECTED);
  });
});
