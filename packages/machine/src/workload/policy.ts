/** Ways in which a disk reaches the memory of its guest, and what of a machine and its kernel makes each of them. */

import type { DiskEndpointOptions } from '../options.ts';
import type { SystemOptions } from '../guest-system.ts';

/** By name; `direct` is what the others are compared with. */
export const POLICIES = [
  'direct',
  'identity',
  'lazy',
  'lazy-single',
  'strict',
  'bounce',
  'grant',
] as const;

export type Policy = (typeof POLICIES)[number];

/** What a policy is made of. */
export interface PolicySetup {
  /** One line for people. */
  readonly text: string;
  readonly disk: Pick<DiskEndpointOptions, 'id' | 'backend'>;
  readonly system: SystemOptions;
}

/** The disk's number towards the IOMMU, where it has one. */
const ENDPOINT = 8;
/** The domain that a granted disk runs in. */
const BACKEND = 3;

export const POLICY_SETUPS: Readonly<Record<Policy, PolicySetup>> = {
  direct: {
    text: 'no IOMMU: physical addresses',
    disk: {},
    system: { iommu: false },
  },
  identity: {
    text: 'an IOMMU that lets the disk pass',
    disk: { id: ENDPOINT },
    system: { commandLine: 'iommu.passthrough=1' },
  },
  lazy: {
    text: 'translated; unmaps wait in a queue for each processor',
    disk: { id: ENDPOINT },
    system: { commandLine: 'iommu.strict=0' },
  },
  'lazy-single': {
    text: 'translated; unmaps wait in one queue',
    disk: { id: ENDPOINT },
    system: { commandLine: 'iommu.strict=0 iommu.fq=single' },
  },
  strict: {
    text: 'translated; each unmap waits for the IOMMU',
    disk: { id: ENDPOINT },
    system: { commandLine: 'iommu.strict=1' },
  },
  bounce: {
    text: 'a protected guest: copies in memory that it shares',
    disk: {},
    system: { iommu: false, protected: true },
  },
  grant: {
    text: 'Xen: pages are granted to the domain of the disk',
    disk: { backend: BACKEND },
    system: { iommu: false, xen: true },
  },
};
