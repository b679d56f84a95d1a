/** How devices and IOMMUs find each other. */

import { type DeviceRegion, IommuError, type Range } from '@viommu/common';
import type { IommuCore } from './core.ts';
import { joinGroup, leaveGroup, setUpGroup } from './default-domain.ts';
import type { Device, DeviceIommu, FirmwareNode } from './device.ts';
import type { Group } from './group.ts';
import { unuseDefaultDomain } from './group-attach.ts';
import type { Registration } from './registration.ts';

/** What describes the machine to the guest: a device tree, or ACPI. */
export interface Firmware {
  /**
   * Says which IOMMU a device is behind, if any.
   *
   * @throws {IommuError} `ENODEV` if there is none; what the host threw; anything else counts as none and is logged.
   */
  describe(device: Device, host: FirmwareHost): void;
  /** The reserved memory that the firmware names for a device. */
  regionsOf(device: Device): DeviceRegion[];
  /** The addresses that a device may use for DMA, if the firmware limits them. */
  dmaWindowOf?(device: Device): Range | undefined;
}

/** Where a description of firmware goes: the core's half of reading it. */
export interface FirmwareHost {
  /**
   * The firmware names an IOMMU for a device. Said again for each of its numbers.
   *
   * @throws {IommuError} `EPROBE_DEFER` if that IOMMU is not there yet, `ETIMEDOUT` if nobody waits any longer, `EINVAL`
   * if the device has another one.
   */
  fwspecInit(device: Device, node: FirmwareNode): void;
  /** One more number, as the cells of a specifier. @throws {IommuError} `ENODEV` if the IOMMU translates nothing, `EINVAL` */
  addCells(device: Device, cells: readonly number[]): void;
}

/** The search for the devices of an IOMMU that has just come. */
export interface Scan {
  readonly registration: Registration;
  /** Groups that got a device and have no domain yet. */
  readonly groups: Set<Group>;
}

/**
 * Lets the IOMMU of a device take it on, with or without a driver. What is done already stays done.
 *
 * @throws {IommuError} `ENODEV` if it has none, or another context was faster; `EPROBE_DEFER` if it is not there yet; what
 * the IOMMU, its group or its domain refused with: the device is in no group then.
 */
export function probeOne(core: IommuCore, device: Device, scan?: Scan): void {
  let described = false;
  if (device.group === undefined && !isDescribed(device) && device.driver === undefined) {
    // The translation of what the firmware says comes before the IOMMU is asked, since only that tells whose the device
    // is. It takes the lock for itself.
    describe(core, device, 'probe');
    described = true;
    core.concurrency.at('probe:described');
  }
  core.probeLock.hold(() => {
    if (device.group === undefined) takeOn(core, device, scan);
    else if (described)
      throw new IommuError('ENODEV', `Another context has probed ${device.name}.`);
  });
}

/**
 * Asks the firmware about a device, if that was not done. `binding`: on behalf of a driver, which may have to wait.
 *
 * @throws {IommuError} as {@link Firmware.describe}; nothing is kept then.
 */
export function describe(core: IommuCore, device: Device, by: 'probe' | 'binding'): void {
  const { firmware } = core;
  core.probeLock.hold(() => {
    if (isDescribed(device)) return;
    device.iommuState = 'none';
    if (firmware === undefined) throw new IommuError('ENODEV', 'There is no firmware to ask.');
    device.dmaWindow ??= firmware.dmaWindowOf?.(device);
    try {
      firmware.describe(device, new SpecReader(core, by));
      if (!isDescribed(device)) throw new IommuError('ENODEV', `${device.name} has no IOMMU.`);
      device.iommuState = 'described';
    } catch (error) {
      device.iommu = undefined;
      if (error instanceof IommuError && error.code === 'EPROBE_DEFER')
        device.iommuState = 'deferred';
      throw error;
    }
  });
}

/** True if it is known which IOMMU the device is behind. */
export function isDescribed(device: Device): boolean {
  return device.iommu?.fwspec !== undefined;
}

/** Ends what {@link probeOne} did, and forgets what the firmware said; for who holds the probe lock. */
export function releaseDevice(core: IommuCore, device: Device): void {
  const { iommu } = device;
  endDefaultUse(core, device);
  const group = core.groups.get(device);
  try {
    core.groups.removeDevice(device);
  } catch (error) {
    core.groups.put(group);
    throw error;
  }
  device.iommu = undefined;
  device.iommuState = 'unknown';
  const registration = core.registrationOf(iommu?.fwspec?.node);
  // In a context of its own: the device is out of its group, and this cannot begin again.
  core.concurrency.run(() => {
    if (registration !== undefined) letGo(core, device, iommu, registration);
    if (group !== undefined) putGroup(core, group);
  });
}

