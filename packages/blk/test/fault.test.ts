/** A disk whose memory is not always there: buffers, heads and rings that the translator refuses. */

import { BlkCounter, BlkRequestHead, BlkRequestType, BlkStatus } from '@viommu/blk';
import { DeviceStatus, IommuError, VirtioFeature, featureMask } from '@viommu/common';
import { IDENTITY, Translated, TranslatedMemory, type Translator } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { BASE_PAGE } from './kit/guest-pages.ts';
import { must } from './kit/must.ts';
import { PhysicalDma } from './kit/physical-dma.ts';
import { RawGuest } from './kit/raw-guest.ts';
import { CONTEXT, Rig, checksum, fillBytes } from './kit/rig.ts';

const { IN, OUT, FLUSH } = BlkRequestType;
const { OK, IOERR } = BlkStatus;
const PAGE = 4096;
const ACCESS_PLATFORM = featureMask(VirtioFeature.ACCESS_PLATFORM);
const head = (type: number, sector = 0n): Uint8Array => BlkRequestHead.encode({ type, sector });
const needsReset = (rig: Rig): boolean =>
  (rig.transport.status() & DeviceStatus.DEVICE_NEEDS_RESET) !== 0;

/** Refuses the next chain's pages for an access, from the `from`-th mapping of the chain on. */
function sendWithout(guest: RawGuest, access: number, readable: Uint8Array[], writable: number[]) {
  const { dma } = guest.rig;
  const map = dma.map.bind(dma);
  let count = 0;
  dma.map = (...args) => {
    const done = map(...args);
    const into = args[7];
    count += 1;
    if (count === access)
      for (let page = into.page; dma.entries.has(page); page += 1) dma.revoke(page);
    return done;
  };
  const answer = guest.send(readable, writable);
  dma.map = map;
  return answer;
}

describe('a request', () => {
  it.each([
    ['head', 1, [head(OUT), new Uint8Array(512)], [1], { status: IOERR, written: 1 }],
    ['data that are read', 2, [head(OUT), new Uint8Array(512)], [1], { status: IOERR, written: 1 }],
    ['data that are written', 2, [head(IN)], [512, 1], { status: IOERR, written: 0 }],
    ['second data', 3, [head(IN)], [512, 512, 1], { status: IOERR, written: 0 }],
    ['status', 3, [head(IN)], [512, 1], { status: 0xee, written: 512 }],
    ['status alone', 2, [head(FLUSH)], [1], { status: 0xee, written: 0 }],
  ])(
    'whose %s cannot be reached fails, and the queue goes on',
    (_name, which, readable, writable, expected) => {
      const guest = new RawGuest(new Rig({ sectors: 64 }));
      const { rig } = guest;
      fillBytes(rig.backing.bytes, 1);
      const before = checksum(rig.backing.bytes);
      expect(sendWithout(guest, which, readable, writable)).toMatchObject(expected);
      expect(checksum(rig.backing.bytes)).toBe(before);
      expect(rig.device.counters[BlkCounter.REFUSED]).toBe(1);
      expect(needsReset(rig)).toBe(false);
      expect(guest.send([head(IN)], [512, 1])).toMatchObject({ status: OK, written: 513 });
    },
  );

  it('S3.13 with an address that is not mapped is stopped, nothing is read or written', () => {
    const rig = new Rig({ sectors: 64 });
    const driver = rig.driver({ dma: rig.choice(rig.dma) });
    const page = rig.fill(2, 1);
    const before = checksum(rig.guest.at(page, 0, 2 * PAGE));
    // A bug in a driver: physical addresses in place of the device's.
    rig.dma.map = (_context, _device, at, offset, _size, _direction, _attributes, into) => {
      Object.assign(into, { page: at, offset });
      return true;
    };
    rig.dma.unmap = () => {};
    expect(driver.readSync(CONTEXT, 0, page, 0, PAGE)).toBe('EIO');
    expect(driver.writeSync(CONTEXT, 0, page, 0, PAGE)).toBe('EIO');
    expect(checksum(rig.guest.at(page, 0, 2 * PAGE))).toBe(before);
    expect(rig.backing.bytes.every((byte) => byte === 0)).toBe(true);
    expect(rig.device.counters[BlkCounter.REFUSED]).toBe(2);
  });

  it('that only may be read is not written, and the other way round', () => {
    const guest = new RawGuest(new Rig({ sectors: 64 }));
    const { rig } = guest;
    const address = guest.address.bind(guest);
    // Every buffer gets the right of the other kind.
    guest.address = (page, offset, length, access) =>
      address(page, offset, length, length === 512 ? (access === 1 ? 2 : 1) : access);
    expect(guest.send([head(OUT), new Uint8Array(512)], [1])).toMatchObject({ status: IOERR });
    const answer = must(guest.send([head(IN)], [512, 1]));
    expect(answer).toMatchObject({ status: IOERR, written: 0 });
    expect(answer.bytes.subarray(0, 512).every((byte) => byte === 0xee)).toBe(true);
    expect(rig.device.counters[BlkCounter.REFUSED]).toBe(2);
  });
});

