/**
 * Moving endpoints between domains: sections "ATTACH request" and "DETACH request".
 *
 * What `attach` does to a domain, from the first request to the moment the endpoint counts as attached, is one
 * sequence: a mapping added or removed in between would be lost or doubled on the device.
 */

import {
  AttachFlag,
  AttachRequest,
  DetachRequest,
  type EndpointId,
  type ErrorCode,
  IommuError,
  RequestType,
  assert,
  pageOf,
} from '@viommu/common';
import { errorOfStatus } from './completion.ts';
import type { Domain } from './domain.ts';
import type { Endpoint } from './endpoint.ts';
import type { Instance } from './instance.ts';
import type { RequestOwner } from './request-port.ts';

/**
 * Attaches an endpoint to a domain, out of the one it is in. The device has every mapping of the domain afterwards.
 *
 * If anything fails, everything is as before; if the device does not even allow that, the endpoint is `stuck`.
 *
 * @throws {IommuError} `EINVAL` if the domain belongs to another IOMMU or maps what is reserved for the endpoint, `EIO`
 * if the IOMMU is lost, `ENODEV` or `ENOSPC` if a domain without IOMMU cannot be put on this one; else what the device
 * refused the request with.
 */
export function attach(domain: Domain, endpoint: Endpoint): void {
  const { instance } = endpoint;
  if (instance.requests.broken !== undefined)
    throw new IommuError('EIO', `The IOMMU is lost: ${instance.requests.broken}.`);
  if (domain.freed) throw new IommuError('EINVAL', 'The domain is freed.');
  if (domain.instance === undefined) domain.finalise(instance);
  if (domain.instance !== instance)
    throw new IommuError('EINVAL', `Domain ${domain.id} is on another IOMMU.`);
  if (endpoint.domain === domain) return;
  for (const { start, last } of endpoint.regions)
    if (domain.mappings.touches(pageOf(start), pageOf(last)))
      throw new IommuError(
        'EINVAL',
        `Domain ${domain.id} maps what is reserved for ${endpoint.name}.`,
      );

  // From here to the end nothing else may happen to the two domains.
  const old = endpoint.domain;
  const moved: EndpointId[] = [];
  for (const id of endpoint.ids) {
    const error = sendAttach(instance, domain, id);
    if (error !== undefined) {
      moveBack(domain, endpoint, moved);
      throw refusal(error, domain, endpoint);
    }
    moved.push(id);
  }
  old?.leave(endpoint);
  if (domain.attached.size === 0 && !domain.bypass) {
    const error = replay(instance, domain);
    if (error !== undefined) {
      const back = moveBack(domain, endpoint, moved);
      // The device forgot the old domain if this was the last endpoint in it.
      if (back && old !== null && old.attached.size === 0 && !old.bypass)
        if (replay(instance, old) !== undefined) markStuck(old, endpoint);
      old?.join(endpoint);
      throw refusal(error, domain, endpoint);
    }
  }
  domain.join(endpoint);
  endpoint.domain = domain;
  endpoint.stuck = false;
}

/** Detaches an endpoint, whatever the device says to it. The domain keeps its mappings. */
export function detach(endpoint: Endpoint): void {
  const { domain, instance } = endpoint;
  if (domain === null) return;
  for (const id of endpoint.ids) {
    const error = sendDetach(instance, domain, id);
    if (error === undefined) continue;
    domain.heldByDevice = true;
    instance.log.warn('detachFailed', `detaching ${endpoint.name} failed with ${error}`);
  }
  domain.leave(endpoint);
  endpoint.domain = null;
}

/** Has the numbers `moved` leave `domain` again. False if the device refuses. */
function moveBack(domain: Domain, endpoint: Endpoint, moved: readonly EndpointId[]): boolean {
  const { instance, domain: old } = endpoint;
  let done = true;
  for (const id of moved) {
    const error = old === null ? sendDetach(instance, domain, id) : sendAttach(instance, old, id);
    if (error !== undefined) done = false;
  }
  if (!done) markStuck(domain, endpoint);
  return done;
}

function markStuck(domain: Domain, endpoint: Endpoint): void {
  endpoint.stuck = true;
  domain.heldByDevice = true;
  const message = `${endpoint.name} is stuck: a failed attach could not be undone`;
  endpoint.instance.log.warn('endpointStuck', message);
}

/** Sends every mapping of a domain that the device does not know yet. One sync for all. */
function replay({ requests }: Instance, domain: Domain): ErrorCode | undefined {
  const { id } = domain;
  assert(id !== undefined, 'a domain that endpoints are attached to has a number');
  const first = new FirstError();
  try {
    domain.mappings.forEach((startPage, lastPage, physPage, flags) => {
      requests.addMap(first, id, startPage, lastPage, physPage, flags);
    });
  } catch (error) {
    if (!(error instanceof IommuError)) throw error;
    first.error ??= error.code;
  }
  return requests.syncReq() ?? first.error;
}

/** Keeps the first failure among many requests. */
class FirstError implements RequestOwner {
  error: ErrorCode | undefined = undefined;

  requestDone(_slot: number, status: number): void {
    this.error ??= errorOfStatus(status);
  }
}

function sendAttach(
  { requests }: Instance,
  { id, bypass }: Domain,
  endpoint: EndpointId,
): ErrorCode | undefined {
  assert(id !== undefined, 'a domain that endpoints are attached to has a number');
  const flags = bypass ? AttachFlag.BYPASS : 0;
  const type = RequestType.ATTACH;
  return requests.sendReqSync(AttachRequest.encode({ type, domain: id, endpoint, flags }));
}

function sendDetach(
  { requests }: Instance,
  { id }: Domain,
  endpoint: EndpointId,
): ErrorCode | undefined {
  assert(id !== undefined, 'a domain that endpoints are attached to has a number');
  const type = RequestType.DETACH;
  return requests.sendReqSync(DetachRequest.encode({ type, domain: id, endpoint }));
}

function refusal(error: ErrorCode, domain: Domain, { name }: Endpoint): IommuError {
  return new IommuError(error, `The IOMMU did not attach ${name} to domain ${domain.id}.`);
}
