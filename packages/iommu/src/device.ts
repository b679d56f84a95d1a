/** Devices as the guest knows them, before and after an IOMMU has them. */

import { type IommuEndpoint, type IommuInstance, PAGE_MAX, type Range } from '@viommu/common';
import type { DmaOps } from './dma-ops.ts';
import type { Group } from './group.ts';

/** A node of the firmware's description. Only its identity matters outside of `firmware/`. */
export interface FirmwareNode {
  /** Its full name, for people. */
  readonly path: string;
  /** False if the firmware says that it is not to be used. */
  readonly enabled: boolean;
}

/** Which IOMMU the firmware names for a device, and the numbers the device has there. */
export interface FwSpec {
  readonly node: FirmwareNode;
  readonly ids: number[];
}

/** What the core keeps about a device that an IOMMU has taken on, or may. */
export interface DeviceIommu {
  fwspec: FwSpec | undefined;
  instance: IommuInstance | undefined;
  endpoint: IommuEndpoint | undefined;
  /** It has regions that have to be mapped to themselves at all times. */
  requireDirect: boolean;
}

/**
 * How far a device has come towards an IOMMU. `deferred`: its IOMMU is named and not there. `none`: it has none.
 * `described`: it is known which one.
 */
export type DeviceIommuState = 'unknown' | 'deferred' | 'none' | 'described' | 'grouped';

/** A PCI function's place: what isolation between functions depends on. */
export interface PciFunction {
  readonly segment: number;
  readonly bus: number;
  /** Slot * 8 + function, 0..255. */
  readonly devfn: number;
  readonly multifunction: boolean;
  /** All four controls that keep requests from turning around below the function: ACS. */
  readonly isolated: boolean;
  /** Other requester ids, bus * 256 + devfn, that its requests may carry. */
  readonly aliases: readonly number[];
  /** The bridge above; `undefined` at the root. */
  readonly upstream: Device | undefined;
  /** Addresses at which functions reach each other below the host bridge, without meeting the IOMMU. */
  readonly hostWindows?: readonly Range[];
}

/** What a driver of a device tells the core about itself. */
export interface DeviceDriver {
  readonly name: string;
  /** It arranges its DMA itself and takes no part in default domains. */
  readonly managesDma?: boolean;
  /** Called when the device is bound. @throws {IommuError} `EPROBE_DEFER` to be asked again. */
  probe?(device: Device): void;
  remove?(device: Device): void;
}

/** What a device is made of. */
export interface DeviceOptions {
  readonly name: string;
  readonly bus: string;
  readonly parent?: Device;
  readonly node?: FirmwareNode;
  readonly pci?: PciFunction;
  /** First bytes of its register windows, as guest-physical addresses. */
  readonly registers?: readonly bigint[];
  /** It is outside of the machine's control, such as one that was plugged in. */
  readonly untrusted?: boolean;
  /** Set by the bus: never lazy. */
  readonly forceStrict?: boolean;
  /** Set by the platform: lazy unless something speaks against it. */
  readonly requestNonStrict?: boolean;
  /** 2^n - 1: the addresses that it can produce; all 64 bits if absent. */
  readonly dmaMask?: bigint;
}

/** One device. */
export class Device {
  readonly name: string;
  readonly bus: string;
  /** The device this one is reached through. */
  readonly parent: Device | undefined;
  readonly node: FirmwareNode | undefined;
  readonly pci: PciFunction | undefined;
  readonly registers: readonly bigint[];
  readonly untrusted: boolean;
  readonly forceStrict: boolean;
  readonly requestNonStrict: boolean;
  /** Where it is in the directory view. */
  readonly path: string;
  driver: DeviceDriver | undefined = undefined;
  iommu: DeviceIommu | undefined = undefined;
  iommuState: DeviceIommuState = 'unknown';
  group: Group | undefined = undefined;
  /** How its memory reaches it; `undefined` until the core has decided. */
  dmaOps: DmaOps | undefined = undefined;
  /** The last page its DMA mask reaches; -1 if it has none and so can do no DMA. */
  dmaLastPage: number;
  /** The same for its coherent memory. */
  coherentLastPage: number;
  /** The last page its bus reaches; `PAGE_MAX` if there is no limit. */
  busLastPage: number = PAGE_MAX;
  /** What the device tree says about the addresses it may use. */
  dmaWindow: Range | undefined = undefined;
  /** The low bits of an address that a bounced buffer has to keep, 2^n - 1. */
  minAlignMask = 0;
  /** A segment must not cross a multiple of this many bytes; `Infinity` for none. */
  segmentBoundaryBytes: number = Infinity;
  /** The most bytes of one segment. */
  segmentBytesMax = 65_536;
  /** PCI: IOVAs below 4 GiB are tried first, until there are none. */
  prefer32Bit: boolean;

  constructor(options: DeviceOptions) {
    const { name, bus, parent, dmaMask } = options;
    this.name = name;
    this.bus = bus;
    this.parent = parent;
    this.node = options.node;
    this.pci = options.pci;
    this.registers = options.registers ?? [];
    this.untrusted = options.untrusted ?? false;
    this.forceStrict = options.forceStrict ?? false;
    this.requestNonStrict = options.requestNonStrict ?? false;
    this.path = `${parent?.path ?? `/sys/devices/${bus}`}/${name}`;
    this.dmaLastPage = dmaMask === undefined ? PAGE_MAX : lastPageOfMask(dmaMask);
    this.coherentLastPage = this.dmaLastPage;
    this.prefer32Bit = options.pci !== undefined;
  }
}

/** The last whole page below a mask of 2^n - 1; -1 if there is none. */
export function lastPageOfMask(mask: bigint): number {
  return Number((mask + 1n) / 4096n) - 1;
}
