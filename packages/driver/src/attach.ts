/**
 * Moving endpoints between domains: sections "ATTACH request" and "DETACH request".
 *
 * What `attach` does to a domain, from the first request to the moment the endpoint counts as attached, happens under
 * the domain's lock: a mapping added or removed in between would be lost or doubled on the device.
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
import { errorOfStatus, isUnclear } from './completion.ts';
import type { Domain } from './domain.ts';
import type { Endpoint } from './endpoint.ts';
import type { Instance } from './instance.ts';
import type { RequestOwner } from './request-port.ts';

/**
 * Attaches an endpoint to a domain, out of the one it is in. The device has every mapping of the domain afterwards.
 *
 * If anything fails, everything is as before; if the device does not even allow that, or nobody knows what it did, the
 * endpoint is `stuck`. The caller sees to it that no other context moves the same endpoint meanwhile.
 *
 * @throws {IommuError} `EINVAL` if the domain belongs to another IOMMU or maps what is reserved for the endpoint, `EIO`
 * if the IOMMU is lost, `EBUSY` while it is frozen, `ENODEV` or `ENOSPC` if a domain without IOMMU cannot be put on this
 * one; else what the device refused the request with.
 */
export function attach(domain: Domain, endpoint: Endpoint): void {
  const { instance } = endpoint;
  if (instance.requests.broken !== undefined)
    throw new IommuError('EIO', `The IOMMU is lost: ${instance.requests.broken}.`);
  if (instance.frozen) throw new IommuError('EBUSY', 'The IOMMU is frozen.');
  if (domain.freed) throw new IommuError('EINVAL', 'The domain is freed.');
  domain.finalise(instance);
  if (domain.instance !== instance)
    throw new IommuError('EINVAL', `Domain ${domain.id} is on another IOMMU.`);
  if (endpoint.domain === domain) {
    if (!endpoint.stuck) return;
    // Wherever the device has it, it is nowhere after this and comes back with all mappings.
    detach(endpoint);
  }
  const old = endpoint.domain;
  lockDomains(old === null ? [domain] : [domain, old], () => move(domain, endpoint));
}

/** Detaches an endpoint, whatever the device says to it. The domain keeps its mappings. */
export function detach(endpoint: Endpoint): void {
  const { domain, instance } = endpoint;
  if (domain === null) return;
  lockDomains([domain], () => {
    // A frozen device is reset before anything is sent again.
    if (!instance.frozen) sendDetaches(domain, endpoint);
    domain.concurrency.at('detach:afterSend');
    domain.leave(endpoint);
    endpoint.domain = null;
  });
}

/**
 * Puts a domain back on a device that was reset: its endpoints, then its mappings. The caller has its lock.
 *
 * @throws {IommuError} what the device refused a request with.
 */
export function reattach(instance: Instance, domain: Domain): void {
  domain.forget();
  domain.heldByDevice = false;
  for (const endpoint of domain.attached) {
    for (const id of endpoint.ids) {
      const { error } = sendAttach(instance, domain, id);
      if (error !== undefined) throw refusal(error, domain, endpoint);
    }
    endpoint.stuck = false;
  }
  if (domain.attached.size === 0) return;
  const error = replay(instance, domain);
  if (error !== undefined)
    throw new IommuError(error, `The IOMMU did not take the mappings of domain ${domain.id}.`);
}

/** Runs `action` with the locks of some domains, taken in the order of their numbers. */
export function lockDomains(
  domains: Iterable<Domain>,
  action: (inOrder: readonly Domain[]) => void,
): void {
  lockFrom(
    0,
    [...domains].toSorted((a, b) => numberOf(a) - numberOf(b)),
    action,
  );
}

function lockFrom(
  index: number,
  domains: readonly Domain[],
  action: (inOrder: readonly Domain[]) => void,
): void {
  const domain = domains[index];
  if (domain === undefined) return action(domains);
  domain.stateLock.acquire();
  try {
    lockFrom(index + 1, domains, action);
  } finally {
    domain.stateLock.release();
  }
}

