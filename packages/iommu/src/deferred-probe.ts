/** Drivers that wait: for an IOMMU that is not registered yet, or for something of their own. */

import { IommuError, type Timer } from '@viommu/common';
import type { IommuCore } from './core.ts';
import type { Device, DeviceDriver, FirmwareNode } from './device.ts';

/** The drivers of one guest that wait. */
export class DeferredProbe {
  readonly #core: IommuCore;
  readonly #waiting: Map<Device, DeviceDriver> = new Map();
  #expired = false;
  #retrying = false;
  #timer: Timer | undefined = undefined;

  constructor(core: IommuCore) {
    this.#core = core;
  }

  /** True if the device's driver waits. */
  has(device: Device): boolean {
    return this.#waiting.has(device);
  }

  add(device: Device, driver: DeviceDriver): void {
    this.#waiting.set(device, driver);
  }

  /** The driver waits no longer. False if it did not wait. */
  delete(device: Device): boolean {
    return this.#waiting.delete(device);
  }

  /** The guest has booted: IOMMUs that do not come within the time limit are not waited for. */
  finishBoot(): void {
    if (this.#expired || this.#timer !== undefined) return;
    const { deferredProbeMs } = this.#core.boot;
    if (deferredProbeMs === 0) this.#expire();
    else this.#timer = this.#core.clock.setTimer(deferredProbeMs, () => this.#expire());
  }

  /** @throws {IommuError} `ETIMEDOUT` if a device has waited for an IOMMU long enough. */
  check(device: Device, node: FirmwareNode): void {
    if (!this.#expired) return;
    this.#core.log.warn(
      'dependencyIgnored',
      `${device.name} waits no longer for ${node.path}: the dependency is ignored`,
    );
    throw new IommuError('ETIMEDOUT', `${node.path} did not come in time.`);
  }

  /** Tries all that wait once more, and again as long as one of them had been waiting for another. */
  retry(): void {
    // A driver that is bound tries the others itself; the outermost call sees that something has changed.
    if (this.#retrying) return;
    this.#retrying = true;
    try {
      while (this.#tryAll());
    } finally {
      this.#retrying = false;
    }
  }

  /** True if a driver was bound. Each such turn leaves fewer that wait. */
  #tryAll(): boolean {
    let bound = false;
    // Those that wait again wait for the next turn.
    const batch = [...this.#waiting];
    for (const [device, driver] of batch) {
      // A context of its own each, so that who meets a lock waits alone.
      this.#core.concurrency.run(() => {
        if (this.#waiting.get(device) === driver && this.#try(device, driver)) bound = true;
      });
    }
    return bound;
  }

  #try(device: Device, driver: DeviceDriver): boolean {
    try {
      return this.#core.bind(device, driver);
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      this.#waiting.delete(device);
      const text = `${driver.name} is not bound to ${device.name}: ${error.message}`;
      this.#core.log.warn('bindFailed', text);
      return false;
    }
  }

  #expire(): void {
    this.#timer = undefined;
    this.#expired = true;
    this.retry();
  }
}
