import {
  AttachRequest,
  DetachRequest,
  IommuError,
  MapRequest,
  PAGE_MAX,
  ProbeRequest,
  Status,
  UnmapRequest,
  VirtioFeature,
  formatStatus,
} from '@viommu/common';
import { IommuDriver, NO_STATUS, type RequestOwner, type RequestQueue } from '@viommu/driver';
import { describe, expect, it } from 'vitest';
import { ALL_FEATURES, without } from './helper/scripted-device.ts';
import { ATTACH, MAP, PROBE, UNMAP, codeOf, prepare, setUp } from './helper/setup.ts';

const DIRECT = without(ALL_FEATURES, VirtioFeature.INDIRECT_DESC);
const ATTACH_8 = AttachRequest.encode({ type: ATTACH, domain: 1, endpoint: 8, flags: 0 });
const PROBE_8 = ProbeRequest.encode({ type: PROBE, endpoint: 8 });

class Ends implements RequestOwner {
  readonly ends: [slot: number, status: number][] = [];

  requestDone(slot: number, status: number): void {
    this.ends.push([slot, status]);
  }

  get statuses(): number[] {
    return this.ends.map(([, status]) => status);
  }
}

/** A MAP of one page, told apart by the page. */
function addPage(queue: RequestQueue, page: number, owner?: RequestOwner): number {
  return queue.addMap(owner, 1, page, page, page, 3);
}

describe('adding requests', () => {
  it('S1.1 [A1] never tells the device; the sync tells it once', () => {
    const { driver, device } = setUp();
    for (let page = 0; page < 10; page += 1) addPage(driver.requests, page);
    expect(device.notifications).toBe(0);
    expect(driver.requests.inFlight).toBe(10);
    device.serve();
    expect(device.seen).toEqual([]);
    expect(driver.requests.syncReq()).toBeUndefined();
    expect(device.notifications).toBe(1);
    expect(driver.requests.inFlight).toBe(0);
    expect(device.seen.map(({ view }) => MapRequest.read(view).virtStart)).toEqual(
      Array.from({ length: 10 }, (_, page) => BigInt(page) * 4096n),
    );
  });

  it.each([
    ['[A2] a ring of eight holds four requests of two descriptors each', DIRECT, 4],
    [
      '[A3] a ring of eight with tables holds eight requests of one descriptor each',
      ALL_FEATURES,
      8,
    ],
  ])('S1.3 %s: one more request makes room first', (_, offered, room) => {
    const { driver, device } = setUp({ offered, queueSizes: [8, 8] });
    for (let page = 0; page < room; page += 1) addPage(driver.requests, page);
    expect(device.notifications).toBe(0);
    expect(device.seen).toEqual([]);
    addPage(driver.requests, room);
    expect(device.notifications).toBe(1);
    expect(device.seen).toHaveLength(room);
    expect(driver.requests.inFlight).toBe(1);
    expect(driver.requests.syncReq()).toBeUndefined();
    expect(device.seen).toHaveLength(room + 1);
  });

  it.each([
    ['direct', DIRECT],
    ['indirect', ALL_FEATURES],
  ])('fails with ENOSPC in a ring that holds no request: %s', (_, offered) => {
    const { driver, device } = setUp({ offered, queueSizes: [1, 1] });
    expect(codeOf(() => addPage(driver.requests, 0))).toBe('ENOSPC');
    expect(codeOf(() => driver.requests.addReq(PROBE_8))).toBe('ENOSPC');
    expect(driver.requests.inFlight).toBe(0);
    expect(driver.requests.syncReq()).toBeUndefined();
    expect(device.notifications).toBe(0);
  });

  it('fails with EINVAL for no bytes, and for more than a request has', () => {
    const { driver, device } = setUp();
    expect(codeOf(() => driver.requests.addReq(new Uint8Array(0)))).toBe('EINVAL');
    expect(codeOf(() => driver.requests.addReq(new Uint8Array(37)))).toBe('EINVAL');
    expect(codeOf(() => driver.requests.addReq(new Uint8Array(73).fill(PROBE)))).toBe('EINVAL');
    expect(driver.requests.sendReqSync(new Uint8Array(0))).toBe('EINVAL');
    expect(device.seen).toEqual([]);
  });

  it('copies the bytes', () => {
    const { driver, device } = setUp();
    const bytes = ATTACH_8.slice();
    driver.requests.addReq(bytes);
    bytes.fill(0xff);
    driver.requests.syncReq();
    expect(device.seen[0]?.bytes).toEqual(ATTACH_8);
  });

  it('a sync without requests does nothing', () => {
    const { driver, device } = setUp();
    expect(driver.requests.syncReq()).toBeUndefined();
    expect(device.notifications).toBe(0);
  });
});

