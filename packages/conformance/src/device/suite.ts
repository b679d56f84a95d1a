/** All cases on the device's side, in the order of the standard. */

import type { DeviceCase } from '../case.ts';
import { ATTACH_SHARED_CASES } from './iommu/attach-shared.ts';
import { ATTACH_CASES } from './iommu/attach.ts';
import { CONFIGURATION_CASES } from './iommu/configuration.ts';
import { DETACH_CASES } from './iommu/detach.ts';
import { FEATURE_CASES } from './iommu/feature.ts';
import { MAP_RANGE_CASES } from './iommu/map-range.ts';
import { MAP_CASES } from './iommu/map.ts';
import { OPERATION_CASES } from './iommu/operation.ts';

export const DEVICE_CASES: readonly DeviceCase[] = [
  ...FEATURE_CASES,
  ...CONFIGURATION_CASES,
  ...OPERATION_CASES,
  ...ATTACH_CASES,
  ...ATTACH_SHARED_CASES,
  ...DETACH_CASES,
  ...MAP_CASES,
  ...MAP_RANGE_CASES,
];
