/** The driver of a disk: what it takes over, what it refuses, and that every request is told about exactly once. */

import { BLK_DRIVER_FEATURES, type BlkDriver, BlkFeature, BlkRequestType } from '@viommu/blk';
import { DeviceStatus, IommuError, VirtioFeature, featureMask } from '@viommu/common';
import { VirtioDma } from '@viommu/iommu';
import { describe, expect, it } from 'vitest';
import { PhysicalDma } from './kit/physical-dma.ts';
import { CONTEXT, Rig, checksum, fillBytes } from './kit/rig.ts';
import { ScriptedDisk } from './kit/scripted-disk.ts';

const { IN, OUT } = BlkRequestType;
const PAGE = 4096;
const failsWith = (code: string) => expect.objectContaining({ name: 'IommuError', code });
const failed = (rig: Rig): boolean => (rig.transport.status() & DeviceStatus.FAILED) !== 0;

/** Everything that can be reaped: token and error. */
function reapAll(driver: BlkDriver): [token: number, error: string | undefined][] {
  const ended: [number, string | undefined][] = [];
  for (let token = driver.reap(CONTEXT); token >= 0; token = driver.reap(CONTEXT))
    ended.push([token, driver.error]);
  return ended;
}

/** Nothing is mapped, and no page is taken. */
function expectNothingLeft(rig: Rig, pages = 0): void {
  expect([rig.dma.live.size, rig.guest.inUse]).toEqual([0, pages]);
}

