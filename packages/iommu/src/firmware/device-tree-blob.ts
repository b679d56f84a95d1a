/**
 * Device trees as flattened bytes. Devicetree Specification v0.4, section 5, version 17 of the format.
 *
 * The bytes may come from anywhere: every offset is checked before it is followed, and every loop ends with the bytes.
 */

import { IommuError, assert } from '@viommu/common';
import { DeviceTree, DeviceTreeNode, type MemoryReservation } from './device-tree.ts';

/** More bytes than any description of a machine has. */
export const BLOB_BYTES_MAX: number = 2 << 20;

const MAGIC = 0xd00dfeed;
const VERSION = 17;
/** The oldest version whose readers understand what is written here. */
const LAST_COMPATIBLE_VERSION = 16;
const CELL_BYTES = 4;
const ADDRESS_BYTES = 8;
const RESERVATION_BYTES = 2 * ADDRESS_BYTES;

/** The cells of the header, in the order of the bytes. */
const HEADER = [
  'magic',
  'totalSize',
  'structureOffset',
  'stringsOffset',
  'reservationsOffset',
  'version',
  'lastCompatibleVersion',
  'bootCpu',
  'stringsSize',
  'structureSize',
] as const;
const HEADER_BYTES = HEADER.length * CELL_BYTES;

type Header = Record<(typeof HEADER)[number], number>;

/** What the structure is made of. */
const Token = { BEGIN_NODE: 1, END_NODE: 2, PROPERTY: 3, NOP: 4, END: 9 } as const;

/** Reads a tree. @throws {IommuError} `EINVAL` if the bytes are no tree, `EOVERFLOW` if it is too large. */
export function parseDeviceTreeBlob(bytes: Uint8Array): DeviceTree {
  if (bytes.length < HEADER_BYTES) throw bad('has no whole header');
  const given = viewOf(bytes);
  const total = given.getUint32(HEADER.indexOf('totalSize') * CELL_BYTES);
  if (total > BLOB_BYTES_MAX)
    throw new IommuError('EOVERFLOW', `A device tree of ${total} bytes is too large.`);
  if (total < HEADER_BYTES || total > bytes.length)
    throw bad(`says that it has ${total} bytes and has ${bytes.length}`);
  // A copy, since somebody else may still write to what was given.
  const view = viewOf(bytes.slice(0, total));
  const header = Object.fromEntries(
    HEADER.map((name, index) => [name, view.getUint32(index * CELL_BYTES)]),
  ) as Header; // Its keys are the names.
  if (header.magic !== MAGIC) throw bad('does not begin like one');
  if (header.totalSize !== total) throw bad('changes while it is read');
  if (header.version < VERSION || header.lastCompatibleVersion > VERSION)
    throw bad(`is of version ${header.version}, which is not known`);
  const reservations = readReservations(view, header.reservationsOffset);
  const strings = part(view, header.stringsOffset, header.stringsSize, 1);
  const structure = part(view, header.structureOffset, header.structureSize, CELL_BYTES);
  return new DeviceTree(new StructureReader(structure, strings).read(), reservations);
}

function readReservations(view: DataView, offset: number): MemoryReservation[] {
  const reservations: MemoryReservation[] = [];
  if (offset % ADDRESS_BYTES !== 0) throw bad('has reservations at an odd place');
  for (let at = offset; ; at += RESERVATION_BYTES) {
    if (at + RESERVATION_BYTES > view.byteLength) throw bad('has reservations without an end');
    const start = view.getBigUint64(at);
    const sizeBytes = view.getBigUint64(at + ADDRESS_BYTES);
    if (start === 0n && sizeBytes === 0n) return reservations;
    reservations.push({ start, sizeBytes });
  }
}

/** A block of the blob, by what the header says. */
function part(view: DataView, offset: number, size: number, alignment: number): DataView {
  if (offset % alignment !== 0 || offset + size > view.byteLength)
    throw bad(`has a block of ${size} bytes at ${offset}, where there is no room for it`);
  return new DataView(view.buffer, view.byteOffset + offset, size);
}

/** Reads the tokens one after the other. */
class StructureReader {
  readonly #view: DataView;
  readonly #strings: DataView;
  #at = 0;

  constructor(view: DataView, strings: DataView) {
    this.#view = view;
    this.#strings = strings;
  }

