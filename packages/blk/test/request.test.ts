/** What a disk makes of requests: framing, checks, statuses; from the text of the standard. */

import {
  BLK_NAME_BYTES,
  BlkCounter,
  BlkFeature,
  BlkRange,
  BlkRequestHead,
  BlkRequestType,
  BlkStatus,
  MemoryBacking,
} from '@viommu/blk';
import { DeviceStatus, VirtioFeature, featureMask } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { RawGuest } from './kit/raw-guest.ts';
import { Rig, type RigOptions, checksum, fillBytes } from './kit/rig.ts';
import { must } from './kit/must.ts';

const { IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES } = BlkRequestType;
const { OK, IOERR, UNSUPP } = BlkStatus;

const head = (type: number, sector = 0n): Uint8Array => BlkRequestHead.encode({ type, sector });
const range = (sector: bigint, numSectors: number, flags = 0): Uint8Array =>
  BlkRange.encode({ sector, numSectors, flags });
const data = (bytes: number, seed = 1): Uint8Array => {
  const content = new Uint8Array(bytes);
  fillBytes(content, seed);
  return content;
};
const join = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
/** Cuts bytes into pieces of these lengths, and the rest. */
const cut = (bytes: Uint8Array, ...lengths: readonly number[]): Uint8Array[] => {
  let at = 0;
  const pieces = lengths.map((length) => bytes.slice(at, (at += length)));
  return at < bytes.length ? [...pieces, bytes.slice(at)] : pieces;
};

function raw(options: RigOptions = {}, without = 0n): RawGuest {
  const rig = new Rig({ sectors: 512, ...options });
  fillBytes(rig.backing.bytes, 42);
  return new RawGuest(rig, { features: ~without });
}

describe('framing', () => {
  const content = data(1024, 9);
  it.each([
    ['as most drivers do it', [16, 1024]],
    ['in one buffer', [1040]],
    ['with the head in two', [7, 9, 1024]],
    ['with data in the head\u2019s buffer', [20, 1020]],
    ['byte by byte at the start', [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1026]],
    ['in pieces that are no sectors', [16, 1, 511, 13, 499]],
  ])('a write %s', (_name, lengths) => {
    const guest = raw({ device: { features: { segMax: false } } });
    const answer = guest.send(cut(join(head(OUT, 3n), content), ...lengths), [1]);
    expect(answer).toMatchObject({ written: 1, status: OK });
    expect(checksum(guest.rig.backing.bytes.subarray(1536, 2560))).toBe(checksum(content));
  });

  it.each([
    ['as most drivers do it', [1024, 1]],
    ['in one buffer', [1025]],
    ['with the status behind data', [1000, 25]],
    ['in pieces that are no sectors', [1, 511, 13, 498, 1, 1]],
  ])('a read %s', (_name, lengths) => {
    const guest = raw();
    const answer = must(guest.send([head(IN, 5n)], lengths));
    expect(answer).toMatchObject({ written: 1025, status: OK });
    expect(checksum(answer.bytes.subarray(0, 1024))).toBe(
      checksum(guest.rig.backing.bytes.subarray(2560, 3584)),
    );
  });

  it('the status is the last byte, whatever a driver has before it', () => {
    const guest = raw();
    const answer = must(guest.send([head(OUT), data(512)], [4, 4]));
    expect([...answer.bytes]).toEqual([...Array(7).fill(0xee), OK]);
    // Nothing was written from the start on.
    expect(answer.written).toBe(0);
  });

  it('a flush may have data, which mean nothing', () => {
    const guest = raw();
    expect(guest.send([head(FLUSH), data(100)], [1])).toMatchObject({ written: 1, status: OK });
  });

  it('a request of no sectors does nothing, well', () => {
    const guest = raw();
    const before = checksum(guest.rig.backing.bytes);
    expect(guest.send([head(IN)], [1])).toMatchObject({ written: 1, status: OK });
    expect(guest.send([head(OUT)], [1])).toMatchObject({ written: 1, status: OK });
    expect(checksum(guest.rig.backing.bytes)).toBe(before);
  });

  it('a head that is cut off is an error, and so is none', () => {
    const guest = raw();
    for (const length of [0, 1, 4, 15]) {
      const readable = length === 0 ? [] : [head(FLUSH).subarray(0, length)];
      expect(guest.send(readable, [1])).toMatchObject({ written: 1, status: IOERR });
      expect(guest.send(readable, [512, 1])).toMatchObject({ written: 0, status: IOERR });
    }
  });

  it('a request without a status byte is given back with nothing done', () => {
    const guest = raw();
    const before = checksum(guest.rig.backing.bytes);
    expect(guest.send([head(OUT), data(512)], [])).toMatchObject({ written: 0, status: undefined });
    expect(checksum(guest.rig.backing.bytes)).toBe(before);
    expect(guest.rig.device.counters[BlkCounter.FAILURES]).toBe(1);
    expect(guest.send([head(FLUSH)], [1])).toMatchObject({ status: OK });
  });
});

