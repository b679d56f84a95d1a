/** The domains of a group: who puts it into which, and who may. */

import { type IommuEndpoint, IommuError } from '@viommu/common';
import type { Device } from './device.ts';
import { Domain } from './domain.ts';
import type { Group } from './group.ts';

/**
 * Puts all devices of a group into a domain.
 *
 * @throws {IommuError} `EBUSY` if somebody else's domain is attached; `ENODEV` if there is no device, or one has no
 * IOMMU; `EINVAL` if the domain is of another IOMMU, or a device refuses it softly: another domain may do. Whatever
 * else a device refuses with. The group is where it was, then.
 */
export function attachGroup(domain: Domain, group: Group): void {
  group.mutex.hold(() => attach(domain, group));
}

/** Ends what {@link attachGroup} did: the group goes back to the core's domain. Never fails where the caller sees it. */
export function detachGroup(domain: Domain, group: Group): void {
  group.mutex.hold(() => detach(domain, group));
}

/** As {@link attachGroup}, for a device that is alone. @throws {IommuError} `ENODEV` without a group; `EINVAL` */
export function attachDevice(domain: Domain, device: Device): void {
  const { group } = device;
  if (group === undefined) throw new IommuError('ENODEV', `${device.name} has no IOMMU.`);
  group.mutex.hold(() => {
    if (group.devices.size !== 1)
      throw new IommuError('EINVAL', `${device.name} is not alone in group ${group.id}.`);
    attach(domain, group);
  });
}

/** As {@link detachGroup}, for a device that is alone. */
export function detachDevice(domain: Domain, device: Device): void {
  const { group } = device;
  group?.mutex.hold(() => {
    if (group.devices.size === 1) detach(domain, group);
    else misuse(group, `${device.name} is not alone and cannot be detached`);
  });
}

/**
 * Takes a group for one owner: none of its devices does DMA until the owner attaches a domain.
 *
 * @throws {IommuError} `EPERM` if drivers or another owner use it; `EBUSY` if the default domain is not attached;
 * `EINVAL` if a device may not be blocked; `ENODEV` for an empty group; what making the blocking domain fails with.
 */
export function claimOwner(group: Group, owner: object): void {
  group.mutex.hold(() => {
    if (group.ownerCount > 0) throw new IommuError('EPERM', `Group ${group.id} is in use.`);
    if (group.domain === undefined || group.domain !== group.defaultDomain)
      throw new IommuError('EBUSY', `Group ${group.id} is not in its default domain.`);
    setGroupDomain(group, blockingDomainOf(group));
    group.owner = owner;
    group.ownerCount = 1;
  });
}

/** Ends that; the group is in its default domain again. */
export function releaseOwner(group: Group): void {
  group.mutex.hold(() => {
    if (group.owner === undefined) {
      misuse(group, 'has no owner to release it');
      return;
    }
    group.owner = undefined;
    group.ownerCount = 0;
    restoreGroupDomain(group, group.defaultDomain);
  });
}

/**
 * A driver is about to be bound to a device and will use the default domain.
 *
 * @throws {IommuError} `EPROBE_DEFER` if there is none yet; `ENODEV` if there will be none; `EBUSY` if the group is in
 * other hands.
 */
export function useDefaultDomain(device: Device): void {
  const { group } = device;
  group?.mutex.hold(() => {
    if (group.defaultDomain === undefined) {
      if (group.defaultRefused === undefined)
        throw new IommuError('EPROBE_DEFER', `Group ${group.id} has no domain yet.`);
      throw new IommuError('ENODEV', `Group ${group.id} has no domain: ${group.defaultRefused}`);
    }
    if (group.owner !== undefined || group.domain !== group.defaultDomain)
      throw new IommuError('EBUSY', `Group ${group.id} is not in its default domain.`);
    group.ownerCount += 1;
  });
}

/** The driver is gone, or was not bound after all. */
export function unuseDefaultDomain(device: Device): void {
  const { group } = device;
  group?.mutex.hold(() => {
    if (group.ownerCount === 0 || group.owner !== undefined)
      misuse(group, `${device.name} had no driver`);
    else group.ownerCount -= 1;
  });
}

