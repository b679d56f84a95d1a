/**
 * Which IOMMU a device tree puts devices behind: the properties `iommus`, `iommu-map` and `memory-region`.
 *
 * A PCI device has no node of its own there; its host bridge translates requester ids. Everything that the tree says
 * about a device is checked before the core hears of any of it.
 */

import {
  type DeviceRegion,
  IommuError,
  Protection,
  type Range,
  RegionKind,
  isUint32,
  rangeOfSize,
} from '@viommu/common';
import type { Device, FirmwareNode } from '../device.ts';
import type { IommuSpecifier, SpecifierSource } from '../grant/backend.ts';
import type { CoreLog } from '../log.ts';
import type { Firmware, FirmwareHost } from '../probe.ts';
import { CellReader } from './cell-reader.ts';
import { type DeviceTree, DeviceTreeNode } from './device-tree.ts';

/** A specifier whose node belongs to the tree. */
interface TreeSpecifier extends IommuSpecifier {
  readonly node: DeviceTreeNode;
}

/** More cells than any IOMMU takes. */
const CELLS_MAX = 16;
const ALL_BITS = 0xffff_ffff;

/** A machine that a device tree describes. */
export class DeviceTreeFirmware implements Firmware, SpecifierSource {
  readonly tree: DeviceTree;
  readonly #log: CoreLog;

  constructor(tree: DeviceTree, log: CoreLog) {
    this.tree = tree;
    this.#log = log;
  }

  /**
   * @throws {IommuError} `ENODEV` if the tree names no IOMMU, or one that is not there or disabled; `EINVAL` or `EFAULT`
   * if it makes no sense; what the host threw.
   */
  describe(device: Device, host: FirmwareHost): void {
    if (device.iommu?.fwspec !== undefined) return;
    const specifiers = this.#specifiersOf(device);
    const node = specifiers[0]?.node;
    if (node === undefined) throw new IommuError('ENODEV', `${device.name} names no IOMMU.`);
    const other = specifiers.find((specifier) => specifier.node !== node);
    if (other !== undefined)
      throw new IommuError(
        'EINVAL',
        `${device.name} is behind ${node.path} and ${other.node.path}.`,
      );
    if (!node.enabled) throw new IommuError('ENODEV', `${node.path} is disabled.`);
    host.fwspecInit(device, node);
    for (const { cells } of specifiers) host.addCells(device, cells);
  }

  /** The reserved memory that a device names; what makes no sense of it is left out, with a warning. */
  regionsOf(device: Device): DeviceRegion[] {
    const node = this.#nodeOf(device);
    const regions: DeviceRegion[] = [];
    for (const phandle of this.#tolerant([], () => node?.cells('memory-region') ?? [])) {
      const memory = this.tree.byPhandle(phandle);
      if (node === undefined || memory === undefined) continue;
      this.#tolerant(undefined, () => this.#addRegions(regions, memory, node));
    }
    return regions;
  }

  /** The addresses that reach memory through the buses above a device, if a bus says so with `dma-ranges`. */
  dmaWindowOf(device: Device): Range | undefined {
    const node = device.pci === undefined ? device.node : hostBridgeOf(device);
    if (!(node instanceof DeviceTreeNode)) return undefined;
    const bus = device.pci === undefined ? node.parent : node;
    return bus && this.#tolerant(undefined, () => windowOf(bus));
  }

  /** The first IOMMU that is named for a device; `undefined` also if what is said makes no sense. */
  specifierOf(device: Device): IommuSpecifier | undefined {
    try {
      return this.#specifiersOf(device)[0];
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      return undefined;
    }
  }

  hasProperty(node: FirmwareNode, name: string): boolean {
    return node instanceof DeviceTreeNode && node.properties.has(name);
  }

  /** All that is named for a device, in order. @throws as {@link describe} */
  #specifiersOf(device: Device): TreeSpecifier[] {
    const { pci } = device;
    if (pci === undefined) return this.#listed(this.#nodeOf(device));
    const bridge = hostBridgeOf(device);
    if (!(bridge instanceof DeviceTreeNode)) return [];
    const ids = [pci.bus * 256 + pci.devfn, ...pci.aliases];
    return ids.flatMap((id) => this.#mapped(bridge, id) ?? []);
  }

