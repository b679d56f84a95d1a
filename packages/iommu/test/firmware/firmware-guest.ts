/** What a test of firmware needs: devices, and a core that writes down what it is told. */

import { type ErrorCode, IommuError } from '@viommu/common';
import { Device, type FirmwareNode, type PciFunction } from '../../src/device.ts';
import type { Firmware, FirmwareHost } from '../../src/probe.ts';

/** A core that has every IOMMU, and takes one cell as a number. */
export class ScriptedHost implements FirmwareHost {
  node: FirmwareNode | undefined = undefined;
  readonly ids: number[] = [];
  /** What naming an IOMMU fails with. */
  refusal: ErrorCode | undefined = undefined;

  fwspecInit(_: Device, node: FirmwareNode): void {
    if (this.refusal !== undefined) throw new IommuError(this.refusal, 'As the test wants.');
    if (this.node !== undefined && this.node !== node) throw new IommuError('EINVAL', 'Another.');
    this.node = node;
  }

  addCells(_: Device, [cell, ...more]: readonly number[]): void {
    if (cell === undefined || more.length > 0) throw new IommuError('EINVAL', 'Not one cell.');
    this.ids.push(cell);
  }
}

/** The numbers that firmware gives a device, or the code of what it throws; nothing was said to the core then. */
export function idsOf(firmware: Firmware, device: Device): readonly number[] | ErrorCode {
  const host = new ScriptedHost();
  try {
    firmware.describe(device, host);
    return host.ids;
  } catch (error) {
    if (!(error instanceof IommuError)) throw error;
    return host.node === undefined ? error.code : 'EDEADLK';
  }
}

/** A device on the platform bus. */
export function platformDevice(name: string, node?: FirmwareNode, register?: bigint): Device {
  return new Device({
    name,
    bus: 'platform',
    ...(node && { node }),
    ...(register !== undefined && { registers: [register] }),
  });
}

/** A PCI function below a host bridge. */
export function pciDevice(
  requester: number,
  bridge: Device,
  more: Partial<PciFunction> = {},
): Device {
  const bus = requester >> 8;
  const devfn = requester & 0xff;
  return new Device({
    name: `${bus}:${devfn}`,
    bus: 'pci',
    parent: bridge,
    pci: {
      segment: 0,
      bus,
      devfn,
      multifunction: false,
      isolated: true,
      aliases: [],
      upstream: undefined,
      ...more,
    },
  });
}
