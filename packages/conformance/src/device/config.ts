/** The configuration space as a case reads it: section "IOMMU Device / Device configuration layout". */

import {
  FULL_RANGE,
  IommuConfig,
  IommuFeature,
  type Range,
  hasFeature,
  range,
} from '@viommu/common';
import type { DeviceTarget } from '../target.ts';
import { Skipped } from '../verdict.ts';

const AT = IommuConfig.offset;

export class Config {
  readonly #target: DeviceTarget;
  readonly #offered: bigint;

  constructor(target: DeviceTarget, offered: bigint) {
    this.#target = target;
    this.#offered = offered;
  }

  get pageSizeMask(): bigint {
    return this.#read64(AT.pageSizeMask);
  }

  /** The lowest bit of the mask. */
  get granule(): bigint {
    const mask = this.pageSizeMask;
    if (mask === 0n) throw new Skipped('page_size_mask is 0');
    return mask & -mask;
  }

  /** All addresses if the feature is not offered. */
  get inputRange(): Range {
    if (!hasFeature(this.#offered, IommuFeature.INPUT_RANGE)) return FULL_RANGE;
    const start = this.#read64(AT.inputRangeStart);
    const last = this.#read64(AT.inputRangeEnd);
    if (last < start) throw new Skipped('the input range ends before it starts');
    return range(start, last);
  }

  /** All numbers if the feature is not offered. */
  get domainRange(): { readonly first: number; readonly last: number } {
    if (!hasFeature(this.#offered, IommuFeature.DOMAIN_RANGE))
      return { first: 0, last: 0xffff_ffff };
    const first = this.#read32(AT.domainRangeStart);
    return { first, last: this.#read32(AT.domainRangeEnd) };
  }

  /** 0 if the feature is not offered. */
  get probeSize(): number {
    return hasFeature(this.#offered, IommuFeature.PROBE) ? this.#read32(AT.probeSize) : 0;
  }

  /** The byte `bypass`, as it reads. */
  get bypass(): number {
    return this.#target.readConfig(AT.bypass, 1);
  }

  set bypass(value: number) {
    this.#target.writeConfig(AT.bypass, 1, value);
  }

  #read32(offset: number): number {
    return this.#target.readConfig(offset, 4) >>> 0;
  }

  #read64(offset: number): bigint {
    return BigInt(this.#read32(offset)) | (BigInt(this.#read32(offset + 4)) << 32n);
  }
}
