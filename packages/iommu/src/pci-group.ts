/**
 * Which PCI functions the IOMMU cannot keep apart.
 *
 * Two functions belong together if one can be taken for the other, or if a request of one can reach the other without
 * passing the IOMMU. That makes three relations, and a group is all that they connect:
 *
 * ```
 *  aliases   requests of both may carry the same requester id
 *  bridge    a function and the bridge above it, if the bridge takes its requests over, or if some bridge on the way
 *            up lets requests turn around
 *  slot      functions of one device, neither of them isolated from the others
 * ```
 */

import type { Device, PciFunction } from './device.ts';
import type { Group } from './group.ts';

/**
 * The group of a function that this one cannot be kept apart from: of the nearest that has one.
 *
 * @param functions all PCI functions that there are; bridges above the device need not be among them.
 */
export function findPciGroup(device: Device, functions: Iterable<Device>): Group | undefined {
  const others = [...functions];
  const visited = new Set([device]);
  // A set hands out what is added while it is walked, and each device once: the loop ends.
  for (const one of visited) {
    if (one.group !== undefined) return one.group;
    const above = one.pci?.upstream;
    if (above !== undefined && joinedToBridge(one)) visited.add(above);
    for (const other of others) if (joined(one, other)) visited.add(other);
  }
  return undefined;
}

/** True if nothing keeps two functions apart; not asked of a function and the bridge above it. */
function joined(one: Device, other: Device): boolean {
  if (one.pci === undefined || other.pci === undefined) return false;
  if (other.pci.upstream === one) return joinedToBridge(other);
  return shareRequesterId(one.pci, other.pci) || joinedInSlot(one.pci, other.pci);
}

function joinedToBridge({ pci }: Device): boolean {
  const bridge = pci?.upstream?.pci;
  if (pci === undefined || bridge === undefined) return false;
  return pci.aliases.includes(idOf(bridge)) || !isolatedUpwards(bridge);
}

/** True if this bridge and all above it send every request up to the IOMMU. */
function isolatedUpwards(bridge: PciFunction): boolean {
  // The bridges above a device were made before it, so that there are no circles.
  for (let one: PciFunction | undefined = bridge; one !== undefined; one = one.upstream?.pci)
    if (!one.isolated) return false;
  return true;
}

function shareRequesterId(one: PciFunction, other: PciFunction): boolean {
  if (one.segment !== other.segment) return false;
  const ids = idsOf(one);
  return idsOf(other).some((id) => ids.includes(id));
}

function joinedInSlot(one: PciFunction, other: PciFunction): boolean {
  return (
    one.segment === other.segment &&
    one.bus === other.bus &&
    one.devfn >> 3 === other.devfn >> 3 &&
    (one.multifunction || other.multifunction) &&
    !one.isolated &&
    !other.isolated
  );
}

/** The requester ids that its requests may carry, its own first. */
function idsOf(pci: PciFunction): number[] {
  return [idOf(pci), ...pci.aliases];
}

function idOf({ bus, devfn }: PciFunction): number {
  return bus * 256 + devfn;
}
