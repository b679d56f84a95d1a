/**
 * Writes down what an IOMMU does, as lines of a `viommu-stream`.
 *
 * Everything is in the order in which the device handled it, with the answer it gave, so that a replay of the lines
 * must find the same answers. The version is the lowest that has a line for everything that happened.
 */

import {
  type DomainId,
  type EndpointId,
  type FaultReason,
  type GuestPhysical,
  type Iova,
  MapFlag,
  type Range,
  type RefusedRequest,
  ReservedMemoryType,
  type Status,
  type StreamAccess,
  type StreamEvent,
  type StreamVersion,
  formatStreamEvent,
  iova,
  streamVersionOf,
} from '@viommu/common';
import {
  type Iommu,
  type IommuObserver,
  PieceKind,
  type ReservedRegion,
  type Translation,
} from '@viommu/device';

/** Takes lines, without line ends, and the lowest version that has all lines up to here. */
export type LineTaker = (lines: readonly string[], version: StreamVersion) => void;

/** Lines that are passed on together. */
const BATCH_LINES = 2048;

/** An observer of one device that records it. */
export class Recorder implements IommuObserver {
  readonly #take: LineTaker;
  #lines: string[] = [];
  #version: StreamVersion = 1;
  /** True if there are attachments, or `bypass` was written: a reset would change something. */
  #touched = false;
  /** A reset that is told only if something follows it. */
  #reset: 'device' | 'system' | undefined = undefined;

  constructor(take: LineTaker) {
    this.#take = take;
  }

  /** To be called first: what the device offers, and what it is. */
  begin(iommu: Iommu, offeredFeatures: bigint): void {
    this.#add({ kind: 'features', bits: offeredFeatures });
    this.#add({
      kind: 'config',
      pageSizeMask: iommu.pageSizeMask,
      inputStart: iommu.inputRange.start,
      inputLast: iommu.inputRange.last,
      domainFirst: iommu.domainRange.first,
      domainLast: iommu.domainRange.last,
      probeSize: iommu.probeSize,
      bypass: iommu.bypass ? 1 : 0,
    });
  }

  /** Passes on what is still held back. */
  flush(): void {
    if (this.#lines.length === 0) return;
    this.#take(this.#lines, this.#version);
    this.#lines = [];
  }

  attached(domain: DomainId, endpoint: EndpointId, flags: number): void {
    this.#touched = true;
    this.#add({ kind: 'attach', domain, endpoint, flags });
  }

  detached(domain: DomainId, endpoint: EndpointId): void {
    this.#add({ kind: 'detach', domain, endpoint });
  }

  mapped(domain: DomainId, virt: Range<Iova>, physStart: GuestPhysical, flags: number): void {
    const { start: virtStart, last: virtLast } = virt;
    this.#add({ kind: 'map', domain, virtStart, virtLast, physStart, flags });
  }

  unmapped(domain: DomainId, virt: Range<Iova>, removed: readonly Range<Iova>[]): void {
    this.#add({ kind: 'unmap', domain, virtStart: virt.start, virtLast: virt.last, removed });
  }

  probed(endpoint: EndpointId, regions: readonly ReservedRegion[]): void {
    if (regions.length === 0) this.#add({ kind: 'probe-empty', endpoint });
    for (const { type, start, last } of regions) {
      const subtype = type === 'msi' ? ReservedMemoryType.MSI : ReservedMemoryType.RESERVED;
      this.#add({ kind: 'probe', endpoint, subtype, start, last });
    }
  }

  refused(status: Status, request: RefusedRequest): void {
    this.#add({ kind: 'refused', status, request });
  }

  accessed(endpoint: EndpointId, address: Iova, access: number, translation: Translation): void {
    let at: bigint = address;
    for (let piece = 0; piece < translation.count; piece += 1) {
      this.#add({
        kind: 'access',
        endpoint,
        address: iova(at),
        access: accessOf(access),
        result: translation.kind[piece] === PieceKind.MSI ? '=' : translation.address(piece),
      });
      at += BigInt(translation.length[piece] ?? 0);
    }
  }

  faulted(endpoint: EndpointId, address: Iova, access: number, reason: FaultReason): void {
    this.#add({ kind: 'fault', endpoint, address, access: accessOf(access), reason });
  }

  bypassChanged(bypass: boolean): void {
    this.#touched = true;
    this.#add({ kind: 'bypass', value: bypass ? 1 : 0 });
  }

  /** A driver resets the device before it does anything else; that changes nothing and needs no line. */
  reset(kind: 'device' | 'system'): void {
    if (this.#touched) this.#reset = kind === 'system' ? kind : (this.#reset ?? kind);
  }

  #add(event: StreamEvent): void {
    if (this.#reset !== undefined) {
      const kind = `${this.#reset}-reset` as const;
      this.#reset = undefined;
      this.#touched = false;
      this.#add({ kind });
    }
    const version = streamVersionOf(event);
    if (version > this.#version) this.#version = version;
    this.#lines.push(formatStreamEvent(event));
    if (this.#lines.length >= BATCH_LINES) this.flush();
  }
}

/** An access as a stream names it; one that asks for nothing reads. */
function accessOf(access: number): StreamAccess {
  if ((access & MapFlag.WRITE) === 0) return 'r';
  return (access & MapFlag.READ) === 0 ? 'w' : 'rw';
}
