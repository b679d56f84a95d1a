/** All cases on the device's side, in the order of the standard. */

import type { DeviceCase } from '../case.ts';
import { BASIC_FEATURE_CASES } from './basic/feature.ts';
import { BASIC_IN_ORDER_CASES } from './basic/in-order.ts';
import { QUEUE_RESET_CASES } from './basic/queue-reset.ts';
import { STATUS_CASES } from './basic/status.ts';
import { SUSPEND_CASES } from './basic/suspend.ts';
import { ATTACH_SHARED_CASES } from './iommu/attach-shared.ts';
import { ATTACH_CASES } from './iommu/attach.ts';
import { BYPASS_CASES } from './iommu/bypass.ts';
import { CONFIGURATION_CASES } from './iommu/configuration.ts';
import { DETACH_CASES } from './iommu/detach.ts';
import { FACT_CASES } from './iommu/fact.ts';
import { FAULT_BUFFER_CASES } from './iommu/fault-buffer.ts';
import { FAULT_CASES } from './iommu/fault.ts';
import { FEATURE_CASES } from './iommu/feature.ts';
import { MAP_ACCESS_CASES } from './iommu/map-access.ts';
import { MAP_RANGE_CASES } from './iommu/map-range.ts';
import { MAP_CASES } from './iommu/map.ts';
import { OPERATION_CASES } from './iommu/operation.ts';
import { PERMISSION_CASES } from './iommu/permission.ts';
import { PROBE_CASES } from './iommu/probe.ts';
import { RESERVED_MEMORY_CASES } from './iommu/reserved-memory.ts';
import { TRANSLATION_CASES } from './iommu/translation.ts';
import { UNMAP_EXAMPLE_CASES } from './iommu/unmap-example.ts';
import { UNMAP_CASES } from './iommu/unmap.ts';
import { OPEN_CHOICE_CASES } from './open-choice.ts';
import { REGISTER_CASES } from './mmio/register.ts';
import { DAMAGE_CASES, NEEDS_RESET_CASES } from './virtqueue/damage.ts';
import { FRAMING_CASES } from './virtqueue/framing.ts';
import { IN_ORDER_CASES } from './virtqueue/in-order.ts';
import { PACKED_FACT_CASES } from './virtqueue/packed-fact.ts';
import { PACKED_CASES } from './virtqueue/packed.ts';
import { SIZE_CASES } from './virtqueue/size.ts';
import { SPLIT_NOTIFICATION_CASES } from './virtqueue/split-notification.ts';
import { SPLIT_CASES } from './virtqueue/split.ts';

export const DEVICE_CASES: readonly DeviceCase[] = [
  ...FEATURE_CASES,
  ...CONFIGURATION_CASES,
  ...OPERATION_CASES,
  ...ATTACH_CASES,
  ...ATTACH_SHARED_CASES,
  ...DETACH_CASES,
  ...MAP_CASES,
  ...MAP_RANGE_CASES,
  ...MAP_ACCESS_CASES,
  ...UNMAP_CASES,
  ...UNMAP_EXAMPLE_CASES,
  ...PROBE_CASES,
  ...RESERVED_MEMORY_CASES,
  ...TRANSLATION_CASES,
  ...PERMISSION_CASES,
  ...BYPASS_CASES,
  ...FAULT_CASES,
  ...FAULT_BUFFER_CASES,
  ...FACT_CASES,
  ...FRAMING_CASES,
  ...SIZE_CASES,
  ...SPLIT_CASES,
  ...SPLIT_NOTIFICATION_CASES,
  ...IN_ORDER_CASES,
  ...PACKED_CASES,
  ...PACKED_FACT_CASES,
  ...BASIC_FEATURE_CASES,
  ...BASIC_IN_ORDER_CASES,
  ...STATUS_CASES,
  ...NEEDS_RESET_CASES,
  ...QUEUE_RESET_CASES,
  ...SUSPEND_CASES,
  ...REGISTER_CASES,
  ...OPEN_CHOICE_CASES,
  ...DAMAGE_CASES,
];
