/** Caps on everything that a guest can make the device keep; what exceeds one is answered with NOMEM. */

import { IommuError } from '@viommu/common';

/** How much a device keeps at most. */
export interface Limits {
  /** Endpoints that can be plugged in: the platform's, never the guest's choice. */
  readonly endpoints: number;
  /** Domains. One ends with its last endpoint, so there are never more than endpoints. */
  readonly domains: number;
  /** Mappings in one domain. */
  readonly mappingsPerDomain: number;
  /** Mappings in all domains together. */
  readonly mappings: number;
}

/** The largest limit on mappings: below 640 MiB of nodes in the worst case. */
export const MAPPINGS_MAX: number = 1 << 22;

const ENDPOINTS_MAX = 1 << 20;

/** The limits of a device whose owner names none. */
export const DEFAULT_LIMITS: Limits = {
  // Every function of one PCI segment.
  endpoints: 1 << 16,
  // A guest makes one for each group of endpoints; 4096 groups are more than any machine we know of has.
  domains: 1 << 12,
  // 1 GiB in single pages: more than an operating system maps for one device at a time, and a quarter of the total.
  mappingsPerDomain: 1 << 18,
  // 33 to 48 MiB of nodes in ordinary use, below 160 MiB if the guest does its worst.
  mappings: 1 << 20,
};

const LARGEST: Limits = {
  endpoints: ENDPOINTS_MAX,
  domains: ENDPOINTS_MAX,
  mappingsPerDomain: MAPPINGS_MAX,
  mappings: MAPPINGS_MAX,
};

/**
 * The limits to use, given those that an owner names.
 *
 * @throws {IommuError} `EINVAL` for a limit that is no positive integer, or larger than the largest.
 */
export function readLimits(given: Partial<Limits> = {}): Limits {
  const limits = { ...DEFAULT_LIMITS, ...given };
  for (const [name, largest] of Object.entries(LARGEST)) {
    const limit = limits[name as keyof Limits]; // The names are those of LARGEST.
    if (!Number.isInteger(limit) || limit < 1 || limit > largest)
      throw new IommuError('EINVAL', `The limit on ${name} is ${limit}, not 1 to ${largest}.`);
  }
  return limits;
}
