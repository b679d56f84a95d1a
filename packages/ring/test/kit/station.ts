/** Both sides of a queue, each of which can be saved and made anew from what was saved. */

import { Descriptor } from '@viommu/common';
import {
  type DeviceQueue,
  type DeviceQueueState,
  type DriverQueue,
  type DriverQueueState,
  type GuestMemory,
} from '@viommu/ring';
import { Arena } from './arena.ts';
import { type Format, placeQueue } from './format.ts';

export interface StationOptions {
  readonly format: Format;
  readonly size?: number;
  readonly buffersPerTable?: number;
  readonly inOrder?: boolean;
  readonly batchUsed?: boolean;
}

export class Station {
  readonly arena: Arena = new Arena();
  /** Positions of the ring's three parts, of the indirect tables, and of what lies behind them. */
  readonly ring: number;
  readonly tables: number;
  readonly end: number;
  driver: DriverQueue;
  device: DeviceQueue;
  readonly #options: Required<StationOptions>;
  readonly #layout: ReturnType<typeof placeQueue>['layout'];

  constructor(options: StationOptions) {
    this.#options = { size: 8, buffersPerTable: 0, inOrder: false, batchUsed: false, ...options };
    const { format, size, buffersPerTable } = this.#options;
    const { layout, from } = placeQueue(this.arena, format, size);
    this.#layout = layout;
    this.ring = from;
    this.tables = this.arena.allocate(size * buffersPerTable * Descriptor.size, Descriptor.size);
    this.end = this.arena.allocate(0);
    this.driver = this.createDriver();
    this.device = this.createDevice();
  }

  createDriver(
    state?: DriverQueueState,
    {
      memory = this.arena.memory,
      size = this.#layout.size,
    }: { memory?: GuestMemory; size?: number } = {},
  ): DriverQueue {
    const { format, buffersPerTable } = this.#options;
    return format.createDriver({
      memory,
      layout: { ...this.#layout, size },
      features: this.#features(),
      ...(buffersPerTable > 0 && {
        indirect: {
          address: this.arena.address(this.tables),
          buffersPerChain: buffersPerTable,
        },
      }),
      ...(state !== undefined && { state }),
    });
  }

  createDevice(state?: DeviceQueueState): DeviceQueue {
    const { format, batchUsed } = this.#options;
    const options = {
      memory: this.arena.memory,
      layout: this.#layout,
      features: this.#features(),
      batchUsed,
    };
    return format.createDevice(state === undefined ? options : { ...options, state });
  }

  /** The driver dies and comes back, by way of a text. */
  restoreDriver(): void {
    this.driver = this.createDriver(asText(this.driver.save()));
  }

  restoreDevice(): void {
    this.device = this.createDevice(asText(this.device.save()));
  }

  #features(): { indirect: boolean; eventIndex: boolean; inOrder: boolean } {
    const { buffersPerTable, inOrder } = this.#options;
    return { indirect: buffersPerTable > 0, eventIndex: true, inOrder };
  }
}

/** A state is a plain value: what it says survives being written down. */
export function asText<State extends DeviceQueueState>(state: State): State {
  return JSON.parse(JSON.stringify(state)) as State; // Its own text.
}
