/**
 * Divergences of a named peer that are known: a JSON file. A listed one keeps its verdict and does not make a run fall
 * short; the clause asks for what it asked for before.
 */

import { IommuError } from '@viommu/common';
import type { CaseResult, Result } from './verdict.ts';

export interface Divergence {
  /** The id of a case. */
  readonly id: string;
  readonly result: 'fail' | 'warn';
  readonly how?: 'crash' | 'hang';
  /** What the peer does, in a sentence. */
  readonly note?: string;
}

export interface Manifest {
  /** The peer and its versions, for people. */
  readonly target: string;
  readonly divergences: readonly Divergence[];
}

/** Reads a manifest. @throws {IommuError} `EINVAL` with the reason if it is none. */
export function readManifest(text: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new IommuError('EINVAL', 'The manifest is no JSON.', { cause });
  }
  const { target, divergences } = (value ?? {}) as Partial<Manifest>; // every key is looked at below
  if (typeof target !== 'string' || !Array.isArray(divergences))
    throw new IommuError('EINVAL', 'A manifest has a target and a list of divergences.');
  const results: readonly (Result | undefined)[] = ['fail', 'warn'];
  const hows: readonly (string | undefined)[] = [undefined, 'crash', 'hang'];
  for (const one of divergences as readonly (Partial<Divergence> | null)[])
    // looked at next
    if (typeof one?.id !== 'string' || !results.includes(one.result) || !hows.includes(one.how))
      throw new IommuError(
        'EINVAL',
        `A divergence has an id and a result: ${JSON.stringify(one)}.`,
      );
  return { target, divergences: divergences as readonly Divergence[] }; // checked above
}

/** The result, marked if the manifest lists it just like that. */
export function mark(result: CaseResult, manifest: Manifest | undefined): CaseResult {
  const listed = manifest?.divergences.some(
    (one) => one.id === result.id && one.result === result.result && one.how === result.how,
  );
  return listed === true ? { ...result, expected: true } : result;
}

/** Listed cases that ran and are not as listed any more. */
export function vanished(
  results: readonly CaseResult[],
  manifest: Manifest | undefined,
): readonly string[] {
  const ran = new Map(results.map((result) => [result.id, result]));
  return (manifest?.divergences ?? [])
    .filter(({ id }) => {
      const result = ran.get(id);
      return result !== undefined && result.result !== 'skip' && result.expected !== true;
    })
    .map(({ id }) => id);
}
