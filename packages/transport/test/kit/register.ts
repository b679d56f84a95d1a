/** Register offsets and bits as the standard prints them, so that tests do not lean on the package's own table. */

export const R = {
  magic: 0x000,
  version: 0x004,
  deviceId: 0x008,
  vendorId: 0x00c,
  deviceFeatures: 0x010,
  deviceFeaturesSel: 0x014,
  driverFeatures: 0x020,
  driverFeaturesSel: 0x024,
  queueSel: 0x030,
  queueSizeMax: 0x034,
  queueSize: 0x038,
  queueReady: 0x044,
  queueNotify: 0x050,
  interruptStatus: 0x060,
  interruptAck: 0x064,
  status: 0x070,
  descLow: 0x080,
  descHigh: 0x084,
  driverLow: 0x090,
  driverHigh: 0x094,
  deviceLow: 0x0a0,
  deviceHigh: 0x0a4,
  shmSel: 0x0ac,
  shmLenLow: 0x0b0,
  shmLenHigh: 0x0b4,
  shmBaseLow: 0x0b8,
  shmBaseHigh: 0x0bc,
  queueReset: 0x0c0,
  generation: 0x0fc,
  config: 0x100,
} as const;

/** Registers that can be read; the others of the table are written only. */
export const READABLE: readonly number[] = [
  0x000, 0x004, 0x008, 0x00c, 0x010, 0x034, 0x044, 0x060, 0x070, 0x0b0, 0x0b4, 0x0b8, 0x0bc, 0x0c0,
  0x0fc,
];
/** Registers that can be written. */
export const WRITABLE: readonly number[] = [
  0x014, 0x020, 0x024, 0x030, 0x038, 0x044, 0x050, 0x064, 0x070, 0x080, 0x084, 0x090, 0x094, 0x0a0,
  0x0a4, 0x0ac, 0x0c0,
];

export const VERSION_1 = 1n << 32n;
export const EVENT_IDX = 1n << 29n;
export const INDIRECT = 1n << 28n;
export const PACKED = 1n << 34n;
export const NOTIFICATION_DATA = 1n << 38n;
export const RING_RESET = 1n << 40n;
/** A device-type bit of the fake device: the byte at 0x24 of its configuration can be written. */
export const BYPASS_CONFIG = 1n << 6n;
