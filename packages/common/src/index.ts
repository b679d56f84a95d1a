export {
  ADDRESS_MAX,
  PAGE_MAX,
  PAGE_SIZE,
  addressAt,
  domainId,
  endpointId,
  guestPhysical,
  highWord,
  iova,
  isUint32,
  lowWord,
  offsetInPage,
  pageOf,
  pageOfWords,
  type DescriptorIndex,
  type DomainId,
  type EndpointId,
  type GuestPhysical,
  type Iova,
  type RingIndex,
} from './address.ts';
export { type Clock, type Logger, type Timer, type TimerClock } from './clock.ts';
export { Concurrency, Lock, LockRank, type Context } from './concurrency.ts';
export { AssertionError, ERROR_CODES, IommuError, assert, type ErrorCode } from './error.ts';
export {
  RegionKind,
  type DeviceRegion,
  type Grouping,
  type IommuCapabilities,
  type IommuDomain,
  type IommuEndpoint,
  type IommuFaultHandler,
  type IommuInstance,
} from './iommu-ops.ts';
export { Protection } from './protection.ts';
export {
  FULL_RANGE,
  alignInward,
  alignOutward,
  contains,
  includes,
  overlaps,
  range,
  rangeOfSize,
  rangeSize,
  type Range,
} from './range.ts';
export { ImageReader, ImageWriter, checkSaved, type ImageType } from './wire/image.ts';
export { annotate, annotateProperties, annotateRequest, type AnyStruct } from './wire/annotate.ts';
export {
  struct,
  type FieldLayout,
  type FieldNames,
  type FieldType,
  type FieldValue,
  type Fields,
  type Struct,
  type StructInput,
  type StructValue,
} from './wire/struct.ts';
export { formatFlags, type FlagSet } from './wire/flags.ts';
export { AttachFlag, AttachRequest } from './spec/iommu/attach.ts';
export { IommuConfig } from './spec/iommu/config.ts';
export { DetachRequest } from './spec/iommu/detach.ts';
export { FaultFlag, FaultReason, FaultRecord } from './spec/iommu/fault.ts';
export { IommuFeature } from './spec/iommu/feature.ts';
export { IOMMU_DEVICE_ID, IommuQueue } from './spec/iommu/identity.ts';
export { MapFlag, MapRequest } from './spec/iommu/map.ts';
export { PROBE_TYPE_MASK, ProbeProperty, ProbeRequest, ProbeType } from './spec/iommu/probe.ts';
export { RequestHead, RequestTail, RequestType } from './spec/iommu/request.ts';
export { ReservedMemory, ReservedMemoryType } from './spec/iommu/resv-mem.ts';
export { Status, formatStatus } from './spec/iommu/status.ts';
export { UnmapRequest } from './spec/iommu/unmap.ts';
export {
  STREAM_VERSION_MAX,
  streamVersionOf,
  type AccessEvent,
  type AttachEvent,
  type BypassEvent,
  type ConfigEvent,
  type DetachEvent,
  type DeviceResetEvent,
  type FaultEvent,
  type FeaturesEvent,
  type MapEvent,
  type NotifyEvent,
  type ProbeEmptyEvent,
  type ProbeEvent,
  type RefusedEvent,
  type RefusedRequest,
  type StreamAccess,
  type StreamEvent,
  type StreamVersion,
  type SystemResetEvent,
  type UnmapEvent,
} from './stream/event.ts';
export { formatStreamEvent, streamHeader } from './stream/format.ts';
export { StreamParser, type StreamError } from './stream/parser.ts';
export { Descriptor, DescriptorFlag } from './spec/virtio/descriptor.ts';
export { DeviceStatus } from './spec/virtio/device-status.ts';
export { VirtioFeature, featureMask, featureSet, hasFeature } from './spec/virtio/feature.ts';
export {
  InterruptBit,
  MMIO_MAGIC,
  MMIO_VERSION,
  MMIO_WINDOW_SIZE,
  MmioRegister,
} from './spec/virtio/mmio.ts';
export {
  EVENT_OFFSET_MASK,
  EVENT_WRAP,
  EventMode,
  EventSuppression,
  PackedDescriptor,
  PackedFlag,
} from './spec/virtio/packed-ring.ts';
export {
  AvailableFlag,
  AvailableRing,
  QUEUE_SIZE_MAX,
  RING_ENTRY_SIZE,
  UsedElement,
  UsedFlag,
  UsedRing,
} from './spec/virtio/split-ring.ts';
