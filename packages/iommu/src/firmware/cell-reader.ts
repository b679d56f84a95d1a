/** Properties that are lists of entries, read cell by cell. */

import { IommuError } from '@viommu/common';
import type { DeviceTreeNode } from './device-tree.ts';

/** Reads one property from its start. */
export class CellReader {
  readonly #what: string;
  readonly #cells: readonly number[];
  #at = 0;

  /** Use {@link CellReader.of}. */
  constructor(what: string, cells: readonly number[]) {
    this.#what = what;
    this.#cells = cells;
  }

  /** A reader of a property; `undefined` if it is not there. @throws {IommuError} `EINVAL` if it is no whole cells. */
  static of(node: DeviceTreeNode, name: string): CellReader | undefined {
    const cells = node.cells(name);
    return cells && new CellReader(`${node.path}: ${name}`, cells);
  }

  get atEnd(): boolean {
    return this.#at === this.#cells.length;
  }

  /** The next cell. @throws {IommuError} `EINVAL` if there is none. */
  cell(): number {
    const cell = this.#cells[this.#at];
    if (cell === undefined) throw new IommuError('EINVAL', `${this.#what} ends too early.`);
    this.#at += 1;
    return cell;
  }

  /** The next `count` cells. @throws as {@link cell} */
  cells(count: number): number[] {
    return Array.from({ length: count }, () => this.cell());
  }

  /**
   * A number of `count` cells, 0 to 2.
   *
   * @throws {IommuError} `EINVAL` if they are not there, `EOVERFLOW` if it would have more.
   */
  number(count: number): bigint {
    if (count > 2)
      throw new IommuError('EOVERFLOW', `${this.#what} has numbers of ${count} cells.`);
    return this.cells(count).reduce((number, cell) => (number << 32n) | BigInt(cell), 0n);
  }
}