describe('initialisation', () => {
  it('takes what is offered, and reads what the disk is', () => {
    const rig = new Rig({ sectors: 100, device: { blockBytes: 4096, segmentsMax: 10, queues: 2 } });
    const driver = rig.driver({ queues: 4, segmentsMax: 20 });
    expect(driver.features).toBe(rig.device.offeredFeatures & BLK_DRIVER_FEATURES);
    expect([driver.capacity, driver.blockBytes, driver.segmentsMax, driver.queues]).toEqual([
      100, 4096, 10, 2,
    ]);
    expect([driver.readOnly, driver.lost, driver.outstanding]).toEqual([false, undefined, 0]);
    driver.remove(CONTEXT);
    expectNothingLeft(rig);
  });

  it('without SEG_MAX a request has one piece', () => {
    const rig = new Rig({ device: { features: { segMax: false } } });
    const driver = rig.driver();
    expect(driver.segmentsMax).toBe(1);
    const page = rig.fill(2, 1);
    expect(driver.writeSync(CONTEXT, 0, page, 0, 2 * PAGE)).toBeUndefined();
  });

  it('with SIZE_MAX larger memory goes in pieces', () => {
    const rig = new Rig({ device: { segmentBytesMax: 1536 } });
    const driver = rig.driver();
    expect([driver.pieceBytesMax, rig.parent.segmentBytesMax]).toEqual([1536, 1536]);
    const page = rig.fill(2, 1);
    expect(driver.writeSync(CONTEXT, 0, page, 0, 2 * PAGE)).toBeUndefined();
    expect(checksum(rig.backing.bytes.subarray(0, 2 * PAGE))).toBe(
      checksum(rig.guest.at(page, 0, 2 * PAGE)),
    );
  });

  it('mappings that cannot be large make pieces that are not', () => {
    const rig = new Rig();
    rig.dma.bytesMax = 2100;
    const driver = rig.driver();
    expect(driver.pieceBytesMax).toBe(2048);
    const page = rig.fill(2, 1);
    expect(driver.writeSync(CONTEXT, 0, page, 0, 2 * PAGE)).toBeUndefined();
    expect(checksum(rig.backing.bytes.subarray(0, 2 * PAGE))).toBe(
      checksum(rig.guest.at(page, 0, 2 * PAGE)),
    );
  });

  it('fails where there is no disk', () => {
    const rig = new Rig({ virtio: new ScriptedDisk({}, [], 23) });
    expect(() => rig.driver()).toThrow(failsWith('ENODEV'));
    expectNothingLeft(rig);
  });

  it.each([
    ['more sectors than bytes can be counted', { capacity: 2n ** 45n }, []],
    ['blocks of no bytes', { blkSize: 0 }, [BlkFeature.BLK_SIZE]],
    ['blocks of 513 bytes', { blkSize: 513 }, [BlkFeature.BLK_SIZE]],
    ['blocks of 256 bytes', { blkSize: 256 }, [BlkFeature.BLK_SIZE]],
    ['no queue', { numQueues: 0 }, [BlkFeature.MQ]],
    ['segments without a sector', { sizeMax: 511 }, [BlkFeature.SIZE_MAX]],
  ])('fails for %s, and keeps nothing', (_name, config, more) => {
    const rig = new Rig({ virtio: new ScriptedDisk(config, more) });
    expect(() => rig.driver()).toThrow(failsWith('EINVAL'));
    expect(failed(rig)).toBe(true);
    expectNothingLeft(rig);
  });

  it('a disk that says 0 segments takes one', () => {
    const rig = new Rig({ virtio: new ScriptedDisk({ segMax: 0 }) });
    expect(rig.driver().segmentsMax).toBe(1);
  });

  it('fails without memory, and keeps nothing', () => {
    const rig = new Rig({ device: { queues: 2 } });
    rig.dma.failingCoherent = true;
    expect(() => rig.driver()).toThrow(failsWith('ENOMEM'));
    expect(failed(rig)).toBe(true);
    expectNothingLeft(rig);
    // The second queue finds none.
    rig.dma.failingCoherent = false;
    const allocate = rig.dma.allocateCoherent.bind(rig.dma);
    let count = 0;
    rig.dma.allocateCoherent = (...args) => ((count += 1) === 2 ? undefined : allocate(...args));
    expect(() => rig.driver({ queues: 2 })).toThrow(failsWith('ENOMEM'));
    expectNothingLeft(rig);
    expect(rig.driver({ queues: 2 }).queues).toBe(2);
  });

  it('S3.11 features that the platform requires must be offered [D6]', () => {
    const rig = new Rig({ translated: false });
    const dma = new VirtioDma({
      platform: { requiresRestricted: () => true },
      physical: new PhysicalDma(rig.guest),
      direct: rig.dma,
    });
    const seen: number[] = [];
    const { device } = rig;
    const accept = device.acceptFeatures.bind(device);
    device.acceptFeatures = (features) => {
      seen.push(1);
      return accept(features);
    };
    expect(() => rig.driver({ dma })).toThrow(failsWith('ENODEV'));
    expect([seen, failed(rig), dma.decisions]).toEqual([[], true, 0]);
    expectNothingLeft(rig);
  });

  it('S3.3 DMA operations are chosen once, whatever the platform says later [D4] [D14]', () => {
    const rig = new Rig();
    let forced = false;
    rig.parent.dmaOps = rig.dma;
    const dma = new VirtioDma({
      platform: { forcesDmaApi: () => forced },
      physical: new PhysicalDma(rig.guest),
      direct: rig.dma,
    });
    const chosen: ReturnType<VirtioDma['choose']>[] = [];
    const choose = dma.choose.bind(dma);
    dma.choose = (...args) => {
      chosen.push(choose(...args));
      return chosen.at(-1)!; // Just pushed.
    };
    const driver = rig.driver({ dma });
    const page = rig.fill(1, 1);
    for (let round = 0; round < 10_000; round += 1) {
      if (round === 5000) forced = true;
      if (driver.writeSync(CONTEXT, round % 8, page, 0, 512) !== undefined)
        throw new Error('failed');
    }
    expect([dma.decisions, driver.requests, driver.dma.kind]).toEqual([1, 10_000, 'iommu']);
    expect(() => chosen[0]?.replace(new PhysicalDma(rig.guest))).toThrow(failsWith('EBUSY'));
    driver.reset(CONTEXT);
    expect(dma.decisions).toBe(2);
    chosen[0]?.replace(new PhysicalDma(rig.guest));
    expect(driver.dma).toBe(rig.dma);
  });
});