describe('requests on the ring', () => {
  it('have the sizes of the standard', () => {
    const { driver, device } = setUp({ config: { probeSize: 24 } });
    const { requests } = driver;
    requests.sendReqSync(ATTACH_8);
    addPage(requests, 0);
    requests.addUnmap(undefined, 1, 0, 0);
    requests.syncReq();
    requests.sendReqSync(DetachRequest.encode({ type: 2, domain: 1, endpoint: 8 }));
    requests.sendReqSync(PROBE_8);
    expect(device.seen.map(({ bytes, writableBytes }) => [bytes.length, writableBytes])).toEqual([
      [20, 4],
      [36, 4],
      [28, 4],
      [20, 4],
      [72, 28],
    ]);
  });

  it('have the length they are given, in whatever slot they come to lie', () => {
    const { driver, device } = setUp({ offered: DIRECT, queueSizes: [2, 2] });
    const lengths = [20, 4, 20, 36, 12, 28, 12, 20];
    for (const length of lengths) driver.requests.addReq(new Uint8Array(length).fill(9));
    driver.requests.syncReq();
    expect(device.seen.map(({ bytes }) => bytes.length)).toEqual(lengths);
  });

  it('MAP and UNMAP of pages have the bytes of the standard, up to the last page', () => {
    const { driver, device } = setUp();
    const { requests } = driver;
    requests.addMap(undefined, 0xffff_fffe, 0x12_3456_789a, PAGE_MAX, 0xa_bcde_f012_3456, 7);
    requests.addUnmap(undefined, 0xffff_fffe, 0x12_3456_789a, PAGE_MAX);
    requests.syncReq();
    expect(device.seen.map(({ bytes }) => bytes)).toEqual([
      MapRequest.encode({
        type: MAP,
        domain: 0xffff_fffe,
        virtStart: 0x12_3456_789a_000n,
        virtEnd: 0xffff_ffff_ffff_ffffn,
        physStart: 0xabcd_ef01_2345_6000n,
        flags: 7,
      }),
      UnmapRequest.encode({
        type: UNMAP,
        domain: 0xffff_fffe,
        virtStart: 0x12_3456_789a_000n,
        virtEnd: 0xffff_ffff_ffff_ffffn,
      }),
    ]);
  });

  it('iommu.drv.unmap.reserved-zero: slots used again carry nothing over', () => {
    const { driver, device } = setUp({ queueSizes: [4, 4] });
    const { requests } = driver;
    for (let round = 0; round < 20; round += 1) {
      requests.addMap(undefined, 1, PAGE_MAX, PAGE_MAX, PAGE_MAX, 7);
      if (round % 3 === 0) requests.addReq(new Uint8Array(36).fill(0xff));
      requests.addUnmap(undefined, 1, PAGE_MAX, PAGE_MAX);
      if (round % 2 === 0) requests.syncReq();
    }
    requests.syncReq();
    const unmaps = device.seen.filter(({ type }) => type === UNMAP);
    expect(unmaps).toHaveLength(20);
    for (const { view, bytes } of unmaps) {
      expect(bytes.length).toBe(28);
      expect(UnmapRequest.read(view)).toMatchObject({
        reserved0: new Uint8Array(3),
        reserved1: new Uint8Array(4),
      });
    }
  });

  it('MAPs in a row leave the descriptors as they are', () => {
    const { driver, device, driverOptions } = setUp({ queueSizes: [8, 8] });
    const { requests } = driver;
    for (let page = 0; page < 8; page += 1) addPage(requests, page);
    requests.syncReq();
    const table = device.layouts[0]?.descriptorArea ?? 0n;
    const snapshot = (): Uint8Array => {
      const bytes = new Uint8Array(8 * 16);
      const { memory } = driverOptions;
      memory.read(memory.locate(Number(table), 0, bytes.length), bytes, 0, bytes.length);
      return bytes;
    };
    const before = snapshot();
    for (let page = 0; page < 100; page += 1) {
      addPage(requests, page);
      if (page % 5 === 0) requests.syncReq();
    }
    requests.syncReq();
    expect(snapshot()).toEqual(before);
  });
});

