export {
  BOUNCE_BYTES_MAX,
  BOUNCE_SLOTS_DEFAULT,
  BouncePool,
  type BouncePoolOptions,
  bounceSlots,
} from './bounce-pool.ts';
export { type PageSharing } from './coherent-pages.ts';
export { Device, type DeviceOptions } from './device.ts';
export { DeviceGroups } from './device-group.ts';
export { type DmaCookie, type DmaEnvironment } from './dma-cookie.ts';
export {
  type CoherentMemory,
  Direction,
  DmaAddress,
  DmaAttribute,
  type DmaOps,
  ScatterEntry,
} from './dma-ops.ts';
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
  grantBackend,
} from './grant/backend.ts';
export { GRANT_PAGE, GrantDma, type GrantDmaOptions } from './grant/dma.ts';
export { DOMID_MAX, ENTRY_WORDS, FIRST_GRANT, GrantEntry, GrantFlag } from './grant/entry.ts';
export { GrantHypervisor, type GrantHypervisorOptions, GrantStatus } from './grant/hypervisor.ts';
export { GrantTable, type GrantTableOptions } from './grant/table.ts';
export { type Group, type GroupHost } from './group.ts';
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
export { type GuestRam } from './guest-ram.ts';
export { InstanceDirectory } from './instance-directory.ts';
export { IovaSpace, type IovaSpaceOptions } from './iova-space.ts';
export { PageStates, type PageStatesOptions } from './page-state.ts';
export { DmaSetup, type DmaSetupOptions } from './setup-dma-ops.ts';
export { ChosenDma, VirtioDma, type VirtioDmaOptions, type VirtioPlatform } from './virtio-dma.ts';
