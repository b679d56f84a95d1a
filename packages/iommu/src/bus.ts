/** A bus: its devices, and drivers that are bound to them. */

import { IommuError } from '@viommu/common';
import type { IommuCore } from './core.ts';
import { isStrictOnly } from './default-domain.ts';
import type { Device, DeviceDriver } from './device.ts';
import { useDefaultDomain } from './group-attach.ts';
import { type DriverEvent, GroupEvent } from './group-listener.ts';
import { describe, endDefaultUse, isDescribed, probeOne, releaseDevice } from './probe.ts';

/** One bus. */
export class Bus {
  readonly name: string;
  /** In the order in which they came. */
  readonly devices: Set<Device> = new Set();
  readonly #core: IommuCore;

  /** Use `IommuCore.bus`. */
  constructor(core: IommuCore, name: string) {
    this.#core = core;
    this.name = name;
  }

  /**
   * A device has come; its IOMMU takes it on, if that is there. An IOMMU that refuses it does so in the log.
   *
   * @throws {IommuError} `EEXIST` if the bus has it, `EINVAL` if it is of another bus.
   */
  add(device: Device): void {
    if (device.bus !== this.name)
      throw new IommuError('EINVAL', `${device.name} is on the bus ${device.bus}.`);
    if (this.devices.has(device))
      throw new IommuError('EEXIST', `${device.name} is on the bus already.`);
    this.devices.add(device);
    try {
      probeOne(this.#core, device);
    } catch (error) {
      if (!(error instanceof IommuError)) {
        this.devices.delete(device);
        throw error;
      }
      if (error.code !== 'ENODEV' && error.code !== 'EPROBE_DEFER')
        this.#core.log.warn('probeFailed', `${device.name} has no IOMMU: ${error.message}`);
    }
  }

  /** A device has gone, with its driver. One that is not on the bus: does nothing. */
  remove(device: Device): void {
    if (!this.devices.has(device)) return;
    this.unbind(device);
    this.#core.probeLock.hold(() => releaseDevice(this.#core, device));
    this.devices.delete(device);
    this.#core.directory.remove(device.path);
  }

  /**
   * Binds a driver to a device. False if it has to wait; it is tried again when something has changed.
   *
   * @throws {IommuError} `EBUSY` if the device has a driver, or its group an owner; `ENODEV` if its group can have no
   * default domain; what the driver's `probe` failed with.
   */
  bind(device: Device, driver: DeviceDriver): boolean {
    if (device.driver !== undefined)
      throw new IommuError('EBUSY', `${device.name} has the driver ${device.driver.name}.`);
    try {
      device.driver = driver;
      this.dmaConfigure(device);
      this.#tell(device, GroupEvent.BIND_DRIVER);
      driver.probe?.(device);
    } catch (error) {
      device.driver = undefined;
      this.#release(device);
      if (!(error instanceof IommuError) || error.code !== 'EPROBE_DEFER') throw error;
      this.#core.deferred.add(device, driver);
      return false;
    }
    this.#core.deferred.delete(device);
    this.#tell(device, GroupEvent.BOUND_DRIVER);
    this.#core.deferred.retry();
    return true;
  }

  /** Takes the driver off a device, or lets it wait no longer. */
  unbind(device: Device): void {
    this.#core.deferred.delete(device);
    const { driver } = device;
    if (driver === undefined) return;
    this.#tell(device, GroupEvent.UNBIND_DRIVER);
    driver.remove?.(device);
    device.driver = undefined;
    this.#release(device);
    this.#tell(device, GroupEvent.UNBOUND_DRIVER);
  }

  /**
   * Prepares the DMA of a device for its driver, which is known: first what the firmware says, then the default domain.
   *
   * @throws {IommuError} `EPROBE_DEFER` if the driver has to wait, `EBUSY` and `ENODEV` as `useDefaultDomain`, and what
   * kept an untrusted device out of its IOMMU. Any other device does without.
   */
  dmaConfigure(device: Device): void {
    const core = this.#core;
    try {
      if (!isDescribed(device)) describe(core, device, 'binding');
      // The core's own search comes before an IOMMU is ready for drivers.
      if (core.registrationOf(device.iommu?.fwspec?.node)?.ready === false)
        throw new IommuError('EPROBE_DEFER', `The IOMMU of ${device.name} is still being set up.`);
      // Whoever was found when it came, or when its IOMMU did, is in a group by now.
      if (device.group === undefined) probeOne(core, device);
    } catch (error) {
      if (!(error instanceof IommuError) || error.code === 'EPROBE_DEFER') throw error;
      if (error.code !== 'ENODEV' && error.code !== 'ETIMEDOUT') {
        if (isDescribed(device) && isStrictOnly(device)) throw error;
        core.log.warn('firmwareIgnored', `${device.name} does without IOMMU: ${error.message}`);
      }
    }
    if (device.driver?.managesDma === true || core.defaultUsers.has(device)) return;
    useDefaultDomain(device);
    if (device.group !== undefined) core.defaultUsers.add(device);
  }

  /** In a context of its own, since what was done before cannot be done twice. */
  #release(device: Device): void {
    this.#core.concurrency.run(() => endDefaultUse(this.#core, device));
  }

  #tell(device: Device, event: DriverEvent): void {
    this.#core.groups.notifyDriverEvent(device, event);
  }
}
