/**
 * Device trees as text, the way people write them. Devicetree Specification v0.4, section 6.
 *
 * This reads what descriptions and examples are made of: labels, references, cells of any width, strings and bytes.
 * Macros, `#include`, expressions and deletions are refused. Nodes outside of a root belong to the root, as in the
 * examples of bindings.
 */

import { IommuError } from '@viommu/common';
import {
  DeviceTree,
  DeviceTreeNode,
  type MemoryReservation,
  bytesOfCells,
  bytesOfTexts,
  findNode,
} from './device-tree.ts';

/** More characters than any description of a machine has. */
export const SOURCE_CHARACTERS_MAX: number = 1 << 20;

/** A reference whose node may come later. */
interface Reference {
  /** A label, or a path. */
  readonly to: string;
  /** As the node's number, or as its path. */
  readonly as: 'phandle' | 'path';
  /** Where it stands. */
  readonly at: number;
}

type Value = readonly (Uint8Array | Reference)[];

/** Reads a tree. @throws {IommuError} `EINVAL` in one line that says where, `EOVERFLOW` if it is too large. */
export function parseDeviceTreeSource(text: string): DeviceTree {
  if (text.length > SOURCE_CHARACTERS_MAX)
    throw new IommuError('EOVERFLOW', `A source of ${text.length} characters is too large.`);
  return new SourceReader(text).read();
}