describe('the end of a request', () => {
  const expected: [status: number, error: string | undefined][] = [
    [0, undefined],
    [1, 'EIO'],
    [2, 'ENOSYS'],
    [3, 'EIO'],
    [4, 'EINVAL'],
    [5, 'ERANGE'],
    [6, 'ENOENT'],
    [7, 'EFAULT'],
    [8, 'ENOMEM'],
    [9, 'EIO'],
    [200, 'EIO'],
    [255, 'EIO'],
  ];
  it.each(expected.map(([status, error]) => [formatStatus(status), status, error] as const))(
    'S1.26 [A5] (1.14) %s',
    (_, status, error) => {
      const { driver, device } = setUp();
      device.script = () => ({ status });
      expect(driver.requests.sendReqSync(ATTACH_8)).toBe(error);
    },
  );

  it('iommu.drv.req.tail-reserved-ignored', () => {
    const { driver, device } = setUp();
    device.script = () => ({ status: 0, tailReserved: [0xa5, 0x5a, 0xff] });
    expect(driver.requests.sendReqSync(ATTACH_8)).toBeUndefined();
  });

  it.each([0, 1, 3, 5, 24, 0xffff_ffff])(
    'iommu.drv.req.used-len-zero-is-failure (1.2, 1.3): a used length of %i is EIO, whatever the tail says',
    (usedBytes) => {
      const { driver, device } = setUp();
      device.script = () => ({ status: Status.OK, usedBytes });
      expect(driver.requests.sendReqSync(ATTACH_8)).toBe('EIO');
      device.script = () => undefined;
      expect(driver.requests.sendReqSync(ATTACH_8)).toBeUndefined();
    },
  );

  it('a tail that the device only claims to have written is EIO', () => {
    const { driver, device } = setUp();
    device.script = () => ({ untouched: true });
    expect(driver.requests.sendReqSync(ATTACH_8)).toBe('EIO');
    expect(driver.requests.sendReqSync(PROBE_8)).toBe('EIO');
  });

  it('is told to each owner once, in whatever order the device completes', async () => {
    const { driver, device } = setUp();
    const { requests } = driver;
    const owners = Array.from({ length: 4 }, () => new Ends());
    const slots = owners.map((owner, page) => addPage(requests, page, owner));
    device.script = (_, index) => ({ status: index, hold: true });
    const synced = requests.syncReqAsync();
    device.serve();
    device.release(2, 0, 3, 1);
    await expect(synced).resolves.toBeUndefined();
    expect(owners.map(({ ends }) => ends)).toEqual(slots.map((slot, status) => [[slot, status]]));
  });

  it('the queue knows what ended until the next request', () => {
    const { driver } = setUp();
    const { requests } = driver;
    const known: unknown[] = [];
    const owner: RequestOwner = {
      requestDone: (slot) =>
        known.push([requests.typeOf(slot), requests.startPageOf(slot), requests.lastPageOf(slot)]),
    };
    requests.addMap(owner, 1, 5, 9, 0, 3);
    requests.addUnmap(owner, 1, 7, PAGE_MAX);
    requests.addReq(ATTACH_8, owner);
    requests.syncReq();
    expect(known).toEqual([
      [MAP, 5, 9],
      [UNMAP, 7, PAGE_MAX],
      [ATTACH, -1, -1],
    ]);
  });

  it('of requests that nobody waited for comes with the next sync, also one that makes room', () => {
    const { driver, device } = setUp({ queueSizes: [8, 8] });
    const owner = new Ends();
    device.script = (_, index) => ({ status: index % 2 === 0 ? Status.OK : Status.NOMEM });
    for (let page = 0; page < 20; page += 1) addPage(driver.requests, page, owner);
    driver.requests.syncReq();
    expect(owner.statuses).toEqual(Array.from({ length: 20 }, (_, n) => (n % 2 === 0 ? 0 : 8)));
  });

  it('all earlier requests are complete when a synchronous one returns', () => {
    const { driver } = setUp();
    const owner = new Ends();
    for (let page = 0; page < 5; page += 1) addPage(driver.requests, page, owner);
    driver.requests.sendReqSync(ATTACH_8);
    expect(owner.ends).toHaveLength(5);
  });
});

