/** Features, the configuration space, bypass and the two resets (ambiguities 7). */

import { IommuConfig, Status, hasFeature } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { IommuDevice, type FeatureOffer, type IommuDeviceOptions } from '../src/index.ts';
import { A, createGuest, hex } from './guest.ts';

const { OK, NOENT } = Status;
const BYPASS = IommuConfig.offset.bypass;
const BYPASS_CONFIG = 1n << 6n;
const EVERYTHING = 0xffff_ffff_ffff_ffffn;

const offer = (features?: FeatureOffer): bigint =>
  new IommuDevice({ ...(features && { features }) }).offeredFeatures;
const read = (device: IommuDevice): ReturnType<typeof IommuConfig.read> =>
  IommuConfig.read(new DataView(device.config.slice().buffer));

describe('features', () => {
  it('iommu.dev.features.offer-map-unmap', () => {
    expect(hasFeature(offer(), 2)).toBe(true);
    expect(hasFeature(offer({ mapUnmap: false }), 2)).toBe(false);
  });

  it('iommu.dev.features.no-legacy-bypass', () => {
    expect(hasFeature(offer(), 3)).toBe(false);
    expect(hasFeature(offer(), 6)).toBe(true);
  });

  it('iommu.dev.features.not-both-bypass, (7.14)', () => {
    expect(offer({ legacyBypass: true }) & 0x48n).toBe(0x08n);
    expect(() => offer({ legacyBypass: true, bypassConfig: true })).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
  });

  it('basic.dev.reserved.access-platform-offer: not by a device that sees all of guest memory as it is', () => {
    const everything: FeatureOffer = { packed: true, legacyBypass: true, bypassConfig: false };
    for (const features of [{}, everything]) expect(hasFeature(offer(features), 33)).toBe(false);
    // A request that lies anywhere in the memory of the guest is found at its guest-physical address.
    expect(createGuest().attach(1, A)).toBe(OK);
  });

  it('offers by default: ranges, MAP_UNMAP, PROBE, MMIO, BYPASS_CONFIG, and what rings can do', () => {
    // 0..2, 4..6, 28, 29, 32, 35, 40
    expect(offer()).toBe(0x109_3000_0077n);
  });

  it('offers less where a switch is off; VERSION_1 stays', () => {
    const off: FeatureOffer = {
      inputRange: false,
      domainRange: false,
      mapUnmap: false,
      probe: false,
      mmio: false,
      bypassConfig: false,
      indirect: false,
      eventIndex: false,
      inOrder: false,
      ringReset: false,
    };
    expect(offer(off)).toBe(1n << 32n);
    for (const name of Object.keys(off))
      expect(offer({ ...off, [name]: true })).not.toBe(1n << 32n);
  });
});

describe('configuration space', () => {
  it('is that of the worked example, byte for byte', () => {
    const device = new IommuDevice({ probeSize: 64, bypass: true });
    expect(device.config).toEqual(
      hex(`00 f0 ff ff ff ff ff ff  00 00 00 00 00 00 00 00
           ff ff ff ff ff ff ff ff  00 00 00 00 ff ff ff ff
           40 00 00 00 01 00 00 00`),
    );
  });

  it('iommu.dev.config.page-size-mask-nonzero', () => {
    expect(read(new IommuDevice()).pageSizeMask).not.toBe(0n);
    for (const pageSizeMask of [0n, -1n, 1n << 64n])
      expect(() => new IommuDevice({ pageSizeMask })).toThrow(
        expect.objectContaining({ code: 'EINVAL' }),
      );
  });

  it('iommu.dev.config.page-size-mask-many: the lowest bit is the granule', () => {
    for (const [pageSizeMask, granule] of [
      [0x1000n, 0x1000n],
      [0x20_1000n, 0x1000n],
      [EVERYTHING << 16n, 0x1_0000n],
    ] as const) {
      const guest = createGuest({ pageSizeMask: pageSizeMask & EVERYTHING });
      guest.attach(1, A);
      expect(read(guest.device).pageSizeMask).toBe(pageSizeMask & EVERYTHING);
      expect(guest.map(1, 0n, granule - 1n, 0n)).toBe(OK);
      expect(guest.map(1, granule, granule + granule / 2n - 1n, 0n)).toBe(Status.RANGE);
    }
  });

  it('shows ranges and the probe size', () => {
    const device = new IommuDevice({
      inputRange: { start: 0x1000n, last: 0xffff_ffff_ffffn },
      domainRange: { first: 3, last: 0x1_0000 },
      probeSize: 128,
    });
    expect(read(device)).toMatchObject({
      inputRangeStart: 0x1000n,
      inputRangeEnd: 0xffff_ffff_ffffn,
      domainRangeStart: 3,
      domainRangeEnd: 0x1_0000,
      probeSize: 128,
      bypass: 0,
    });
  });

  it('(7.12) fields of features that are not offered are zero', () => {
    const device = new IommuDevice({
      features: { inputRange: false, domainRange: false, probe: false, bypassConfig: false },
      bypass: true,
    });
    expect([...device.config.subarray(8)].every((byte) => byte === 0)).toBe(true);
  });

  it('(7.6) (7.7) only the one byte can be written, and only as one byte', () => {
    const guest = createGuest();
    const before = guest.device.config.slice();
    for (const width of [1, 2, 4])
      for (let offset = 0; offset < 40; offset += width)
        if (offset !== BYPASS || width !== 1)
          expect(guest.device.writeConfig(offset, width, 1)).toBe(false);
    expect(guest.device.config).toEqual(before);
  });
});

