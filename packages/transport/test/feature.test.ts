/** Feature negotiation: section "Feature Bits", device side. */

import { describe, expect, it } from 'vitest';
import { FakeDevice } from './kit/fake-device.ts';
import { BYPASS_CONFIG, EVENT_IDX, R, VERSION_1 } from './kit/register.ts';
import { Rig } from './kit/rig.ts';

/** What `construct` throws, as the code of an IommuError. */
function codeOf(construct: () => unknown): string | undefined {
  try {
    construct();
  } catch (error) {
    return (error as { code?: string }).code; // Undefined for any other kind of error.
  }
  return undefined;
}

function offering(bits: bigint): FakeDevice {
  const device = new FakeDevice();
  device.offeredFeatures = bits;
  return device;
}

describe('the offer', () => {
  it('fact.mmio.features-sel: word n shows bits 32n and up', () => {
    const rig = new Rig();
    rig.set(R.deviceFeaturesSel, 0);
    expect(rig.get(R.deviceFeatures)).toBe(0x3000_0057);
    rig.set(R.deviceFeaturesSel, 1);
    expect(rig.get(R.deviceFeatures)).toBe(0x101);
  });

  it('(11.8) words beyond 1 read 0', () => {
    const rig = new Rig();
    for (const word of [2, 3, 4, 32, 0x8000_0000, 0xffff_ffff]) {
      rig.set(R.deviceFeaturesSel, word);
      expect(rig.get(R.deviceFeatures)).toBe(0);
    }
    rig.set(R.deviceFeaturesSel, 0);
    expect(rig.get(R.deviceFeatures)).toBe(0x3000_0057);
  });

  it('basic.dev.reserved.version-1-offer: not without it', () => {
    expect(codeOf(() => new Rig({ device: offering(EVENT_IDX) }))).toBe('EINVAL');
    expect(new Rig().offer() & VERSION_1).toBe(VERSION_1);
  });

  it('basic.dev.features.offer-only-supported (11.15, 11.20): not what this transport cannot do', () => {
    for (const bit of [37n, 39n, 41n, 43n, 64n]) {
      const device = offering(VERSION_1 | (1n << bit));
      expect(
        codeOf(() => new Rig({ device })),
        `bit ${bit}`,
      ).toBe('EINVAL');
    }
  });

  it('basic.dev.reserved.sr-iov-not-otherwise: never over MMIO, where no capability says so', () => {
    expect(new Rig().offer() & (1n << 37n)).toBe(0n);
    expect(codeOf(() => new Rig({ device: offering(VERSION_1 | (1n << 37n)) }))).toBe('EINVAL');
  });
});

describe('FEATURES_OK', () => {
  it('basic.dev.features.accept-subsets: any subset with VERSION_1', () => {
    const rig = new Rig();
    const offer = rig.offer();
    expect(rig.features(offer)).toBe(0x0b);
    expect(rig.features(VERSION_1)).toBe(0x0b);
    for (let bit = 0n; bit < 64n; bit += 1n) {
      if (bit === 32n || ((offer >> bit) & 1n) === 0n) continue;
      const subset = offer & ~(1n << bit);
      expect(rig.features(subset), `without bit ${bit}`).toBe(0x0b);
      expect(rig.device.accepted).toBe(subset);
    }
  });

  it('basic.dev.features.refuse-clears-features-ok: a bit never offered (11.6)', () => {
    const rig = new Rig();
    for (const bit of [3n, 31n, 34n, 43n, 63n]) {
      expect(rig.features(VERSION_1 | (1n << bit)), `bit ${bit}`).toBe(0x03);
    }
    expect(rig.device.log.join()).not.toContain('acceptFeatures');
    // The driver may think again without a reset.
    rig.set(R.driverFeatures, 1);
    rig.set(R.status, 0x0b);
    expect(rig.get(R.status)).toBe(0x0b);
  });

  it('(11.8) a bit in a word beyond 1 is refused, a zero there is not', () => {
    for (const word of [2, 3, 4, 0xffff_ffff]) {
      for (const value of [0, 1, 0x8000_0000]) {
        const rig = new Rig();
        rig.set(R.status, 0x03);
        rig.set(R.driverFeaturesSel, 1);
        rig.set(R.driverFeatures, 1);
        rig.set(R.driverFeaturesSel, word);
        rig.set(R.driverFeatures, value);
        rig.set(R.status, 0x0b);
        expect(rig.get(R.status), `word ${word}, value ${value}`).toBe(value === 0 ? 0x0b : 0x03);
      }
    }
  });

  it('basic.dev.reserved.version-1-required: refused without it (11.7)', () => {
    const rig = new Rig();
    expect(rig.features(EVENT_IDX)).toBe(0x03);
    expect(rig.features(0n)).toBe(0x03);
  });

  it('leaves the last word to the device type', () => {
    const rig = new Rig();
    rig.device.unacceptable = EVENT_IDX;
    expect(rig.features(VERSION_1 | EVENT_IDX)).toBe(0x03);
    expect(rig.features(VERSION_1)).toBe(0x0b);
  });

  it('(11.5) features written afterwards are ignored', () => {
    const rig = new Rig();
    rig.features(VERSION_1);
    rig.set(R.driverFeaturesSel, 0);
    rig.set(R.driverFeatures, 0xffff_ffff);
    rig.set(R.status, 0x0f);
    expect(rig.get(R.status)).toBe(0x0f);
    expect(rig.device.session?.features).toBe(VERSION_1);
  });

  it('basic.dev.features.renegotiation: the same set a hundred times', () => {
    const rig = new Rig();
    for (let round = 0; round < 100; round += 1)
      expect(rig.features(VERSION_1 | BYPASS_CONFIG)).toBe(0x0b);
  });

  it('passes the negotiated set to the device type', () => {
    const rig = new Rig();
    rig.start(VERSION_1 | BYPASS_CONFIG);
    expect(rig.device.session?.features).toBe(VERSION_1 | BYPASS_CONFIG);
  });
});
