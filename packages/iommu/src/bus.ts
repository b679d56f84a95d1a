/** A bus: the devices on it, in the order in which they came. */

import type { Device } from './device.ts';

/** One bus. Use `IommuCore` to add and remove devices. */
export class Bus {
  readonly name: string;
  readonly devices: Set<Device> = new Set();

  constructor(name: string) {
    this.name = name;
  }
}
