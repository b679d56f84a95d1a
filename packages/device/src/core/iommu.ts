/**
 * The IOMMU: endpoints, domains and what is mapped in them. A function from requests to statuses and from accesses to
 * translations, without queues, threads or clocks: section "IOMMU Device / Device operations".
 *
 * On the hot paths an address is a page (address / 4096) and an offset (0..4095). The methods whose names end in
 * `Range` take bigints and are for everyone else.
 */

import {
  type DomainId,
  type EndpointId,
  FaultReason,
  type GuestPhysical,
  type ImageReader,
  type ImageWriter,
  IommuError,
  type Iova,
  RequestType,
  Status,
  addressAt,
  guestPhysical,
  iova,
  isUint32,
  offsetInPage,
  pageOf,
  type Range,
} from '@viommu/common';
import { attach } from './attach.ts';
import { detach } from './detach.ts';
import type { EndpointOptions } from './endpoint.ts';
import type { Limits } from './limits.ts';
import { map } from './map.ts';
import type { DomainRange, IommuOptions } from './options.ts';
import { probe } from './probe.ts';
import {
  reportAttach,
  reportDetach,
  reportMap,
  reportProbe,
  reportRestored,
  reportUnmap,
} from './report.ts';
import { readState, writeState } from './saved-state.ts';
import { type FaultSink, IommuState } from './state.ts';
import { translate } from './translate.ts';
import type { TranslationKeeper } from './translation-keeper.ts';
import { TranslateOutcome, Translation } from './translation.ts';
import { unmap } from './unmap.ts';

const { ATTACH, DETACH, MAP, UNMAP, PROBE } = RequestType;

/** One mapping as a value. */
export interface Mapping {
  readonly virt: Range<Iova>;
  readonly physStart: GuestPhysical;
  /** Bits of `MapFlag`. */
  readonly flags: number;
}

/** One IOMMU. Requests return a wire status and change everything or nothing. */
export class Iommu {
  #state: IommuState;

  /** @throws {IommuError} `EINVAL`, `EOVERFLOW` or `ENOSPC` for options that contradict each other or a bound. */
  constructor(options: IommuOptions = {}, faults?: FaultSink) {
    this.#state = new IommuState(options, faults);
  }