describe('bypass', () => {
  it('iommu.dev.config.bypass-initial-one', () => {
    expect(new IommuDevice({ bypass: true }).config[BYPASS]).toBe(1);
    expect(new IommuDevice().config[BYPASS]).toBe(0);
  });

  it('iommu.dev.config.bypass-presented-value, (7.5)', () => {
    const guest = createGuest();
    const { device } = guest;
    const written = [0, 1, 2, 0x80, 0xff, 0].map((value) => {
      const taken = device.writeConfig(BYPASS, 1, value);
      return [taken, device.config[BYPASS], guest.access(A, 0n, 1) === '=0+1'];
    });
    expect(written).toEqual([
      [true, 0, false],
      [true, 1, true],
      [false, 1, true],
      [false, 1, true],
      [false, 1, true],
      [true, 0, false],
    ]);
  });

  it('iommu.dev.config.bypass-kept-on-device-reset, (7.1)', () => {
    const { device } = createGuest();
    device.writeConfig(BYPASS, 1, 1);
    device.reset();
    expect(device.config[BYPASS]).toBe(1);
  });

  it('iommu.dev.config.bypass-restored-on-system-reset, (7.2)', () => {
    const guest = createGuest({ bypass: true });
    guest.device.writeConfig(BYPASS, 1, 0);
    guest.device.reset();
    guest.device.systemReset();
    expect(guest.device.config[BYPASS]).toBe(1);
    expect(guest.access(A, 0n, 1)).toBe('=0+1');
  });

  it('iommu.dev.req.unattached-no-access', () => {
    for (const guest of [createGuest(), createGuest({ features: { bypassConfig: false } })]) {
      expect(guest.access(A, 0x1000n, 4, 1)).toBe('domain fault at 1000');
      expect(guest.access(A, 0x1000n, 4, 2)).toBe('domain fault at 1000');
    }
  });

  it('(7.3) the field rules before any driver, and without the feature accepted', () => {
    expect(createGuest({ bypass: true, started: false }).access(A, 0x77n, 4)).toBe('=77+4');
    const { offeredFeatures } = new IommuDevice();
    const guest = createGuest({ bypass: true, accept: offeredFeatures & ~BYPASS_CONFIG });
    expect(guest.access(A, 0x77n, 4)).toBe('=77+4');
    guest.attach(1, A);
    expect(guest.access(A, 0x77n, 4)).toBe('mapping fault at 77');
  });

  it('(7.4) a write without the feature accepted is ignored', () => {
    const { offeredFeatures } = new IommuDevice();
    const guest = createGuest({ accept: offeredFeatures & ~BYPASS_CONFIG });
    expect(guest.device.writeConfig(BYPASS, 1, 1)).toBe(false);
    expect(guest.device.config[BYPASS]).toBe(0);
    const fresh = new IommuDevice();
    expect(fresh.writeConfig(BYPASS, 1, 1)).toBe(false);
  });

  it('(7.9) a write takes effect at once', () => {
    const guest = createGuest();
    expect(guest.access(A, 0n, 1)).toBe('domain fault at 0');
    guest.device.writeConfig(BYPASS, 1, 1);
    expect(guest.access(A, 0n, 1)).toBe('=0+1');
  });

  it('a bypass domain passes with the field 0, a translated one does not with the field 1', () => {
    const guest = createGuest({ bypass: true });
    guest.attach(1, A);
    expect(guest.access(A, 0n, 1)).toBe('mapping fault at 0');
    guest.device.writeConfig(BYPASS, 1, 0);
    guest.attach(2, A, 1);
    expect(guest.access(A, 0xfff0n, 0x20)).toBe('=fff0+32');
  });

  it('(7.14) the old BYPASS passes once it is negotiated', () => {
    const options: IommuDeviceOptions = { features: { legacyBypass: true } };
    const accept = new IommuDevice(options).offeredFeatures;
    expect(createGuest({ ...options, started: false }).access(A, 0n, 1)).toBe('domain fault at 0');
    expect(createGuest({ ...options, accept: accept & ~8n }).access(A, 0n, 1)).toBe(
      'domain fault at 0',
    );
    const guest = createGuest({ ...options, accept });
    expect(guest.access(A, 0n, 1)).toBe('=0+1');
    expect(guest.device.writeConfig(BYPASS, 1, 1)).toBe(false);
    guest.attach(1, A);
    expect(guest.access(A, 0n, 1)).toBe('mapping fault at 0');
    guest.device.reset();
    expect(guest.access(A, 0n, 1)).toBe('domain fault at 0');
  });
});

describe('reset', () => {
  it('(7.10) drops attachments, domains and mappings', () => {
    const guest = createGuest();
    guest.attach(1, A);
    guest.map(1, 0n, 0xfffn, 0x5000n);
    guest.device.reset();
    expect(guest.device.iommu.usage.mappings).toBe(0);
    expect(guest.access(A, 0n, 1)).toBe('domain fault at 0');
    guest.start();
    expect(guest.map(1, 0n, 0xfffn, 0x5000n)).toBe(NOENT);
    expect(guest.attach(1, A, 1)).toBe(OK);
  });

  it('(7.11) nothing is touched after it', () => {
    const guest = createGuest();
    guest.add(Uint8Array.of(1), 4);
    guest.device.reset();
    const before = guest.bytes(0, 0x4000);
    expect(guest.device.serve()).toBe(false);
    expect(guest.device.arm()).toBe(true);
    guest.device.suppress();
    guest.access(A, 0n, 1);
    expect(guest.bytes(0, 0x4000)).toEqual(before);
    expect(guest.take()).toBe(-1);
  });
});