describe('PROBE requests', () => {
  it('iommu.drv.probe.properties-size: the room is exactly what the device asks for', () => {
    for (const probeSize of [0, 24, 64, 512]) {
      const { driver, device } = setUp({ config: { probeSize } });
      const properties = new Uint8Array(probeSize).fill(7);
      device.script = () => ({ properties });
      expect(driver.requests.sendProbeSync(PROBE_8)).toEqual(properties);
      expect(device.seen[0]?.writableBytes).toBe(probeSize + 4);
    }
  });

  it('a shorter answer is EIO, and an answer is not left for the next', () => {
    const { driver, device } = setUp();
    device.script = () => ({ properties: new Uint8Array(64).fill(7), usedBytes: 67 });
    expect(driver.requests.sendProbeSync(PROBE_8)).toBe('EIO');
    device.script = () => ({ status: 6, usedBytes: 68 });
    expect(driver.requests.sendProbeSync(PROBE_8)).toBe('ENOENT');
    device.script = () => undefined;
    expect(driver.requests.sendProbeSync(PROBE_8)).toEqual(new Uint8Array(64));
  });

  it('have one slot: a second one waits for the first', () => {
    const { driver, device } = setUp({ offered: DIRECT, queueSizes: [8, 8] });
    const { requests } = driver;
    const owner = new Ends();
    requests.addReq(PROBE_8, owner);
    requests.addReq(PROBE_8, owner);
    expect(device.types).toEqual([PROBE]);
    for (let page = 0; page < 3; page += 1) addPage(requests, page, owner);
    expect(device.types).toEqual([PROBE]);
    addPage(requests, 3, owner);
    expect(device.types).toEqual([PROBE, PROBE, MAP, MAP, MAP]);
    requests.syncReq();
    expect(owner.ends).toHaveLength(6);
  });

  it('between other requests, for long, lose nothing', () => {
    const { driver, device } = setUp({ offered: DIRECT, queueSizes: [16, 8] });
    const owner = new Ends();
    for (let n = 0; n < 500; n += 1) {
      if (n % 7 === 0) driver.requests.addReq(PROBE_8, owner);
      else addPage(driver.requests, n, owner);
      if (n % 11 === 0) driver.requests.syncReq();
    }
    driver.requests.syncReq();
    expect(owner.ends).toHaveLength(500);
    expect(device.seen).toHaveLength(500);
  });
});

describe('a device that does not answer', () => {
  it('S1.26 [A24] after the limit everything in flight fails with EIO, and later requests at once', () => {
    const { driver, device, clock, logger } = setUp();
    const { requests } = driver;
    const owner = new Ends();
    for (let page = 0; page < 3; page += 1) addPage(requests, page, owner);
    device.alive = false;
    const before = clock.nowMs;
    expect(requests.syncReq()).toBe('EIO');
    expect(clock.nowMs - before).toBeGreaterThanOrEqual(5000);
    expect(clock.nowMs - before).toBeLessThan(6000);
    expect(owner.statuses).toEqual([NO_STATUS, NO_STATUS, NO_STATUS]);
    expect(requests.inFlight).toBe(0);
    expect(driver.state).toBe('broken');
    expect(driver.log.counters.queueBroken).toBe(1);
    expect(logger.lines).toHaveLength(1);

    device.alive = true;
    const after = clock.nowMs;
    expect(codeOf(() => addPage(requests, 9))).toBe('EIO');
    expect(requests.sendReqSync(ATTACH_8)).toBe('EIO');
    expect(requests.syncReq()).toBe('EIO');
    expect(clock.nowMs).toBe(after);
    device.serve();
    expect(requests.syncReq()).toBe('EIO');
    expect(owner.ends).toHaveLength(3);
  });

  it('is given time as long as it makes progress', () => {
    const { device, clock, driverOptions } = prepare();
    let answered = 0;
    const idle = (): void => {
      device.serve();
      clock.nowMs += 1000;
      // One answer every four seconds.
      if (clock.nowMs % 4000 === 0 && answered < 3) answered += device.release(0);
    };
    const { requests } = IommuDriver.probe({ ...driverOptions, idle });
    device.script = () => ({ hold: true });
    const owner = new Ends();
    for (let page = 0; page < 4; page += 1) addPage(requests, page, owner);
    const before = clock.nowMs;
    expect(requests.syncReq()).toBe('EIO');
    expect(owner.statuses.filter((status) => status !== NO_STATUS)).toHaveLength(3);
    expect(clock.nowMs - before).toBeGreaterThan(12_000);
  });

  it('DEVICE_NEEDS_RESET ends the wait at once', () => {
    const { driver, device, clock } = setUp();
    addPage(driver.requests, 0);
    device.alive = false;
    device.announce(true);
    const before = clock.nowMs;
    expect(driver.requests.syncReq()).toBe('EIO');
    expect(clock.nowMs - before).toBeLessThan(1000);
    expect(driver.log.counters.configChanged).toBe(1);
  });

  it('registers that do not answer end the wait', () => {
    const { driver, device, clock } = setUp();
    addPage(driver.requests, 0);
    device.alive = false;
    device.acknowledgeInterrupts = () => {
      throw new IommuError('ETIMEDOUT', 'Nobody is there.');
    };
    const before = clock.nowMs;
    expect(driver.requests.syncReq()).toBe('EIO');
    expect(clock.nowMs - before).toBeLessThan(1000);
    expect(driver.state).toBe('broken');
  });

  it('an answer that comes as the device is given up ends nothing twice', () => {
    const { device, driverOptions } = prepare();
    let turns = 0;
    const idle = (): void => {
      turns += 1;
      // The second turn is the sleep, after which the interrupt is looked at before the ring.
      if (turns < 2) return;
      device.serve();
      device.announce(true);
    };
    const { requests } = IommuDriver.probe({ ...driverOptions, idle });
    const owner = new Ends();
    addPage(requests, 0, owner);
    expect(requests.syncReq()).toBe('EIO');
    expect(owner.statuses).toEqual([NO_STATUS]);
    expect(requests.inFlight).toBe(0);
  });

  it('a damaged used ring ends the queue', () => {
    const { driver, device, driverOptions } = setUp({ queueSizes: [8, 8] });
    const owner = new Ends();
    addPage(driver.requests, 0, owner);
    const used = device.layouts[0]?.deviceArea ?? 0n;
    const { memory } = driverOptions;
    memory.storeUint16(memory.locate(Number(used), 0, 4) + 2, 7);
    device.alive = false;
    expect(driver.requests.syncReq()).toBe('EIO');
    expect(owner.statuses).toEqual([NO_STATUS]);
    expect(driver.state).toBe('broken');
  });
});