describe('a ring', () => {
  const parts = [
    ['descriptor area', 0],
    ['driver area', 1],
    ['device area', 2],
  ] as const;
  it.each(parts)('whose %s is taken away costs the device a reset, and no more', (_name, part) => {
    for (const packed of [false, true]) {
      const guest = new RawGuest(new Rig({ sectors: 64, device: { features: { packed } } }));
      const { rig } = guest;
      expect(guest.send([head(FLUSH)], [1])).toMatchObject({ status: OK });
      rig.dma.revoke(guest.dmaPage + part);
      const areas = rig.guest.at(guest.page, 0, 3 * PAGE);
      // The driver's own stores are its own affair.
      const answer = guest.send([head(OUT), new Uint8Array(512).fill(1)], [1]);
      rig.mmio.arm();
      expect(needsReset(rig), `packed ${packed}`).toBe(true);
      // A packed ring is complete without the areas for notifications, which are looked at last.
      if (!packed || part === 0) expect(answer).toBeUndefined();
      const sum = checksum(areas);
      for (let turn = 0; turn < 5; turn += 1) {
        expect(rig.mmio.serve()).toBe(false);
        rig.mmio.arm();
        rig.mmio.suppress();
      }
      expect(checksum(areas)).toBe(sum);
      // What was read of the descriptors before may have been done; a request that could not be read was not.
      if (part === 0) expect(rig.backing.bytes.every((byte) => byte === 0)).toBe(true);
      // After a reset all is well.
      const again = new RawGuest(rig);
      expect(again.send([head(FLUSH)], [1])).toMatchObject({ status: OK });
      expect(needsReset(rig)).toBe(false);
    }
  });

  it('that may not be written is no ring', () => {
    const guest = new RawGuest(new Rig({ sectors: 64 }));
    const { rig } = guest;
    const entry = must(rig.dma.entries.get(guest.dmaPage + 2));
    rig.dma.entries.set(guest.dmaPage + 2, { ...entry, access: 1 });
    rig.dma.generation += 1;
    const before = checksum(rig.guest.at(guest.page + 2, 0, PAGE));
    guest.send([head(FLUSH)], [1]);
    expect([needsReset(rig), checksum(rig.guest.at(guest.page + 2, 0, PAGE))]).toEqual([
      true,
      before,
    ]);
  });

  it('that is damaged costs the device a reset', () => {
    const guest = new RawGuest(new Rig({ sectors: 64 }));
    const { rig } = guest;
    guest.send([head(FLUSH)], [1]);
    // An available index far ahead.
    rig.guest.at(guest.page + 1, 2, 2).fill(0x77);
    rig.step();
    expect(needsReset(rig)).toBe(true);
    expect(new RawGuest(rig).send([head(FLUSH)], [1])).toMatchObject({ status: OK });
  });
});

