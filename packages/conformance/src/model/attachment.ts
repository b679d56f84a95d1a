/** Sections "IOMMU Device / ATTACH request" and "/ DETACH request". */

import { AttachFlag, IommuFeature, Status } from '@viommu/common';
import type { Attach, Detach } from './request.ts';
import type { Change, Endpoint, State } from './state.ts';
import type { Judgement } from './judgement.ts';

/** Puts an endpoint into a domain, out of another one if need be. */
export function attach(state: State, request: Attach, judgement: Judgement): void {
  const { domain, flags } = request;
  if (!request.reservedZero) judgement.end(Status.INVAL, 'iommu.dev.attach.reserved-nonzero');

  const bypass = (flags & AttachFlag.BYPASS) !== 0;
  if ((flags & ~AttachFlag.BYPASS) !== 0)
    judgement.end(Status.INVAL, 'iommu.dev.attach.flags-unknown');
  else if (bypass && !state.offered(IommuFeature.BYPASS_CONFIG))
    judgement.end(Status.INVAL, 'iommu.dev.attach.flags-unknown');
  else if (bypass && !state.accepted(IommuFeature.BYPASS_CONFIG))
    judgement.endUnlessServed('attachBypassFlag');

  const { first, last } = state.platform.domainRange;
  if (domain < first || domain > last) judgement.endUnlessServed('attachOutside');

  const endpoint = state.endpoints.get(request.endpoint);
  if (endpoint === undefined) judgement.end(Status.NOENT, 'iommu.dev.attach.endpoint-missing');
  else move(state, endpoint, domain, bypass, judgement);
}

/** ATTACH of an endpoint that is there. */
function move(
  state: State,
  endpoint: Endpoint,
  domainId: number,
  bypass: boolean,
  judgement: Judgement,
): void {
  const from = endpoint.domain;
  const to = state.domains.get(domainId);
  const leave: Change = { kind: 'leave', endpoint: endpoint.id };
  const enter: Change = { kind: 'enter', endpoint: endpoint.id, domain: domainId, bypass };
  // iommu.dev.attach.move-detaches-first, iommu.dev.attach.move-acts-like-detach
  judgement.changes = from === undefined ? [enter] : [leave, enter];

  if (from !== undefined && to !== from) judgement.endUnlessServed('moving'); // iommu.dev.attach.move-refused
  // iommu.dev.attach.shared-domain-refused
  if (to !== undefined && to !== from) judgement.endUnlessServed('sharing');

  if (to !== undefined && to.bypass !== bypass) {
    // iommu.dev.attach.bypass-flag-mismatch, 2.7
    const alone = to === from && to.endpoints.size === 1;
    const choice = alone ? 'attachMismatchAlone' : 'attachMismatch';
    const answer = judgement.ask(choice);
    if (answer === 'served') return;
    const leaves = from !== undefined && judgement.ask('refusedMove') === 'detached'; // 2.2
    judgement.end(Status[answer], choice, leaves ? [leave] : []);
  } else if (to !== undefined && to === from) {
    const again = judgement.ask('attachAgain'); // 2.1
    if (again === 'nothing') judgement.changes = [];
    else if (again === 'UNSUPP') judgement.end(Status.UNSUPP, 'attachAgain');
  } else if (to !== undefined) {
    // iommu.dev.attach.incompatible-properties, 2.8
    if (endpoint.regions.some(({ start, last }) => to.mappings.touches(start, last)))
      judgement.endUnlessServed('attachReserved');
  } else {
    // 2.5: a domain that this move ends makes room for the new one.
    const ending = from?.endpoints.size === 1 ? 1 : 0;
    if (state.domains.size - ending >= state.platform.limits.domains)
      judgement.end(Status.NOMEM, 'limits');
    judgement.endUnlessServed('resources');
  }
}

/** Takes an endpoint out of its domain. */
export function detach(state: State, request: Detach, judgement: Judgement): void {
  const endpoint = state.endpoints.get(request.endpoint);
  if (endpoint === undefined) {
    judgement.end(Status.NOENT, 'iommu.dev.detach.endpoint-missing');
    return;
  }
  const { id, domain } = endpoint;
  if (domain === undefined) {
    judgement.end(Status[judgement.ask('detachUnattached')], 'detachUnattached'); // 3.2
    return;
  }
  judgement.changes = [{ kind: 'leave', endpoint: id }];
  if (domain.id !== request.domain) {
    const wrong = judgement.ask('detachWrong'); // iommu.dev.detach.wrong-domain, 3.1
    if (wrong === 'INVAL') judgement.end(Status.INVAL, 'detachWrong');
    else if (wrong === 'nothing') judgement.changes = [];
  }
  if (domain.endpoints.size > 1) judgement.endUnlessServed('detachShared'); // 3.3
}