describe('waiting without blocking', () => {
  it('syncs like the blocking form', async () => {
    const { driver, device } = setUp();
    const { requests } = driver;
    const owner = new Ends();
    for (let page = 0; page < 10; page += 1) addPage(requests, page, owner);
    await expect(requests.syncReqAsync()).resolves.toBeUndefined();
    expect(device.notifications).toBe(1);
    expect(owner.ends).toHaveLength(10);
    await expect(requests.syncReqAsync()).resolves.toBeUndefined();
    expect(device.notifications).toBe(1);
  });

  it('many tasks at once each get their own answer, in a ring that is too small for all', async () => {
    const { driver, device } = setUp({ queueSizes: [4, 4] });
    device.script = (request, index) => ({ status: request.type === PROBE ? 0 : index % 9 });
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, n) =>
        n % 10 === 0
          ? driver.requests.sendProbeAsync(PROBE_8).then((answer) => answer instanceof Uint8Array)
          : driver.requests.sendReqAsync(ATTACH_8),
      ),
    );
    expect(device.seen).toHaveLength(40);
    expect(answers.filter((answer) => answer === true)).toHaveLength(4);
    const errors = device.seen.flatMap(({ type }, index) => (type === PROBE ? [] : [index % 9]));
    expect(answers.filter((answer) => answer === undefined)).toHaveLength(
      errors.filter((status) => status === 0).length,
    );
    expect(driver.requests.inFlight).toBe(0);
  });

  it('does not wait for requests added later', async () => {
    const { driver, device } = setUp();
    const { requests } = driver;
    addPage(requests, 0);
    const first = requests.syncReqAsync();
    addPage(requests, 1);
    await expect(first).resolves.toBeUndefined();
    expect(requests.inFlight).toBe(1);
    expect(device.seen).toHaveLength(1);
  });

  it('S1.26 [A24] gives the device up as the blocking form does', async () => {
    const { driver, device } = setUp();
    device.alive = false;
    const answers = [
      driver.requests.sendReqAsync(ATTACH_8),
      driver.requests.sendReqAsync(ATTACH_8),
    ];
    await expect(Promise.all(answers)).resolves.toEqual(['EIO', 'EIO']);
    expect(driver.state).toBe('broken');
  });

  it('is not left asleep when a blocking sync takes its answers', async () => {
    const { driver, device, clock } = setUp();
    device.script = () => ({ hold: true });
    const answer = driver.requests.sendReqAsync(ATTACH_8);
    device.serve();
    device.release();
    device.script = () => undefined;
    addPage(driver.requests, 0);
    expect(driver.requests.syncReq()).toBeUndefined();
    const before = clock.nowMs;
    await expect(answer).resolves.toBeUndefined();
    expect(clock.nowMs - before).toBeLessThan(1000);
  });
});
