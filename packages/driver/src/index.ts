export { attach, detach } from './attach.ts';
export { NO_STATUS, errorOfStatus } from './completion.ts';
export { DmaMemory, type DmaPiece } from './dma-memory.ts';
export {
  Domain,
  allocIdentity,
  allocPaging,
  freeDomain,
  type FailedMap,
  type PageRange,
} from './domain.ts';
export { COUNTERS, DriverLog, type CounterName } from './driver-log.ts';
export {
  Endpoint,
  getResvRegions,
  probeDevice,
  releaseDevice,
  type DeviceDescription,
} from './endpoint.ts';
export { type Fault, type FaultHandler, type FaultReport } from './event-queue.ts';
export { type Instance } from './instance.ts';
export { DRIVER_FEATURES, IommuDriver, type IommuDriverOptions } from './iommu-driver.ts';
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
export { type Clock, type DmaPages, type Logger } from './platform.ts';
export { parseProbe, type ProbeFailure, type ProbeResult, type ReservedRegion } from './probe.ts';
export { Protection } from './protection.ts';
export { type RequestOwner, type RequestPort, type RequestQueueOptions } from './request-port.ts';
export { RequestQueue } from './request-queue.ts';
export { BellWaiter, IdleWaiter, type DeviceWaiter } from './wait.ts';