describe('reads and writes', () => {
  const CAPACITY = 512n;
  it.each([
    ['the last sector', CAPACITY - 1n, 512, OK],
    ['all of the disk\u2019s end', CAPACITY - 4n, 2048, OK],
    ['one sector too far', CAPACITY - 1n, 1024, IOERR],
    ['behind the end', CAPACITY, 512, IOERR],
    ['far behind', 2n ** 32n, 512, IOERR],
    ['where bytes overflow 64 bits', 2n ** 55n, 512, IOERR],
    ['at the last of 64 bits', 2n ** 64n - 1n, 512, IOERR],
    ['around the end of 64 bits', 2n ** 64n - 1n, 1024, IOERR],
    ['of half a sector', 0n, 256, IOERR],
    ['of a sector and a byte', 0n, 513, IOERR],
    ['of one byte', 0n, 1, IOERR],
  ])('%s', (_name, sector, bytes, status) => {
    const guest = raw();
    const before = checksum(guest.rig.backing.bytes);
    const read = must(guest.send([head(IN, sector)], [bytes, 1]));
    expect([read.status, read.written]).toEqual([status, status === OK ? bytes + 1 : 0]);
    if (status !== OK)
      expect(read.bytes.subarray(0, bytes).every((byte) => byte === 0xee)).toBe(true);
    expect(guest.send([head(OUT, sector), data(bytes, 7)], [1])).toMatchObject({
      status,
      written: 1,
    });
    expect(checksum(guest.rig.backing.bytes) === before).toBe(status !== OK);
  });

  it('with more pieces than seg_max are errors, if that was negotiated', () => {
    const device = { segmentsMax: 4 };
    const pieces = (count: number): Uint8Array[] =>
      Array.from({ length: count }, () => data(512)).flatMap((bytes) => [bytes]);
    const limited = raw({ device });
    expect(limited.send([head(OUT), ...pieces(4)], [1])).toMatchObject({ status: OK });
    expect(limited.send([head(OUT), ...pieces(5)], [1])).toMatchObject({ status: IOERR });
    expect(limited.send([head(IN)], [512, 512, 512, 512, 1])).toMatchObject({ status: OK });
    expect(limited.send([head(IN)], [512, 512, 512, 513])).toMatchObject({ status: OK });
    expect(limited.send([head(IN)], [512, 512, 512, 256, 256, 1])).toMatchObject({ status: IOERR });
    const free = raw({ device }, featureMask(BlkFeature.SEG_MAX));
    expect(free.send([head(OUT), ...pieces(12)], [1])).toMatchObject({ status: OK });
  });

  it('with a piece longer than size_max are errors, if that was negotiated', () => {
    const device = { segmentBytesMax: 1024 };
    const limited = raw({ device });
    // Head and status do not count.
    expect(limited.send([join(head(OUT), data(1024))], [1])).toMatchObject({ status: OK });
    expect(limited.send([head(IN)], [1025])).toMatchObject({ status: OK });
    expect(limited.send([head(OUT), data(1536)], [1])).toMatchObject({ status: IOERR });
    expect(limited.send([head(IN)], [1536, 1])).toMatchObject({ status: IOERR });
    const free = raw({ device }, featureMask(BlkFeature.SIZE_MAX));
    expect(free.send([head(OUT), data(8192)], [1])).toMatchObject({ status: OK });
  });

  it('writes to a disk that is read only are errors and write nothing', () => {
    const guest = raw({ device: { readOnly: true } });
    const before = checksum(guest.rig.backing.bytes);
    expect(guest.rig.device.offeredFeatures & featureMask(BlkFeature.RO)).not.toBe(0n);
    expect(guest.send([head(OUT), data(512)], [1])).toMatchObject({ status: IOERR });
    expect(guest.send([head(OUT)], [1])).toMatchObject({ status: IOERR });
    expect(guest.send([head(WRITE_ZEROES), range(0n, 1)], [1])).toMatchObject({ status: IOERR });
    expect(guest.send([head(DISCARD), range(0n, 1)], [1])).toMatchObject({ status: IOERR });
    expect(checksum(guest.rig.backing.bytes)).toBe(before);
    expect(guest.send([head(IN)], [512, 1])).toMatchObject({ status: OK });
  });
});

