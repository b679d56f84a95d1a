/**
 * DMA operations with a translator behind them, both in a few lines: each mapping gets fresh addresses, never used again,
 * and what is not mapped is refused. It makes mistakes visible: unmapping what is not mapped, an access to what was
 * mapped for later and not finished. What is unmapped for later stays reachable until that is finished.
 */

import type { Context } from '@viommu/common';
import {
  type CoherentMemory,
  type Device,
  type Direction,
  type DmaAddress,
  DmaAttribute,
  type DmaOps,
  type ScatterEntry,
} from '@viommu/iommu';
import { type Access, type PieceList, Translated, type Translator } from '@viommu/ring';
import type { GuestPages } from './guest-pages.ts';

const PAGE = 4096;
/** Far beyond 2^53 bytes. */
const TOP_PAGE = 0xf_ffff_ff00_0000;

interface Entry {
  readonly to: number;
  readonly access: number;
}

export class ScriptedDma implements DmaOps, Translator {
  readonly kind = 'iommu';
  readonly generationStep = 1;
  generation = 0;
  readonly wholePages = true;
  /** Mappings made so far, and whether the next ones fail. */
  maps = 0;
  failing = false;
  failingCoherent = false;
  /** Throws out of the next unmap, once: a context that has to wait for a lock. */
  parkUnmap: Error | undefined = undefined;
  /** Of one mapping; `Infinity` for no limit. */
  bytesMax = Infinity;
  /** Whether an access to unmapped memory costs the device a reset. */
  refusal: Translated = Translated.FAULT;
  readonly entries = new Map<number, Entry>();
  /** First page and pages of mappings that are live. */
  readonly live = new Map<number, number>();
  /** Times that somebody waited for the IOMMU. */
  waits = 0;
  /** Whether the IOMMU refuses a mapping that was made for later, by the page of memory it begins with. */
  refuses: (page: number) => boolean = () => false;
  /** Called by whoever waits. */
  onWait: () => void = () => {};
  /** Of mappings made for later, by their first page: those not waited for, and those refused. */
  readonly #unfinished = new Set<number>();
  readonly #refused = new Set<number>();
  /** First page and pages of what was unmapped for later. */
  readonly #late: [page: number, pages: number][] = [];
  readonly #guest: GuestPages;
  /** Every page of a mapping elsewhere if false, pages in a row if true. */
  readonly #next = { page: TOP_PAGE };

  constructor(guest: GuestPages) {
    this.#guest = guest;
  }

  map(
    _context: Context,
    _device: Device,
    page: number,
    offset: number,
    sizeBytes: number,
    direction: Direction,
    attributes: number,
    into: DmaAddress,
  ): boolean {
    if (this.failing || sizeBytes > this.bytesMax) return false;
    const first = page + Math.floor(offset / PAGE);
    const inPage = offset % PAGE;
    const parts = [{ page: first, pages: pagesOf(inPage, sizeBytes) }];
    into.page = this.#enter(parts, direction, attributes);
    into.offset = inPage;
    return true;
  }

  unmap(
    _context: Context,
    _device: Device,
    dmaPage: number,
    dmaOffset: number,
    sizeBytes: number,
    _direction: Direction,
    attributes: number,
  ): void {
    this.#park();
    this.#leave(dmaPage, pagesOf(dmaOffset, sizeBytes), attributes);
  }

  /** One address range for the list, and a segment for each entry, but where pages join. */
  mapList(
    _context: Context,
    device: Device,
    list: readonly ScatterEntry[],
    count: number,
    direction: Direction,
    attributes: number,
  ): number | 'ENOMEM' {
    if (this.failing) return 'ENOMEM';
    const parts = list.slice(0, count).map((entry) => {
      const page = entry.page + Math.floor(entry.offset / PAGE);
      return { page, pages: pagesOf(entry.offset % PAGE, entry.sizeBytes) };
    });
    let page = this.#enter(parts, direction, attributes);
    let segments = 0;
    let end = -1;
    for (let index = 0; index < count; index += 1) {
      const { offset, sizeBytes } = list[index]!; // Below the count.
      const inPage = offset % PAGE;
      const last = list[segments - 1];
      if (
        last !== undefined &&
        inPage === 0 &&
        end === 0 &&
        last.dmaSizeBytes + sizeBytes <= device.segmentBytesMax
      )
        last.dmaSizeBytes += sizeBytes;
      else {
        const segment = list[segments]!; // No more segments than entries.
        segment.dmaPage = page;
        segment.dmaOffset = inPage;
        segment.dmaSizeBytes = sizeBytes;
        segments += 1;
      }
      page += pagesOf(inPage, sizeBytes);
      end = (inPage + sizeBytes) % PAGE;
    }
    return segments;
  }

