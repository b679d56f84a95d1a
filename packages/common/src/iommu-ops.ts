/**
 * Where the guest's IOMMU core and an IOMMU driver meet. The core knows drivers by these interfaces only.
 *
 * Addresses are pages of 4096 bytes by number. Failures are {@link IommuError}s unless a comment says otherwise.
 */

import type { ErrorCode } from './error.ts';
import type { Range } from './range.ts';

/** What a reserved region is for, in the order in which regions of one address are listed. */
export const RegionKind = {
  /** Has to be mapped to itself, always. */
  DIRECT: 0,
  /** Should be mapped to itself until a driver takes the device over. */
  DIRECT_RELAXABLE: 1,
  /** Never mapped. */
  RESERVED: 2,
  /** A doorbell of the hardware, not translated. */
  MSI: 3,
  /** A window in which the guest maps doorbells. */
  SW_MSI: 4,
} as const;

export type RegionKind = (typeof RegionKind)[keyof typeof RegionKind];

/** Addresses of a device that are not for free use. */
export interface DeviceRegion extends Range {
  readonly kind: RegionKind;
  /** Bits of `Protection` for whoever maps it. */
  readonly protection: number;
}

/** What the core asks an IOMMU about itself. */
export interface IommuCapabilities {
  /** Unmapped pages may stay reachable until a flush: lazy domains are possible. */
  readonly deferredFlush: boolean;
  /** Flushing is dear, since it also brings tables of the host up to date: one queue for all processors pays. */
  readonly shadowOnFlush: boolean;
  /** Accesses of devices are coherent with the processors' caches. */
  readonly cacheCoherency: boolean;
}

/** How an IOMMU's devices fall into groups: each alone, all in one, or as the PCI topology isolates them. */
export type Grouping = 'each' | 'all' | 'pci';

/** One IOMMU, driven. */
export interface IommuInstance {
  readonly name: string;
  readonly capabilities: IommuCapabilities;
  /** How non-PCI devices are grouped; PCI devices always by topology unless it is `all`. */
  readonly grouping: Grouping;
  /** The endpoint number that the cells of a specifier name. Absent: the IOMMU translates nothing. @throws `EINVAL` */
  readonly endpointIdOf?: (cells: readonly number[]) => number;
  /** Takes a device on. @throws `ENODEV` if it is not the IOMMU's, or what probing it failed with. */
  probeDevice(ids: readonly number[], name: string): IommuEndpoint;
  /** A domain to map into; with `null` it is finalised by its first attach. @throws `ENODEV`, `ENOSPC` */
  allocPaging(endpoint: IommuEndpoint | null): IommuDomain;
  /** A domain in which every address leads to itself, for these endpoints. */
  allocIdentity(endpoints: readonly IommuEndpoint[]): IommuDomain;
  /** A domain in which no address leads anywhere, if the IOMMU has one of its own. */
  readonly allocBlocking?: () => IommuDomain;
  /** What the driver demands as the device's default domain, if anything. */
  readonly defaultDomainType?: (endpoint: IommuEndpoint) => 'identity' | 'dma' | undefined;
}

/** A device as its IOMMU sees it. */
export interface IommuEndpoint {
  readonly name: string;
  /** The domain it is in. */
  readonly domain: IommuDomain | null;
  /** Addresses that are not for free use, ascending. A new list each time. */
  reservedRegions(): DeviceRegion[];
  /**
   * Moves it into a domain, which has all its mappings on the device then; on failure it stays where it is.
   *
   * @throws `EINVAL` softly, if the domain is of another IOMMU: another domain may do. Anything else: the refusal.
   */
  attach(domain: IommuDomain): void;
  /** Takes it out of its domain, whatever happens. */
  detach(): void;
  /** The device goes away: detached and forgotten. */
  release(): void;
}

/** What a fault handler is told: the address is `undefined` if the device did not say. It returns why it could not help. */
export type IommuFaultHandler = (
  endpoint: IommuEndpoint,
  address: bigint | undefined,
  flags: number,
) => ErrorCode | undefined;

/** An address space of one IOMMU. */
export interface IommuDomain {
  readonly type: 'paging' | 'identity' | 'blocked';
  /** Sizes that mappings are made of, a bit each; 0 until the domain is finalised. */
  readonly pageSizeBitmap: bigint;
  /** The addresses that can be mapped; `undefined` until the domain is finalised. */
  readonly aperture: Range | undefined;
  /**
   * Maps `count` blocks of `blockPages` pages from `startPage` on to those from `physPage` on; the device may not know
   * before {@link syncMap}. Returns pages mapped: all of them, or the first blocks.
   *
   * @throws `ENODEV`, `EINVAL`, `EEXIST`, `EIO`, `ENOSPC`: nothing was mapped.
   */
  mapPages(
    startPage: number,
    physPage: number,
    blockPages: number,
    count: number,
    protection: number,
  ): number;
  /** Removes mappings from `startPage` on, up to `count` blocks. Returns pages unmapped; 0: nothing changed. */
  unmapPages(startPage: number, blockPages: number, count: number): number;
  /** The page that `page` leads to, or -1. */
  translate(page: number): number;
  /**
   * Sends what was mapped and waits. @throws what a mapping of the range was refused with, or `EIO`: all of the range is
   * still there for the caller to unmap.
   */
  syncMap(startPage: number, pageCount: number): void;
  /** Waits until nothing that was unmapped so far is reachable. @throws `EIO` */
  sync(): void;
  /** The same for everything, as flush queues need it. @throws `EIO` */
  flushAll(): void;
  /** True if an unmap of some page failed, so that the device may still reach it. */
  isStuck(startPage: number, pageCount: number): boolean;
  /** Is told about faults of the domain's endpoints. */
  setFaultHandler(handler: IommuFaultHandler | undefined): void;
  /** Ends the domain. @throws `EBUSY` while endpoints are attached. */
  free(): void;
}
