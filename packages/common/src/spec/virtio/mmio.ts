/** Section "Virtio Over MMIO / MMIO Device Register Layout", version 2. */
export const MmioRegister = {
  MagicValue: 0x000,
  Version: 0x004,
  DeviceID: 0x008,
  VendorID: 0x00c,
  DeviceFeatures: 0x010,
  DeviceFeaturesSel: 0x014,
  DriverFeatures: 0x020,
  DriverFeaturesSel: 0x024,
  QueueSel: 0x030,
  QueueSizeMax: 0x034,
  QueueSize: 0x038,
  QueueReady: 0x044,
  QueueNotify: 0x050,
  InterruptStatus: 0x060,
  InterruptACK: 0x064,
  Status: 0x070,
  QueueDescLow: 0x080,
  QueueDescHigh: 0x084,
  QueueDriverLow: 0x090,
  QueueDriverHigh: 0x094,
  QueueDeviceLow: 0x0a0,
  QueueDeviceHigh: 0x0a4,
  SHMSel: 0x0ac,
  SHMLenLow: 0x0b0,
  SHMLenHigh: 0x0b4,
  SHMBaseLow: 0x0b8,
  SHMBaseHigh: 0x0bc,
  QueueReset: 0x0c0,
  ConfigGeneration: 0x0fc,
  /** The device's configuration space begins here. */
  Config: 0x100,
} as const;

/** `virt`, as a little-endian word. */
export const MMIO_MAGIC = 0x7472_6976;
/** The version of the register layout. */
export const MMIO_VERSION = 2;
/** The customary size of a register window in bytes. */
export const MMIO_WINDOW_SIZE = 0x200;

/** Bits of InterruptStatus and InterruptACK. */
export const InterruptBit = {
  USED_BUFFER: 1,
  CONFIG_CHANGE: 2,
} as const;