describe('what addresses mean', () => {
  it('S3.1 without ACCESS_PLATFORM they are physical, and nothing is translated [D1]', () => {
    const rig = new Rig({ sectors: 64 });
    const asked: number[] = [];
    const translate = rig.dma.translate.bind(rig.dma);
    rig.dma.translate = (...args) => {
      asked.push(args[0]);
      return translate(...args);
    };
    const driver = rig.driver({ features: ~ACCESS_PLATFORM }, rig.dma);
    expect(driver.dma.kind).toBe('physical');
    const page = rig.fill(4, 1);
    expect(driver.writeSync(CONTEXT, 0, page, 0, 4 * PAGE)).toBeUndefined();
    expect(checksum(rig.backing.bytes.subarray(0, 4 * PAGE))).toBe(
      checksum(rig.guest.at(page, 0, 4 * PAGE)),
    );
    expect([asked, rig.dma.maps]).toEqual([[], 0]);
  });

  it('S3.2 with it they are the device\u2019s own [D2]', () => {
    const rig = new Rig({ sectors: 64 });
    const driver = rig.driver();
    expect(driver.dma.kind).toBe('iommu');
    const page = rig.fill(4, 1);
    const before = rig.dma.maps;
    expect(driver.writeSync(CONTEXT, 0, page, 0, 4 * PAGE)).toBeUndefined();
    expect(rig.dma.maps).toBe(before + 1);
  });

  it('a device that insists does not start without it [D3]', () => {
    const rig = new Rig({ insists: true });
    expect(() => rig.driver({ features: ~ACCESS_PLATFORM })).toThrow(
      expect.objectContaining({ code: 'ENODEV' }),
    );
    expect(rig.transport.status() & DeviceStatus.FEATURES_OK).toBe(0);
    expect(rig.driver().dma.kind).toBe('iommu');
  });

  it('S3.7 private pages are never touched: the device needs a reset, and nothing leaks [D12]', () => {
    const rig0 = new Rig();
    const { memory } = rig0.guest;
    const shared = new Set<number>();
    /** As the host of a protected guest looks at it: asked at every access. */
    const states: Translator = {
      generation: 0,
      wholePages: false,
      translate(page, offset, sizeBytes, access, into) {
        const last = page + Math.floor((offset + sizeBytes - 1) / PAGE);
        for (let at = page; at <= last; at += 1) if (!shared.has(at)) return Translated.FATAL;
        return IDENTITY.translate(page, offset, sizeBytes, access, into);
      },
    };
    const translated = new TranslatedMemory({ memory, translator: states });
    const rig = new Rig({
      device: { access: { memory: translated, platform: states, physical: states } },
      memory: translated,
      guest: rig0.guest,
    });
    const ops = new PhysicalDma(rig.guest);
    const allocate = ops.allocateCoherent.bind(ops);
    ops.allocateCoherent = (...args) => {
      const coherent = allocate(...args);
      for (let page = 0; coherent !== undefined && page < coherent.sizeBytes / PAGE; page += 1)
        shared.add(coherent.page + page);
      return coherent;
    };
    const driver = rig.driver({}, ops);
    const page = rig.fill(2, 77);
    fillBytes(rig.backing.bytes, 5);
    const disk = checksum(rig.backing.bytes);
    const secret = checksum(rig.guest.at(page, 0, 2 * PAGE));
    // The second page is private.
    shared.add(page);
    expect(driver.writeSync(CONTEXT, 0, page, 0, PAGE)).toBeUndefined();
    fillBytes(rig.backing.bytes, 5);
    for (const type of ['writeSync', 'readSync'] as const) {
      expect(driver[type](CONTEXT, 0, page, 0, 2 * PAGE)).toBe('EIO');
      expect(driver.lost).toBe('the device needs a reset');
      expect([checksum(rig.backing.bytes), checksum(rig.guest.at(page, 0, 2 * PAGE))]).toEqual([
        disk,
        secret,
      ]);
      driver.reset(CONTEXT);
      expect(driver.readSync(CONTEXT, 0, rig.guest.take(0), 0, 0)).toBe('EINVAL');
    }
    expect(translated.faults).toBe(2);
  });
});

describe('addresses outside memory', () => {
  it('with plain memory end the request and not the device', () => {
    const guest = new RawGuest(new Rig({ translated: false, sectors: 64 }));
    const address = guest.address.bind(guest);
    guest.address = (page, offset, length, access) =>
      length === 512
        ? ((1n << 40n) as never) // An address of a test.
        : address(page, offset, length, access);
    expect(guest.send([head(IN)], [512, 1])).toMatchObject({ written: 0 });
    expect(needsReset(guest.rig)).toBe(false);
    guest.address = address;
    expect(guest.send([head(IN)], [512, 1])).toMatchObject({ status: OK });
    expect(BASE_PAGE).toBeLessThan(2 ** 28);
  });
});

describe('a host that gives the transport other memory than the disk', () => {
  const code = (options: ConstructorParameters<typeof Rig>[0]): unknown => {
    const rig = new Rig(options);
    try {
      return rig.driver({ features: ~ACCESS_PLATFORM }).features;
    } catch (error) {
      return error instanceof IommuError ? error.code : error;
    }
  };
  it('is told so', () => {
    const { guest, translated } = new Rig({ sectors: 64 });
    expect(code({ guest, memory: guest.memory })).toBe('EINVAL');
    expect(code({ guest, memory: must(translated), translated: false })).toBe('EINVAL');
  });
});