describe('flush', () => {
  it('reaches the backing; writes do not wait for it', () => {
    const guest = raw();
    guest.send([head(OUT), data(512)], [1]);
    expect(guest.rig.backing.flushes).toBe(0);
    expect(guest.send([head(FLUSH)], [1])).toMatchObject({ status: OK });
    expect([guest.rig.backing.flushes, guest.rig.device.counters[BlkCounter.FLUSHES]]).toEqual([
      1, 1,
    ]);
  });

  it('offered and not negotiated makes every write safe before it is complete', () => {
    const guest = raw({}, featureMask(BlkFeature.FLUSH));
    guest.send([head(OUT), data(512)], [1]);
    guest.send([head(WRITE_ZEROES), range(0n, 1)], [1]);
    expect(guest.rig.backing.flushes).toBe(2);
    guest.send([head(IN)], [512, 1]);
    expect(guest.rig.backing.flushes).toBe(2);
    expect(guest.send([head(FLUSH)], [1])).toMatchObject({ status: UNSUPP });
    expect(guest.rig.backing.flushes).toBe(2);
  });

  it('not offered is not done', () => {
    const guest = raw({ device: { features: { flush: false } } });
    guest.send([head(OUT), data(512)], [1]);
    expect(guest.send([head(FLUSH)], [1])).toMatchObject({ status: UNSUPP });
    expect(guest.rig.backing.flushes).toBe(0);
  });
});

describe('the name', () => {
  it.each(['', 'a disk', 'exactly twenty chars'])('"%s" is filled up with NUL', (name) => {
    const guest = raw({ device: { name } });
    const answer = must(guest.send([head(GET_ID)], [BLK_NAME_BYTES, 1]));
    expect(answer).toMatchObject({ status: OK, written: 21 });
    expect(Buffer.from(answer.bytes.subarray(0, 20)).toString('latin1')).toBe(
      name.padEnd(20, '\0'),
    );
  });

  it.each([0, 19, 21, 512])('in %i bytes is an error', (length) => {
    const guest = raw();
    const answer = guest.send([head(GET_ID)], length === 0 ? [1] : [length, 1]);
    expect(answer).toMatchObject({ status: IOERR, written: length === 0 ? 1 : 0 });
  });
});

