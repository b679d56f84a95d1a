/** Which IOMMU a VIOT table puts devices behind. */

import { type DeviceRegion, IommuError, isUint32 } from '@viommu/common';
import type { Device, FirmwareNode } from '../device.ts';
import type { CoreLog } from '../log.ts';
import type { Firmware, FirmwareHost } from '../probe.ts';
import { type Viot, type ViotEndpoint, type ViotIommu, parseViot } from './viot.ts';

/** A machine whose IOMMUs a VIOT table describes. */
export class ViotFirmware implements Firmware {
  readonly #endpoints: ViotEndpoint[] = [];
  readonly #iommus: Map<ViotIommu, FirmwareNode> = new Map();

  /** What is wrong with single nodes is logged. @throws {IommuError} `EINVAL` if the bytes are no table. */
  constructor(bytes: Uint8Array, log: CoreLog) {
    const { nodes, problems }: Viot = parseViot(bytes);
    for (const { message } of problems) log.warn('firmwareIgnored', message);
    for (const node of nodes) {
      if ('output' in node) this.#endpoints.push(node);
      else this.#iommus.set(node, { path: pathOf(node), enabled: true });
    }
  }

  /** The node of the IOMMU that is this device; `undefined` if it is none of the table. */
  nodeOf(device: Device): FirmwareNode | undefined {
    for (const [iommu, node] of this.#iommus) if (isDevice(iommu, device)) return node;
    return undefined;
  }

  /**
   * @throws {IommuError} `ENODEV` if the device is in no entry, `EINVAL` if it is the IOMMU itself, which does not translate
   * its own accesses, or if its number would have more than 32 bits; what the host threw.
   */
  describe(device: Device, host: FirmwareHost): void {
    if (device.iommu?.fwspec !== undefined) return;
    const found = this.#entriesOf(device).map(({ iommu, id }) => {
      const node = this.#iommus.get(iommu);
      if (node === undefined) throw new IommuError('ENODEV', `${device.name} has no IOMMU.`);
      if (isDevice(iommu, device))
        throw new IommuError('EINVAL', `${device.name} cannot be behind itself.`);
      if (!isUint32(id)) throw new IommuError('EINVAL', `${device.name} would be endpoint ${id}.`);
      return { node, id };
    });
    for (const { node, id } of found) {
      host.fwspecInit(device, node);
      host.addCells(device, [id]);
    }
  }

  /** The table knows of no reserved memory. */
  regionsOf(): DeviceRegion[] {
    return [];
  }

  /** An entry for each requester id of the device, or for the device. @throws {IommuError} `ENODEV` */
  #entriesOf(device: Device): { iommu: ViotIommu; id: number }[] {
    const { pci } = device;
    if (pci === undefined) return [this.#find(device, (entry) => mmioIdOf(entry, device))];
    const requesters = [pci.bus * 256 + pci.devfn, ...pci.aliases];
    return requesters.map((bdf) => this.#find(device, (entry) => pciIdOf(entry, pci.segment, bdf)));
  }

  /** The first entry that has a number for the device. */
  #find(
    device: Device,
    idOf: (entry: ViotEndpoint) => number | undefined,
  ): { iommu: ViotIommu; id: number } {
    for (const entry of this.#endpoints) {
      const id = idOf(entry);
      if (id !== undefined) return { iommu: entry.output, id };
    }
    throw new IommuError('ENODEV', `VIOT names no IOMMU for ${device.name}.`);
  }
}

function pciIdOf(entry: ViotEndpoint, segment: number, bdf: number): number | undefined {
  if (entry.type !== 'pciRange') return undefined;
  const { endpointStart, segmentStart, segmentEnd, bdfStart, bdfEnd } = entry;
  if (segment < segmentStart || segment > segmentEnd || bdf < bdfStart || bdf > bdfEnd)
    return undefined;
  return (segment - segmentStart) * 65_536 + bdf - bdfStart + endpointStart;
}

function mmioIdOf(entry: ViotEndpoint, device: Device): number | undefined {
  if (entry.type !== 'mmioEndpoint' || entry.baseAddress !== device.registers[0]) return undefined;
  return entry.endpoint;
}

function isDevice(iommu: ViotIommu, { pci, registers }: Device): boolean {
  return iommu.type === 'pciIommu'
    ? pci !== undefined && pci.segment === iommu.segment && pci.bus * 256 + pci.devfn === iommu.bdf
    : pci === undefined && registers[0] === iommu.baseAddress;
}

function pathOf(iommu: ViotIommu): string {
  return iommu.type === 'pciIommu'
    ? `VIOT/pci@${iommu.segment.toString(16)}:${iommu.bdf.toString(16)}`
    : `VIOT/mmio@${iommu.baseAddress.toString(16)}`;
}
