/** What tests of any ring format need to know about it, so that one test serves all of them. */

import {
  type DeviceQueue,
  type DeviceQueueOptions,
  type DriverQueue,
  type DriverQueueOptions,
  PackedDeviceQueue,
  PackedDriverQueue,
  type QueueLayout,
  SplitDeviceQueue,
  SplitDriverQueue,
} from '@viommu/ring';
import type { Arena } from './arena.ts';

export interface Format {
  readonly name: string;
  /** Sizes worth a test of their own. */
  readonly sizes: readonly number[];
  /** Bytes and alignment of each part, as the standard gives them. */
  readonly parts: (size: number) => readonly { readonly bytes: number; readonly align: number }[];
  readonly createDriver: (options: DriverQueueOptions) => DriverQueue;
  readonly createDevice: (options: DeviceQueueOptions) => DeviceQueue;
}

export const SPLIT: Format = {
  name: 'split',
  sizes: [1, 2, 4, 8, 16, 64],
  parts: (size) => [
    { bytes: 16 * size, align: 16 },
    { bytes: 6 + 2 * size, align: 2 },
    { bytes: 6 + 8 * size, align: 4 },
  ],
  createDriver: (options) => new SplitDriverQueue(options),
  createDevice: (options) => new SplitDeviceQueue(options),
};

export const PACKED: Format = {
  name: 'packed',
  sizes: [1, 2, 3, 5, 8, 61],
  parts: (size) => [
    { bytes: 16 * size, align: 16 },
    { bytes: 4, align: 4 },
    { bytes: 4, align: 4 },
  ],
  createDriver: (options) => new PackedDriverQueue(options),
  createDevice: (options) => new PackedDeviceQueue(options),
};

/** All formats there are. */
export const FORMATS: readonly Format[] = [SPLIT, PACKED];

/** A queue's memory: where it begins, how long it is, and how it is programmed. */
export interface Placed {
  readonly layout: QueueLayout;
  readonly from: number;
  readonly bytes: number;
}

/** Takes memory of the arena for a queue; its parts follow each other. */
export function placeQueue(arena: Arena, { parts }: Format, size: number): Placed {
  const [table, driver, device] = parts(size).map(({ bytes, align }) =>
    arena.allocate(bytes, align),
  );
  if (table === undefined || driver === undefined || device === undefined)
    throw new Error('a queue has three parts');
  const end = device + (parts(size)[2]?.bytes ?? 0);
  return {
    layout: {
      size,
      descriptorArea: arena.address(table),
      driverArea: arena.address(driver),
      deviceArea: arena.address(device),
    },
    from: table,
    bytes: end - table,
  };
}
