/** How wishes of the suite become options of QEMU. */

import { VirtioFeature, featureMask } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { iommuOptionsOf } from '../src/qemu/iommu-option.ts';

const ALL = new Set(
  'boot-bypass packed event_idx indirect_desc in_order queue_reset granule aw-bits'.split(' '),
);
const optionsOf = (wish: Parameters<typeof iommuOptionsOf>[0], known = ALL): object =>
  iommuOptionsOf(wish, known);

describe('a wish', () => {
  it('for nothing has no options', () => {
    expect(optionsOf({})).toEqual({});
  });

  it('for features turns them on and off', () => {
    const withFeatures = featureMask(VirtioFeature.RING_PACKED) | featureMask(5);
    const withoutFeatures = featureMask(VirtioFeature.EVENT_IDX) | featureMask(1);
    expect(optionsOf({ withFeatures, withoutFeatures })).toEqual({
      packed: 'on',
      event_idx: 'off',
    });
  });

  it('for bypass sets its first value', () => {
    expect(optionsOf({ bypass: false })).toEqual({ 'boot-bypass': 'off' });
    expect(optionsOf({ bypass: true })).toEqual({ 'boot-bypass': 'on' });
  });

  it('for pages sets the granule, if the device would have just these', () => {
    expect(optionsOf({ pageSizeMask: 0xffff_ffff_ffff_0000n })).toEqual({ granule: '64k' });
    expect(optionsOf({ pageSizeMask: 0xffff_ffff_ffff_f000n })).toEqual({ granule: '4k' });
    expect(optionsOf({ pageSizeMask: 0x20_1000n })).toEqual({});
    expect(optionsOf({ pageSizeMask: 0xffff_ffff_ffff_ffffn })).toEqual({});
  });

  it('for an input range sets the width of an address, if it has one', () => {
    expect(optionsOf({ inputRange: { start: 0n, last: 0xffff_ffffn } })).toEqual({
      'aw-bits': '32',
    });
    expect(optionsOf({ inputRange: { start: 0n, last: 2n ** 64n - 1n } })).toEqual({
      'aw-bits': '64',
    });
    expect(optionsOf({ inputRange: { start: 0n, last: 0xffff_fffen } })).toEqual({});
    expect(optionsOf({ inputRange: { start: 0n, last: 0xffffn } })).toEqual({});
    expect(optionsOf({ inputRange: { start: 1n, last: 0xffff_ffffn } })).toEqual({});
  });

  it('for what a version lacks is left out', () => {
    const wish = { bypass: false, pageSizeMask: 0xffff_ffff_ffff_0000n };
    expect(optionsOf(wish, new Set(['boot-bypass']))).toEqual({ 'boot-bypass': 'off' });
  });
});
