/** An IOMMU that writes down what it is asked, keeps mappings as the standard has them, and fails where it is told to. */

import {
  type DeviceRegion,
  type ErrorCode,
  type Grouping,
  type IommuDomain,
  type IommuEndpoint,
  IommuError,
  type IommuInstance,
  type Range,
  pageOf,
} from '@viommu/common';

export type Operation = 'probe' | 'paging' | 'identity' | 'attach' | 'map' | 'sync' | 'syncMap';

/** Fails calls by their numbers. */
export class Failures<Name extends string> {
  readonly #planned = new Map<Name, { left: number; code: ErrorCode }>();

  /** The call after `after` others of this name fails, once. */
  plan(name: Name, code: ErrorCode, after = 0): void {
    this.#planned.set(name, { left: after, code });
  }

  meet(name: Name): void {
    const planned = this.#planned.get(name);
    if (planned === undefined) return;
    if (planned.left > 0) planned.left -= 1;
    else {
      this.#planned.delete(name);
      throw new IommuError(planned.code, `${name} fails as planned.`);
    }
  }
}

export interface ScriptedOptions {
  readonly name?: string;
  readonly grouping?: Grouping;
  readonly deferredFlush?: boolean;
  readonly pageSizes?: bigint;
  readonly aperture?: Range;
  /** False: it cannot map into a domain without devices. */
  readonly mapsUnattached?: boolean;
  /** It translates no specifier. */
  readonly stub?: boolean;
}

export class ScriptedIommu implements IommuInstance {
  readonly name: string;
  readonly grouping: Grouping;
  readonly capabilities;
  readonly endpointIdOf?: (cells: readonly number[]) => number;
  /** Everything that was asked, in order. */
  readonly calls: string[] = [];
  readonly failures = new Failures<Operation>();
  /** By the names of devices. */
  readonly regions = new Map<string, DeviceRegion[]>();
  readonly demands = new Map<string, 'identity' | 'dma'>();
  /** Those that were not freed. */
  readonly domains = new Set<ScriptedDomain>();
  readonly endpoints = new Map<string, ScriptedEndpoint>();
  readonly options: ScriptedOptions;
  /** Runs in each attach before it is answered. */
  beforeAttach: ((name: string) => void) | undefined = undefined;
  #made = 0;

  constructor(options: ScriptedOptions = {}) {
    this.options = options;
    this.name = options.name ?? 'iommu0';
    this.grouping = options.grouping ?? 'each';
    const deferredFlush = options.deferredFlush ?? true;
    this.capabilities = { deferredFlush, shadowOnFlush: false, cacheCoherency: true };
    if (options.stub !== true) this.endpointIdOf = (cells) => cells[0] ?? 0;
  }

  defaultDomainType(endpoint: IommuEndpoint): 'identity' | 'dma' | undefined {
    return this.demands.get(endpoint.name);
  }

  probeDevice(ids: readonly number[], name: string): IommuEndpoint {
    this.calls.push(`probe ${name} ${ids.join()}`);
    this.failures.meet('probe');
    const endpoint = new ScriptedEndpoint(this, name);
    this.endpoints.set(name, endpoint);
    return endpoint;
  }

  allocPaging(): IommuDomain {
    this.failures.meet('paging');
    return this.#domain('paging');
  }

  allocIdentity(): IommuDomain {
    this.failures.meet('identity');
    return this.#domain('identity');
  }

  allocBlocking(): IommuDomain {
    return this.#domain('blocked');
  }

  /** Which calls begin so; then they are forgotten. */
  took(start: string): string[] {
    const found = this.calls.filter((call) => call.startsWith(start));
    this.calls.length = 0;
    return found;
  }

  #domain(type: IommuDomain['type']): ScriptedDomain {
    const domain = new ScriptedDomain(this, `d${this.#made++}`, type);
    this.domains.add(domain);
    return domain;
  }
}

export class ScriptedEndpoint implements IommuEndpoint {
  readonly name: string;
  domain: ScriptedDomain | null = null;
  readonly #iommu: ScriptedIommu;

  constructor(iommu: ScriptedIommu, name: string) {
    this.#iommu = iommu;
    this.name = name;
  }

