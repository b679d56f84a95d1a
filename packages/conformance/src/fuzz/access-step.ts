/** What accesses of a target can be, and what is special about one. */

import { ADDRESS_MAX, IommuConfig } from '@viommu/common';
import type { Mapping } from '../model/mapping-set.ts';
import type { Model } from '../model/model.ts';
import type { TargetEndpoint } from '../target.ts';
import { ACCESS_MAX } from './limit.ts';
import type { AccessStep } from './stream.ts';

/** As much of the access as the endpoint can make; 0 if it makes none. */
export function lengthOf({ address, length }: AccessStep, dma: TargetEndpoint['dma']): number {
  if (dma === undefined) return 0;
  const { last = ADDRESS_MAX, align = 1, bytesMax = ACCESS_MAX, boundary } = dma;
  if (address + BigInt(length) - 1n > last || length > Math.min(bytesMax, ACCESS_MAX)) return 0;
  if (align > 1 && (address % BigInt(align) !== 0n || length % align !== 0)) return 0;
  if (boundary === undefined) return length;
  return Math.min(length, boundary - Number(address % BigInt(boundary)));
}

/** Mappings off the granule, of which a device may make others, are a matter of their own. */
export function offGranule(model: Model, endpoint: number): string {
  const domain = model.domainOf(endpoint);
  if (domain === undefined) return '';
  const { pageSizeMask } = IommuConfig.read(new DataView(model.config().buffer));
  const below = (pageSizeMask & -pageSizeMask) - 1n;
  const isOff = ({ start, last, phys }: Mapping): boolean =>
    ((start | phys | (last + 1n)) & below) !== 0n;
  return model.mappings(domain).some(isOff) ? ', mappings off the granule' : '';
}