  unmapList(
    _context: Context,
    _device: Device,
    list: readonly ScatterEntry[],
    count: number,
    _direction: Direction,
    attributes: number,
  ): void {
    this.#park();
    const pages = list
      .slice(0, count)
      .reduce((sum, { offset, sizeBytes }) => sum + pagesOf(offset % PAGE, sizeBytes), 0);
    this.#leave(list[0]!.dmaPage, pages, attributes); // There is one.
  }

  finishMap(_device: Device, dmaPage: number): boolean {
    if (this.#unfinished.size > 0) this.#wait();
    // A segment of a list lies behind the first page.
    for (const first of this.#refused)
      if (dmaPage >= first && dmaPage < first + (this.live.get(first) ?? 0)) {
        this.#refused.delete(first);
        return false;
      }
    return true;
  }

  finishUnmaps(): void {
    if (this.#late.length === 0) return;
    this.#wait();
    for (const [page, pages] of this.#late.splice(0)) this.#gone(page, pages);
  }

  allocateCoherent(
    _context: Context,
    _device: Device,
    sizeBytes: number,
  ): CoherentMemory | undefined {
    const pages = Math.ceil(sizeBytes / PAGE);
    const page = this.failingCoherent ? -1 : this.#guest.take(pages);
    if (page < 0) return undefined;
    return { page, sizeBytes: pages * PAGE, dmaPage: this.#enter([{ page, pages }], 3, 0) };
  }

  freeCoherent(_context: Context, _device: Device, memory: CoherentMemory): void {
    this.#leave(memory.dmaPage, memory.sizeBytes / PAGE, 0);
    this.#guest.give(memory.page);
  }

  syncForCpu(): void {}
  syncForDevice(): void {}
  checkMask(): void {}

  mappingBytesMax(): number {
    return this.bytesMax;
  }

  translate(
    page: number,
    offset: number,
    sizeBytes: number,
    access: Access,
    into: PieceList,
  ): Translated {
    let at = offset;
    if (this.#isUnfinished(page)) throw new Error('the device saw an address too early');
    for (let left = sizeBytes; left > 0;) {
      const entry = this.entries.get(page + Math.floor(at / PAGE));
      if (entry === undefined || (entry.access & access) === 0) return this.refusal;
      const bytes = Math.min(left, PAGE - (at % PAGE));
      into.add(entry.to, at % PAGE, bytes);
      left -= bytes;
      at += bytes;
    }
    return Translated.OK;
  }

  /** Takes a mapping away behind the driver's back. */
  revoke(page: number): void {
    this.entries.delete(page);
    this.generation += 1;
  }

  #enter(
    parts: readonly { readonly page: number; readonly pages: number }[],
    access: number,
    attributes: number,
  ): number {
    const first = this.#next.page;
    if ((attributes & DmaAttribute.LATER) === 0) this.waits += 1;
    else {
      this.#unfinished.add(first);
      if (this.refuses(parts[0]!.page)) this.#refused.add(first); // There is a part.
    }
    let at = first;
    for (const { page, pages } of parts)
      for (let index = 0; index < pages; index += 1) {
        this.entries.set(at, { to: page + index, access });
        at += 1;
      }
    this.#next.page = at + 1;
    this.live.set(first, at - first);
    this.maps += 1;
    return first;
  }

  #leave(page: number, pages: number, attributes: number): void {
    if (this.live.get(page) !== pages)
      throw new Error(`unmapped ${pages} pages from ${page} on, which are not a mapping`);
    this.live.delete(page);
    this.#unfinished.delete(page);
    this.#refused.delete(page);
    this.#late.push([page, pages]);
    if ((attributes & DmaAttribute.LATER) === 0) this.finishUnmaps();
  }

  #isUnfinished(page: number): boolean {
    for (const first of this.#unfinished)
      if (page >= first && page < first + (this.live.get(first) ?? 0)) return true;
    return false;
  }

  #wait(): void {
    this.waits += 1;
    this.onWait();
    this.#unfinished.clear();
    for (const first of this.#refused)
      for (let n = 0; n < (this.live.get(first) ?? 0); n += 1) this.entries.delete(first + n);
  }

  #gone(page: number, pages: number): void {
    for (let index = 0; index < pages; index += 1) this.entries.delete(page + index);
    this.generation += 1;
  }

  #park(): void {
    const error = this.parkUnmap;
    this.parkUnmap = undefined;
    if (error !== undefined) throw error;
  }
}

function pagesOf(offset: number, sizeBytes: number): number {
  return Math.ceil((offset + sizeBytes) / PAGE);
}