/**
 * Puts all devices of a group into a domain, or none of them; for who holds the group's mutex.
 *
 * @throws what the first device refuses with; the others are back where they were.
 */
export function setGroupDomain(group: Group, domain: Domain): void {
  const moved: Device[] = [];
  try {
    for (const device of group.devices.keys()) {
      attachOne(device, domain);
      moved.push(device);
      group.host.concurrency.at('group:betweenDevices');
    }
  } catch (error) {
    for (const device of moved) restoreOne(group, device, group.domain);
    throw error;
  }
  group.domain = domain;
}

/** The same where failing is no choice; `undefined` takes the devices out of every domain. */
export function restoreGroupDomain(group: Group, domain: Domain | undefined): void {
  for (const device of group.devices.keys()) restoreOne(group, device, domain);
  group.domain = domain;
}

/** Puts one device into a domain; for who holds the mutex of its group. @throws as {@link attachGroup}, but `EBUSY`. */
export function attachOne(device: Device, domain: Domain): void {
  const endpoint = endpointOf(device, domain);
  if (device.iommu?.requireDirect && domain.type === 'blocked')
    throw new IommuError('EINVAL', `${device.name} has regions that must stay mapped.`);
  endpoint.attach(domain.ops);
}

function restoreOne(group: Group, device: Device, domain: Domain | undefined): void {
  try {
    if (domain === undefined) device.iommu?.endpoint?.detach();
    else attachOne(device, domain);
  } catch (error) {
    if (!(error instanceof IommuError)) throw error;
    group.host.log.warn('undoFailed', `${device.name} does not go back: ${error.message}`);
    block(group, device);
  }
}

/** Where a device goes that cannot be where it should be. */
function block(group: Group, device: Device): void {
  const { blockingDomain } = group;
  if (blockingDomain === undefined || blockingDomain === group.domain) return;
  try {
    attachOne(device, blockingDomain);
  } catch (error) {
    if (!(error instanceof IommuError)) throw error;
    group.host.log.warn('undoFailed', `${device.name} is not blocked either: ${error.message}`);
  }
}

function attach(domain: Domain, group: Group): void {
  const { domain: current, defaultDomain, blockingDomain } = group;
  if (current !== undefined && current !== defaultDomain && current !== blockingDomain)
    throw new IommuError('EBUSY', `Group ${group.id} is in another domain.`);
  if (group.devices.size === 0) throw new IommuError('ENODEV', `Group ${group.id} is empty.`);
  for (const device of group.devices.keys()) endpointOf(device, domain);
  setGroupDomain(group, domain);
}

/** The endpoint of a device, if a domain of this IOMMU can be its own at all. */
function endpointOf(device: Device, domain: Domain): IommuEndpoint {
  const { iommu } = device;
  if (iommu?.endpoint === undefined) throw new IommuError('ENODEV', `${device.name} has no IOMMU.`);
  if (iommu.instance !== domain.instance)
    throw new IommuError('EINVAL', `${device.name} and the domain have different IOMMUs.`);
  return iommu.endpoint;
}

function detach(domain: Domain, group: Group): void {
  if (group.domain !== domain) misuse(group, 'is not in the domain to be detached');
  else
    restoreGroupDomain(
      group,
      group.owner === undefined ? group.defaultDomain : group.blockingDomain,
    );
}

function blockingDomainOf(group: Group): Domain {
  if (group.blockingDomain !== undefined) return group.blockingDomain;
  const [device] = group.devices.keys();
  const { instance, endpoint } = device?.iommu ?? {};
  if (instance === undefined || endpoint === undefined)
    throw new IommuError('ENODEV', `Group ${group.id} has no IOMMU.`);
  const ops = instance.allocBlocking?.() ?? instance.allocPaging(endpoint);
  return (group.blockingDomain = new Domain(instance, ops, 'blocked'));
}

function misuse(group: Group, message: string): void {
  group.host.log.warn('groupMisuse', `group ${group.id}: ${message}`);
}
