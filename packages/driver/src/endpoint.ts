/** Endpoints: what the device says about them, and which domain they are in. */

import {
  type DeviceRegion,
  type EndpointId,
  type IommuDomain,
  type IommuEndpoint,
  IommuError,
  ProbeRequest,
  RegionKind,
  RequestType,
  endpointId,
  isUint32,
} from '@viommu/common';
import { attach, detach } from './attach.ts';
import { Domain } from './domain.ts';
import type { Instance } from './instance.ts';
import { MSI_PROTECTION, type ReservedRegion, parseProbe } from './probe.ts';

/** One device behind the IOMMU; it has one number or several, which always move together. */
export class Endpoint implements IommuEndpoint {
  readonly instance: Instance;
  readonly ids: readonly EndpointId[];
  /** For logs. */
  readonly name: string;
  /** What PROBE reported, in ascending order. */
  readonly regions: readonly ReservedRegion[];
  /** The domain it is attached to. */
  domain: Domain | null = null;
  /** True if nobody knows what the device made of a failed attach: some of its numbers may be in another domain. */
  stuck = false;

  constructor(
    instance: Instance,
    ids: readonly EndpointId[],
    name: string,
    regions: readonly ReservedRegion[],
  ) {
    this.instance = instance;
    this.ids = ids;
    this.name = name;
    this.regions = regions;
  }

  /** What PROBE reported, in ascending order, with a place for a doorbell if there was none. */
  reservedRegions(): DeviceRegion[] {
    const regions: DeviceRegion[] = this.regions.map(({ start, last, type, protection }) => {
      const kind = type === 'msi' ? RegionKind.MSI : RegionKind.RESERVED;
      return { start, last, kind, protection };
    });
    if (regions.some(({ kind }) => kind === RegionKind.MSI)) return regions;
    const behind = regions.findIndex(({ start }) => start > SW_MSI.start);
    return regions.toSpliced(behind < 0 ? regions.length : behind, 0, { ...SW_MSI });
  }

  attach(domain: IommuDomain): void {
    if (!(domain instanceof Domain))
      throw new IommuError('EINVAL', `A domain for ${this.name} has to be of this driver.`);
    attach(domain, this);
  }

  detach(): void {
    detach(this);
  }

  release(): void {
    releaseDevice(this);
  }
}

/** Where the guest maps a doorbell if the device has no window for it. */
const SW_MSI: DeviceRegion = {
  start: 0x800_0000n,
  last: 0x80f_ffffn,
  kind: RegionKind.SW_MSI,
  protection: MSI_PROTECTION,
};

/**
 * Makes an endpoint of a device: asks the IOMMU about the first of its numbers, if it can be asked. The others are taken
 * to be like it.
 *
 * @throws {IommuError} `EINVAL` for a device without numbers or a malformed answer, `EOVERFLOW` for a region that is
 * none, `EBUSY` while the IOMMU is frozen; else what the PROBE failed with.
 */
export function probeDevice(instance: Instance, ids: readonly number[], name?: string): Endpoint {
  if (instance.frozen) throw new IommuError('EBUSY', 'The IOMMU is frozen.');
  const [first] = ids;
  if (first === undefined || !ids.every(isUint32))
    throw new IommuError('EINVAL', 'A device needs endpoint numbers of 32 bits.');
  const regions = instance.probeSize > 0 ? probeRegions(instance, first) : [];
  const label = name ?? `endpoint ${first}`;
  const endpoint = new Endpoint(instance, ids.map(endpointId), label, regions);
  for (const id of ids) if (!instance.endpoints.has(id)) instance.endpoints.set(id, endpoint);
  return endpoint;
}

/** Detaches an endpoint whose device goes away, and forgets it. */
export function releaseDevice(endpoint: Endpoint): void {
  detach(endpoint);
  const { endpoints } = endpoint.instance;
  for (const id of endpoint.ids) if (endpoints.get(id) === endpoint) endpoints.delete(id);
}

function probeRegions(instance: Instance, id: number): readonly ReservedRegion[] {
  const request = ProbeRequest.encode({ type: RequestType.PROBE, endpoint: id });
  const answer = instance.requests.sendProbeSync(request);
  if (typeof answer === 'string')
    throw new IommuError(answer, `The IOMMU refuses to probe endpoint ${id}.`);
  const result = parseProbe(answer);
  if (typeof result === 'string')
    throw new IommuError(result, `The IOMMU describes endpoint ${id} with a malformed property.`);
  const { regions, skipped, unknownSubtypes } = result;
  for (let n = 0; n < skipped; n += 1) instance.log.count('propertySkipped');
  if (unknownSubtypes > 0) {
    const message = `endpoint ${id} has ${unknownSubtypes} regions of unknown type, taken as reserved`;
    instance.log.warn('subtypeUnknown', message);
  }
  return regions;
}
