/** Which domain a group's devices are in unless somebody wants another, and how they get there. */

import { IommuError, assert } from '@viommu/common';
import type { IommuCore } from './core.ts';
import type { Device } from './device.ts';
import {
  ApertureConflict,
  type DirectRun,
  createDirectMappings,
  removeDirectMappings,
} from './direct-mapping.ts';
import { Domain } from './domain.ts';
import type { Group } from './group.ts';
import { attachOne, restoreGroupDomain, setGroupDomain } from './group-attach.ts';
import { reservedRegions } from './reserved-region.ts';

/** What a default domain can be. */
export type DefaultType = 'identity' | 'DMA' | 'DMA-FQ';

/**
 * The type of default domain for these devices. It depends on which devices there are and on the command line, and on
 * nothing that happened in between.
 *
 * @throws {IommuError} `EINVAL` if the devices need another one than `target`, or no type will do.
 */
export function selectDefaultType(
  core: IommuCore,
  devices: readonly Device[],
  target?: DefaultType,
): DefaultType {
  const demand = demandOf(core, devices);
  if (target !== undefined && demand !== undefined && demand !== target)
    throw new IommuError('EINVAL', `The devices of the group need ${demand}.`);
  return target ?? demand ?? usualType(core, devices);
}

/**
 * Gives a group its default domain, or another one, and puts all its devices there; for who holds the group's mutex.
 *
 * Without a target the type is the one of {@link selectDefaultType}. The same type as before changes nothing. On failure
 * the group is where it was.
 *
 * @throws {IommuError} `EINVAL` as above, or if a device's regions do not fit; what the IOMMU or the DMA layer refused
 * with.
 */
export function setDefaultDomain(core: IommuCore, group: Group, target?: DefaultType): void {
  const devices = [...group.devices.keys()];
  const former = group.defaultDomain;
  const domain = defaultDomainFor(core, group, devices, target);
  if (domain === former) return;
  let ready: Device[];
  try {
    ready = devices.filter((device) => initDevice(core, domain, device, former !== undefined));
    enter(core, group, domain, devices);
  } catch (error) {
    endDomain(core, domain);
    throw error;
  }
  group.defaultDomain = domain;
  group.defaultRefused = undefined;
  for (const device of ready) core.dma.setupOps(device, domain);
  if (former !== undefined) endDomain(core, former);
}

/**
 * {@link setDefaultDomain} for a group that has none. A group that cannot have one keeps its devices, but no driver can
 * be bound to them; other groups are not concerned.
 *
 * @throws {IommuError} as that, but `EINVAL`.
 */
export function setUpGroup(core: IommuCore, group: Group): void {
  try {
    setDefaultDomain(core, group);
  } catch (error) {
    if (!(error instanceof IommuError) || error.code !== 'EINVAL') throw error;
    group.defaultRefused = error.message;
    core.log.warn('domainRefused', `group ${group.id} has no default domain: ${error.message}`);
  }
}

/**
 * Puts a new member of a group that has a default domain where the others are; for who holds the group's mutex.
 *
 * @throws {IommuError} `EBUSY` if the device must not be lazy, the group is, and its drivers are bound; `EBUSY` if it
 * brings a region that is in use; `EINVAL` if it brings one that does not fit; what its IOMMU refused with.
 */
export function joinGroup(core: IommuCore, group: Group, device: Device): void {
  const { defaultDomain, domain } = group;
  assert(defaultDomain !== undefined && domain !== undefined, 'the group has a domain to join');
  if (isStrictOnly(device) && defaultDomain.type !== 'DMA') {
    if (group.ownerCount > 0)
      throw new IommuError(
        'EBUSY',
        `Drivers use group ${group.id}, which ${device.name} must not.`,
      );
    setDefaultDomain(core, group);
    return;
  }
  // First, so that nobody is given an address that is about to be mapped to itself.
  const ready = initDevice(core, defaultDomain, device, false);
  const added = new DirectMappings(core, defaultDomain);
  try {
    added.map(device);
    attachOne(device, domain);
    added.mapRest();
  } catch (error) {
    added.remove();
    throw error;
  }
  if (ready) core.dma.setupOps(device, defaultDomain);
}

/** Frees the domains of a group that has no device any more; for who holds the group's mutex. */
export function leaveGroup(core: IommuCore, group: Group): void {
  const { defaultDomain, blockingDomain } = group;
  group.domain = undefined;
  group.defaultDomain = undefined;
  group.blockingDomain = undefined;
  group.defaultRefused = undefined;
  if (defaultDomain !== undefined) endDomain(core, defaultDomain);
  if (blockingDomain !== undefined) endDomain(core, blockingDomain);
}

/** Never lazy, never untranslated. */
export function isStrictOnly(device: Device): boolean {
  return device.untrusted || device.forceStrict;
}

