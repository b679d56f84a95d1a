import { DeviceStatus, IommuFeature, VirtioFeature, featureMask, hasFeature } from '@viommu/common';
import { IommuDriver, allocPaging, attach } from '@viommu/driver';
import { describe, expect, it } from 'vitest';
import { ALL_FEATURES, type DeviceOptions, without } from './helper/scripted-device.ts';
import { DETACH, MAP, codeOf, prepare, setUp } from './helper/setup.ts';

const { INPUT_RANGE, DOMAIN_RANGE, MAP_UNMAP, BYPASS, PROBE, MMIO, BYPASS_CONFIG } = IommuFeature;
const BARE = featureMask(MAP_UNMAP) | featureMask(VirtioFeature.VERSION_1);

/** What a failed probe leaves behind. */
function failure(options: DeviceOptions): {
  code: string | undefined;
  calls: string[];
  left: number;
} {
  const { device, driverOptions, pages } = prepare(options);
  const code = codeOf(() => IommuDriver.probe(driverOptions));
  return { code, calls: device.calls, left: pages.taken.size };
}

describe('taking over a device', () => {
  it('goes in the order of the standard, and fills the event queue after DRIVER_OK with one notification', () => {
    const { device, driverOptions } = prepare({ queueSizes: [256, 64] });
    IommuDriver.probe(driverOptions);
    expect(device.calls).toEqual(['negotiate', 'enable 0', 'enable 1', 'driver ok', 'notify 1']);
    expect(device.deviceStatus & DeviceStatus.DRIVER_OK).toBe(DeviceStatus.DRIVER_OK);
    let buffers = 0;
    while (device.inject(new Uint8Array(24))) buffers += 1;
    expect(buffers).toBe(64);
  });

  it('accepts everything offered that it knows, except the superseded BYPASS', () => {
    const { driver, device } = setUp({ offered: ALL_FEATURES | featureMask(60) });
    expect(device.accepted).toBe(without(ALL_FEATURES, BYPASS));
    expect(driver.features).toBe(device.accepted);
  });

  it('iommu.drv.features.accept-ranges-and-probe', () => {
    const bits = [INPUT_RANGE, DOMAIN_RANGE, PROBE];
    for (const offer of [bits, ...bits.map((bit) => [bit])]) {
      const { device } = setUp({
        offered: offer.reduce((set, bit) => set | featureMask(bit), BARE),
      });
      for (const bit of offer) expect(hasFeature(device.accepted, bit)).toBe(true);
    }
  });

  it('S1.27 [A21] fails without MAP_UNMAP, VERSION_1, a page size', () => {
    expect(failure({ offered: without(ALL_FEATURES, MAP_UNMAP) }).code).toBe('ENODEV');
    expect(failure({ offered: without(ALL_FEATURES, VirtioFeature.VERSION_1) }).code).toBe(
      'ENODEV',
    );
    expect(failure({ config: { pageSizeMask: 0n } }).code).toBe('EINVAL');
  });

  it.each<[string, DeviceOptions, string]>([
    [
      'an input range that ends before it starts',
      { config: { inputRangeStart: 2n, inputRangeEnd: 1n } },
      'EINVAL',
    ],
    [
      'a domain range that ends before it starts',
      { config: { domainRangeStart: 2, domainRangeEnd: 1 } },
      'EINVAL',
    ],
    ['more probe properties than memory', { config: { probeSize: 0xffff_ffff } }, 'EINVAL'],
    ['no request queue', { queueSizes: [] }, 'ENODEV'],
    ['no event queue', { queueSizes: [8] }, 'ENODEV'],
  ])('fails for %s, and leaves the device reset and marked', (_, options, code) => {
    const result = failure(options);
    expect(result.code).toBe(code);
    expect(result.calls.slice(-2)).toEqual(['reset', 'fail']);
    expect(result.calls).not.toContain('driver ok');
    expect(result.left).toBe(0);
  });

  it('leaves other devices alone', () => {
    expect(failure({ deviceId: 2 })).toEqual({ code: 'ENODEV', calls: [], left: 0 });
    expect(failure({ deviceId: 0 })).toEqual({ code: 'ENODEV', calls: [], left: 0 });
  });

  it('reads a field only if its feature was negotiated', () => {
    const config = {
      inputRangeStart: 9n,
      inputRangeEnd: 1n,
      domainRangeStart: 9,
      domainRangeEnd: 1,
      probeSize: 0xffff_ffff,
    };
    const { driver } = setUp({ offered: BARE, config });
    expect(driver.aperture).toEqual({ start: 0n, last: 0xffff_ffff_ffff_ffffn });
    expect(driver.probeSize).toBe(0);
    expect(driver.identityDomain).toBeUndefined();
    expect(allocPaging(driver.probeDevice([8])).id).toBe(0);
  });

  it('takes the device’s ranges', () => {
    const { driver } = setUp({ config: { inputRangeStart: 0x1000n, inputRangeEnd: 0xff_ffffn } });
    expect(driver.aperture).toEqual({ start: 0x1000n, last: 0xff_ffffn });
    expect([driver.firstPage, driver.lastPage]).toEqual([1, 0xfff]);
  });

  it('rounds the ranges inwards to pages, down to none', () => {
    const { driver } = setUp({ config: { inputRangeStart: 1n, inputRangeEnd: 0x2fffn - 1n } });
    expect([driver.firstPage, driver.lastPage]).toEqual([1, 1]);
    const none = setUp({ config: { inputRangeStart: 1n, inputRangeEnd: 0x1ffen } }).driver;
    expect(none.firstPage).toBeGreaterThan(none.lastPage);
  });

  it.each([
    [0x1000n, 0x1000n],
    [1n, 0x1000n],
    [0xffff_ffff_ffff_ffffn, 0xffff_ffff_ffff_f000n],
    [0x20_0800n, 0x20_1000n],
    [0x1_0000n, 0x1_0000n],
  ])('a page size mask of %x maps in sizes %x', (pageSizeMask, bitmap) => {
    const { driver } = setUp({ config: { pageSizeMask } });
    expect(driver.pageSizeBitmap).toBe(bitmap);
  });

  it('S1.27 [A21] a granule above a page leaves nothing to allocate, but the device is there', () => {
    const { driver } = setUp({ config: { pageSizeMask: 0x1_0000n } });
    expect(driver.state).toBe('live');
    const endpoint = driver.probeDevice([8]);
    expect(codeOf(() => allocPaging(endpoint))).toBe('ENODEV');
  });

  it('uses rings no larger than it needs, and powers of two', () => {
    const { device } = setUp({ queueSizes: [1000, 100] }, { requestQueueSize: 700 });
    expect(device.layouts.map((layout) => layout?.size)).toEqual([512, 64]);
    const small = setUp({ queueSizes: [7, 1] }).device;
    expect(small.layouts.map((layout) => layout?.size)).toEqual([4, 1]);
  });

  it('the MMIO flag is there with the feature only', () => {
    expect(setUp().driver.mapFlags).toBe(7);
    expect(setUp({ offered: without(ALL_FEATURES, MMIO) }).driver.mapFlags).toBe(3);
  });
});