  read(): DeviceTreeNode {
    if (this.#token() !== Token.BEGIN_NODE || this.#name() !== '') throw bad('has no root');
    const root = new DeviceTreeNode();
    let node: DeviceTreeNode | undefined = root;
    while (node !== undefined) {
      const token = this.#token();
      if (token === Token.BEGIN_NODE) node = this.#child(node);
      else if (token === Token.END_NODE) node = node.parent;
      else if (token === Token.PROPERTY) this.#property(node);
      else throw bad(`has token ${token} in ${node.path}`);
    }
    if (this.#token() !== Token.END) throw bad('goes on after its root');
    return root;
  }

  #child(node: DeviceTreeNode): DeviceTreeNode {
    return node.add(this.#name());
  }

  #property(node: DeviceTreeNode): void {
    const size = this.#cell();
    const name = textAt(this.#strings, this.#cell());
    const at = this.#at;
    this.#skip(size);
    if (node.properties.has(name)) throw bad(`has ${name} in ${node.path} twice`);
    node.set(name, bytesOf(this.#view).slice(at, at + size));
  }

  #token(): number {
    let token: number = Token.NOP;
    while (token === Token.NOP) token = this.#cell();
    return token;
  }

  #name(): string {
    const name = textAt(this.#view, this.#at);
    this.#skip(name.length + 1);
    return name;
  }

  #cell(): number {
    const at = this.#at;
    this.#skip(CELL_BYTES);
    return this.#view.getUint32(at);
  }

  /** Steps over bytes and what fills them up to whole cells. */
  #skip(bytes: number): void {
    const end = this.#at + padded(bytes);
    if (end > this.#view.byteLength) throw bad('ends in the middle');
    this.#at = end;
  }
}

/** Writes a tree. What {@link parseDeviceTreeBlob} reads from the bytes is the same tree. */
export function buildDeviceTreeBlob(tree: DeviceTree): Uint8Array {
  const strings = new Map<string, number>();
  let stringsSize = 0;
  const measure = (node: DeviceTreeNode): number => {
    let size = CELL_BYTES + padded(node.name.length + 1) + CELL_BYTES;
    for (const [name, bytes] of node.properties) {
      size += 3 * CELL_BYTES + padded(bytes.length);
      if (strings.has(name)) continue;
      strings.set(name, stringsSize);
      stringsSize += name.length + 1;
    }
    for (const child of node.children.values()) size += measure(child);
    return size;
  };
  const structureSize = measure(tree.root) + CELL_BYTES;

  const reservationsOffset = HEADER_BYTES;
  const structureOffset = reservationsOffset + (tree.reservations.length + 1) * RESERVATION_BYTES;
  const stringsOffset = structureOffset + structureSize;
  const header: Header = {
    magic: MAGIC,
    totalSize: padded(stringsOffset + stringsSize),
    structureOffset,
    stringsOffset,
    reservationsOffset,
    version: VERSION,
    lastCompatibleVersion: LAST_COMPATIBLE_VERSION,
    bootCpu: 0,
    stringsSize,
    structureSize,
  };
  const writer = new Writer(header.totalSize);
  for (const name of HEADER) writer.cell(header[name]);
  for (const { start, sizeBytes } of tree.reservations) writer.pair(start, sizeBytes);
  writer.pair(0n, 0n);
  const write = (node: DeviceTreeNode): void => {
    writer.cell(Token.BEGIN_NODE);
    writer.text(node.name);
    writer.pad();
    for (const [name, bytes] of node.properties) {
      writer.cell(Token.PROPERTY);
      writer.cell(bytes.length);
      writer.cell(strings.get(name) ?? 0);
      writer.bytes(bytes);
      writer.pad();
    }
    for (const child of node.children.values()) write(child);
    writer.cell(Token.END_NODE);
  };
  write(tree.root);
  writer.cell(Token.END);
  assert(writer.at === stringsOffset, 'the structure of a tree has the size that was measured');
  for (const name of strings.keys()) writer.text(name);
  return writer.all;
}

/** Fills bytes from their start. */
class Writer {
  readonly all: Uint8Array;
  readonly #view: DataView;
  at = 0;

  constructor(size: number) {
    this.all = new Uint8Array(size);
    this.#view = viewOf(this.all);
  }

  cell(value: number): void {
    this.#view.setUint32(this.at, value);
    this.at += CELL_BYTES;
  }

  pair(first: bigint, second: bigint): void {
    for (const value of [first, second]) {
      this.#view.setBigUint64(this.at, value);
      this.at += ADDRESS_BYTES;
    }
  }

  bytes(bytes: Uint8Array): void {
    this.all.set(bytes, this.at);
    this.at += bytes.length;
  }

  text(text: string): void {
    this.bytes(Uint8Array.from(text, (character) => character.charCodeAt(0)));
    this.at += 1;
  }

  pad(): void {
    this.at = padded(this.at);
  }
}

function textAt(view: DataView, offset: number): string {
  let text = '';
  for (let at = offset; at < view.byteLength; at += 1) {
    const code = view.getUint8(at);
    if (code === 0) return text;
    text += String.fromCharCode(code);
  }
  throw bad('has a name without an end');
}

function padded(bytes: number): number {
  return Math.ceil(bytes / CELL_BYTES) * CELL_BYTES;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function bad(how: string): IommuError {
  return new IommuError('EINVAL', `The flattened device tree ${how}.`);
}
