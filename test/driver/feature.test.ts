/** What the driver makes of an offer: sections "Feature Bits" and "Reserved Feature Bits", driver side. */

import { DeviceStatus, IommuFeature, VirtioFeature, featureMask } from '@viommu/common';
import { DRIVER_FEATURES } from '@viommu/driver';
import { describe, expect, it } from 'vitest';
import { ENDPOINT, R, RecordedGuest } from './recorded-guest.ts';

const ALL = (1n << 64n) - 1n;
/** Everything that the driver can use, so that the device agrees to it. */
const EVERYTHING = { packed: true, notificationData: true };
/** Offered by other devices; ours refuses whoever accepts them. */
const PLATFORM =
  featureMask(VirtioFeature.ACCESS_PLATFORM) | featureMask(VirtioFeature.ORDER_PLATFORM);
const { INPUT_RANGE, DOMAIN_RANGE, MAP_UNMAP, PROBE, MMIO, BYPASS_CONFIG } = IommuFeature;
const { VERSION_1, INDIRECT_DESC, EVENT_IDX } = VirtioFeature;

/** The bits that the driver has written. */
function accepted(guest: RecordedGuest): bigint {
  const [low = 0, high = 0] = guest.written(R.driverFeatures);
  return (BigInt(high) << 32n) | BigInt(low);
}

/** The log of a whole life, without what the offer itself reads as. */
function lifeWith(offer: (bits: bigint) => bigint): string[] {
  const guest = new RecordedGuest({ offer });
  guest.wholeLife();
  return guest.log
    .filter(({ kind, offset }) => kind !== 'read' || offset !== R.deviceFeatures)
    .map(({ kind, offset, width, value }) => `${kind} ${offset} ${width} ${value}`);
}

/** Bits 7 to 23, which another device type may use, 41 of PCI, and 44 to 49, which nothing uses. */
const FOREIGN = 0xff_ff80n | (1n << 41n) | (0x3fn << 44n);

describe('an offer', () => {
  it('basic.drv.features.validate-offer: of everything is taken in part, of nothing is refused', () => {
    const everything = new RecordedGuest({ features: EVERYTHING, offer: () => ALL & ~PLATFORM });
    everything.probe();
    expect(accepted(everything)).toBe(DRIVER_FEATURES & ~PLATFORM);

    const nothing = new RecordedGuest({ offer: () => 0n });
    expect(() => nothing.probe()).toThrow('lacks features');
    expect(nothing.written(R.driverFeatures)).toEqual([]);
    expect(nothing.written(R.status)).not.toContain(0x0f);
  });

  it('basic.drv.features.ignore-unknown: with bits of nobody and of other transports is the same', () => {
    expect(lifeWith((bits) => bits | FOREIGN)).toEqual(lifeWith((bits) => bits));
  });

  it('basic.drv.features.not-fail-on-unknown-offer: with bit 63 leads to DRIVER_OK', () => {
    const guest = new RecordedGuest({ offer: (bits) => bits | (1n << 63n) });
    const driver = guest.probe();
    expect(guest.transport().status() & DeviceStatus.DRIVER_OK).not.toBe(0);
    expect(driver.has(63)).toBe(false);
  });

  it.each([
    ['INPUT_RANGE', INPUT_RANGE],
    ['DOMAIN_RANGE', DOMAIN_RANGE],
    ['PROBE', PROBE],
    ['MMIO', MMIO],
    ['BYPASS_CONFIG', BYPASS_CONFIG],
    ['EVENT_IDX', EVENT_IDX],
    ['INDIRECT_DESC', INDIRECT_DESC],
  ])('basic.drv.features.fallback-mode: without %s the driver works', (_, bit) => {
    const guest = new RecordedGuest({ offer: (bits) => bits & ~featureMask(bit) });
    const driver = guest.probe();
    expect(driver.has(bit)).toBe(false);
    const page = guest.mapOnePage(driver, ENDPOINT);
    expect(guest.reaches(ENDPOINT, page)).toBe(true);
  });

  it('basic.drv.reserved.version-1-required: without VERSION_1 ends in FAILED', () => {
    const guest = new RecordedGuest({ offer: (bits) => bits & ~featureMask(VERSION_1) });
    expect(() => guest.probe()).toThrow('lacks features');
    expect(guest.transport().status()).toBe(DeviceStatus.FAILED);
    expect(guest.written(R.queueReady)).toEqual([]);
  });

  it('basic.drv.features.fail-without-required: without MAP_UNMAP likewise', () => {
    const guest = new RecordedGuest({ offer: (bits) => bits & ~featureMask(MAP_UNMAP) });
    expect(() => guest.probe()).toThrow('lacks features');
    expect(guest.transport().status()).toBe(DeviceStatus.FAILED);
  });

  it('basic.drv.reserved.packed-accept: with RING_PACKED leads to packed rings', () => {
    const guest = new RecordedGuest({ features: { packed: true } });
    const driver = guest.probe();
    expect(driver.has(VirtioFeature.RING_PACKED)).toBe(true);
    expect(accepted(guest) & featureMask(VirtioFeature.RING_PACKED)).not.toBe(0n);
    const page = guest.mapOnePage(driver, ENDPOINT);
    expect(guest.reaches(ENDPOINT, page)).toBe(true);
  });

  it.each([
    ['basic.drv.reserved.access-platform-accept', VirtioFeature.ACCESS_PLATFORM],
    ['basic.drv.reserved.order-platform-accept', VirtioFeature.ORDER_PLATFORM],
  ])('%s: of a platform is accepted', (_, bit) => {
    const guest = new RecordedGuest({ offer: (bits) => bits | featureMask(bit) });
    expect(() => guest.probe()).toThrow('refuses features');
    expect(accepted(guest) & featureMask(bit)).not.toBe(0n);
  });
});
