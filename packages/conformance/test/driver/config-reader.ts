/** Reads the configuration, for the plain driver. */

import { IommuConfig, MmioRegister as R } from '@viommu/common';

export interface PlainConfig {
  readonly granule: bigint;
  readonly first: bigint;
  readonly last: bigint;
  readonly domainFirst: number;
  readonly domainLast: number;
  readonly probeSize: number;
}

/** All fields of one generation; those without their feature have the values of the standard. */
export function readConfig(
  read: (offset: number) => number,
  has: (bit: number) => boolean,
  checks: boolean,
): PlainConfig {
  const at = IommuConfig.offset;
  const word = (offset: number): bigint => BigInt(read(R.Config + offset));
  const wide = (offset: number): bigint => word(offset) | (word(offset + 4) << 32n);
  for (;;) {
    const generation = checks ? read(R.ConfigGeneration) : 0;
    const mask = wide(at.pageSizeMask);
    const config = {
      granule: mask & -mask,
      first: has(0) ? wide(at.inputRangeStart) : 0n,
      last: has(0) ? wide(at.inputRangeEnd) : 2n ** 64n - 1n,
      domainFirst: has(1) ? Number(word(at.domainRangeStart)) : 0,
      domainLast: has(1) ? Number(word(at.domainRangeEnd)) : 0xffff_ffff,
      probeSize: has(4) ? Number(word(at.probeSize)) : 0,
    };
    if (!checks || read(R.ConfigGeneration) === generation) return config;
  }
}
