/** Section "IOMMU Device / Feature bits", the device's side. */

import { IommuFeature } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';

const { MAP_UNMAP, BYPASS, BYPASS_CONFIG } = IommuFeature;

export const FEATURE_CASES: readonly DeviceCase[] = [
  defineCase({
    id: 'iommu.dev.features.offer-map-unmap',
    title: 'MAP_UNMAP is offered',
    start: false,
    run: (s) => s.check(s.offers(MAP_UNMAP), 'bit 2 is not offered'),
  }),
  defineCase({
    id: 'iommu.dev.features.no-legacy-bypass',
    title: 'the old BYPASS is not offered',
    start: false,
    run: (s) => s.check(!s.offers(BYPASS), 'bit 3 is offered'),
  }),
  defineCase({
    id: 'iommu.dev.features.not-both-bypass',
    title: 'BYPASS and BYPASS_CONFIG are not offered together',
    start: false,
    run: (s) =>
      s.check(!(s.offers(BYPASS) && s.offers(BYPASS_CONFIG)), 'bits 3 and 6 are both offered'),
  }),
];
