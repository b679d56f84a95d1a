/** The machine that most of these tests have, and its disks. */

import type { BlkDriver } from '@viommu/blk';
import type { IommuDeviceOptions } from '@viommu/device';
import type { EndpointOptions, GuestSystem, SystemDisk } from '@viommu/machine';
import { OneThread } from './one-thread.ts';
import { Traffic, type TrafficOptions } from './traffic.ts';

export const DISK_BYTES: number = 256 << 10;
export const ENDPOINT = 8;
export const BACKEND = 3;

/** Disks on open pages, behind the IOMMU, and behind grants; and an engine that copies. */
export const DISKS: Readonly<Record<string, EndpointOptions>> = {
  plain: { kind: 'disk', sizeBytes: DISK_BYTES },
  iommu: { kind: 'disk', id: ENDPOINT, sizeBytes: DISK_BYTES },
  grant: { kind: 'disk', backend: BACKEND, sizeBytes: DISK_BYTES },
  engine: { kind: 'copy', id: 9 },
};

/** What an IOMMU of a machine with 48 address bits is like. */
export const DEVICE: Omit<IommuDeviceOptions, 'observer'> = {
  inputRange: { start: 0n, last: (1n << 48n) - 1n },
  bypass: true,
};

export function disks(more: Readonly<Record<string, EndpointOptions>> = {}): OneThread {
  return new OneThread({ endpoints: { ...DISKS, ...more }, device: DEVICE });
}

/** The driver of a disk that has one. */
export function driverOf({ device, driver }: SystemDisk): BlkDriver {
  if (driver === undefined) throw new Error(`${device.name} has no driver.`);
  return driver;
}

export function trafficOn(
  machine: OneThread,
  system: GuestSystem,
  disk: SystemDisk,
  more: Partial<TrafficOptions> = {},
): Traffic {
  return new Traffic({ system, memory: machine.memory, driver: driverOf(disk), ...more });
}

/** Writes all, reads all, and something in between; gives what went wrong. */
export function exercise(
  machine: OneThread,
  system: GuestSystem,
  disk: SystemDisk,
): { requests: number; errors: number; wrong: number } {
  const traffic = trafficOn(machine, system, disk);
  traffic.writeAll();
  traffic.mix(60);
  traffic.settle();
  traffic.readAll();
  traffic.end();
  const { requests, errors, wrong } = traffic;
  return { requests, errors, wrong };
}

/** What {@link exercise} gives where nothing goes wrong. */
export const FINE = { requests: 2 * 64 + 60, errors: 0, wrong: 0 } as const;

/** The code of what `work` throws. */
export function codeOf(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return (error as { readonly code?: unknown }).code; // Whatever it is.
  }
  return undefined;
}
