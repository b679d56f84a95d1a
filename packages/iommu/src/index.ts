export { type BootOptions, type BounceOptions, bootOptions } from './boot-option.ts';
export {
  BOUNCE_BYTES_MAX,
  BOUNCE_SLOTS_DEFAULT,
  BouncePool,
  type BouncePoolOptions,
  bounceSlots,
} from './bounce-pool.ts';
export { Bus } from './bus.ts';
export { type PageSharing } from './coherent-pages.ts';
export { type CoreOptions, type DmaLayer, IommuCore } from './core.ts';
export { type DefaultType } from './default-domain.ts';
export { DeviceGroups } from './device-group.ts';
export {
  Device,
  type DeviceDriver,
  type DeviceIommu,
  type DeviceIommuState,
  type DeviceOptions,
  type FirmwareNode,
  type FwSpec,
  type PciFunction,
} from './device.ts';
export { type DmaCookie, type DmaEnvironment } from './dma-cookie.ts';
export {
  type CoherentMemory,
  Direction,
  DmaAddress,
  DmaAttribute,
  type DmaOps,
  ScatterEntry,
} from './dma-ops.ts';
export { Domain, type DomainType } from './domain.ts';
export {
  BLOB_BYTES_MAX,
  buildDeviceTreeBlob,
  parseDeviceTreeBlob,
} from './firmware/device-tree-blob.ts';
export { DeviceTreeFirmware } from './firmware/device-tree-iommu.ts';
export { SOURCE_CHARACTERS_MAX, parseDeviceTreeSource } from './firmware/device-tree-source.ts';
export {
  DEPTH_MAX,
  DeviceTree,
  DeviceTreeNode,
  type MemoryReservation,
} from './firmware/device-tree.ts';
export { ViotFirmware } from './firmware/viot-iommu.ts';
export {
  type Viot,
  type ViotEndpoint,
  type ViotIommu,
  type ViotNode,
  buildViot,
  parseViot,
} from './firmware/viot.ts';
export {
  FLUSH_QUEUE_DEFAULTS,
  FlushQueue,
  type FlushQueueMode,
  type FlushQueueOptions,
} from './flush-queue.ts';
export {
  type IommuSpecifier,
  type SpecifierSource,
  type XenGuest,
  GRANT_COMPATIBLE,
  grantBackend,
} from './grant/backend.ts';
export { GRANT_PAGE, GrantDma, type GrantDmaOptions } from './grant/dma.ts';
export { DOMID_MAX, ENTRY_WORDS, FIRST_GRANT, GrantEntry, GrantFlag } from './grant/entry.ts';
export { GrantHypervisor, type GrantHypervisorOptions, GrantStatus } from './grant/hypervisor.ts';
export { GrantTable, type GrantTableOptions } from './grant/table.ts';
export {
  attachDevice,
  attachGroup,
  claimOwner,
  detachDevice,
  detachGroup,
  releaseOwner,
  unuseDefaultDomain,
  useDefaultDomain,
} from './group-attach.ts';
export { type Attribute, type Caller, Directory } from './group-directory.ts';
export { type DriverEvent, GroupEvent, type GroupListener } from './group-listener.ts';
export { type GroupAttribute, GroupRegistry } from './group-registry.ts';
export { type Group, type GroupHost } from './group.ts';
export { type GuestRam } from './guest-ram.ts';
export { InstanceDirectory } from './instance-directory.ts';
export { IovaSpace, type IovaSpaceOptions } from './iova-space.ts';
export { COUNTERS, CoreLog, type CounterName } from './log.ts';
export {
  PageRuns,
  map,
  mapNoSync,
  mapRange,
  mapRuns,
  syncMap,
  syncUnmap,
  translate,
  unmap,
  unmapFast,
  unmapRange,
} from './map.ts';
export { PageStates, type PageStatesOptions } from './page-state.ts';
export { type Firmware, type FirmwareHost } from './probe.ts';
export { Registration } from './registration.ts';
export { formatRegions, mergeRegions, reservedRegions } from './reserved-region.ts';
export { DmaSetup, type DmaSetupOptions } from './setup-dma-ops.ts';
export { ChosenDma, VirtioDma, type VirtioDmaOptions, type VirtioPlatform } from './virtio-dma.ts';
export { registerStubs } from './stub-iommu.ts';