  /** `iommus`: references, each with the cells that its node asks for. */
  #listed(node: DeviceTreeNode | undefined): TreeSpecifier[] {
    const reader = node && CellReader.of(node, 'iommus');
    const specifiers: TreeSpecifier[] = [];
    while (reader !== undefined && !reader.atEnd) {
      const iommu = this.#iommu(reader.cell());
      const count = iommu.cell('#iommu-cells', -1);
      if (count < 0 || count > CELLS_MAX)
        throw new IommuError('EINVAL', `${iommu.path} does not say how many cells it takes.`);
      specifiers.push(specifier(iommu, reader.cells(count)));
    }
    return specifiers;
  }

  /** `iommu-map`: ranges of requester ids, and what an IOMMU calls them. */
  #mapped(bridge: DeviceTreeNode, requester: number): TreeSpecifier | undefined {
    const entries = bridge.cells('iommu-map');
    if (entries === undefined) return undefined;
    if (entries.length === 0 || entries.length % 4 !== 0)
      throw new IommuError('EINVAL', `${bridge.path}: iommu-map has ${entries.length} cells.`);
    const mask = bridge.cell('iommu-map-mask', ALL_BITS);
    const masked = (requester & mask) >>> 0;
    const reader = CellReader.of(bridge, 'iommu-map');
    while (reader !== undefined && !reader.atEnd) {
      const base = reader.cell();
      const phandle = reader.cell();
      const output = reader.cell();
      const length = reader.cell();
      if ((base & ~mask) !== 0)
        throw new IommuError('EFAULT', `${bridge.path}: iommu-map has ids outside of its mask.`);
      if (masked < base || masked - base >= length) continue;
      const id = masked - base + output;
      if (!isUint32(id)) throw new IommuError('EINVAL', `${bridge.path}: iommu-map leads too far.`);
      return specifier(this.#iommu(phandle), [id]);
    }
    throw new IommuError('ENODEV', `${bridge.path} has no IOMMU for requester ${requester}.`);
  }

  #iommu(phandle: number): DeviceTreeNode {
    const node = this.tree.byPhandle(phandle);
    if (node === undefined) throw new IommuError('ENODEV', `No node has the phandle ${phandle}.`);
    return node;
  }

  /** The entries of one node of reserved memory that are about one device. */
  #addRegions(regions: DeviceRegion[], memory: DeviceTreeNode, node: DeviceTreeNode): void {
    const reader = CellReader.of(memory, 'iommu-addresses');
    while (reader !== undefined && !reader.atEnd) {
      const owner = this.tree.byPhandle(reader.cell());
      if (owner === undefined)
        throw new IommuError('ENODEV', `${memory.path} has addresses of a node that is not there.`);
      const start = reader.number(owner.parent?.cell('#address-cells', 2) ?? 2);
      const sizeBytes = reader.number(owner.parent?.cell('#size-cells', 1) ?? 1);
      if (owner !== node) continue;
      if (sizeBytes === 0n) this.#warn(`${memory.path} keeps 0 bytes for ${node.path}`);
      else regions.push(this.#region(memory, node, rangeOfSize(start, sizeBytes)));
    }
  }

  #region(memory: DeviceTreeNode, node: DeviceTreeNode, { start, last }: Range): DeviceRegion {
    const lies = firstRegister(memory);
    const direct = lies !== undefined && lies.start === start && lies.last === last;
    if (lies !== undefined && !direct)
      this.#warn(`${memory.path} lies elsewhere than where ${node.path} reaches it`);
    return {
      start,
      last,
      kind: direct ? RegionKind.DIRECT : RegionKind.RESERVED,
      protection: Protection.READ | Protection.WRITE | (isCoherent(node) ? Protection.CACHE : 0),
    };
  }

  #nodeOf({ node }: Device): DeviceTreeNode | undefined {
    return node instanceof DeviceTreeNode ? node : undefined;
  }

  /** The tree is not the guest's work: what makes no sense in it is left out. */
  #tolerant<T>(otherwise: T, read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      this.#warn(error.message);
      return otherwise;
    }
  }

  #warn(message: string): void {
    this.#log.warn('firmwareIgnored', message);
  }
}

function specifier(node: DeviceTreeNode, cells: number[]): TreeSpecifier {
  return { node, compatible: node.texts('compatible'), cells };
}

/** The node of the first device above a PCI device that is none. */
function hostBridgeOf(device: Device): FirmwareNode | undefined {
  let at: Device | undefined = device;
  while (at !== undefined && (at.pci !== undefined || at.node === undefined)) at = at.parent;
  return at?.node;
}

/** Where reserved memory lies; nodes of it are children of one that does not move addresses. */
function firstRegister(memory: DeviceTreeNode): Range | undefined {
  const reader = CellReader.of(memory, 'reg');
  if (reader === undefined || reader.atEnd) return undefined;
  const start = reader.number(memory.parent?.cell('#address-cells', 2) ?? 2);
  const sizeBytes = reader.number(memory.parent?.cell('#size-cells', 1) ?? 1);
  return rangeOfSize(start, sizeBytes);
}

function isCoherent(node: DeviceTreeNode): boolean {
  for (let at: DeviceTreeNode | undefined = node; at !== undefined; at = at.parent)
    if (at.properties.has('dma-coherent')) return true;
  return false;
}

/** From the lowest to the highest address that devices on a bus can use; an empty list means all. */
function windowOf(bus: DeviceTreeNode): Range | undefined {
  const reader = CellReader.of(bus, 'dma-ranges');
  const childCells = bus.cell('#address-cells', 2);
  const parentCells = bus.parent?.cell('#address-cells', 2) ?? 2;
  const sizeCells = bus.cell('#size-cells', 1);
  let window: Range | undefined;
  while (reader !== undefined && !reader.atEnd) {
    // PCI says in a cell of its own what kind of address follows.
    if (childCells === 3) reader.cell();
    const start = reader.number(childCells === 3 ? 2 : childCells);
    reader.number(parentCells);
    const range = rangeOfSize(start, reader.number(sizeCells));
    window = {
      start: window !== undefined && window.start < start ? window.start : start,
      last: window !== undefined && window.last > range.last ? window.last : range.last,
    };
  }
  return window;
}
