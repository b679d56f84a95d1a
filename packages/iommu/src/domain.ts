/** Domains as the core knows them: what kind they are, and who uses them. */

import type { IommuDomain, IommuInstance } from '@viommu/common';
import type { DmaCookie } from './dma-cookie.ts';

/** The kinds, by the names of the `type` attribute. `DMA` is strict, `DMA-FQ` lazy. */
export type DomainType = 'blocked' | 'identity' | 'unmanaged' | 'DMA' | 'DMA-FQ';

/** An address space, and what the core has to do with it. */
export class Domain {
  readonly instance: IommuInstance;
  /** The driver's half. */
  readonly ops: IommuDomain;
  /** Changes once at most, from `DMA` to `DMA-FQ`. */
  type: DomainType;
  /** Addresses and flush queues, in a domain of the DMA layer. */
  cookie: DmaCookie | undefined = undefined;

  constructor(instance: IommuInstance, ops: IommuDomain, type: DomainType) {
    this.instance = instance;
    this.ops = ops;
    this.type = type;
  }

  /** It can be mapped into. */
  get paging(): boolean {
    return this.type !== 'blocked' && this.type !== 'identity';
  }

  /** The DMA layer hands out its addresses. */
  get dmaApi(): boolean {
    return this.type === 'DMA' || this.type === 'DMA-FQ';
  }
}
