/** How the registers of a scripted device can differ from those of an ordinary one. */

import type { IommuConfig } from '@viommu/common';

export type ConfigInput = Parameters<typeof IommuConfig.encode>[0];

/** How the registers differ from those of an ordinary device. */
export interface RegisterScript {
  readonly magic?: number;
  readonly version?: number;
  readonly deviceId?: number;
  /** By queue. */
  readonly queueSizes?: readonly number[];
  /** The first bytes of the configuration, and how long it is: 40 or more; what is behind them is all ones. */
  readonly config?: Partial<ConfigInput>;
  readonly configBytes?: number;
  /** FEATURES_OK does not stay. */
  readonly refuseFeatures?: true;
  /** So many reads of Status after a reset, and of QueueReset, show the old value. */
  readonly slowReads?: number;
}

/** Ranges that leave something out at either end. */
export const DEFAULT_CONFIG: ConfigInput = {
  pageSizeMask: 0xffff_ffff_ffff_f000n,
  inputRangeStart: 0x10_0000n,
  inputRangeEnd: 0xff_ffff_ffffn,
  domainRangeStart: 3,
  domainRangeEnd: 0x1002,
  probeSize: 64,
  bypass: 1,
};
