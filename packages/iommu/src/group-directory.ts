/**
 * The directory view of a guest: what it shows of its groups under `/sys`, as a tree of directories, links and files.
 *
 * Files are attributes: two functions of whoever has the value. Paths are absolute, and links in them are followed.
 */

import { IommuError } from '@viommu/common';

/** Who asks. */
export interface Caller {
  readonly administrator: boolean;
}

/** A file. */
export interface Attribute {
  readonly read: () => string;
  /** Changes what the file shows; only administrators get here. Absent: the file can only be read. */
  readonly write?: (text: string, caller: Caller) => void;
}

type Node = Map<string, Node> | Attribute | Link;

/** Where a link leads: an absolute path. */
class Link {
  readonly target: string;

  constructor(target: string) {
    this.target = target;
  }
}

/** As many links as a path may have, so that links in a circle come to an end. */
const LINKS_MAX = 40;

/** The tree. A directory lists what is in it in the order of its making. */
export class Directory {
  readonly #root: Map<string, Node> = new Map();

  /** The text of a file. @throws {IommuError} `ENOENT`, or `EINVAL` if the path leads to a directory. */
  read(path: string): string {
    return this.#file(path).read();
  }

  /**
   * Writes to a file; the text may end with a newline or not. Returns its length.
   *
   * @throws {IommuError} `ENOENT`, `EINVAL` as {@link read}; `EACCES` if the caller may not, or nobody may; what the
   * owner of the file thinks of the text.
   */
  write(path: string, text: string, caller: Caller): number {
    const file = this.#file(path);
    if (file.write === undefined || !caller.administrator)
      throw new IommuError('EACCES', `${path} may not be written.`);
    file.write(text, caller);
    return text.length;
  }

  /** The names in a directory. @throws {IommuError} `ENOENT`, or `EINVAL` if the path leads to a file. */
  list(path: string): string[] {
    return [...this.#directory(path).keys()];
  }

  /** Where a link leads. @throws {IommuError} `ENOENT`, or `EINVAL` if the path is not that of a link. */
  readlink(path: string): string {
    const [parent, name] = split(path);
    const node = this.#directory(parent).get(name) ?? missing(path);
    if (!(node instanceof Link)) throw new IommuError('EINVAL', `${path} is not a link.`);
    return node.target;
  }

  /** True if there is something at the path itself; a link counts, wherever it leads. */
  has(path: string): boolean {
    const [parent, name] = split(path);
    const node = this.#find(parent, 0);
    return node instanceof Map && node.has(name);
  }

  /** Makes a directory, and those above it, where there are none yet. @throws {IommuError} `EEXIST` for a file. */
  makeDirectory(path: string): void {
    let node = this.#root;
    for (const name of partsOf(path)) {
      let next = node.get(name);
      if (next === undefined) node.set(check(name), (next = new Map()));
      if (!(next instanceof Map)) throw new IommuError('EEXIST', `${path}: ${name} is in the way.`);
      node = next;
    }
  }

  /** Makes a link in a directory. @throws {IommuError} `EEXIST`; `ENOENT`; `EINVAL` for a name with a slash. */
  makeLink(directory: string, name: string, target: string): void {
    this.#put(directory, name, new Link(target));
  }

  /** Makes a link under the first of `name`, `name.0`, `name.1` … that is free, which it returns. */
  makeNumberedLink(directory: string, name: string, target: string): string {
    let free = name;
    // Every turn but the last meets another entry.
    for (let count = 0; this.#directory(directory).has(free); count += 1) free = `${name}.${count}`;
    this.makeLink(directory, free, target);
    return free;
  }

  /** Makes a file. @throws {IommuError} as {@link makeLink}. */
  makeFile(directory: string, name: string, attribute: Attribute): void {
    this.#put(directory, name, attribute);
  }

  /** Removes a link, a file, or a directory with all that is in it; nothing there is fine. */
  remove(path: string): void {
    const [parent, name] = split(path);
    const node = this.#find(parent, 0);
    if (node instanceof Map) node.delete(name);
  }

  #put(directory: string, name: string, node: Node): void {
    const entries = this.#directory(directory);
    if (entries.has(check(name)))
      throw new IommuError('EEXIST', `${directory} has a ${name} already.`);
    entries.set(name, node);
  }

  #directory(path: string): Map<string, Node> {
    const node = this.#find(path, 0) ?? missing(path);
    if (!(node instanceof Map)) throw new IommuError('EINVAL', `${path} is not a directory.`);
    return node;
  }

  #file(path: string): Attribute {
    const node = this.#find(path, 0) ?? missing(path);
    if (node instanceof Map || node instanceof Link)
      throw new IommuError('EINVAL', `${path} is a directory.`);
    return node;
  }

  /** What a path leads to, behind all links. */
  #find(path: string, links: number): Node | undefined {
    let node: Node | undefined = this.#root;
    for (const name of partsOf(path)) {
      if (!(node instanceof Map)) return undefined;
      node = node.get(name);
      if (node instanceof Link) {
        if (links === LINKS_MAX) throw new IommuError('EINVAL', `${path} has too many links.`);
        node = this.#find(node.target, links + 1);
      }
    }
    return node;
  }
}

/** The names of a path. */
function partsOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '');
}

/** The path of the directory, and the name in it. */
function split(path: string): [string, string] {
  const at = path.lastIndexOf('/');
  return [path.slice(0, at), path.slice(at + 1)];
}

function check(name: string): string {
  if (name === '' || name === '.' || name === '..' || name.includes('/'))
    throw new IommuError('EINVAL', `"${name}" cannot be a name in a directory.`);
  return name;
}

function missing(path: string): never {
  throw new IommuError('ENOENT', `There is no ${path}.`);
}
