/** Which group a device belongs to. */

import type { IommuInstance } from '@viommu/common';
import type { Device } from './device.ts';
import type { Group } from './group.ts';
import type { GroupRegistry } from './group-registry.ts';
import { findPciGroup } from './pci-group.ts';

/** Finds a group for each device, or makes one. */
export class DeviceGroups {
  readonly #groups: GroupRegistry;
  /** The groups of IOMMUs that have one for all their devices. */
  readonly #single: Map<IommuInstance, Group> = new Map();

  constructor(groups: GroupRegistry) {
    this.#groups = groups;
  }

  /**
   * The group for a device of an IOMMU, with a reference for the caller: a new one, unless the device cannot be kept
   * apart from one that has a group.
   *
   * @param functions all PCI functions of the machine.
   */
  find(device: Device, instance: IommuInstance, functions: Iterable<Device>): Group {
    if (instance.grouping === 'all') return this.#groups.reference(this.#singleOf(instance));
    const group = device.pci && findPciGroup(device, functions);
    return group === undefined ? this.#groups.allocate() : this.#groups.reference(group);
  }

  /** An IOMMU goes away, and with it its reference to its group. */
  forget(instance: IommuInstance): void {
    this.#groups.put(this.#single.get(instance));
    this.#single.delete(instance);
  }

  #singleOf(instance: IommuInstance): Group {
    let group = this.#single.get(instance);
    if (group === undefined) this.#single.set(instance, (group = this.#groups.allocate()));
    return group;
  }
}
