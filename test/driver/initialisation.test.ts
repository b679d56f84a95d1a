/** How the driver takes a device over and lets it go: sections "Device Initialization" and "Device Cleanup", driver side. */

import { IommuFeature, VirtioFeature, featureMask } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import {
  ENDPOINT,
  R,
  RAM_BASE,
  RAM_BYTES,
  type Recorded,
  RecordedGuest,
} from './recorded-guest.ts';

const FEATURES_OK = 0x08;

/** Accesses to the configuration space, as `first-last` bytes of it. */
function configAccesses(log: readonly Recorded[], kind: 'read' | 'write'): string[] {
  return log
    .filter((entry) => entry.kind === kind && entry.offset >= R.config)
    .map(({ offset, width }) => `${offset - R.config}-${offset - R.config + width - 1}`);
}

/** The driver's whole life with a device that offers all but this. */
function lifeWithout(bit: number): Recorded[] {
  const guest = new RecordedGuest({ offer: (bits) => bits & ~featureMask(bit) });
  guest.wholeLife();
  return guest.log;
}

describe('the configuration space', () => {
  it.each([
    ['INPUT_RANGE', IommuFeature.INPUT_RANGE, ['12-15', '8-11', '20-23', '16-19']],
    ['DOMAIN_RANGE', IommuFeature.DOMAIN_RANGE, ['24-27', '28-31']],
    ['PROBE', IommuFeature.PROBE, ['32-35']],
    ['BYPASS_CONFIG', IommuFeature.BYPASS_CONFIG, ['36-36']],
  ])(
    'basic.drv.config.check-feature-first: the fields of %s are read only with it',
    (_, bit, fields) => {
      const all = new RecordedGuest();
      all.wholeLife();
      const read = configAccesses(all.log, 'read');
      expect(read).toEqual(expect.arrayContaining(fields));
      expect(configAccesses(lifeWithout(bit), 'read')).toEqual(
        read.filter((access) => !fields.includes(access)),
      );
    },
  );

  it('basic.drv.config.no-size-limit: 4096 bytes are as good as 40', () => {
    const guest = new RecordedGuest({ configBytes: 4096 });
    guest.wholeLife();
    const usual = new RecordedGuest();
    usual.wholeLife();
    expect(guest.log).toEqual(usual.log);
  });

  it.each([40, 41, 256])(
    'basic.drv.config.only-large-enough: %i bytes are accepted',
    (configBytes) => {
      const guest = new RecordedGuest({ configBytes });
      const page = guest.mapOnePage(guest.probe(), ENDPOINT);
      expect(guest.reaches(ENDPOINT, page)).toBe(true);
    },
  );

  it('basic.drv.init.config-read-early: can be read while features are being chosen', () => {
    const guest = new RecordedGuest();
    const early: number[] = [];
    const transport = guest.transport();
    guest.onRead = (offset, value) => {
      if (offset === R.deviceFeatures) early.push(transport.readConfig(32, 4), guest.status);
      return value;
    };
    transport.negotiate({ wanted: 0n, required: 0n });
    expect(early).toEqual([64, 0x03, 64, 0x03]);
  });

  it('basic.drv.init.no-config-write-early: is not written before the device agrees to the features', () => {
    for (const bypass of [true, false]) {
      const guest = new RecordedGuest();
      guest.wholeLife({ bypass });
      const writes = configAccesses(guest.log, 'write');
      expect(writes).toEqual(['36-36']);
      const confirmed = guest.log.findIndex(
        ({ kind, offset, value }) =>
          kind === 'read' && offset === R.status && (value & FEATURES_OK) !== 0,
      );
      const written = guest.log.findIndex(
        ({ kind, offset }) => kind === 'write' && offset >= R.config,
      );
      expect(confirmed).toBeGreaterThan(0);
      expect(written).toBeGreaterThan(confirmed);
    }
  });
});

describe('the device status', () => {
  it('basic.drv.status.failed-then-reset: after a refusal the next attempt begins with a reset', () => {
    const guest = new RecordedGuest();
    guest.onRead = (offset, value) => (offset === R.status ? value & ~FEATURES_OK : value);
    expect(() => guest.probe()).toThrow('refuses features');
    expect(guest.written(R.status)).toContain(0x8b);
    guest.onRead = (_, value) => value;
    const from = guest.written(R.status).length;
    guest.probe();
    expect(guest.written(R.status).slice(from)).toEqual([0x00, 0x01, 0x03, 0x0b, 0x0f]);
  });

  it('basic.drv.status.needs-reset-no-reliance: with DEVICE_NEEDS_RESET pending requests fail at once', () => {
    const guest = new RecordedGuest();
    const driver = guest.probe({
      // The device completes nothing any more.
      idle: () => {
        guest.nowMs += 10;
        guest.announceChange();
      },
    });
    guest.onRead = (offset, value) => (offset === R.status ? value | 0x40 : value);
    driver.requests.addMap(undefined, 1, 1, 1, 1, 3);
    driver.requests.addMap(undefined, 1, 2, 2, 2, 3);
    expect(driver.requests.syncReq()).toBe('EIO');
    expect(driver.requests.inFlight).toBe(0);
    // Long before the time limit of a silent device.
    expect(guest.nowMs).toBeLessThan(1000);
  });

  it('basic.drv.suspend.only-when-allowed: is never written SUSPEND, offered or not', () => {
    for (const offer of [0n, featureMask(VirtioFeature.SUSPEND)]) {
      const guest = new RecordedGuest({ offer: (bits) => bits | offer });
      guest.wholeLife();
      const written = guest.written(R.status);
      expect(written.length).toBeGreaterThan(5);
      expect(written.filter((status) => (status & 0x10) !== 0)).toEqual([]);
    }
  });
});

describe('removal', () => {
  it('basic.drv.cleanup.quiesce-before-removal: no memory is given back before the device is reset', () => {
    const guest = new RecordedGuest();
    const driver = guest.probe();
    // The event buffers are with the device.
    expect(guest.fault()).toBe(true);
    driver.remove();
    const reset = guest.log.findLastIndex(
      ({ kind, offset, value }) => kind === 'read' && offset === R.status && value === 0,
    );
    const freed = guest.log.flatMap(({ kind }, at) => (kind === 'free' ? [at] : []));
    expect(freed.length).toBeGreaterThan(2);
    expect(Math.min(...freed)).toBeGreaterThan(reset);
    expect(guest.written(R.status).at(-1)).toBe(0);
  });
});

describe('addresses', () => {
  it('basic.drv.reserved.no-access-platform-physical: are those of RAM, where the bytes are', () => {
    const direct = [VirtioFeature.INDIRECT_DESC, VirtioFeature.ACCESS_PLATFORM];
    const mask = direct.reduce((set, bit) => set | featureMask(bit), 0n);
    const guest = new RecordedGuest({ offer: (bits) => bits & ~mask });
    const types: number[] = [];
    guest.onRing = (queue) => {
      if (queue === 0) types.push(...guest.availableTypes());
    };
    guest.wholeLife();
    expect(guest.areas(0)).toHaveLength(3);
    for (const area of [...guest.areas(0), ...guest.areas(1)]) {
      expect(area).toBeGreaterThanOrEqual(RAM_BASE);
      expect(area).toBeLessThan(RAM_BASE + BigInt(RAM_BYTES));
    }
    expect(new Set(types)).toEqual(new Set([1, 2, 3, 4, 5]));
  });
});