/** What the devices or their IOMMU insist on. @throws {IommuError} `EINVAL` if nothing satisfies all. */
function demandOf(core: IommuCore, devices: readonly Device[]): DefaultType | undefined {
  let identity = false;
  let dma = false;
  for (const { iommu } of devices) {
    if (iommu?.endpoint === undefined) continue;
    const demand = iommu.instance?.defaultDomainType?.(iommu.endpoint);
    identity ||= demand === 'identity';
    dma ||= demand === 'dma';
  }
  const strict = devices.find(isStrictOnly);
  if (identity && strict !== undefined)
    throw new IommuError('EINVAL', `${strict.name} must not have the identity domain it needs.`);
  if (identity && dma)
    core.log.warn('demandConflict', `${devices[0]?.name} and its group need different domains`);
  if (identity) return 'identity';
  return dma || strict !== undefined ? 'DMA' : undefined;
}

/** What the command line, or the lack of one, makes of devices that insist on nothing. */
function usualType(core: IommuCore, devices: readonly Device[]): DefaultType {
  const { passthrough, strict } = core.boot;
  if (passthrough === true) return 'identity';
  if (core.strictForced || strict === true) return 'DMA';
  if (strict === false) return 'DMA-FQ';
  return devices.every(({ requestNonStrict }) => requestNonStrict) ? 'DMA-FQ' : 'DMA';
}

/** The default domain that a group has, if it is of the right type, or a new one. */
function defaultDomainFor(
  core: IommuCore,
  group: Group,
  devices: readonly Device[],
  target: DefaultType | undefined,
): Domain {
  const { defaultDomain } = group;
  const selected = selectDefaultType(core, devices, target);
  const instance = instanceOf(group, devices);
  const lazy = instance.capabilities.deferredFlush;
  const type = selected === 'DMA-FQ' && !lazy ? 'DMA' : selected;
  if (defaultDomain?.type === type) return defaultDomain;
  try {
    return allocate(core, devices, type);
  } catch (error) {
    const usual = target === undefined && demandOf(core, devices) === undefined;
    if (!(error instanceof IommuError) || !usual || type === 'DMA') throw error;
    core.log.warn('domainFallback', `group ${group.id} is not ${type}: ${error.message}`);
    return defaultDomain?.type === 'DMA' ? defaultDomain : allocate(core, devices, 'DMA');
  }
}

function allocate(core: IommuCore, devices: readonly Device[], type: DefaultType): Domain {
  const endpoints = devices.map(({ iommu }) => iommu?.endpoint).filter((one) => one !== undefined);
  const instance = devices[0]?.iommu?.instance;
  const [first] = endpoints;
  assert(first !== undefined && instance !== undefined, 'members of a group have an IOMMU');
  const ops = type === 'identity' ? instance.allocIdentity(endpoints) : instance.allocPaging(first);
  core.domainMade = true;
  return new Domain(instance, ops, type);
}

function instanceOf(group: Group, devices: readonly Device[]): Domain['instance'] {
  const instance = devices[0]?.iommu?.instance;
  if (instance === undefined) throw new IommuError('ENODEV', `Group ${group.id} is empty.`);
  return instance;
}

/**
 * Lets the DMA layer prepare a domain for a device. False if the device keeps the operations it has, which is better than
 * none at all unless `all` devices have to be served.
 */
function initDevice(core: IommuCore, domain: Domain, device: Device, all: boolean): boolean {
  if (!domain.dmaApi) return true;
  try {
    core.dma.initDomain(domain, device);
    return true;
  } catch (error) {
    if (!(error instanceof IommuError) || all || error.code === 'EBUSY') throw error;
    core.log.warn('dmaSetupFailed', `${device.name} keeps its DMA operations: ${error.message}`);
    return false;
  }
}

/** Maps the devices' direct regions into a domain and moves the devices there, in this order. */
function enter(core: IommuCore, group: Group, domain: Domain, devices: readonly Device[]): void {
  const former = group.domain;
  const mappings = new DirectMappings(core, domain);
  for (const device of devices) mappings.map(device);
  setGroupDomain(group, domain);
  try {
    mappings.mapRest();
  } catch (error) {
    restoreGroupDomain(group, former);
    throw error;
  }
}

/** The direct mappings of some devices on their way into a domain. */
class DirectMappings {
  readonly #core: IommuCore;
  readonly #domain: Domain;
  readonly #added: DirectRun[] = [];
  /** Those whose regions could not be mapped yet. */
  readonly #rest: Device[] = [];

  constructor(core: IommuCore, domain: Domain) {
    this.#core = core;
    this.#domain = domain;
  }

  /** Maps what can be mapped before the device is attached. @throws {ApertureConflict} */
  map(device: Device): void {
    try {
      this.#create(device);
    } catch (error) {
      if (!(error instanceof IommuError) || error instanceof ApertureConflict) throw error;
      this.#rest.push(device);
    }
  }

  /** Maps what some IOMMUs cannot map before a device is attached. @throws {IommuError} */
  mapRest(): void {
    for (const device of this.#rest) this.#create(device);
  }

  remove(): void {
    removeDirectMappings(this.#domain, this.#added);
  }

  #create(device: Device): void {
    const regions = reservedRegions(device, this.#core.firmware);
    this.#added.push(...createDirectMappings(this.#domain, device, regions, this.#core.log));
  }
}

function endDomain(core: IommuCore, domain: Domain): void {
  if (domain.dmaApi) core.dma.endDomain(domain);
  try {
    domain.ops.free();
  } catch (error) {
    if (!(error instanceof IommuError)) throw error;
    core.log.warn('undoFailed', `a domain cannot be freed: ${error.message}`);
  }
}
