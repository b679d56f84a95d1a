/** What domains and endpoints know of the driver instance they belong to. */

import type { Concurrency, Range } from '@viommu/common';
import type { DomainIds } from './domain-id.ts';
import type { Domain } from './domain.ts';
import type { DriverLog } from './driver-log.ts';
import type { Endpoint } from './endpoint.ts';
import type { RequestQueue } from './request-queue.ts';

/** One IOMMU that is driven. */
export interface Instance {
  readonly requests: RequestQueue;
  /** True between `freeze` and `restore`: nothing is sent. */
  readonly frozen: boolean;
  /** The locks of the guest. */
  readonly concurrency: Concurrency;
  /** The addresses that can be mapped. */
  readonly aperture: Range;
  /** The first and last whole page of the aperture; it holds none if the first is the larger. */
  readonly firstPage: number;
  readonly lastPage: number;
  /** Sizes a mapping can be made of, a bit each; none below 4096. The lowest is the granule. */
  readonly pageSizeBitmap: bigint;
  /** Flags of MAP requests that the device takes. */
  readonly mapFlags: number;
  /** Bytes of properties that a PROBE returns; 0 if endpoints are not probed. */
  readonly probeSize: number;
  readonly domainIds: DomainIds;
  /** The domains that have a number here. */
  readonly domains: Set<Domain>;
  /** The one bypass domain, where the device has such domains. */
  readonly identityDomain: Domain | undefined;
  /** Endpoints by their numbers. */
  readonly endpoints: Map<number, Endpoint>;
  readonly log: DriverLog;
}
