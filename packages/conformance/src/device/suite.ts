/** All cases on the device's side, in the order of the standard. */

import type { DeviceCase } from '../case.ts';
import { ATTACH_SHARED_CASES } from './iommu/attach-shared.ts';
import { ATTACH_CASES } from './iommu/attach.ts';
import { BYPASS_CASES } from './iommu/bypass.ts';
import { CONFIGURATION_CASES } from './iommu/configuration.ts';
import { DETACH_CASES } from './iommu/detach.ts';
import { FAULT_BUFFER_CASES, FAULT_CASES } from './iommu/fault.ts';
import { FEATURE_CASES } from './iommu/feature.ts';
import { MAP_RANGE_CASES } from './iommu/map-range.ts';
import { MAP_CASES } from './iommu/map.ts';
import { OPERATION_CASES } from './iommu/operation.ts';
import { PROBE_CASES } from './iommu/probe.ts';
import { RESERVED_MEMORY_CASES } from './iommu/reserved-memory.ts';
import { TRANSLATION_CASES } from './iommu/translation.ts';
import { UNMAP_EXAMPLE_CASES } from './iommu/unmap-example.ts';
import { UNMAP_CASES } from './iommu/unmap.ts';
import { FRAMING_CASES } from './virtqueue/framing.ts';
import { SIZE_CASES } from './virtqueue/size.ts';

export const DEVICE_CASES: readonly DeviceCase[] = [
  ...FEATURE_CASES,
  ...CONFIGURATION_CASES,
  ...OPERATION_CASES,
  ...ATTACH_CASES,
  ...ATTACH_SHARED_CASES,
  ...DETACH_CASES,
  ...MAP_CASES,
  ...MAP_RANGE_CASES,
  ...UNMAP_CASES,
  ...UNMAP_EXAMPLE_CASES,
  ...PROBE_CASES,
  ...RESERVED_MEMORY_CASES,
  ...TRANSLATION_CASES,
  ...BYPASS_CASES,
  ...FAULT_CASES,
  ...FAULT_BUFFER_CASES,
  ...FRAMING_CASES,
  ...SIZE_CASES,
];
