/** How one line of the device is changed, and which clause must catch it. */

import type { RingFormat } from '@viommu/conformance';

/** One wrong device. */
export interface Mutant {
  /** What it does wrong. */
  readonly name: string;
  /** The clause, open point or fact that must catch it; with `#` and a name, one of its cases. */
  readonly caught: string;
  /** Where it is wrong, from the folder of the packages on. */
  readonly file: string;
  /** Text that stands there once. */
  readonly find: string;
  readonly replace: string;
  /** Default split. */
  readonly format?: RingFormat;
}

/** Those of one section of the standard. */
export interface MutantSection {
  readonly name: string;
  readonly mutants: readonly Mutant[];
}

type Change = readonly [name: string, caught: string, find: string, replace: string];

/** Mutants of one file, seen through split rings. */
export function inFile(file: string, ...changes: readonly Change[]): readonly Mutant[] {
  return changes.map(([name, caught, find, replace]) => ({ name, caught, file, find, replace }));
}

/** The same, of the package `device`. */
export function inDevice(file: string, ...changes: readonly Change[]): readonly Mutant[] {
  return inFile(`device/src/${file}`, ...changes);
}

/** Mutants of one file, seen through packed rings. */
export function packedInFile(file: string, ...changes: readonly Change[]): readonly Mutant[] {
  return inFile(file, ...changes).map((mutant) => ({ ...mutant, format: 'packed' }));
}
