/** Both sides of one queue, in one thread. */

import { Descriptor } from '@viommu/common';
import { Chain, type DeviceQueue, type DriverQueue, type GuestMemory } from '@viommu/ring';
import { Arena } from './arena.ts';
import { type Format, type Placed, SPLIT, placeQueue } from './format.ts';

export interface PairOptions {
  readonly format?: Format;
  readonly size?: number;
  readonly eventIndex?: boolean;
  readonly inOrder?: boolean;
  /** One used entry for all chains between two publishes. */
  readonly batchUsed?: boolean;
  /** Negotiates INDIRECT_DESC and gives the driver tables for chains of so many buffers. */
  readonly buffersPerTable?: number;
  readonly arena?: Arena;
  /** What one side sees in place of the arena's memory. */
  readonly driverMemory?: GuestMemory;
  readonly deviceMemory?: GuestMemory;
}

export interface Pair {
  readonly arena: Arena;
  readonly placed: Placed;
  /** Position and bytes of the driver's indirect tables. */
  readonly tables: { readonly from: number; readonly bytes: number };
  readonly driver: DriverQueue;
  readonly device: DeviceQueue;
  /** A chain for the device to pop into. */
  readonly chain: Chain;
}

export function createPair(options: PairOptions = {}): Pair {
  const { format = SPLIT, size = 8, eventIndex = true, buffersPerTable = 0 } = options;
  const { inOrder = false, batchUsed = false } = options;
  const { arena = new Arena() } = options;
  const { driverMemory = arena.memory, deviceMemory = arena.memory } = options;
  const features = { indirect: buffersPerTable > 0, eventIndex, inOrder };
  const placed = placeQueue(arena, format, size);
  const bytes = size * buffersPerTable * Descriptor.size;
  const tables = { from: arena.allocate(bytes, Descriptor.size), bytes };
  const { layout } = placed;
  const indirect = { address: arena.address(tables.from), buffersPerChain: buffersPerTable };
  return {
    arena,
    placed,
    tables,
    driver: format.createDriver({
      memory: driverMemory,
      layout,
      features,
      ...(features.indirect ? { indirect } : {}),
    }),
    device: format.createDevice({ memory: deviceMemory, layout, features, batchUsed }),
    chain: new Chain(deviceMemory, size),
  };
}
