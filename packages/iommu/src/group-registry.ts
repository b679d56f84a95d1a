/** All groups of a guest: their numbers, members, references and files. */

import { type Concurrency, IommuError, LockRank, assert } from '@viommu/common';
import type { Device } from './device.ts';
import { GROUPS_PATH, Group, type GroupHost } from './group.ts';
import type { Attribute, Caller, Directory } from './group-directory.ts';
import { type DriverEvent, GroupEvent, type GroupListener } from './group-listener.ts';
import type { CoreLog } from './log.ts';

/** A file that every group has. */
export interface GroupAttribute {
  readonly read: (group: Group) => string;
  /** As in {@link Attribute}. */
  readonly write?: (group: Group, text: string, caller: Caller) => void;
}

/** The groups of one guest. */
export class GroupRegistry implements GroupHost {
  readonly concurrency: Concurrency;
  readonly log: CoreLog;
  readonly directory: Directory;
  /** By number. */
  readonly #groups: (Group | undefined)[] = [];
  readonly #attributes: Map<string, GroupAttribute> = new Map();

  constructor(host: GroupHost) {
    this.concurrency = host.concurrency;
    this.log = host.log;
    this.directory = host.directory;
    this.directory.makeDirectory(GROUPS_PATH);
  }

  /** Gives all groups that are made from now on a file, such as `type`. @throws {IommuError} `EEXIST` */
  define(name: string, attribute: GroupAttribute): void {
    if (this.#attributes.has(name) || name === 'devices' || name === 'name')
      throw new IommuError('EEXIST', `Groups have a file ${name} already.`);
    this.#attributes.set(name, attribute);
  }

  /** Makes a group with the lowest number that is free. The caller has a reference. Fails without a trace. */
  allocate(): Group {
    const vacant = this.#groups.indexOf(undefined);
    const id = vacant < 0 ? this.#groups.length : vacant;
    const group = new Group(id, this);
    try {
      this.directory.makeDirectory(`${group.path}/devices`);
      for (const [name, { read, write }] of this.#attributes)
        this.addAttribute(group, name, {
          read: () => read(group),
          ...(write && { write: (text, caller) => write(group, text, caller) }),
        });
    } catch (error) {
      this.directory.remove(group.path);
      throw error;
    }
    this.#groups[id] = group;
    return group;
  }

  /** The groups there are, by ascending number. */
  all(): Group[] {
    return this.#groups.filter((group) => group !== undefined);
  }

  /** The group of a device, with a reference for the caller. */
  get(device: Device): Group | undefined {
    return device.group && this.reference(device.group);
  }

  /** Takes one more reference. */
  reference(group: Group): Group {
    assert(group.references > 0, `group ${group.id} is gone`);
    group.references += 1;
    return group;
  }

  /** Gives a reference back. With the last one the group disappears. */
  put(group: Group | undefined): void {
    if (group === undefined) return;
    assert(group.references > 0, `group ${group.id} is gone`);
    group.references -= 1;
    if (group.references === 0) this.#release(group);
  }

  /** Keeps something with the group; `release` is called with it when the group ends. What was kept before is dropped. */
  setData<Data>(group: Group, data: Data, release?: (data: Data) => void): void {
    group.data = data;
    group.releaseData = release as ((data: unknown) => void) | undefined; // Only ever called with `data`.
  }

  /** Names, renames or, with `undefined`, un-names a group. @throws {IommuError} `EINVAL` if there is nothing to do. */
  setName(group: Group, name: string | undefined): void {
    if (group.name === undefined && name === undefined)
      throw new IommuError('EINVAL', `Group ${group.id} has no name.`);
    if (group.name !== undefined) this.directory.remove(`${group.path}/name`);
    group.name = undefined;
    if (name === undefined) return;
    this.addAttribute(group, 'name', { read: () => `${name}\n` });
    group.name = name;
  }

  /** Gives one group a file of its own, until the group ends. @throws {IommuError} `EEXIST` */
  addAttribute(group: Group, name: string, attribute: Attribute): void {
    this.directory.makeFile(group.path, name, attribute);
  }

  /** Removes such a file. */
  removeAttribute(group: Group, name: string): void {
    this.directory.remove(`${group.path}/${name}`);
  }

  /**
   * Makes a device a member. The caller has a reference to the group.
   *
   * `prepare` runs with the group's mutex held, when the device is in the list and before anybody hears of it: the
   * place to put it into the group's domain. If anything throws, the device is no member and nobody has heard of it;
   * what `prepare` did is the caller's to undo.
   *
   * @throws {IommuError} `EEXIST` if the device has a group, or a link `iommu_group`; `EDEADLK` from a listener of a
   * group, or from the function of {@link forEachDevice}.
   */
  addDevice(group: Group, device: Device, prepare?: () => void): void {
    this.#checkContext();
    group.membershipLock.hold(() => {
      group.mutex.hold(() => this.#join(group, device, prepare));
      try {
        this.concurrency.at('group:beforeAdd');
        group.listeners.announce(GroupEvent.ADD_DEVICE, device);
      } catch (error) {
        // This context has to wait, and will come again.
        group.mutex.hold(() => this.#leave(group, device));
        throw error;
      }
      group.listeners.close(GroupEvent.ADD_DEVICE, device);
    });
  }

  /** Ends a device's membership, if it has one; others hear of it before. @throws {IommuError} `EDEADLK` as above. */
  removeDevice(device: Device): void {
    this.#checkContext();
    const group = this.get(device);
    if (group === undefined) return;
    try {
      this.concurrency.at('group:beforeLock');
      group.membershipLock.hold(() => {
        // Somebody else may have been faster.
        if (device.group !== group) return;
        this.concurrency.at('group:beforeRemove');
        group.listeners.announce(GroupEvent.DEL_DEVICE, device);
        group.mutex.hold(() => this.#leave(group, device));
        group.listeners.close(GroupEvent.DEL_DEVICE, device);
      });
    } finally {
      this.put(group);
    }
  }

  /**
   * Calls a function for each member in the order of their coming, until it returns something other than 0, which is
   * then the result. Members do not change meanwhile.
   */
  forEachDevice(group: Group, visit: (device: Device) => number): number {
    return group.mutex.hold(() => {
      for (const device of group.devices.keys()) {
        const result = visit(device);
        if (result !== 0) return result;
      }
      return 0;
    });
  }

  /**
   * Lets a function hear of what comes from now on. Of a device that is just being added it hears, or finds it with
   * {@link forEachDevice}.
   *
   * @throws {IommuError} `EEXIST`; `EDEADLK` from a listener.
   */
  registerListener(group: Group, listener: GroupListener): void {
    this.#checkContext();
    group.membershipLock.hold(() => group.listeners.add(listener));
  }

  /** Ends that. @throws {IommuError} `ENOENT`; `EDEADLK` from a listener. */
  unregisterListener(group: Group, listener: GroupListener): void {
    this.#checkContext();
    group.membershipLock.hold(() => group.listeners.remove(listener));
  }

  /** A bus tells what becomes of a device's driver. Only the listeners of its group care. */
  notifyDriverEvent(device: Device, event: DriverEvent): void {
    const group = this.get(device);
    if (group === undefined) return;
    const tell = (): void => {
      group.listeners.announce(event, device);
      group.listeners.close(event, device);
    };
    try {
      // A listener may have bound a driver.
      if (this.concurrency.holds(LockRank.membership)) tell();
      else group.membershipLock.hold(tell);
    } finally {
      this.put(group);
    }
  }

  #join(group: Group, device: Device, prepare: (() => void) | undefined): void {
    if (device.group !== undefined)
      throw new IommuError('EEXIST', `${device.name} is in group ${device.group.id} already.`);
    const { directory } = this;
    directory.makeDirectory(device.path);
    directory.makeLink(device.path, 'iommu_group', group.path);
    let linkName: string;
    try {
      linkName = directory.makeNumberedLink(`${group.path}/devices`, device.name, device.path);
    } catch (error) {
      directory.remove(`${device.path}/iommu_group`);
      throw error;
    }
    device.group = this.reference(group);
    group.devices.set(device, linkName);
    try {
      prepare?.();
    } catch (error) {
      this.#leave(group, device);
      throw error;
    }
  }

  /** Takes back all that {@link #join} did. */
  #leave(group: Group, device: Device): void {
    this.directory.remove(`${group.path}/devices/${group.devices.get(device)}`);
    this.directory.remove(`${device.path}/iommu_group`);
    group.devices.delete(device);
    device.group = undefined;
    this.put(group);
  }

  #release(group: Group): void {
    assert(group.devices.size === 0, `group ${group.id} ends with devices in it`);
    if (group.domain ?? group.defaultDomain ?? group.blockingDomain)
      this.log.warn('groupDomainLeft', `group ${group.id} ends and has a domain`);
    this.directory.remove(group.path);
    this.#groups[group.id] = undefined;
    group.releaseData?.(group.data);
  }

  /** Who holds a lock of a group cannot wait for another. */
  #checkContext(): void {
    if (this.concurrency.holds(LockRank.membership))
      throw new IommuError('EDEADLK', 'The members of a group cannot change from here.');
  }
}
