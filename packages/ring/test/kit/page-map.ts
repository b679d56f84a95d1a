/** A translator whose mappings a test changes at will, page by page; it writes down what it was asked. */

import { type Access, type PieceList, Translated, type Translator } from '@viommu/ring';

const PAGE = 4096;

export interface Asked {
  readonly page: number;
  readonly offset: number;
  readonly sizeBytes: number;
  readonly access: Access;
}

export class PageMap implements Translator {
  generation = 0;
  wholePages = true;
  /** What a refused access ends with. */
  refusal: Translated = Translated.FAULT;
  readonly asked: Asked[] = [];
  /** Runs before each answer. */
  before: (() => void) | undefined;
  readonly #pages = new Map<number, { readonly to: number; readonly access: number }>();

  /** Maps one page. `access` are bits of `Access`. */
  map(page: number, to: number, access = 3): void {
    this.#pages.set(page, { to, access });
  }

  unmap(page: number): void {
    this.#pages.delete(page);
  }

  translate(
    page: number,
    offset: number,
    sizeBytes: number,
    access: Access,
    into: PieceList,
  ): Translated {
    this.before?.();
    this.asked.push({ page, offset, sizeBytes, access });
    let at = offset;
    for (let left = sizeBytes; left > 0;) {
      const entry = this.#pages.get(page + Math.floor(at / PAGE));
      if (entry === undefined || (entry.access & access) === 0) return this.refusal;
      const bytes = Math.min(left, PAGE - (at % PAGE));
      into.add(entry.to, at % PAGE, bytes);
      left -= bytes;
      at += bytes;
    }
    return Translated.OK;
  }
}
