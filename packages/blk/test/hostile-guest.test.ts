/** A disk against a driver that sends anything: it never crashes, reaches nothing else, and works after a reset. */

import {
  BLK_NAME_BYTES,
  BlkCounter,
  BlkFeature,
  BlkRange,
  BlkRequestHead,
  BlkRequestType,
} from '@viommu/blk';
import { DeviceStatus, featureMask } from '@viommu/common';
import { BufferList } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { must } from './kit/must.ts';
import { RawGuest } from './kit/raw-guest.ts';
import { CONTEXT, Rig, checksum, fillBytes } from './kit/rig.ts';

const PAGE = 4096;
const SECTORS = 64;
const TYPES = Object.values(BlkRequestType);

/** Small numbers that only a seed decides. */
function dice(seed: number): (below: number) => number {
  let state = Math.imul(seed, 0x9e37_79b1) ^ 0x1234_5678;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** What a request looks like, mostly right. */
function requestOf(roll: (below: number) => number): [Uint8Array[], number[]] {
  const type = roll(8) === 0 ? roll(0x1_0000) : must(TYPES[roll(TYPES.length)]);
  const sector =
    roll(6) === 0 ? BigInt(roll(2 ** 31)) << BigInt(roll(34)) : BigInt(roll(SECTORS + 8));
  const head = BlkRequestHead.encode({ type, sector });
  const lengths = [0, 1, 16, 20, 512, 511, 1024, 1536, 4096, 5000];
  const length = (): number => must(lengths[roll(lengths.length)]);
  const readable = roll(10) === 0 ? [head.subarray(0, roll(17))] : [head];
  for (let count = roll(3); count > 0; count -= 1) {
    const bytes = new Uint8Array(length());
    fillBytes(bytes, roll(1000));
    if (roll(2) === 0 && bytes.length >= BlkRange.size)
      bytes.set(
        BlkRange.encode({ sector: BigInt(roll(80)), numSectors: roll(40), flags: roll(3) }),
      );
    readable.push(bytes);
  }
  const writable = Array.from({ length: roll(3) }, length);
  if (roll(8) !== 0) writable.push(1);
  return [readable.filter((bytes) => bytes.length > 0), writable.filter((bytes) => bytes > 0)];
}

describe.each([
  ['split', false],
  ['packed', true],
])('%s rings', (_name, packed) => {
  it('requests of any content never crash it, and are answered within their buffers', () => {
    for (let seed = 1; seed <= 8; seed += 1) {
      const device = { chunkBytes: 1024, segmentsMax: 3, features: { packed } };
      const rig = new Rig({ sectors: SECTORS, device });
      const guest = new RawGuest(rig);
      const roll = dice(seed);
      const other = rig.fill(4, seed);
      const sum = checksum(rig.guest.at(other, 0, 4 * PAGE));
      let answered = 0;
      for (let round = 0; round < 150; round += 1) {
        const [readable, writable] = requestOf(roll);
        if (readable.length + writable.length === 0) continue;
        const answer = must(guest.send(readable, writable));
        const room = writable.reduce((all, bytes) => all + bytes, 0);
        expect(answer.written).toBeLessThanOrEqual(room);
        if (room > 0) expect([0, 1, 2]).toContain(answer.status);
        // A used length is true: what lies behind it, but for the status, is as it was.
        const left = answer.bytes.subarray(answer.written, -1);
        if (answer.status !== 0) expect(left.every((byte) => byte === 0xee)).toBe(true);
        answered += 1;
      }
      expect(rig.device.counters[BlkCounter.REQUESTS]).toBe(answered);
      expect(checksum(rig.guest.at(other, 0, 4 * PAGE))).toBe(sum);
      expect(rig.transport.status() & DeviceStatus.DEVICE_NEEDS_RESET).toBe(0);
    }
  });

  it('bytes of any kind in ring and tables, and mappings that come and go, cost it a reset at most', () => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const rig = new Rig({ sectors: SECTORS, device: { chunkBytes: 1024, features: { packed } } });
      const roll = dice(seed + 1000);
      const other = rig.fill(2, seed);
      const sum = checksum(rig.guest.at(other, 0, 2 * PAGE));
      let guest = new RawGuest(rig);
      for (let round = 0; round < 25; round += 1) {
        const noise = new Uint8Array(roll(48));
        fillBytes(noise, seed * 100 + round);
        if (roll(3) === 0) rig.guest.at(guest.page + roll(3), roll(300), noise.length).set(noise);
        if (roll(12) === 0) rig.dma.revoke(guest.dmaPage + roll(3));
        const [readable, writable] = requestOf(roll);
        if (readable.length + writable.length > 0) {
          const list = { readable, writable };
          guest.send(list.readable, list.writable);
        }
        rig.mmio.arm();
        rig.mmio.suppress();
        // Its own ring may be broken by now, and the device with it.
        const lost = (rig.transport.status() & DeviceStatus.DEVICE_NEEDS_RESET) !== 0;
        if (lost || guest.queue.fault !== undefined || guest.queue.inFlight > 8)
          guest = new RawGuest(rig);
      }
      expect(checksum(rig.guest.at(other, 0, 2 * PAGE))).toBe(sum);
      const name = BlkRequestHead.encode({ type: BlkRequestType.GET_ID, sector: 0n });
      expect(new RawGuest(rig).send([name], [BLK_NAME_BYTES, 1])).toMatchObject({ status: 0 });
      expect(rig.driver().readName(CONTEXT)).toBe('viommu');
    }
  });
});

describe('a driver without measure', () => {
  it('may claim buffers of gigabytes, chain after chain: each is refused as the one before', () => {
    const rig = new Rig({ sectors: SECTORS });
    const guest = new RawGuest(rig);
    const head = BlkRequestHead.encode({ type: BlkRequestType.IN, sector: 0n });
    const page = rig.guest.take(1);
    rig.guest.at(page, 0, head.length).set(head);
    for (let round = 0; round < 20; round += 1) {
      const status = rig.guest.at(page, 100, 1).fill(0xee);
      const list = new BufferList(3)
        .addReadable(guest.address(page, 0, head.length, 1), head.length)
        .addWritableAt(0, 0x1234_0000, 0x4000_0000)
        .addWritable(guest.address(page, 100, 1, 2), 1);
      guest.queue.add(list, 1);
      guest.queue.publish();
      rig.step();
      expect([guest.queue.take(), guest.queue.takenBytes, status[0]]).toEqual([1, 0, 1]);
    }
  });

  it('is not served on queues that it has not negotiated', () => {
    const rig = new Rig({ sectors: SECTORS, device: { queues: 2 } });
    const guest = new RawGuest(rig, { features: ~featureMask(BlkFeature.MQ), queues: 2 });
    const head = BlkRequestHead.encode({ type: BlkRequestType.FLUSH, sector: 0n });
    expect(guest.send([head], [1])).toMatchObject({ status: 0 });
    guest.queue = must(guest.queues[1]);
    expect(guest.send([head], [1])).toBeUndefined();
    const both = new RawGuest(rig, { queues: 2 });
    both.queue = must(both.queues[1]);
    expect(both.send([head], [1])).toMatchObject({ status: 0 });
  });
});
