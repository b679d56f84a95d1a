/** Finding the domain in which a device's back-end runs: the binding `xen,grant-dma`. */

import { IommuError } from '@viommu/common';
import type { Device, FirmwareNode } from '../device.ts';
import type { CoreLog } from '../log.ts';
import { DOMID_MAX } from './entry.ts';

/** The IOMMU that the firmware names for a device. */
export interface IommuSpecifier {
  readonly node: FirmwareNode;
  /** What the node says it is. */
  readonly compatible: readonly string[];
  /** The cells that follow the reference to it. */
  readonly cells: readonly number[];
}

/** What the search asks the firmware. */
export interface SpecifierSource {
  /** The first IOMMU named for the device: by its own node, or for PCI by the root's `iommu-map`. */
  specifierOf(device: Device): IommuSpecifier | undefined;
  /** True if the node has a property of this name. */
  hasProperty(node: FirmwareNode, name: string): boolean;
}

/** What a guest on Xen knows about itself. */
export interface XenGuest {
  /** It is the domain that runs the others. */
  readonly initialDomain: boolean;
  /** The option `xen.forceGrant`. */
  readonly forceGrant: boolean;
}

/** The `compatible` of a grant IOMMU. */
export const GRANT_COMPATIBLE = 'xen,grant-dma';
const OLD_PROPERTY = 'xen,backend-domid';

/**
 * The domain of a device's back-end.
 *
 * @throws {IommuError} `ESRCH` if the firmware names none, or none that makes sense; `EINVAL` for a number that no
 * domain has; `ENODEV` if there is no firmware description and grants are not forced.
 */
export function grantBackend(
  device: Device,
  source: SpecifierSource | undefined,
  xen: XenGuest,
  log: CoreLog,
): number {
  const node = nodeOf(device);
  if (source === undefined || node === undefined) {
    if (xen.forceGrant && !xen.initialDomain) return 0;
    throw new IommuError('ENODEV', `Nothing describes a back-end of ${device.name}.`);
  }
  const specifier = source.specifierOf(device);
  if (specifier === undefined && source.hasProperty(node, OLD_PROPERTY))
    log.warn('firmwareIgnored', `${device.name}: the property ${OLD_PROPERTY} is not supported`);
  const reason =
    specifier === undefined
      ? 'names no IOMMU'
      : !specifier.compatible.includes(GRANT_COMPATIBLE)
        ? `names ${specifier.node.path}, which is not ${GRANT_COMPATIBLE}`
        : specifier.cells.length === 1
          ? undefined
          : `gives ${specifier.node.path} ${specifier.cells.length} cells and not one`;
  if (reason !== undefined || specifier === undefined) {
    log.line(`${device.name} uses no grants: its node ${reason}`);
    throw new IommuError('ESRCH', `The node of ${device.name} ${reason}.`);
  }
  if (!specifier.node.enabled) {
    log.warn(
      'firmwareIgnored',
      `${specifier.node.path} is disabled: ${device.name} uses no grants`,
    );
    throw new IommuError('ESRCH', `${specifier.node.path} is disabled.`);
  }
  const domid = specifier.cells[0] ?? -1;
  if (domid >= 0 && domid <= DOMID_MAX) return domid;
  throw new IommuError('EINVAL', `${domid} is not the number of a domain.`);
}

/** The node that describes a device; for PCI that of the first device above that is none. */
function nodeOf(device: Device): FirmwareNode | undefined {
  let at: Device | undefined = device;
  if (device.pci !== undefined)
    while (at !== undefined && (at.pci !== undefined || at.node === undefined)) at = at.parent;
  return at?.node;
}
