/** IOMMUs that come and go, and the devices they serve. */

import { type IommuInstance, IommuError } from '@viommu/common';
import type { IommuCore } from './core.ts';
import { setUpGroup } from './default-domain.ts';
import type { Device, FirmwareNode } from './device.ts';
import type { Group } from './group.ts';
import { InstanceDirectory } from './instance-directory.ts';
import { probeOne, releaseDevice } from './probe.ts';

/** An IOMMU that the core knows. */
export class Registration {
  readonly instance: IommuInstance;
  /** What firmware calls it. */
  readonly node: FirmwareNode;
  /** Those that it serves, in the order in which it took them on. */
  readonly devices: Set<Device> = new Set();
  /** All devices that were there before it have been asked: drivers may rely on it. */
  ready = false;
  readonly #directory: InstanceDirectory;

  /** @throws {IommuError} `EEXIST` if another IOMMU has the name. */
  constructor(core: IommuCore, instance: IommuInstance, node: FirmwareNode) {
    this.instance = instance;
    this.node = node;
    this.#directory = new InstanceDirectory(core.directory, instance.name);
  }

  list(device: Device): void {
    this.#directory.add(device);
    this.devices.add(device);
  }

  unlist(device: Device): void {
    this.#directory.remove(device);
    this.devices.delete(device);
  }

  end(): void {
    this.#directory.end();
  }
}

/**
 * An IOMMU has come: takes on all devices that it serves, with or without driver, then gives each of their groups one
 * default domain, then lets drivers that waited go on.
 *
 * @throws {IommuError} `EEXIST` if there is one with this node or name; what taking on a device failed with: the IOMMU is
 * not registered then.
 */
export function registerInstance(
  core: IommuCore,
  instance: IommuInstance,
  node: FirmwareNode,
): void {
  const registration = core.probeLock.hold(() => {
    if (core.registrationOf(node) !== undefined)
      throw new IommuError('EEXIST', `${node.path} is registered already.`);
    const made = new Registration(core, instance, node);
    core.registrations.add(made);
    return made;
  });
  try {
    const groups = new Set<Group>();
    for (const device of core.devices()) scan(core, device, registration, groups);
    for (const group of groups) {
      group.mutex.hold(() => {
        // Its devices may have gone meanwhile.
        if (group.devices.size > 0) setUpGroup(core, group);
      });
    }
  } catch (error) {
    unregisterInstance(core, instance);
    throw error;
  }
  registration.ready = true;
  core.deferred.retry();
}

/** An IOMMU goes: its devices have none from now on, and no group. One that is not registered: does nothing. */
export function unregisterInstance(core: IommuCore, instance: IommuInstance): void {
  core.probeLock.hold(() => {
    for (const registration of core.registrations) {
      if (registration.instance !== instance) continue;
      for (const device of registration.devices) releaseDevice(core, device);
      core.registrations.delete(registration);
      core.deviceGroups.forget(instance);
      registration.end();
    }
  });
}

function scan(
  core: IommuCore,
  device: Device,
  registration: Registration,
  groups: Set<Group>,
): void {
  // It may have gone since the scan began.
  if (!core.bus(device.bus).devices.has(device)) return;
  try {
    probeOne(core, device, { registration, groups });
  } catch (error) {
    if (!(error instanceof IommuError)) throw error;
    // Of no IOMMU, of one that is not there yet, or already taken on by another context.
    if (error.code === 'ENODEV' || error.code === 'EPROBE_DEFER') return;
    if (device.iommu?.fwspec?.node === registration.node) throw error;
    core.log.warn('firmwareIgnored', `${device.name}: ${error.message}`);
  }
}
