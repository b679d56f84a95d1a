/** Section "Virtio Over PCI Bus", as far as a driver of a modern device needs it. */

import { type Struct, struct } from '@viommu/common';

const capability = {
  capVndr: 'u8',
  capNext: 'u8',
  capLen: 'u8',
  cfgType: 'u8',
  bar: 'u8',
  id: 'u8',
  padding: 'u8[2]',
  offset: 'le32',
  length: 'le32',
} as const;

/** The vendor-specific capability that says where a structure lies. */
export const PciCapability: Struct<typeof capability> = struct('virtio_pci_cap', 16, capability);

/** What a capability of a notification structure has behind that: the distance between two queues' addresses. */
export const NOTIFY_MULTIPLIER_OFFSET = 16;

/** `cfgType` of a {@link PciCapability}. */
export const PciStructure = {
  COMMON: 1,
  NOTIFY: 2,
  ISR: 3,
  DEVICE: 4,
  /** A window into the other structures, in configuration space. */
  PCI_ACCESS: 5,
} as const;

const common = {
  deviceFeatureSelect: 'le32',
  deviceFeature: 'le32',
  driverFeatureSelect: 'le32',
  driverFeature: 'le32',
  configMsixVector: 'le16',
  numQueues: 'le16',
  deviceStatus: 'u8',
  configGeneration: 'u8',
  queueSelect: 'le16',
  queueSize: 'le16',
  queueMsixVector: 'le16',
  queueEnable: 'le16',
  queueNotifyOff: 'le16',
  queueDesc: 'le64',
  queueDriver: 'le64',
  queueDevice: 'le64',
  queueNotifConfigData: 'le16',
  queueReset: 'le16',
  adminQueueIndex: 'le16',
  adminQueueNum: 'le16',
} as const;

/** The common configuration structure. */
export const PciCommonConfig: Struct<typeof common> = struct('virtio_pci_common_cfg', 64, common);

/** Fields of PCI configuration space that are used here; offsets in bytes. */
export const PciConfig = {
  VENDOR_ID: 0x00,
  DEVICE_ID: 0x02,
  COMMAND: 0x04,
  STATUS: 0x06,
  REVISION: 0x08,
  HEADER_TYPE: 0x0e,
  BAR_0: 0x10,
  SUBSYSTEM_ID: 0x2e,
  CAPABILITIES: 0x34,
} as const;

/** Bits of {@link PciConfig.COMMAND}. */
export const PciCommand = { MEMORY: 2, BUS_MASTER: 4 } as const;

/** The bit of {@link PciConfig.STATUS} that says that there is a list of capabilities. */
export const PCI_STATUS_CAPABILITIES = 0x10;

/** The id of a vendor-specific capability. */
export const PCI_CAPABILITY_VENDOR = 9;

/** The vendor of every virtio device. */
export const VIRTIO_PCI_VENDOR = 0x1af4;
/** The PCI device id of virtio device type 0; that of type n is n more. */
export const VIRTIO_PCI_DEVICE_BASE = 0x1040;
