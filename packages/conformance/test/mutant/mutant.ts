/** All wrong devices: each is ours with one line changed. */

import { readFileSync } from 'node:fs';
import { ACCESS_MUTANTS } from './access-mutant.ts';
import type { Mutant, MutantSection } from './change.ts';
import { DOMAIN_MUTANTS } from './domain-mutant.ts';
import { MAPPING_MUTANTS } from './mapping-mutant.ts';
import { REQUEST_MUTANTS } from './request-mutant.ts';
import { START_MUTANTS } from './start-mutant.ts';
import { VIRTIO_MUTANTS } from './virtio-mutant.ts';

export const SECTIONS: readonly MutantSection[] = [
  ...START_MUTANTS,
  ...REQUEST_MUTANTS,
  ...DOMAIN_MUTANTS,
  ...MAPPING_MUTANTS,
  ...ACCESS_MUTANTS,
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