describe('discard and write zeroes', () => {
  it('zeros are read where they were written, and nowhere else', () => {
    const guest = raw();
    const { bytes } = guest.rig.backing;
    const expected = bytes.slice();
    expected.fill(0, 512, 1536).fill(0, 512 * 100, 512 * 300);
    const ranges = join(range(1n, 2), range(100n, 200, 1), range(5n, 0));
    expect(guest.send([head(WRITE_ZEROES), ranges], [1])).toMatchObject({ status: OK, written: 1 });
    expect(checksum(bytes)).toBe(checksum(expected));
  });

  it('are done in chunks, each range to its end', () => {
    const calls: string[] = [];
    class Counting extends MemoryBacking {
      override writeZeroes(offset: number, sizeBytes: number): boolean {
        calls.push(`${offset / 512}+${sizeBytes / 512}`);
        return super.writeZeroes(offset, sizeBytes);
      }
      override discard(offset?: number, sizeBytes?: number): boolean {
        calls.push(`-${Number(offset) / 512}+${Number(sizeBytes) / 512}`);
        return true;
      }
    }
    const backing = new Counting(new Uint8Array(512 * 100));
    const guest = raw({ device: { backing, chunkBytes: 2048 } });
    const ranges = join(range(0n, 9), range(50n, 4), range(99n, 0), range(20n, 1));
    expect(guest.send([head(WRITE_ZEROES), ranges], [1])).toMatchObject({ status: OK });
    expect(calls.splice(0)).toEqual(['0+4', '4+4', '8+1', '50+4', '20+1']);
    expect(guest.send([head(DISCARD), ranges], [1])).toMatchObject({ status: OK });
    expect(calls).toEqual(['-0+4', '-4+4', '-8+1', '-50+4', '-20+1']);
  });

  it.each([
    ['no segment', new Uint8Array(0), IOERR],
    ['half a segment', range(0n, 1).subarray(0, 8), IOERR],
    ['a segment and a half', join(range(0n, 1), range(0n, 1).subarray(8)), IOERR],
    ['a segment beyond the end', range(511n, 2), IOERR],
    ['a segment behind 64 bits', range(2n ** 64n - 1n, 1), IOERR],
    ['a segment of more sectors than allowed', range(0n, 401), IOERR],
    ['as many sectors as allowed', range(0n, 400), OK],
    ['as many segments as allowed', join(...Array.from({ length: 3 }, () => range(1n, 1))), OK],
    ['too many segments', join(...Array.from({ length: 4 }, () => range(1n, 1))), IOERR],
    ['a good segment and a bad one', join(range(0n, 1), range(512n, 1)), IOERR],
    ['an unknown flag', range(0n, 1, 2), UNSUPP],
    ['an unknown flag in the second', join(range(0n, 1), range(0n, 1, 0x8000_0000)), UNSUPP],
    ['an unknown flag and a bad range', range(2n ** 40n, 1, 4), UNSUPP],
  ])('%s', (_name, segments, status) => {
    const guest = raw({ device: { rangeSectorsMax: 400, rangesMax: 3 } });
    const before = checksum(guest.rig.backing.bytes);
    for (const type of [DISCARD, WRITE_ZEROES])
      expect(guest.send([join(head(type), segments)], [1])).toMatchObject({ status });
    if (status !== OK) expect(checksum(guest.rig.backing.bytes)).toBe(before);
  });

  it('unmap belongs to write zeroes: with discard it is not supported', () => {
    const guest = raw();
    expect(guest.send([head(DISCARD), range(0n, 1, 1)], [1])).toMatchObject({ status: UNSUPP });
    expect(guest.send([head(WRITE_ZEROES), range(0n, 1, 1)], [1])).toMatchObject({ status: OK });
  });

  it('not negotiated are not supported', () => {
    const guest = raw({}, featureMask(BlkFeature.DISCARD) | featureMask(BlkFeature.WRITE_ZEROES));
    for (const type of [DISCARD, WRITE_ZEROES])
      expect(guest.send([head(type), range(0n, 1)], [1])).toMatchObject({ status: UNSUPP });
  });
});

describe('everything else', () => {
  it.each([2, 3, 5, 9, 10, 12, 14, 15, 16, 0x8000_0000, 0xffff_ffff])(
    'type %i is not supported, and its data are left alone',
    (type) => {
      const guest = raw();
      const answer = must(guest.send([head(type), data(64)], [64, 1]));
      expect([answer.status, answer.written]).toEqual([UNSUPP, 0]);
      expect(answer.bytes.subarray(0, 64).every((byte) => byte === 0xee)).toBe(true);
    },
  );

  it('storage that fails is an error of the request alone', () => {
    let failing = true;
    class Failing extends MemoryBacking {
      override read(offset: number, pieces: readonly Uint8Array[]): boolean {
        return !failing && super.read(offset, pieces);
      }
      override write(offset: number, pieces: readonly Uint8Array[]): boolean {
        return !failing && super.write(offset, pieces);
      }
      override flush(): boolean {
        return !failing;
      }
      override writeZeroes(): boolean {
        return !failing;
      }
    }
    const guest = raw({ device: { backing: new Failing(new Uint8Array(4096)) } });
    const all = (): (number | undefined)[] => [
      guest.send([head(IN)], [512, 1])?.status,
      guest.send([head(OUT), data(512)], [1])?.status,
      guest.send([head(FLUSH)], [1])?.status,
      guest.send([head(WRITE_ZEROES), range(0n, 1)], [1])?.status,
    ];
    expect(all()).toEqual([IOERR, IOERR, IOERR, IOERR]);
    failing = false;
    expect(all()).toEqual([OK, OK, OK, OK]);
    expect(guest.rig.transport.status() & DeviceStatus.DEVICE_NEEDS_RESET).toBe(0);
  });

  it('of the driver\u2019s own choosing: a disk without platform access does not offer it', () => {
    const rig = new Rig({ translated: false });
    expect(rig.device.offeredFeatures & featureMask(VirtioFeature.ACCESS_PLATFORM)).toBe(0n);
  });
});
