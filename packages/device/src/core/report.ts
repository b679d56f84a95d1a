/** What an observer hears of a request, once it is done or refused. */

import {
  AttachFlag,
  type GuestPhysical,
  type Iova,
  Status,
  addressAt,
  domainId,
  endpointId,
  guestPhysical,
  iova,
  type Range,
} from '@viommu/common';
import type { IommuObserver } from './observer.ts';
import type { Reservation } from './reserved-region.ts';
import type { IommuState } from './state.ts';

export function reportAttach(
  observer: IommuObserver,
  status: Status,
  domain: number,
  endpoint: number,
  flags: number,
): void {
  const ids = { domain: domainId(domain), endpoint: endpointId(endpoint) };
  if (status === Status.OK) observer.attached?.(ids.domain, ids.endpoint, flags);
  else observer.refused?.(status, { kind: 'attach', ...ids, flags });
}

export function reportDetach(
  observer: IommuObserver,
  status: Status,
  domain: number,
  endpoint: number,
): void {
  const ids = { domain: domainId(domain), endpoint: endpointId(endpoint) };
  if (status === Status.OK) observer.detached?.(ids.domain, ids.endpoint);
  else observer.refused?.(status, { kind: 'detach', ...ids });
}

export function reportMap(
  observer: IommuObserver,
  status: Status,
  domain: number,
  virt: Range<Iova>,
  physStart: GuestPhysical,
  flags: number,
): void {
  const id = domainId(domain);
  if (status === Status.OK) {
    observer.mapped?.(id, virt, physStart, flags);
    return;
  }
  const { start: virtStart, last: virtLast } = virt;
  observer.refused?.(status, { kind: 'map', domain: id, virtStart, virtLast, physStart, flags });
}

export function reportUnmap(
  observer: IommuObserver,
  status: Status,
  domain: number,
  virt: Range<Iova>,
  removed: readonly Range<Iova>[],
): void {
  const id = domainId(domain);
  if (status === Status.OK) {
    observer.unmapped?.(id, virt, removed);
    return;
  }
  const { start: virtStart, last: virtLast } = virt;
  observer.refused?.(status, { kind: 'unmap', domain: id, virtStart, virtLast });
}

export function reportProbe(
  observer: IommuObserver,
  status: Status,
  endpoint: number,
  reservations: readonly Reservation[],
): void {
  const id = endpointId(endpoint);
  if (status !== Status.OK) {
    observer.refused?.(status, { kind: 'probe', endpoint: id });
    return;
  }
  observer.probed?.(
    id,
    reservations.map(({ region }) => region),
  );
}

/** A state was restored over `before`: as if the driver had begun anew and done all that is left of what it did. */
export function reportRestored(
  observer: IommuObserver,
  { domains, pool, bypass }: IommuState,
  before: IommuState,
): void {
  observer.reset?.('device');
  if (bypass !== before.bypass) observer.bypassChanged?.(bypass);
  for (const domain of domains.values()) {
    const { id, endpoints, mappings } = domain;
    for (const endpoint of endpoints)
      observer.attached?.(id, endpoint.id, domain.bypass ? AttachFlag.BYPASS : 0);
    for (let slot = mappings.first(); slot >= 0; slot = mappings.next(slot)) {
      const start = iova(addressAt(pool.startPage(slot), pool.startOffset(slot)));
      const last = iova(addressAt(pool.lastPage(slot), pool.lastOffset(slot)));
      const phys = guestPhysical(addressAt(pool.physPage(slot), pool.physOffset(slot)));
      observer.mapped?.(id, { start, last }, phys, pool.flags(slot));
    }
  }
}