describe('requests', () => {
  it('that make no sense are refused, and leave nothing', () => {
    const rig = new Rig({ sectors: 64 });
    const driver = rig.driver({ depth: 4, segmentsMax: 4 });
    const page = rig.fill(8, 1);
    const live = rig.dma.live.size;
    const submit = (sector: number, bytes: number, type: typeof IN | typeof OUT = OUT) =>
      driver.submit(CONTEXT, type, sector, page, 0, bytes);
    expect(submit(64, 512)).toBe('ERANGE');
    expect(submit(63, 1024)).toBe('ERANGE');
    expect(submit(2 ** 53, 512)).toBe('ERANGE');
    expect(submit(-1, 512)).toBe('EINVAL');
    expect(submit(0.5, 512)).toBe('EINVAL');
    expect(submit(Number.NaN, 512)).toBe('EINVAL');
    expect(submit(0, 0)).toBe('EINVAL');
    expect(submit(0, 511)).toBe('EINVAL');
    expect(submit(0, 513)).toBe('EINVAL');
    expect(driver.submitList(CONTEXT, OUT, 0, [], 0)).toBe('EINVAL');
    const entries = Array.from({ length: 5 }, () => ({ ...emptyEntry(), page, sizeBytes: 512 }));
    expect(driver.submitList(CONTEXT, OUT, 0, entries, 5)).toBe('EINVAL');
    expect(driver.submitDiscard(CONTEXT, 60, 5)).toBe('ERANGE');
    expect(driver.submitDiscard(CONTEXT, 0, 0)).toBe('EINVAL');
    expect(driver.submitWriteZeroes(CONTEXT, 0, 2 ** 31, true)).toBe('EINVAL');
    expect([driver.outstanding, rig.dma.live.size, driver.wait(10)]).toEqual([0, live, false]);
  });

  it('beyond the depth wait for room', () => {
    const rig = new Rig();
    const driver = rig.driver({ depth: 3 });
    const page = rig.fill(1, 1);
    const submit = () => driver.submit(CONTEXT, OUT, 0, page, 0, 512);
    expect(new Set([submit(), submit(), submit()])).toEqual(new Set([0, 1, 2]));
    const live = rig.dma.live.size;
    expect([submit(), driver.submitFlush(CONTEXT), rig.dma.live.size]).toEqual([
      'EBUSY',
      'EBUSY',
      live,
    ]);
    expect(driver.wait(10)).toBe(true);
    expect(reapAll(driver).length).toBe(3);
    expect(typeof submit()).toBe('number');
  });

  it('whose memory cannot be mapped fail with ENOMEM, and nothing leaks', () => {
    const rig = new Rig();
    const driver = rig.driver({ depth: 2, segmentsMax: 4 });
    const page = rig.fill(8, 1);
    const live = rig.dma.live.size;
    rig.dma.failing = true;
    const entries = Array.from({ length: 3 }, () => ({ ...emptyEntry(), page, sizeBytes: 512 }));
    for (let round = 0; round < 10; round += 1) {
      expect(driver.writeSync(CONTEXT, 0, page, 0, PAGE)).toBe('ENOMEM');
      expect(driver.submitList(CONTEXT, IN, 0, entries, 3)).toBe('ENOMEM');
    }
    expect([driver.outstanding, rig.dma.live.size]).toEqual([0, live]);
    rig.dma.failing = false;
    expect(driver.writeSync(CONTEXT, 0, page, 0, PAGE)).toBeUndefined();
  });

  it('to a disk that is read only are refused before anybody sees them', () => {
    const rig = new Rig({ device: { readOnly: true } });
    const driver = rig.driver();
    const page = rig.fill(1, 1);
    expect(driver.readOnly).toBe(true);
    expect(driver.writeSync(CONTEXT, 0, page, 0, 512)).toBe('EACCES');
    expect(driver.submitDiscard(CONTEXT, 0, 1)).toBe('EACCES');
    expect(driver.readSync(CONTEXT, 0, page, 0, 512)).toBeUndefined();
  });

  it('of all kinds end as they should', () => {
    const rig = new Rig({ device: { name: 'twenty characters ok' } });
    const driver = rig.driver();
    fillBytes(rig.backing.bytes, 3);
    expect(driver.readName(CONTEXT)).toBe('twenty characters ok');
    expect(driver.flushSync(CONTEXT)).toBeUndefined();
    expect(rig.backing.flushes).toBe(1);
    const token = driver.submitWriteZeroes(CONTEXT, 8, 16, true);
    driver.wait(10);
    expect(reapAll(driver)).toEqual([[token, undefined]]);
    expect(rig.backing.bytes.subarray(8 * 512, 24 * 512).every((byte) => byte === 0)).toBe(true);
    expect(rig.backing.bytes[24 * 512 + 1]).not.toBe(0);
    expect(typeof driver.submitDiscard(CONTEXT, 0, 8)).toBe('number');
    driver.wait(10);
    expect(reapAll(driver).map(([, error]) => error)).toEqual([undefined]);
  });

  it('that were not negotiated are not supported', () => {
    const rig = new Rig();
    const features = [BlkFeature.FLUSH, BlkFeature.DISCARD, BlkFeature.WRITE_ZEROES].reduce(
      (bits, bit) => bits & ~featureMask(bit),
      BLK_DRIVER_FEATURES,
    );
    const driver = rig.driver({ features });
    expect(driver.flushSync(CONTEXT)).toBe('EOPNOTSUPP');
    expect(driver.submitDiscard(CONTEXT, 0, 1)).toBe('EOPNOTSUPP');
    expect(driver.submitWriteZeroes(CONTEXT, 0, 1, false)).toBe('EOPNOTSUPP');
  });

  it('that end while another is waited for are kept, and told in their order', () => {
    const rig = new Rig();
    const driver = rig.driver();
    const page = rig.fill(1, 1);
    const tokens = [0, 1, 2].map((sector) => driver.submit(CONTEXT, OUT, sector, page, 0, 512));
    expect(driver.readSync(CONTEXT, 9, page, 0, 512)).toBeUndefined();
    expect([driver.outstanding, driver.wait(10)]).toEqual([3, true]);
    expect(reapAll(driver)).toEqual(tokens.map((token) => [token, undefined]));
    expect(driver.wait(10)).toBe(false);
  });

  it('without indirect tables find room or say that there is none', () => {
    const rig = new Rig({ device: { queueSize: 16, features: { indirect: false } } });
    const driver = rig.driver({ depth: 8, segmentsMax: 6 });
    const page = rig.fill(6, 1);
    const entries = Array.from({ length: 6 }, (_, index) => ({
      ...emptyEntry(),
      page,
      offset: index * 600,
      sizeBytes: 512,
    }));
    const live = rig.dma.live.size;
    const submit = () => driver.submitList(CONTEXT, OUT, 0, entries, 6);
    expect([typeof submit(), typeof submit(), submit()]).toEqual(['number', 'number', 'EBUSY']);
    expect(rig.dma.live.size).toBe(live + 2);
    driver.wait(10);
    expect(reapAll(driver).length).toBe(2);
    expect([rig.dma.live.size, typeof submit()]).toEqual([live, 'number']);
  });

  it('notify once for all that were submitted', () => {
    const rig = new Rig();
    const driver = rig.driver();
    const page = rig.fill(1, 1);
    rig.mmio.arm();
    const before = driver.notifications;
    for (let index = 0; index < 16; index += 1) driver.submit(CONTEXT, OUT, index, page, 0, 512);
    expect(driver.notifications).toBe(before);
    driver.kick();
    driver.kick();
    expect(driver.notifications).toBe(before + 1);
  });
});

