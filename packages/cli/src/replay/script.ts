/**
 * A recording in memory that both workers read: one row of 32-bit words for each request, access and reset, in the
 * order of the recording, and a table of the mappings that UNMAPs removed.
 *
 * 64-bit values are two words, low first. Nothing writes to a script once it is built.
 */

import { pageOfWords } from '@viommu/common';

/** What a row tells. The first five are the types of requests in the standard. */
export const RowKind = {
  ATTACH: 1,
  DETACH: 2,
  MAP: 3,
  UNMAP: 4,
  PROBE: 5,
  ACCESS: 6,
  FAULT: 7,
  RESET: 8,
  BYPASS: 9,
} as const;

/** A value of {@link RowKind}. */
export type RowKind = (typeof RowKind)[keyof typeof RowKind];

/** Bits of an access; the same as those of MAP flags. */
export const AccessBits = { r: 1, w: 2, rw: 3 } as const;

/** Values of the `flags` of a RESET row. */
export const ResetKind = { DEVICE: 0, SYSTEM: 1 } as const;

/** The `flags` of a PROBE row that says nothing about regions: one that found none, or was refused. */
export const NO_REGION = 0x100;

/** The `status` of an ACCESS row that passed untranslated. */
export const UNTRANSLATED = 1;

/** The words of a row, for the builder. */
export const Word = {
  KIND: 0,
  LINE: 1,
  DOMAIN: 2,
  ENDPOINT: 3,
  /** ATTACH, MAP: its flags. PROBE: subtype of the region. ACCESS, FAULT: access bits. BYPASS: the byte. */
  FLAGS: 4,
  /** Requests: the status. FAULT: the reason. ACCESS: 1 if it passed untranslated. */
  STATUS: 5,
  /** MAP, UNMAP, PROBE: first address of the range. ACCESS, FAULT: the address. */
  START: 6,
  /** MAP, UNMAP, PROBE: last address of the range. */
  LAST: 8,
  /** MAP: where the range leads. ACCESS: where the address led. UNMAP: first row and number of removed mappings. */
  TARGET: 10,
} as const;

/** Words in a row, for the builder. */
export const ROW_WORDS = 12;
/** Words in a row of the table of removed mappings: first and last address. */
export const REMOVED_WORDS = 4;
/** Words before the first row: the number of rows, the number of removed mappings. */
export const HEADER_WORDS = 4;

/** Reads the rows of a script. */
export class Script {
  /** The buffer that holds it all, to be passed to another thread. */
  readonly buffer: SharedArrayBuffer;
  /** Rows in the script. */
  readonly length: number;
  readonly #rows: Uint32Array;
  readonly #removed: Uint32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    const header = new Uint32Array(buffer, 0, HEADER_WORDS);
    this.length = header[0]!; // the header has two words and more
    this.#rows = new Uint32Array(buffer, 4 * HEADER_WORDS, this.length * ROW_WORDS);
    const removedAt = 4 * (HEADER_WORDS + this.length * ROW_WORDS);
    this.#removed = new Uint32Array(buffer, removedAt, header[1]! * REMOVED_WORDS); // likewise
  }

  kind(row: number): RowKind {
    return this.#word(row, Word.KIND) as RowKind; // only the builder writes it
  }

  /** The line of the recording. */
  line(row: number): number {
    return this.#word(row, Word.LINE);
  }

  domain(row: number): number {
    return this.#word(row, Word.DOMAIN);
  }

  endpoint(row: number): number {
    return this.#word(row, Word.ENDPOINT);
  }

  flags(row: number): number {
    return this.#word(row, Word.FLAGS);
  }

  status(row: number): number {
    return this.#word(row, Word.STATUS);
  }

  startPage(row: number): number {
    return this.#page(row, Word.START);
  }

  startOffset(row: number): number {
    return this.#word(row, Word.START) & 0xfff;
  }

  lastPage(row: number): number {
    return this.#page(row, Word.LAST);
  }

  lastOffset(row: number): number {
    return this.#word(row, Word.LAST) & 0xfff;
  }

  targetPage(row: number): number {
    return this.#page(row, Word.TARGET);
  }

  targetOffset(row: number): number {
    return this.#word(row, Word.TARGET) & 0xfff;
  }

  /** For messages and slow paths. */
  start(row: number): bigint {
    return this.#wide(row, Word.START);
  }

  /** For messages and slow paths. */
  last(row: number): bigint {
    return this.#wide(row, Word.LAST);
  }

  /** For messages and slow paths. */
  target(row: number): bigint {
    return this.#wide(row, Word.TARGET);
  }

  /** Mappings that an UNMAP removed. */
  removedCount(row: number): number {
    return this.#word(row, Word.TARGET + 1);
  }

  /** The removed mapping number `index` of an UNMAP, in ascending order. */
  removedStart(row: number, index: number): bigint {
    return this.#removedWide(row, index, 0);
  }

  removedLast(row: number, index: number): bigint {
    return this.#removedWide(row, index, 2);
  }

  #word(row: number, word: number): number {
    return this.#rows[row * ROW_WORDS + word]!; // rows are counted
  }

  #page(row: number, word: number): number {
    return pageOfWords(this.#word(row, word), this.#word(row, word + 1));
  }

  #wide(row: number, word: number): bigint {
    return join(this.#word(row, word), this.#word(row, word + 1));
  }

  #removedWide(row: number, index: number, word: number): bigint {
    const at = (this.#word(row, Word.TARGET) + index) * REMOVED_WORDS + word;
    return join(this.#removed[at]!, this.#removed[at + 1]!); // the table holds what rows count
  }
}

/** True for a row that the device answers with a status. */
export function isRequest(kind: RowKind): boolean {
  return kind <= RowKind.PROBE;
}

/** True for a row that an endpoint carries out. */
export function isAccess(kind: RowKind): boolean {
  return kind === RowKind.ACCESS || kind === RowKind.FAULT;
}

function join(low: number, high: number): bigint {
  return (BigInt(high) << 32n) | BigInt(low);
}