const SPACE = /(?:\s+|\/\/.*|\/\*[^*]*\*+(?:[^/*][^*]*\*+)*\/)+/y;
const LABEL = /([A-Za-z_]\w*):/y;
const ROOT = /\/(?=\s*\{)/y;
const NAME = /[\w,.+?#@-]+/y;
const REFERENCE = /&(?:([A-Za-z_]\w*)|\{(\/[^\s{}]*)\})/y;
const NUMBER = /(0[xX][\da-fA-F]+|\d+)[uUlL]*(?!\w)/y;
const CHARACTER = /'(?:\\(.)|([ -~]))'/y;
const BYTE = /[\da-fA-F]{2}/y;
const STRING = /"((?:[^"\\\n]|\\.)*)"/y;
const ESCAPE = /\\(?:x([\da-fA-F]{1,2})|([0-7]{1,3})|(.))/g;
const ESCAPED: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  t: '\t',
  a: '\x07',
  b: '\b',
  f: '\f',
  v: '\v',
};

class SourceReader {
  readonly #text: string;
  readonly #root = new DeviceTreeNode();
  readonly #labels = new Map<string, DeviceTreeNode>();
  /** All properties, until every node has a number. */
  readonly #values = new Map<DeviceTreeNode, Map<string, Value>>();
  readonly #reservations: MemoryReservation[] = [];
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  read(): DeviceTree {
    for (this.#space(); this.#at < this.#text.length; this.#space()) this.#topLevel();
    this.#resolve();
    return new DeviceTree(this.#root, this.#reservations);
  }

  #topLevel(): void {
    if (this.#take('/dts-v1/')) this.#expect(';');
    else if (this.#take('/memreserve/')) {
      this.#reservations.push({ start: this.#number(8), sizeBytes: this.#number(8) });
      this.#expect(';');
    } else if (this.#take('&', false)) {
      const reference = this.#reference();
      this.#body(this.#node(reference), '{');
    } else {
      const labels = this.#labelNames();
      const isRoot = this.#match(ROOT) !== undefined;
      const node = isRoot ? this.#root : this.#child(this.#root, this.#name());
      this.#nameNode(labels, node);
      this.#body(node, '{');
    }
  }

  /** The inside of a node: properties and children. Depth is bounded by the nodes themselves. */
  #body(node: DeviceTreeNode, open: string): void {
    this.#expect(open);
    while (!this.#take('}')) {
      const labels = this.#labelNames();
      const name = this.#name();
      if (this.#take('{', false)) {
        const child = this.#child(node, name);
        this.#nameNode(labels, child);
        this.#body(child, '{');
      } else this.#property(node, name);
    }
    this.#expect(';');
  }

  /** A node that is described twice is one. */
  #child(node: DeviceTreeNode, name: string): DeviceTreeNode {
    return node.children.get(name) ?? this.#checked(() => node.add(name));
  }

  #property(node: DeviceTreeNode, name: string): void {
    const value: (Uint8Array | Reference)[] = [];
    if (this.#take('='))
      do {
        this.#labelNames();
        this.#value(value);
        this.#labelNames();
      } while (this.#take(','));
    this.#expect(';');
    let values = this.#values.get(node);
    if (values === undefined) this.#values.set(node, (values = new Map()));
    values.set(name, value);
    // Keeps its place among the others.
    this.#checked(() => node.set(name, new Uint8Array(0)));
  }

  #value(value: (Uint8Array | Reference)[]): void {
    if (this.#take('<')) this.#array(4, value);
    else if (this.#take('/bits/')) {
      const bits = Number(this.#number(1));
      if (![8, 16, 32, 64].includes(bits)) this.#fail(`there are no cells of ${bits} bits`);
      this.#expect('<');
      this.#array(bits / 8, value);
    } else if (this.#take('[')) {
      const bytes: number[] = [];
      while (!this.#take(']')) bytes.push(Number.parseInt(this.#must(BYTE, 'a byte')[0], 16));
      value.push(Uint8Array.from(bytes));
    } else if (this.#take('"', false)) {
      const text = this.#must(STRING, 'the end of the string')[1] ?? '';
      value.push(bytesOfTexts([this.#unescape(text)]));
    } else if (this.#take('&', false)) value.push({ ...this.#reference(), as: 'path' });
    else this.#fail('a value is missing');
  }

  #array(width: number, value: (Uint8Array | Reference)[]): void {
    while (!this.#take('>')) {
      if (this.#match(LABEL) !== undefined) continue;
      if (!this.#take('&', false)) value.push(this.#cell(width));
      else if (width === 4) value.push(this.#reference());
      else this.#fail('a reference is a cell of 32 bits');
    }
  }

  #cell(width: number): Uint8Array {
    const number = this.#number(width);
    if (width === 8) return bytesOfCells([Number(number >> 32n), Number(number & 0xffff_ffffn)]);
    return bytesOfCells([Number(number)]).slice(-width);
  }

  #number(width: number): bigint {
    const character = this.#match(CHARACTER);
    if (character !== undefined) {
      const text = character[2] ?? ESCAPED[character[1] ?? ''] ?? character[1] ?? '';
      return BigInt(text.charCodeAt(0));
    }
    const digits = this.#must(NUMBER, 'a number')[1] ?? '';
    const octal = /^0\d/.test(digits);
    if (octal && /[89]/.test(digits)) this.#fail(`${digits} is no octal number`);
    const number = BigInt(octal ? `0o${digits}` : digits);
    if (number >= 1n << BigInt(8 * width)) this.#fail(`${digits} does not fit ${8 * width} bits`);
    return number;
  }

  #reference(): Reference {
    const [, label, path] = this.#must(REFERENCE, 'a label');
    return { to: label ?? path ?? '', as: 'phandle', at: this.#at };
  }

  #unescape(text: string): string {
    if (/[^\t -~]/.test(text)) this.#fail('a string holds other characters than ASCII');
    return text.replaceAll(ESCAPE, (_, hex?: string, octal?: string, other?: string) => {
      if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8) & 0xff);
      return ESCAPED[other ?? ''] ?? other ?? '';
    });
  }

  #labelNames(): string[] {
    const labels: string[] = [];
    for (let found = this.#match(LABEL); found !== undefined; found = this.#match(LABEL))
      labels.push(found[1] ?? '');
    return labels;
  }

  #nameNode(labels: readonly string[], node: DeviceTreeNode): void {
    for (const label of labels) {
      if ((this.#labels.get(label) ?? node) !== node) this.#fail(`${label} names two nodes`);
      this.#labels.set(label, node);
    }
  }

  /** Writes the properties into their nodes, now that every reference has its node. */
  #resolve(): void {
    const phandles = new Phandles(this.#values);
    for (const [node, values] of this.#values)
      for (const [name, value] of values) {
        const parts = value.map((of) => {
          if (of instanceof Uint8Array) return of;
          const target = this.#node(of);
          return of.as === 'path'
            ? bytesOfTexts([target.path])
            : bytesOfCells([phandles.of(target)]);
        });
        node.set(name, joined(parts));
      }
  }

  #node({ to, at }: Reference): DeviceTreeNode {
    const node = to.startsWith('/') ? findNode(this.#root, to) : this.#labels.get(to);
    return node ?? this.#fail(`nothing is called ${to}`, at);
  }

  #name(): string {
    return this.#must(NAME, 'a name')[0];
  }

  /** Steps over a word, and the space before it, if it is there. */
  #take(word: string, step = true): boolean {
    this.#space();
    if (!this.#text.startsWith(word, this.#at)) return false;
    if (step) this.#at += word.length;
    return true;
  }

  #expect(word: string): void {
    if (!this.#take(word)) this.#fail(`"${word}" is missing`);
  }

  #must(pattern: RegExp, what: string): RegExpExecArray {
    return this.#match(pattern) ?? this.#fail(`${what} is missing`);
  }

  #match(pattern: RegExp): RegExpExecArray | undefined {
    this.#space();
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text) ?? undefined;
    if (found !== undefined) this.#at = pattern.lastIndex;
    return found;
  }

  #space(): void {
    SPACE.lastIndex = this.#at;
    if (SPACE.test(this.#text)) this.#at = SPACE.lastIndex;
  }

  /** Says where a name that the tree refuses stands. */
  #checked<T>(change: () => T): T {
    try {
      return change();
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      throw new IommuError(error.code, `Line ${this.#line(this.#at)}: ${error.message}`);
    }
  }

  #line(at: number): number {
    return this.#text.slice(0, at).split('\n').length;
  }

  #fail(what: string, at: number = this.#at): never {
    throw new IommuError('EINVAL', `Line ${this.#line(at)}: ${what}.`);
  }
}

/** Gives numbers to the nodes that are referred to. */
class Phandles {
  readonly #taken = new Set<number>();
  #next = 1;

  constructor(values: ReadonlyMap<DeviceTreeNode, ReadonlyMap<string, Value>>) {
    for (const [node, properties] of values) {
      const value = properties.get('phandle') ?? properties.get('linux,phandle');
      if (value === undefined) continue;
      node.set('phandle', joined(value.filter((of) => of instanceof Uint8Array)));
      this.#taken.add(node.phandle);
    }
  }

  of(node: DeviceTreeNode): number {
    if (node.phandle !== 0) return node.phandle;
    while (this.#taken.has(this.#next)) this.#next += 1;
    this.#taken.add(this.#next);
    node.setCells('phandle', this.#next);
    return this.#next;
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
