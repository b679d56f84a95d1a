/** What a device is made of, as its owner says it: section "IOMMU Device / Device configuration layout". */

import { ADDRESS_MAX, FULL_RANGE, IommuError, isUint32, range, type Range } from '@viommu/common';
import type { EndpointOptions } from './endpoint.ts';
import type { Limits } from './limits.ts';
import type { IommuObserver } from './observer.ts';

/** The domain numbers that a driver may use, both ends included. */
export interface DomainRange {
  readonly first: number;
  readonly last: number;
}

/** The IOMMU itself, whatever carries its requests. */
export interface IommuOptions {
  /** The endpoints that are there from the start. */
  readonly endpoints?: readonly EndpointOptions[];
  /**
   * Page sizes as a set of powers of two; the lowest is the granule, of which mappings are whole multiples.
   * Default: 4096 and every larger one.
   */
  readonly pageSizeMask?: bigint;
  /** Addresses that can be mapped; default all. Enforced whether or not the driver looks at it (2.4). */
  readonly inputRange?: Range;
  /** Domains that can be used; default all. Enforced likewise. */
  readonly domainRange?: DomainRange;
  /** Bytes for the properties that a PROBE returns, 0..65536; default 512. */
  readonly probeSize?: number;
  /** How accesses of endpoints without a domain can be let through. Default `config`. */
  readonly bypassControl?: BypassControl;
  /** With the control `config`, the first value of the field: true lets such accesses through. Default false. */
  readonly bypass?: boolean;
  readonly limits?: Partial<Limits>;
  readonly observer?: IommuObserver;
}

/**
 * What lets accesses of unattached endpoints through: the `bypass` field of the configuration space (BYPASS_CONFIG),
 * the negotiation of the old BYPASS feature, or nothing.
 */
export type BypassControl = 'config' | 'legacy' | 'none';

/** Options that are complete and contradict nothing. */
export type CheckedOptions = Required<
  Pick<
    IommuOptions,
    'pageSizeMask' | 'inputRange' | 'domainRange' | 'probeSize' | 'bypassControl' | 'bypass'
  >
>;

/** As much as a driver is ready to set aside, and far more than anybody needs. */
const PROBE_SIZE_MAX = 1 << 16;
const PROBE_SIZE_DEFAULT = 512;
const PAGES_OF_4_KIB_AND_LARGER = ADDRESS_MAX - 0xfffn;
const ALL_DOMAINS: DomainRange = { first: 0, last: 0xffff_ffff };

/**
 * Fills in what is not given and checks the rest.
 *
 * @throws {IommuError} `EINVAL` for an empty page size mask, a range that ends before it starts, or a number that no
 * field can hold; `EOVERFLOW` for an address beyond 64 bits.
 */
export function readOptions(options: IommuOptions): CheckedOptions {
  const {
    pageSizeMask = PAGES_OF_4_KIB_AND_LARGER,
    inputRange = FULL_RANGE,
    domainRange = ALL_DOMAINS,
    probeSize = PROBE_SIZE_DEFAULT,
    bypassControl = 'config',
    bypass = false,
  } = options;
  // iommu.dev.config.page-size-mask-nonzero
  if (pageSizeMask <= 0n || pageSizeMask > ADDRESS_MAX)
    throw new IommuError('EINVAL', 'The page size mask has no bit, or one beyond 64.');
  const { first, last } = domainRange;
  if (!isUint32(first) || !isUint32(last) || last < first)
    throw new IommuError('EINVAL', `There is no range of domains from ${first} to ${last}.`);
  if (!Number.isInteger(probeSize) || probeSize < 0 || probeSize > PROBE_SIZE_MAX)
    throw new IommuError('EINVAL', `The probe size is ${probeSize}, not 0 to ${PROBE_SIZE_MAX}.`);
  return {
    pageSizeMask,
    inputRange: range(inputRange.start, inputRange.last),
    domainRange,
    probeSize,
    bypassControl,
    bypass,
  };
}
