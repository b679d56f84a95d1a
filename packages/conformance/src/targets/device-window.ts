/** What the suite's thread and the device's thread share: one buffer, and the way accesses of endpoints go. */

import { MMIO_WINDOW_SIZE, type Struct, guestPhysical, struct } from '@viommu/common';
import type { IommuDeviceOptions } from '@viommu/device';
import { SharedMemory } from '@viommu/ring';
import { CONTROL_PAGE_SIZE, RegisterWindow } from '@viommu/transport';

/** What a device's thread is told when a device is to come up. */
export interface DeviceSettings {
  readonly buffer: SharedArrayBuffer;
  readonly options: IommuDeviceOptions;
}

/** Devices in the control page: the IOMMU, and what makes accesses for its endpoints. */
export const Block = { IOMMU: 0, ACCESS: 1 } as const;

export const RAM_BASE = 0x4000_0000n;
/** The suite's part of RAM. */
export const RAM_WINDOW_BYTES = 0x10_0000;
/** Behind it: the buffer of accesses. */
export const ACCESS_BYTES_MAX = 0x1000;

const WINDOWS_AT: number = CONTROL_PAGE_SIZE;
const RAM_AT = WINDOWS_AT + 0x1000;
const RAM_BYTES = RAM_WINDOW_BYTES + ACCESS_BYTES_MAX;

const fields = {
  /** Written by the suite: whose access it is, where it goes, and bytes of it. */
  endpoint: 'le32',
  iovaLow: 'le32',
  iovaHigh: 'le32',
  length: 'le32',
  /** A value of {@link AccessGo}; what it asks for is done when the write is acknowledged. */
  go: 'le32',
  /** How the last access ended: a value of {@link AccessStatus}. */
  status: 'le32',
} as const;

/** The registers of what makes accesses. The layout is ours. */
export const AccessRegisters: Struct<typeof fields> = struct('access_registers', 24, fields);

export const AccessGo = { READ: 1, WRITE: 2, SYSTEM_RESET: 3 } as const;

export const AccessStatus = { DONE: 1, REFUSED: 2 } as const;

/** A buffer for one device: the control page at its start, registers, RAM. */
export function createBuffer(): SharedArrayBuffer {
  return new SharedArrayBuffer(RAM_AT + RAM_BYTES);
}

export function windowOf(buffer: SharedArrayBuffer, block: number): RegisterWindow {
  return new RegisterWindow(buffer, WINDOWS_AT + block * MMIO_WINDOW_SIZE);
}

export function ramOf(buffer: SharedArrayBuffer): SharedMemory {
  const base = guestPhysical(RAM_BASE);
  return new SharedMemory({ buffer, offset: RAM_AT, size: RAM_BYTES, base });
}
