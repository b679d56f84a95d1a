/** An endpoint: something whose accesses the device translates. */

import { type EndpointId, IommuError, endpointId, isUint32 } from '@viommu/common';
import type { Domain } from './domain.ts';
import {
  type Reservation,
  type ReservedRegion,
  encodeProperties,
  readRegions,
} from './reserved-region.ts';

/** An endpoint as the platform declares it. */
export interface EndpointOptions {
  /** The number by which requests name it, 0..2^32 - 1. */
  readonly id: number;
  /** Regions that never translate; they must not overlap, and at most one is for interrupts. */
  readonly reserved?: readonly ReservedRegion[];
}

/** One endpoint. It is in at most one domain at a time. */
export class Endpoint {
  readonly id: EndpointId;
  /** Its reserved regions, in order. */
  readonly reservations: readonly Reservation[];
  /** What a PROBE returns, without the zeros that follow. */
  readonly properties: Uint8Array;
  /** The domain it is attached to. */
  domain: Domain | undefined = undefined;

  /** @throws {IommuError} `EINVAL` for a number that is none, or regions that contradict each other. */
  constructor({ id, reserved = [] }: EndpointOptions) {
    if (!isUint32(id)) throw new IommuError('EINVAL', `An endpoint cannot have the number ${id}.`);
    this.id = endpointId(id);
    this.reservations = readRegions(reserved);
    this.properties = encodeProperties(this.reservations);
  }
}
