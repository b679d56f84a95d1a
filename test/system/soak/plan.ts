/** What the two sides of the long run know about each other. */

import type { EndpointOptions } from '@viommu/machine';
import { BACKEND, ENDPOINT } from '../kit/disks.ts';

export const BLOCKS = 2048;
export const BLOCK_BYTES = 4096;
/** What the blocks' bytes follow from. */
export const TRAFFIC_SEED = 77;

/** Disks by name, without their files. */
export const SOAK_DISKS: Readonly<Record<string, EndpointOptions & { readonly kind: 'disk' }>> = {
  plain: { kind: 'disk' },
  iommu: { kind: 'disk', id: ENDPOINT },
  second: { kind: 'disk', id: 12, queues: 2, features: { packed: true } },
  grant: { kind: 'disk', backend: BACKEND },
};

/** What a guest is told. Its tables outlive it. */
export interface SoakArgs {
  /** For each disk two tables of {@link BLOCKS} words: writes that were told about, and writes that were sent. */
  readonly tables: SharedArrayBuffer;
  readonly seed: number;
  readonly isProtected: boolean;
  /** The guest ends its own thread after so many milliseconds, in the middle of everything; 0: it does not. */
  readonly dieMs: number;
}

/** What a guest reports after each of its lives. */
export interface SoakReport {
  readonly commandLine: string;
  readonly requests: number;
  /** Requests that failed, as those do that a reset or an unplugging ends. */
  readonly errors: number;
  readonly wrong: number;
  readonly resets: number;
  readonly plugs: number;
  readonly switches: number;
  /** Bytes of the guest's own heap, and pages of its RAM that are free. */
  readonly heapBytes: number;
  readonly freePages: number;
}

/** The two tables of a disk. */
export function tablesOf(
  tables: SharedArrayBuffer,
  name: string,
): { readonly generations: Uint32Array; readonly issued: Uint32Array } {
  const at = Object.keys(SOAK_DISKS).indexOf(name) * 2 * BLOCKS * 4;
  return {
    generations: new Uint32Array(tables, at, BLOCKS),
    issued: new Uint32Array(tables, at + BLOCKS * 4, BLOCKS),
  };
}

export function tablesBytes(): number {
  return Object.keys(SOAK_DISKS).length * 2 * BLOCKS * 4;
}
