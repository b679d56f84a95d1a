/** Our device with one line changed: which line, and the clause that must catch it. */

import { readFileSync } from 'node:fs';
import type { RingFormat } from '@viommu/conformance';
import { IOMMU_MUTANTS } from './iommu-mutant.ts';
import { REQUEST_MUTANTS } from './request-mutant.ts';
import { VIRTIO_MUTANTS } from './virtio-mutant.ts';

/** One wrong device. */
export interface Mutant {
  /** What it does wrong. */
  readonly name: string;
  /** The clause, open point or fact that must catch it; with `#` and a name, one of its cases. */
  readonly caught: string;
  /** Where it is wrong, from the folder of the packages on. */
  readonly file: string;
  /** Text that is there once. */
  readonly find: string;
  readonly replace: string;
  /** Default split. */
  readonly format?: RingFormat;
}

/** Of one section of the standard. */
export interface MutantSection {
  readonly name: string;
  readonly mutants: readonly Mutant[];
}

export const SECTIONS: readonly MutantSection[] = [
  ...IOMMU_MUTANTS,
  ...REQUEST_MUTANTS,
  ...VIRTIO_MUTANTS,
];

export const MUTANTS: readonly Mutant[] = SECTIONS.flatMap(({ mutants }) => mutants);

/** The folder of the packages, from which {@link Mutant.file} counts. */
export const PACKAGES: string = new URL('../../../', import.meta.url).href;

/** The changed text of the file. @throws {Error} if the text to change is not there, or more than once. */
export function mutate({ name, file, find, replace }: Mutant): string {
  const text = readFileSync(new URL(file, PACKAGES), 'utf8');
  const times = text.split(find).length - 1;
  if (times !== 1)
    throw new Error(
      `The mutant "${name}" changes a text that stands ${times} times in packages/${file}, not once: ${find}\n` +
        'If that line was rewritten, rewrite the mutant, so that it is wrong in the same way.',
    );
  return text.replace(find, () => replace);
}
