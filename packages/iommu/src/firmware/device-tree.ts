/**
 * A device tree: nodes with properties, and references between them. Devicetree Specification v0.4, section 2.
 *
 * A property is bytes. Most are cells, which are big-endian 32-bit numbers, or strings that end in a zero.
 */

import { IommuError } from '@viommu/common';
import type { FirmwareNode } from '../device.ts';

/** Levels below the root, so that no description makes a reader run out of stack. */
export const DEPTH_MAX = 64;

const NAME = /^[\w,.+?#@-]{1,255}$/;
const CELL_BYTES = 4;

/** One node. */
export class DeviceTreeNode implements FirmwareNode {
  /** With the address behind `@`, where there is one; empty for the root. */
  readonly name: string;
  readonly parent: DeviceTreeNode | undefined;
  readonly children: Map<string, DeviceTreeNode> = new Map();
  readonly properties: Map<string, Uint8Array> = new Map();
  readonly #depth: number;

  /** A root; others are made by {@link add}. */
  constructor(name = '', parent?: DeviceTreeNode) {
    this.name = name;
    this.parent = parent;
    this.#depth = parent === undefined ? 0 : parent.#depth + 1;
  }

  get path(): string {
    if (this.parent === undefined) return '/';
    return this.parent.parent === undefined ? `/${this.name}` : `${this.parent.path}/${this.name}`;
  }

  /** Not so if its `status` says anything but `okay`. */
  get enabled(): boolean {
    const bytes = this.properties.get('status');
    if (bytes === undefined) return true;
    const [status] = textsOf(bytes);
    return status === 'okay' || status === 'ok';
  }

  /** What other nodes call it; 0 if it has no such number. */
  get phandle(): number {
    const bytes = this.properties.get('phandle') ?? this.properties.get('linux,phandle');
    return bytes?.length === CELL_BYTES ? (cellsOf(bytes)[0] ?? 0) : 0;
  }

  /**
   * Makes a child.
   *
   * @throws {IommuError} `EINVAL` if there is one, or its name has other characters than names have, `EOVERFLOW` if it
   * lies too deep.
   */
  add(name: string): DeviceTreeNode {
    checkName(name);
    if (this.children.has(name))
      throw new IommuError('EINVAL', `${this.path} has two nodes called ${name}.`);
    if (this.#depth >= DEPTH_MAX)
      throw new IommuError('EOVERFLOW', `The tree has more than ${DEPTH_MAX} levels.`);
    const child = new DeviceTreeNode(name, this);
    this.children.set(name, child);
    return child;
  }

  /** Sets a property. @throws {IommuError} `EINVAL` if its name has other characters than names have. */
  set(name: string, bytes: Uint8Array): void {
    checkName(name);
    this.properties.set(name, bytes);
  }

  /** Sets a property to cells. */
  setCells(name: string, ...cells: readonly number[]): void {
    this.set(name, bytesOfCells(cells));
  }

  /** Sets a property to strings of ASCII. */
  setTexts(name: string, ...texts: readonly string[]): void {
    this.set(name, bytesOfTexts(texts));
  }

  /** A property as cells, `undefined` if it is not there. @throws {IommuError} `EINVAL` if it is no whole cells. */
  cells(name: string): number[] | undefined {
    const bytes = this.properties.get(name);
    if (bytes === undefined) return undefined;
    if (bytes.length % CELL_BYTES !== 0)
      throw new IommuError('EINVAL', `${this.path}: ${name} is not made of cells.`);
    return cellsOf(bytes);
  }

  /** A property that is one cell, or `otherwise`. @throws {IommuError} `EINVAL` if it is something else. */
  cell(name: string, otherwise: number): number {
    const cells = this.cells(name);
    if (cells === undefined) return otherwise;
    if (cells.length !== 1)
      throw new IommuError('EINVAL', `${this.path}: ${name} is not one cell.`);
    return cells[0] ?? otherwise;
  }

  /** A property as strings; none if it is not there. */
  texts(name: string): string[] {
    const bytes = this.properties.get(name);
    return bytes === undefined ? [] : textsOf(bytes);
  }
}

/** Memory that a loader must leave alone. */
export interface MemoryReservation {
  readonly start: bigint;
  readonly sizeBytes: bigint;
}

/** A whole tree. Its nodes do not change any more. */
export class DeviceTree {
  readonly root: DeviceTreeNode;
  readonly reservations: readonly MemoryReservation[];
  readonly #byPhandle: ReadonlyMap<number, DeviceTreeNode>;

  /** @throws {IommuError} `EINVAL` if two nodes have one number. */
  constructor(root: DeviceTreeNode, reservations: readonly MemoryReservation[] = []) {
    this.root = root;
    this.reservations = reservations;
    const byPhandle = new Map<number, DeviceTreeNode>();
    for (const node of this.nodes()) {
      const { phandle } = node;
      if (phandle === 0) continue;
      const other = byPhandle.get(phandle);
      if (other !== undefined)
        throw new IommuError('EINVAL', `${other.path} and ${node.path} have the same phandle.`);
      byPhandle.set(phandle, node);
    }
    this.#byPhandle = byPhandle;
  }

  /** All nodes, parents before their children. */
  *nodes(from: DeviceTreeNode = this.root): Generator<DeviceTreeNode> {
    yield from;
    for (const child of from.children.values()) yield* this.nodes(child);
  }

  byPhandle(phandle: number): DeviceTreeNode | undefined {
    return this.#byPhandle.get(phandle);
  }

  /** The node at a full path. */
  find(path: string): DeviceTreeNode | undefined {
    return findNode(this.root, path);
  }
}

/** The node at a full path below a root. */
export function findNode(root: DeviceTreeNode, path: string): DeviceTreeNode | undefined {
  let node: DeviceTreeNode | undefined = path.startsWith('/') ? root : undefined;
  for (const name of path.split('/')) if (name !== '') node = node?.children.get(name);
  return node;
}

/** Cells as bytes. */
export function bytesOfCells(cells: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(cells.length * CELL_BYTES);
  const view = new DataView(bytes.buffer);
  cells.forEach((cell, index) => view.setUint32(index * CELL_BYTES, cell));
  return bytes;
}

/** Strings as bytes, each with its zero. */
export function bytesOfTexts(texts: readonly string[]): Uint8Array {
  const all = texts.map((text) => `${text}\0`).join('');
  return Uint8Array.from(all, (character) => character.charCodeAt(0));
}

function cellsOf(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / CELL_BYTES }, (_, i) =>
    view.getUint32(i * CELL_BYTES),
  );
}

function textsOf(bytes: Uint8Array): string[] {
  const all = Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
  return (all.endsWith('\0') ? all.slice(0, -1) : all).split('\0');
}

function checkName(name: string): void {
  if (!NAME.test(name))
    throw new IommuError('EINVAL', `${JSON.stringify(name)} is no name in a tree.`);
}