describe('the configuration space', () => {
  it('iommu.drv.config.write-only-bypass: nothing is written unasked', () => {
    const { driver, device } = setUp();
    const endpoint = driver.probeDevice([8]);
    attach(allocPaging(endpoint), endpoint);
    driver.remove();
    expect(device.configWrites).toEqual([]);
  });

  it.each([
    [true, 1],
    [false, 0],
  ])(
    'iommu.drv.config.bypass-writable: asked for %s it writes %i, one byte wide, before DRIVER_OK',
    (bypass, value) => {
      const { device } = setUp({}, { bypass });
      expect(device.configWrites).toEqual([{ offset: 0x24, width: 1, value }]);
      expect(device.calls.indexOf('write config')).toBeLessThan(device.calls.indexOf('driver ok'));
    },
  );

  it('bypass that was not negotiated cannot be asked for', () => {
    const { device, driverOptions } = prepare({ offered: without(ALL_FEATURES, BYPASS_CONFIG) });
    expect(codeOf(() => IommuDriver.probe({ ...driverOptions, bypass: false }))).toBe('ENOSYS');
    expect(device.configWrites).toEqual([]);
  });

  it('iommu.drv.config.bypass-read-mask', () => {
    const { driver, device } = setUp();
    device.config.setUint8(0x24, 0x81);
    expect(driver.bypass).toBe(true);
    device.config.setUint8(0x24, 0x80);
    expect(driver.bypass).toBe(false);
    expect(setUp({ offered: BARE }).driver.bypass).toBeUndefined();
  });

  it('a change is logged and changes nothing', () => {
    const { driver, device, logger } = setUp();
    device.announce(false);
    expect(driver.serveEvents()).toBe(0);
    expect(driver.log.counters.configChanged).toBe(1);
    expect(logger.lines).toHaveLength(1);
    expect(driver.state).toBe('live');
  });

  it('a device that needs a reset is given up', () => {
    const { driver, device } = setUp();
    device.announce(true);
    driver.serveEvents();
    expect(driver.state).toBe('broken');
  });
});

describe('removing the driver', () => {
  it('detaches everything, resets the device and gives the memory back', () => {
    const { driver, device, pages } = setUp();
    const endpoint = driver.probeDevice([8, 9]);
    attach(allocPaging(endpoint), endpoint);
    device.seen.length = 0;
    expect(pages.taken.size).toBeGreaterThan(0);
    driver.remove();
    expect(device.types).toEqual([DETACH, DETACH]);
    expect(device.calls.at(-1)).toBe('reset');
    expect(pages.taken.size).toBe(0);
    expect(driver.endpoints.size).toBe(0);
    expect(endpoint.domain).toBeNull();
    expect(driver.state).toBe('removed');
    expect(driver.log.counters.queueBroken).toBe(0);
    expect(codeOf(() => driver.probeDevice([8]))).toBe('EIO');
    expect(driver.serveEvents()).toBe(0);
    driver.remove();
    expect(device.calls.filter((call) => call === 'reset')).toHaveLength(1);
  });

  it('the device can be taken over again', () => {
    const { driver, device, driverOptions } = setUp();
    driver.remove();
    const again = IommuDriver.probe(driverOptions);
    again.requests.addMap(undefined, 1, 1, 1, 1, 3);
    expect(again.requests.syncReq()).toBeUndefined();
    expect(device.types).toEqual([MAP]);
  });
});