describe('a device that is lost', () => {
  it('fails everything outstanding exactly once, and a reset brings it back', () => {
    const rig = new Rig();
    const driver = rig.driver({ depth: 8 });
    const page = rig.fill(4, 1);
    const live = rig.dma.live.size;
    const tokens = new Set<unknown>();
    for (let index = 0; index < 5; index += 1)
      tokens.add(driver.submit(CONTEXT, index % 2 === 0 ? OUT : IN, index, page, 0, 512));
    tokens.add(driver.submitFlush(CONTEXT));
    driver.kick();
    // One is done; then the ring is gone.
    rig.mmio.serve();
    const [ring] = [...rig.dma.live.keys()];
    for (let index = 0; index < 8; index += 1) rig.dma.revoke(Number(ring) + index);
    rig.mmio.serve();
    const ended = reapAll(driver);
    expect(ended).toEqual([[expect.anything(), undefined]]);
    expect(driver.wait(10)).toBe(true);
    expect(driver.lost).toBe('the device needs a reset');
    expect(driver.submit(CONTEXT, OUT, 0, page, 0, 512)).toBe('EIO');
    expect(driver.flushSync(CONTEXT)).toBe('EIO');
    expect(() => driver.readName(CONTEXT)).toThrow(failsWith('EIO'));
    const rest = reapAll(driver);
    expect(rest.map(([, error]) => error)).toEqual(Array(5).fill('EIO'));
    expect(new Set([...ended, ...rest].map(([token]) => token))).toEqual(tokens);
    expect([driver.reap(CONTEXT), driver.outstanding, rig.dma.live.size]).toEqual([-1, 0, live]);
    driver.reset(CONTEXT);
    expect([driver.lost, rig.dma.live.size]).toEqual([undefined, live]);
    expect(driver.writeSync(CONTEXT, 0, page, 0, 512)).toBeUndefined();
    expect([driver.requests, driver.failures]).toEqual([7, 5]);
  });

  it('reset with requests outstanding: they end with EIO, and their tokens are not used before', () => {
    const rig = new Rig();
    const driver = rig.driver({ depth: 4 });
    const page = rig.fill(1, 1);
    const submit = () => driver.submit(CONTEXT, OUT, 0, page, 0, 512);
    const old = [submit(), submit()];
    driver.kick();
    driver.reset(CONTEXT);
    expect(driver.outstanding).toBe(2);
    const fresh = [submit(), submit()];
    expect(new Set([...old, ...fresh]).size).toBe(4);
    expect(submit()).toBe('EBUSY');
    expect([driver.reap(CONTEXT), driver.error]).toEqual([old[0], 'EIO']);
    driver.reset(CONTEXT);
    expect(reapAll(driver)).toEqual([[old[1], 'EIO'], ...fresh.map((token) => [token, 'EIO'])]);
    expect(driver.outstanding).toBe(0);
    expect(driver.writeSync(CONTEXT, 0, page, 0, 512)).toBeUndefined();
    driver.remove(CONTEXT);
    expectNothingLeft(rig, 1);
  });

  it('removed gives all memory back, and still tells what was outstanding', () => {
    const rig = new Rig({ device: { queues: 2 } });
    const driver = rig.driver({ queues: 2 });
    const page = rig.fill(4, 1);
    const tokens = [0, 1, 0].map((cpu) => driver.submit({ cpu }, IN, 0, page, 0, PAGE));
    driver.kick();
    driver.remove(CONTEXT);
    driver.remove(CONTEXT);
    expectNothingLeft(rig, 4);
    expect(rig.transport.status()).toBe(0);
    const ended = reapAll(driver);
    expect(new Set(ended.map(([token]) => token))).toEqual(new Set(tokens));
    expect(ended.every(([, error]) => error === 'EIO')).toBe(true);
    expect(driver.submit(CONTEXT, IN, 0, page, 0, PAGE)).toBe('EIO');
    expect(driver.wait(10)).toBe(false);
    expect(() => driver.reset(CONTEXT)).toThrow(failsWith('ENODEV'));
  });

  it('that does not come back stays lost, and can be tried again', () => {
    const rig = new Rig();
    const driver = rig.driver();
    const page = rig.fill(1, 1);
    rig.dma.failingCoherent = true;
    expect(() => driver.reset(CONTEXT)).toThrow(failsWith('ENOMEM'));
    expect(driver.submit(CONTEXT, IN, 0, page, 0, 512)).toBe('EIO');
    expect([driver.wait(10), reapAll(driver)]).toEqual([false, []]);
    expectNothingLeft(rig, 1);
    rig.dma.failingCoherent = false;
    driver.reset(CONTEXT);
    expect(driver.readSync(CONTEXT, 0, page, 0, 512)).toBeUndefined();
  });

  it('that does not reset keeps what it may still use', () => {
    const rig = new Rig();
    const driver = rig.driver();
    const page = rig.fill(1, 1);
    const token = driver.submit(CONTEXT, IN, 0, page, 0, 512);
    driver.kick();
    const live = rig.dma.live.size;
    const pages = rig.guest.inUse;
    const { transport } = rig;
    transport.reset = () => {
      throw new IommuError('ETIMEDOUT', 'The device did not reset in time.');
    };
    driver.remove(CONTEXT);
    expect(reapAll(driver)).toEqual([[token, 'EIO']]);
    expect([driver.abandoned, rig.dma.live.size, rig.guest.inUse]).toEqual([1, live, pages]);
  });

  it('a context that has to wait for a lock while it reaps loses no request', () => {
    const rig = new Rig();
    const driver = rig.driver();
    const page = rig.fill(1, 1);
    const live = rig.dma.live.size;
    const first = driver.submit(CONTEXT, OUT, 0, page, 0, 512);
    const second = driver.submit(CONTEXT, OUT, 1, page, 0, 512);
    driver.wait(10);
    rig.dma.parkUnmap = new Error('parked');
    expect(() => driver.reap(CONTEXT)).toThrow('parked');
    expect(driver.wait(10)).toBe(true);
    expect(reapAll(driver)).toEqual([
      [first, undefined],
      [second, undefined],
    ]);
    expect([rig.dma.live.size, driver.outstanding]).toEqual([live, 0]);
    driver.submit(CONTEXT, OUT, 0, page, 0, 512);
    rig.dma.parkUnmap = new Error('parked');
    expect(() => driver.remove(CONTEXT)).toThrow('parked');
    driver.remove(CONTEXT);
    expectNothingLeft(rig, 1);
    expect(reapAll(driver).map(([, error]) => error)).toEqual(['EIO']);
  });
});

function emptyEntry() {
  return { page: 0, offset: 0, sizeBytes: 0, dmaPage: 0, dmaOffset: 0, dmaSizeBytes: 0 };
}

describe('the offer', () => {
  it('has every feature that the driver takes, and no other', () => {
    const rig = new Rig({
      device: {
        queues: 2,
        readOnly: true,
        features: { packed: true, notificationData: true },
      },
    });
    expect(rig.device.offeredFeatures).toBe(BLK_DRIVER_FEATURES);
    expect(rig.driver({ queues: 2 }).features).toBe(BLK_DRIVER_FEATURES);
    expect(BLK_DRIVER_FEATURES & featureMask(VirtioFeature.VERSION_1)).not.toBe(0n);
  });
});