/** The part of {@link attach} under the locks of both domains. */
function move(domain: Domain, endpoint: Endpoint): void {
  const { instance, domain: old } = endpoint;
  for (const { start, last } of endpoint.regions)
    if (domain.mappings.touches(pageOf(start), pageOf(last)))
      throw new IommuError(
        'EINVAL',
        `Domain ${domain.id} maps what is reserved for ${endpoint.name}.`,
      );

  const moved: EndpointId[] = [];
  for (const id of endpoint.ids) {
    const { error, unclear } = sendAttach(instance, domain, id);
    if (error !== undefined) {
      if (unclear) markStuck(domain, endpoint);
      moveBack(domain, endpoint, moved);
      throw refusal(error, domain, endpoint);
    }
    moved.push(id);
  }
  domain.concurrency.at('attach:afterSend');
  old?.leave(endpoint);
  if (!isKnown(domain) && !domain.bypass) {
    const error = replay(instance, domain);
    if (error !== undefined) {
      const back = moveBack(domain, endpoint, moved);
      // The device forgot the old domain if this was the last endpoint in it.
      if (back && old !== null && !isKnown(old) && !old.bypass)
        if (replay(instance, old) !== undefined) markStuck(old, endpoint);
      old?.join(endpoint);
      throw refusal(error, domain, endpoint);
    }
  }
  domain.concurrency.at('attach:afterReplay');
  domain.join(endpoint);
  endpoint.domain = domain;
  endpoint.stuck = false;
}

/** True if the device has the domain and its mappings for certain: nobody knows where an endpoint is that is stuck. */
function isKnown({ attached }: Domain): boolean {
  for (const { stuck } of attached) if (!stuck) return true;
  return false;
}

/** Has the device detach an endpoint. */
function sendDetaches(domain: Domain, endpoint: Endpoint): void {
  const { instance } = endpoint;
  for (const id of endpoint.ids) {
    const { error } = sendDetach(instance, domain, id);
    if (error === undefined) continue;
    domain.heldByDevice = true;
    instance.log.warn('detachFailed', `detaching ${endpoint.name} failed with ${error}`);
  }
}

/** Has the numbers `moved` leave `domain` again. False if the device refuses. */
function moveBack(domain: Domain, endpoint: Endpoint, moved: readonly EndpointId[]): boolean {
  const { instance, domain: old } = endpoint;
  let done = true;
  for (const id of moved) {
    const { error } =
      old === null ? sendDetach(instance, domain, id) : sendAttach(instance, old, id);
    if (error !== undefined) done = false;
  }
  if (!done) markStuck(domain, endpoint);
  return done;
}

function markStuck(domain: Domain, endpoint: Endpoint): void {
  domain.heldByDevice = true;
  if (endpoint.stuck) return;
  endpoint.stuck = true;
  const message = `${endpoint.name} is stuck: nobody knows what a failed attach left behind`;
  endpoint.instance.log.warn('endpointStuck', message);
}

/** Sends every mapping of a domain that the device does not know yet. One sync for all. */
function replay({ requests }: Instance, domain: Domain): ErrorCode | undefined {
  const id = numberOf(domain);
  const outcome = new Outcome();
  try {
    domain.mappings.forEach((startPage, lastPage, physPage, flags) => {
      requests.addMap(outcome, id, startPage, lastPage, physPage, flags);
    });
  } catch (error) {
    if (!(error instanceof IommuError)) throw error;
    outcome.error ??= error.code;
  }
  return requests.syncReq() ?? outcome.error;
}

/** How one or many requests ended. */
class Outcome implements RequestOwner {
  /** What the first that failed failed with. */
  error: ErrorCode | undefined = undefined;
  /** True if the device may have done one that it did not answer properly. */
  unclear = false;

  requestDone(_slot: number, status: number): void {
    this.error ??= errorOfStatus(status);
    if (isUnclear(status)) this.unclear = true;
  }
}

function sendAttach({ requests }: Instance, domain: Domain, endpoint: EndpointId): Outcome {
  const flags = domain.bypass ? AttachFlag.BYPASS : 0;
  const type = RequestType.ATTACH;
  return send(requests, AttachRequest.encode({ type, domain: numberOf(domain), endpoint, flags }));
}

function sendDetach({ requests }: Instance, domain: Domain, endpoint: EndpointId): Outcome {
  const type = RequestType.DETACH;
  return send(requests, DetachRequest.encode({ type, domain: numberOf(domain), endpoint }));
}

/** Sends a request and waits for it. */
function send(requests: Instance['requests'], bytes: Uint8Array): Outcome {
  const outcome = new Outcome();
  try {
    requests.addReq(bytes, outcome);
  } catch (error) {
    if (!(error instanceof IommuError)) throw error;
    outcome.error = error.code;
    return outcome;
  }
  requests.syncReq();
  return outcome;
}

function numberOf({ id }: Domain): number {
  assert(id !== undefined, 'a domain that endpoints are attached to has a number');
  return id;
}

function refusal(error: ErrorCode, domain: Domain, { name }: Endpoint): IommuError {
  return new IommuError(error, `The IOMMU did not attach ${name} to domain ${domain.id}.`);
}