/** The driver of a device does not use the default domain any more, if it did. */
export function endDefaultUse(core: IommuCore, device: Device): void {
  // First, since contexts that wait for the group run before this returns.
  if (!core.defaultUsers.delete(device)) return;
  try {
    unuseDefaultDomain(device);
  } catch (error) {
    core.defaultUsers.add(device);
    throw error;
  }
}

function takeOn(core: IommuCore, device: Device, scan: Scan | undefined): void {
  const { iommu } = device;
  const registration = core.registrationOf(iommu?.fwspec?.node);
  if (
    iommu?.fwspec === undefined ||
    registration === undefined ||
    (scan !== undefined && scan.registration !== registration)
  )
    throw new IommuError('ENODEV', `${device.name} has no IOMMU that is there.`);
  const { instance } = registration;
  iommu.endpoint = instance.probeDevice(iommu.fwspec.ids, device.name);
  iommu.instance = instance;
  let group: Group | undefined;
  try {
    registration.list(device);
    const found = core.deviceGroups.find(device, instance, core.pciFunctions());
    group = found;
    if (device.driver !== undefined)
      core.log.warn('lateProbe', `${device.name} had a driver before it had an IOMMU`);
    core.groups.addDevice(found, device, () => prepare(core, found, device, scan));
    if (device.driver !== undefined) countDriver(core, found, device);
  } catch (error) {
    letGo(core, device, iommu, registration);
    throw error;
  } finally {
    // Now, since a domain ends after its devices.
    if (group !== undefined) putGroup(core, group);
  }
  device.iommuState = 'grouped';
}

/** A driver was there first: it uses the default domain as if it had come later. */
function countDriver(core: IommuCore, group: Group, device: Device): void {
  if (device.driver?.managesDma === true || core.defaultUsers.has(device)) return;
  group.mutex.hold(() => {
    if (group.owner !== undefined) return;
    group.ownerCount += 1;
    core.defaultUsers.add(device);
  });
}

/** A device has become a member of its group, and nobody has heard of it yet. */
function prepare(core: IommuCore, group: Group, device: Device, scan: Scan | undefined): void {
  if (group.defaultDomain !== undefined) joinGroup(core, group, device);
  else if (scan !== undefined) scan.groups.add(group);
  else setUpGroup(core, group);
}

/** The IOMMU forgets a device. */
function letGo(
  core: IommuCore,
  device: Device,
  iommu: DeviceIommu | undefined,
  registration: Registration,
): void {
  if (iommu?.endpoint === undefined) return;
  core.dma.setupOps(device, undefined);
  iommu.endpoint.release();
  iommu.endpoint = undefined;
  iommu.instance = undefined;
  iommu.requireDirect = false;
  registration.unlist(device);
}

/** Gives a reference back; the domains of a group without devices end with it. */
function putGroup(core: IommuCore, group: Group): void {
  if (group.devices.size === 0) group.mutex.hold(() => leaveGroup(core, group));
  core.groups.put(group);
}

/** Takes what firmware says about one device. */
class SpecReader implements FirmwareHost {
  readonly #core: IommuCore;
  readonly #by: 'probe' | 'binding';

  constructor(core: IommuCore, by: 'probe' | 'binding') {
    this.#core = core;
    this.#by = by;
  }

  fwspecInit(device: Device, node: FirmwareNode): void {
    const named = device.iommu?.fwspec?.node;
    if (named === node) return;
    if (named !== undefined)
      throw new IommuError('EINVAL', `${device.name} is behind ${named.path} and ${node.path}.`);
    if (this.#core.registrationOf(node) === undefined) {
      if (this.#by === 'binding') this.#core.deferred.check(device, node);
      throw new IommuError('EPROBE_DEFER', `${device.name} waits for ${node.path}.`);
    }
    device.iommu = {
      fwspec: { node, ids: [] },
      instance: undefined,
      endpoint: undefined,
      requireDirect: false,
    };
  }

  addCells(device: Device, cells: readonly number[]): void {
    const fwspec = device.iommu?.fwspec;
    const endpointIdOf = this.#core.registrationOf(fwspec?.node)?.instance.endpointIdOf;
    if (fwspec === undefined || endpointIdOf === undefined)
      throw new IommuError('ENODEV', `The IOMMU of ${device.name} translates nothing.`);
    fwspec.ids.push(endpointIdOf(cells));
  }
}
