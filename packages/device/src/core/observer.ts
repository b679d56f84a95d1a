/**
 * Who watches a device: recordings, inspectors and tests.
 *
 * Every hook is optional, and a hook that is not there costs nothing. Hooks are called after the change they tell of,
 * in the order of the requests; they must not call the device back. Addresses are bigints here: watching is not fast.
 */

import type {
  DomainId,
  EndpointId,
  FaultReason,
  GuestPhysical,
  Iova,
  Range,
  RefusedRequest,
  Status,
} from '@viommu/common';
import type { ReservedRegion } from './reserved-region.ts';
import type { Translation } from './translation.ts';

/** Hooks of one device. */
export interface IommuObserver {
  /** An ATTACH succeeded; a move is told by this alone. `flags` are bits of `AttachFlag`. */
  attached?(domain: DomainId, endpoint: EndpointId, flags: number): void;
  /** A DETACH succeeded, or an attached endpoint was unplugged. */
  detached?(domain: DomainId, endpoint: EndpointId): void;
  /** A MAP succeeded. `flags` are bits of `MapFlag`. */
  mapped?(domain: DomainId, virt: Range<Iova>, physStart: GuestPhysical, flags: number): void;
  /** An UNMAP succeeded and removed these mappings, in order. */
  unmapped?(domain: DomainId, virt: Range<Iova>, removed: readonly Range<Iova>[]): void;
  /** A PROBE succeeded and returned these regions. */
  probed?(endpoint: EndpointId, regions: readonly ReservedRegion[]): void;
  /** A request that could be understood was refused and changed nothing. */
  refused?(status: Status, request: RefusedRequest): void;
  /** An access went through. `access` are bits of `MapFlag`; the translation is only valid during the call. */
  accessed?(endpoint: EndpointId, address: Iova, access: number, translation: Translation): void;
  /** An access was refused; `address` is the first byte that could not be translated. */
  faulted?(endpoint: EndpointId, address: Iova, access: number, reason: FaultReason): void;
  /** A fault record found no buffer in the event queue. Called for the first one since the last reset only. */
  droppedFault?(): void;
  /** The driver wrote the `bypass` field. */
  bypassChanged?(bypass: boolean): void;
  /**
   * Attachments, domains and mappings are gone; after a system reset `bypass` has its first value, too. When a state is
   * restored, a device reset is told, and then what changed in `bypass` and every attachment and mapping.
   */
  reset?(kind: 'device' | 'system'): void;
}
