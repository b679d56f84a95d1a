export { Protection } from '@viommu/common';
export { attach, detach } from './attach.ts';
export { NO_STATUS, errorOfStatus } from './completion.ts';
export { DmaMemory, type DmaPiece } from './dma-memory.ts';
export { allocIdentity, allocPaging } from './domain-kind.ts';
export { Domain, freeDomain, type FailedMap, type PageRange } from './domain.ts';
export { COUNTERS, DriverLog, type CounterName } from './driver-log.ts';
export { DRIVER_FEATURES, type IommuDriverOptions } from './driver-option.ts';
export { Endpoint, releaseDevice } from './endpoint.ts';
export { type Fault, type FaultHandler, type FaultReport } from './event-queue.ts';
export { type Instance } from './instance.ts';
export { IommuDriver } from './iommu-driver.ts';
export {
  flushIotlbAll,
  iotlbSync,
  iotlbSyncMap,
  iovaToPhys,
  mapPages,
  mapRange,
  unmapPages,
  unmapRange,
} from './mapping.ts';
export { type DmaPages } from './platform.ts';
export { parseProbe, type ProbeFailure, type ProbeResult, type ReservedRegion } from './probe.ts';
export { type RequestOwner, type RequestPort, type RequestQueueOptions } from './request-port.ts';
export { RequestQueue } from './request-queue.ts';
export { verify, type DeviceTables } from './verify.ts';
export { BellWaiter, IdleWaiter, type DeviceWaiter } from './wait.ts';
