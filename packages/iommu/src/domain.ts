/** Domains as the core knows them: what kind they are, and who uses them. */

import {
  type IommuDomain,
  IommuError,
  type IommuFaultHandler,
  type IommuInstance,
  PAGE_SIZE,
} from '@viommu/common';
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
  #blocks: readonly number[] = [];

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

  /** The sizes of blocks that mappings are made of, in pages, ascending; none until the domain is finalised. */
  blocks(): readonly number[] {
    if (this.#blocks.length === 0) this.#blocks = blocksOf(this.ops.pageSizeBitmap);
    return this.#blocks;
  }

  /**
   * Names who is told about faults of the domain's devices.
   *
   * @throws {IommuError} `EBUSY` if the DMA layer has the domain.
   */
  setFaultHandler(handler: IommuFaultHandler | undefined): void {
    if (this.dmaApi || this.cookie !== undefined)
      throw new IommuError('EBUSY', 'The DMA layer hands out the addresses of this domain.');
    this.ops.setFaultHandler(handler);
  }
}

/** A size for each bit, in pages; those below a page make a page possible. */
function blocksOf(bitmap: bigint): number[] {
  const blocks: number[] = [];
  const part = BigInt(PAGE_SIZE) - 1n;
  let sizes = (bitmap & ~part) | ((bitmap & part) === 0n ? 0n : BigInt(PAGE_SIZE));
  sizes >>= 12n;
  for (let block = 1; sizes > 0n; block *= 2, sizes >>= 1n) if (sizes & 1n) blocks.push(block);
  return blocks;
}