  reservedRegions(): DeviceRegion[] {
    return [...(this.#iommu.regions.get(this.name) ?? [])];
  }

  attach(domain: IommuDomain): void {
    if (!(domain instanceof ScriptedDomain) || domain.iommu !== this.#iommu)
      throw new IommuError('EINVAL', 'Of another IOMMU.');
    this.#iommu.beforeAttach?.(this.name);
    this.#iommu.failures.meet('attach');
    if (this.domain === domain) return;
    this.domain?.attached.delete(this);
    this.domain = domain;
    domain.attached.add(this);
    // The device learns of the mappings together with the attach.
    this.#iommu.calls.push(`attach ${this.name} ${domain.label} with ${domain.pages().length}`);
  }

  detach(): void {
    this.domain?.attached.delete(this);
    this.domain = null;
    this.#iommu.calls.push(`detach ${this.name}`);
  }

  release(): void {
    this.domain?.attached.delete(this);
    this.domain = null;
    this.#iommu.endpoints.delete(this.name);
    this.#iommu.calls.push(`release ${this.name}`);
  }
}

interface Mapping {
  readonly start: number;
  readonly phys: number;
  readonly pages: number;
  readonly protection: number;
}

export class ScriptedDomain implements IommuDomain {
  readonly iommu: ScriptedIommu;
  readonly label: string;
  readonly type: IommuDomain['type'];
  readonly attached = new Set<ScriptedEndpoint>();
  /** By ascending start. */
  mappings: Mapping[] = [];
  pageSizeBitmap: bigint;
  aperture: Range | undefined;
  handler: unknown = undefined;
  /** `mapPages` maps no more blocks than this at a time. */
  blocksMax = Infinity;

  constructor(iommu: ScriptedIommu, label: string, type: IommuDomain['type']) {
    this.iommu = iommu;
    this.label = label;
    this.type = type;
    this.pageSizeBitmap = iommu.options.pageSizes ?? 0x1000n;
    this.aperture = iommu.options.aperture ?? { start: 0n, last: 0xffff_ffff_ffff_ffffn };
  }

  /** What is mapped, page by page. */
  pages(): { page: number; phys: number; protection: number }[] {
    return this.mappings.flatMap(({ start, phys, pages, protection }) =>
      Array.from({ length: pages }, (_, at) => ({ page: start + at, phys: phys + at, protection })),
    );
  }

  mapPages(
    start: number,
    phys: number,
    blockPages: number,
    asked: number,
    protection: number,
  ): number {
    this.iommu.failures.meet('map');
    const count = Math.min(asked, this.blocksMax);
    must(start % blockPages === 0 && phys % blockPages === 0 && Number.isInteger(asked));
    const pages = blockPages * count;
    const last = start + pages - 1;
    const { aperture } = this;
    if (this.iommu.options.mapsUnattached === false && this.attached.size === 0)
      throw new IommuError('ENODEV', 'No device yet.');
    if (aperture === undefined) throw new IommuError('ENODEV', 'Unfinalised.');
    if (start < pageOf(aperture.start) || last > pageOf(aperture.last))
      throw new IommuError('EINVAL', 'Outside of the aperture.');
    if (this.mappings.some((one) => one.start <= last && one.start + one.pages > start))
      throw new IommuError('EEXIST', 'Mapped already.');
    this.iommu.calls.push(`map ${hex(start)}>${hex(phys)} ${hex(blockPages)}*${count}`);
    this.mappings.push({ start, phys, pages, protection });
    this.mappings.sort((a, b) => a.start - b.start);
    return pages;
  }

  unmapPages(start: number, blockPages: number, asked: number): number {
    must(start % blockPages === 0 && Number.isInteger(asked));
    const count = Math.min(asked, this.blocksMax);
    const end = start + blockPages * count;
    const found = this.mappings.filter((one) => one.start < end && one.start + one.pages > start);
    if (found.some((one) => one.start < start || one.start + one.pages > end)) return 0;
    let cursor = start;
    for (const one of found) if (one.start === cursor) cursor += one.pages;
    this.mappings = this.mappings.filter((one) => one.start < start || one.start >= cursor);
    if (cursor > start) this.iommu.calls.push(`unmap ${hex(start)}+${hex(cursor - start)}`);
    return cursor - start;
  }

  translate(page: number): number {
    const found = this.mappings.find((one) => one.start <= page && one.start + one.pages > page);
    return found === undefined ? -1 : found.phys + page - found.start;
  }

  syncMap(start: number, pages: number): void {
    this.iommu.calls.push(`syncMap ${hex(start)}+${hex(pages)}`);
    this.iommu.failures.meet('syncMap');
  }

  sync(): void {
    this.iommu.calls.push('sync');
    this.iommu.failures.meet('sync');
  }

  flushAll(): void {
    this.iommu.calls.push('flush');
  }

  isStuck(): boolean {
    return false;
  }

  setFaultHandler(handler: unknown): void {
    this.handler = handler;
  }

  free(): void {
    if (this.attached.size > 0) throw new IommuError('EBUSY', 'Devices are in it.');
    this.iommu.domains.delete(this);
  }
}

/** What the core has promised its drivers. */
function must(condition: boolean): void {
  if (!condition) throw new Error('The core asks for parts of blocks.');
}

function hex(value: number): string {
  return value.toString(16);
}