  /** ATTACH. `flags` are bits of `AttachFlag`. */
  attach(domain: number, endpoint: number, flags: number): Status {
    const status = attach(this.#state, domain, endpoint, flags);
    const { observer } = this.#state;
    if (observer !== undefined) reportAttach(observer, status, domain, endpoint, flags);
    return status;
  }

  /** DETACH. */
  detach(domain: number, endpoint: number): Status {
    const status = detach(this.#state, domain, endpoint);
    const { observer } = this.#state;
    if (observer !== undefined) reportDetach(observer, status, domain, endpoint);
    return status;
  }

  /** MAP of the addresses from `start` to `last`, both included. `flags` are bits of `MapFlag`. */
  map(
    domain: number,
    startPage: number,
    startOffset: number,
    lastPage: number,
    lastOffset: number,
    physPage: number,
    physOffset: number,
    flags: number,
  ): Status {
    const status = map(
      this.#state,
      domain,
      startPage,
      startOffset,
      lastPage,
      lastOffset,
      physPage,
      physOffset,
      flags,
    );
    const { observer } = this.#state;
    // A hook that is not there costs nothing: not even the addresses that it would hear.
    const heard =
      status === Status.OK ? observer?.mapped !== undefined : observer?.refused !== undefined;
    if (observer !== undefined && heard) {
      const virt = rangeOf(startPage, startOffset, lastPage, lastOffset);
      const phys = guestPhysical(addressAt(physPage, physOffset));
      reportMap(observer, status, domain, virt, phys, flags);
    }
    return status;
  }

  /** UNMAP of all mappings inside the addresses from `start` to `last`, both included. */
  unmap(
    domain: number,
    startPage: number,
    startOffset: number,
    lastPage: number,
    lastOffset: number,
  ): Status {
    const { observer } = this.#state;
    const removed: Range<Iova>[] | undefined = observer?.unmapped === undefined ? undefined : [];
    const status = unmap(
      this.#state,
      domain,
      startPage,
      startOffset,
      lastPage,
      lastOffset,
      removed,
    );
    // As for MAP.
    const heard = status === Status.OK ? removed !== undefined : observer?.refused !== undefined;
    if (observer !== undefined && heard) {
      const virt = rangeOf(startPage, startOffset, lastPage, lastOffset);
      reportUnmap(observer, status, domain, virt, removed ?? []);
    }
    return status;
  }

  /** PROBE. Fills the first `probeSize` bytes of `into` with properties and zeros. */
  probe(endpoint: number, into: Uint8Array): Status {
    const { observer, endpoints } = this.#state;
    const status = probe(this.#state, endpoint, into);
    if (observer !== undefined)
      reportProbe(observer, status, endpoint, endpoints.get(endpoint)?.reservations ?? []);
    return status;
  }

  /**
   * Translates an access of `length` bytes (0 to 2^32 - 1) for `endpoint`; `access` are bits of `MapFlag`. A fault goes
   * to the event queue, save for an endpoint that does not exist.
   */
  translate(
    endpoint: number,
    page: number,
    offset: number,
    length: number,
    access: number,
    into: Translation,
  ): TranslateOutcome {
    const state = this.#state;
    const found = state.endpoints.get(endpoint);
    if (found === undefined) {
      // iommu.dev.fault.endpoint-valid: a record could name nobody.
      into.refuse(FaultReason.UNKNOWN, page, offset);
      return TranslateOutcome.FAULT;
    }
    const outcome = translate(state, found, page, offset, length, access, into);
    const { observer } = state;
    if (outcome === TranslateOutcome.FAULT) {
      state.faults?.fault(endpoint, into.faultReason, access, into.faultPage, into.faultOffset);
      observer?.faulted?.(found.id, into.faultAddress(), access, into.faultReason);
    } else if (observer?.accessed !== undefined)
      observer.accessed(found.id, iova(addressAt(page, offset)), access, into);
    return outcome;
  }

  /** {@link translate} into a fresh translation. @throws {IommuError} `EINVAL` for a length that is not 32 bits. */
  translateRange(
    endpoint: number,
    address: Iova,
    length: number,
    access: number,
  ): { readonly outcome: TranslateOutcome; readonly translation: Translation } {
    if (!isUint32(length)) throw new IommuError('EINVAL', `An access cannot have ${length} bytes.`);
    const translation = new Translation();
    const outcome = this.translate(
      endpoint,
      pageOf(address),
      offsetInPage(address),
      length,
      access,
      translation,
    );
    return { outcome, translation };
  }

  /** {@link map} for everyone else. The end may lie below the start, as it may in a request. */
  mapRange(domain: number, virt: Range<Iova>, physStart: GuestPhysical, flags: number): Status {
    return this.map(
      domain,
      pageOf(virt.start),
      offsetInPage(virt.start),
      pageOf(virt.last),
      offsetInPage(virt.last),
      pageOf(physStart),
      offsetInPage(physStart),
      flags,
    );
  }

  /** {@link unmap} for everyone else. */
  unmapRange(domain: number, virt: Range<Iova>): Status {
    return this.unmap(
      domain,
      pageOf(virt.start),
      offsetInPage(virt.start),
      pageOf(virt.last),
      offsetInPage(virt.last),
    );
  }

  /** What the driver negotiated decides which flags and requests are known. Nothing is at first. */
  negotiate(features: bigint): void {
    this.#state.negotiate(features);
  }

  /** True if a request of this type is known, given what was negotiated (1.12). */
  recognises(type: number): boolean {
    switch (type) {
      case ATTACH:
      case DETACH:
        return true;
      case MAP:
      case UNMAP:
        return this.#state.mapUnmap;
      case PROBE:
        return this.#state.probe;
      default:
        return false;
    }
  }

  /** The driver's write to the `bypass` field; false, and nothing happens, unless it is negotiated and 0 or 1. */
  writeBypass(value: number): boolean {
    const state = this.#state;
    // 7.4, 7.5
    if (!state.bypassConfig || state.bypassControl !== 'config' || value > 1) return false;
    state.bypass = value === 1; // 7.9: at once.
    state.revokeAll();
    state.observer?.bypassChanged?.(state.bypass);
    return true;
  }

  /** Tells `keeper` from now on what it must forget. */
  keep(keeper: TranslationKeeper): void {
    this.#state.keepers.push(keeper);
  }

  /** Adds an endpoint. @throws {IommuError} `EINVAL`, `EOVERFLOW` or `ENOSPC`, as the constructor. */
  plug(options: EndpointOptions): void {
    this.#state.plug(options);
  }

  /** Takes an endpoint away, out of its domain if it is in one (2.10). False if there is none. */
  unplug(endpoint: number): boolean {
    const state = this.#state;
    const found = state.endpoints.get(endpoint);
    if (found === undefined) return false;
    const { domain } = found;
    if (domain !== undefined) {
      state.leave(found, domain);
      state.observer?.detached?.(domain.id, found.id);
    }
    return state.endpoints.delete(endpoint);
  }

  /** Device reset: attachments, domains, mappings and negotiated features go (7.10), `bypass` stays (7.1). */
  reset(): void {
    this.#state.reset();
    this.#state.observer?.reset?.('device');
  }

  /** System reset: `bypass` has its first value again as well (7.2). */
  systemReset(): void {
    this.#state.reset();
    this.#state.bypass = this.#state.initialBypass;
    this.#state.revokeAll();
    this.#state.observer?.reset?.('system');
  }

  /** Adds everything but the negotiated features to an image: domains, mappings, attachments, `bypass`. */
  save(into: ImageWriter): void {
    writeState(this.#state, into);
  }

  /**
   * Takes over what {@link save} added last to an image, with `features` negotiated; all of it or nothing. Endpoints and
   * their regions have to be those of the IOMMU that was saved, and the state has to fit options and limits.
   *
   * @throws {IommuError} `EINVAL` for what no driver could bring this device into, or more bytes than that.
   */
  restore(features: bigint, from: ImageReader): void {
    const before = this.#state;
    this.#state = readState(before, features, from);
    this.#state.keepers = before.keepers;
    this.#state.revokeAll();
    if (before.observer !== undefined) reportRestored(before.observer, this.#state, before);
  }

  /** What the driver negotiated, as told to {@link negotiate}; 0 after a reset. */
  get features(): bigint {
    return this.#state.features;
  }

  /** The `bypass` field. */
  get bypass(): boolean {
    return this.#state.bypass;
  }

  get pageSizeMask(): bigint {
    return this.#state.pageSizeMask;
  }

  get inputRange(): Range {
    return this.#state.inputRange;
  }

  get domainRange(): DomainRange {
    return this.#state.domainRange;
  }

  get probeSize(): number {
    return this.#state.probeSize;
  }

  get limits(): Limits {
    return this.#state.limits;
  }

  /** The endpoints, in the order in which they were plugged in. */
  get endpoints(): readonly EndpointId[] {
    return Array.from(this.#state.endpoints.values(), ({ id }) => id);
  }

  /** The domains, in the order in which they began. */
  get domains(): readonly DomainId[] {
    return Array.from(this.#state.domains.values(), ({ id }) => id);
  }

  /** The domain an endpoint is attached to. */
  domainOf(endpoint: number): DomainId | undefined {
    return this.#state.endpoints.get(endpoint)?.domain?.id;
  }

  /** The mappings of a domain in order; none if there is no such domain. Not to be continued after a request. */
  *mappings(domain: number): Generator<Mapping, void> {
    const { domains, pool } = this.#state;
    const mappings = domains.get(domain)?.mappings;
    if (mappings === undefined) return;
    for (let slot = mappings.first(); slot >= 0; slot = mappings.next(slot)) {
      yield {
        virt: rangeOf(
          pool.startPage(slot),
          pool.startOffset(slot),
          pool.lastPage(slot),
          pool.lastOffset(slot),
        ),
        physStart: guestPhysical(addressAt(pool.physPage(slot), pool.physOffset(slot))),
        flags: pool.flags(slot),
      };
    }
  }

  /** Mappings in all domains, and the bytes of memory that hold them. */
  get usage(): { readonly mappings: number; readonly bytes: number } {
    const { mappings, bytes } = this.#state.pool;
    return { mappings, bytes };
  }
}

function rangeOf(
  startPage: number,
  startOffset: number,
  lastPage: number,
  lastOffset: number,
): Range<Iova> {
  // Not checked: the range of a request may end before it starts.
  return {
    start: iova(addressAt(startPage, startOffset)),
    last: iova(addressAt(lastPage, lastOffset)),
  };
}
