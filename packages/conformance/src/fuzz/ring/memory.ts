/**
 * Fuzzes the memory of a device behind a translator, against a plain page table: what is mapped may change at any time,
 * and no access may go by what was before.
 */

import { guestPhysical, highWord, lowWord } from '@viommu/common';
import {
  Access,
  type PieceList,
  SharedMemory,
  Translated,
  TranslatedMemory,
  type Translator,
  type ViewList,
} from '@viommu/ring';
import { Deviation } from '../deviation.ts';
import type { Fuzzer } from '../fuzzer.ts';
import type { Random } from '../random.ts';
import { scatter } from './setting.ts';

const LIVES = 20;
const STEPS = 120;
const PAGE = 4096;
/** Pages of memory, and of addresses side by side that may be mapped. */
const MEMORY_PAGES = 4;
const WINDOW_PAGES = 6;
const BYTES_MAX = 3 * PAGE;
/** Pages of addresses: where the windows begin. The last one ends with the last address. */
const WINDOWS = [0x100, 0xf_fffe, 2 ** 32 - 2, 2 ** 52 - WINDOW_PAGES] as const;
const MEMORY_BASE = 0x1_0000_0000n;

export const ringMemory: Fuzzer = {
  name: 'ring-memory',
  about:
    'the memory of a device behind a translator, against a plain page table that changes at any time',
  smokeSeeds: 200,
  run(random, journal) {
    for (let lives = 1 + random.number(LIVES); lives > 0; lives -= 1) {
      const world = new MemoryWorld(random);
      for (let left = random.number(STEPS); left > 0; left -= 1) {
        world.step();
        journal.requests += 1;
      }
      world.compare();
    }
  },
};

interface Mapped {
  /** Where it leads: a byte of memory, or behind it. */
  readonly to: number;
  readonly access: number;
}

/** What the device may touch, page by page. */
class PageTable implements Translator {
  generation = 0;
  readonly wholePages: boolean;
  refusal: Translated = Translated.FAULT;
  readonly pages: Map<number, Mapped> = new Map();

  constructor(wholePages: boolean) {
    this.wholePages = wholePages;
  }

  translate(
    page: number,
    offset: number,
    sizeBytes: number,
    access: Access,
    into: PieceList,
  ): Translated {
    const places = this.find(page, offset, sizeBytes, access);
    if (places === undefined) return this.refusal;
    for (const { to, bytes } of places) {
      const address = MEMORY_BASE + BigInt(to);
      into.add(Number(address >> 12n), Number(address & 0xfffn), bytes);
    }
    return Translated.OK;
  }

  /** The pieces of an access, or undefined if any of it is refused. */
  find(
    page: number,
    offset: number,
    sizeBytes: number,
    access: Access,
  ): { readonly to: number; readonly bytes: number }[] | undefined {
    const places = [];
    let at = offset;
    for (let left = sizeBytes; left > 0;) {
      const mapped = this.pages.get(page + Math.floor(at / PAGE));
      if (mapped === undefined || (mapped.access & access) === 0) return undefined;
      const bytes = Math.min(left, PAGE - (at % PAGE));
      places.push({ to: mapped.to + (at % PAGE), bytes });
      left -= bytes;
      at += bytes;
    }
    return places;
  }
}

interface Located {
  readonly position: number;
  readonly page: number;
  readonly offset: number;
  readonly length: number;
}

class MemoryWorld {
  readonly #random: Random;
  readonly #bytes: Uint8Array;
  readonly #copy: Uint8Array<ArrayBuffer>;
  readonly #memory: TranslatedMemory;
  #table: PageTable;
  #buffers: Located[] = [];
  #areas: Located[] = [];
  #faults = 0;
  #fatal = false;
  readonly #list: ViewList;
  readonly #scratch = new Uint8Array(BYTES_MAX + 2);

  constructor(random: Random) {
    this.#random = random;
    const size = MEMORY_PAGES * PAGE;
    const buffer = new SharedArrayBuffer(size);
    this.#bytes = new Uint8Array(buffer);
    scatter(this.#bytes, random.number(0x1_0000));
    this.#copy = Uint8Array.from(this.#bytes);
    const memory = new SharedMemory({ buffer, offset: 0, size, base: guestPhysical(MEMORY_BASE) });
    this.#table = this.#newTable();
    this.#memory = new TranslatedMemory({ memory, translator: this.#table });
    this.#list = this.#memory.newViewList();
  }

  step(): void {
    const random = this.#random;
    switch (random.number(16)) {
      case 0:
      case 1:
        return this.#locate(false);
      case 2:
        return this.#locate(true);
      case 3:
        return this.#change();
      case 4:
        return this.#forget();
      case 5:
        return this.#pieces();
      case 6:
      case 7:
        return this.#copyBytes(random.once(2));
      default:
        return this.#word();
    }
  }

  compare(): void {
    if (Buffer.compare(this.#bytes, this.#copy) !== 0)
      throw wrong(
        'memory is another',
        `byte ${this.#copy.findIndex((byte, at) => byte !== this.#bytes[at])}`,
      );
    const { faulted, fatal, faults } = this.#memory;
    if (faults !== this.#faults)
      throw wrong('refused accesses are not counted', `${faults} for ${this.#faults}`);
    if (faulted !== this.#faulted || fatal !== this.#fatal)
      throw wrong('a refused access is not noted', `${faulted} ${fatal}`);
  }

  #faulted = false;

  #newTable(): PageTable {
    const table = new PageTable(!this.#random.once(3));
    for (const window of WINDOWS)
      for (let page = 0; page < WINDOW_PAGES; page += 1)
        if (!this.#random.once(4)) this.#map(table, window + page);
    return table;
  }

  #map(table: PageTable, page: number): void {
    const random = this.#random;
    // Now and then to where no memory is, or is not to the end.
    const to = PAGE * random.number(MEMORY_PAGES) + (random.once(12) ? PAGE * MEMORY_PAGES : 0);
    const odd = random.once(6) ? 8 * random.number(64) : 0;
    table.pages.set(page, { to: to + odd, access: random.once(4) ? 1 + random.number(2) : 3 });
  }

  #locate(area: boolean): void {
    const random = this.#random;
    const window = random.pick(WINDOWS);
    const page = window + random.number(WINDOW_PAGES);
    const offset = random.once(2)
      ? random.number(PAGE)
      : random.pick([0, PAGE - 1, PAGE - 2, PAGE - 4, PAGE - 8]);
    const length = random.once(20) ? 0x1000_0000 : random.number(random.once(4) ? BYTES_MAX : 64);
    const address = BigInt(page) * BigInt(PAGE) + BigInt(offset);
    const low = lowWord(page, offset);
    const high = highWord(page);
    const position = area
      ? this.#memory.locateArea(low, high, length)
      : this.#memory.locate(low, high, length);
    const leaves = address + BigInt(Math.max(1, length)) > 1n << 64n;
    if (leaves !== position < 0 && (leaves || length <= BYTES_MAX))
      throw wrong(
        leaves ? 'a buffer leaves all addresses' : 'a buffer has no position',
        `0x${address.toString(16)}+${length}`,
      );
    if (position < 0) return;
    if (position % PAGE !== offset) throw wrong('a position has another offset', `${position}`);
    if (length > BYTES_MAX) return;
    (area ? this.#areas : this.#buffers).push({ position, page, offset, length });
  }

  /** Something is mapped otherwise, and that is told in one of the ways there are. */
  #change(): void {
    const random = this.#random;
    const page = random.pick(WINDOWS) + random.number(WINDOW_PAGES);
    if (random.once(2)) this.#table.pages.delete(page);
    else this.#map(this.#table, page);
    // A rule about bytes changes without a word.
    if (!this.#table.wholePages) return;
    switch (random.number(4)) {
      case 0:
        this.#table.generation += 1;
        return;
      case 1:
        return this.#memory.invalidate(page, page);
      case 2:
        return this.#memory.invalidate(page - random.number(3), page + random.number(3));
      default:
        return this.#memory.invalidateAll();
    }
  }

  #forget(): void {
    const random = this.#random;
    switch (random.number(6)) {
      case 0:
        this.#memory.forget();
        this.#areas = [];
        this.#faulted = this.#fatal = false;
        break;
      case 1:
        this.#table = this.#newTable();
        return this.#memory.use(this.#table);
      case 2:
        this.#memory.faulted = this.#memory.fatal = this.#faulted = this.#fatal = false;
        return;
      case 3:
        this.#table.refusal = random.once(2) ? Translated.FATAL : Translated.FAULT;
        return;
      default:
        this.#memory.dropBuffers();
    }
    this.#buffers = [];
  }

  /** Some bytes of what was located; undefined if nothing was. */
  #some(most: number): (Located & { readonly at: number; readonly bytes: number }) | undefined {
    const random = this.#random;
    const all = [...this.#buffers.slice(-4), ...this.#areas.slice(-4)].filter(
      ({ length }) => length > 0,
    );
    if (all.length === 0) return undefined;
    const located = random.pick(all);
    const bytes = Math.min(located.length, most);
    const room = located.length - bytes;
    const at = random.once(3) ? room : random.number(room + 1);
    return { ...located, at, bytes };
  }

  /** What an access has to come to: the places of its bytes, or undefined, which is a fault. */
  #due(page: number, offset: number, bytes: number, access: Access): number[] | undefined {
    const places = this.#table.find(page, offset, bytes, access);
    const flat: number[] = [];
    for (const { to, bytes: count } of places ?? [])
      for (let byte = 0; byte < count; byte += 1) flat.push(to + byte);
    const refused = places === undefined;
    if (!refused && flat.every((at) => at < this.#copy.length)) return flat;
    this.#faults += 1;
    this.#faulted = true;
    // What leads nowhere is refused by nobody who knows better.
    if (refused && this.#table.refusal === Translated.FATAL) this.#fatal = true;
    return undefined;
  }

  #word(): void {
    const random = this.#random;
    const size = random.pick([4, 2, 1]);
    const some = this.#some(size);
    if (some === undefined || some.bytes !== size) return;
    const { position, page, offset, at } = some;
    const where = position + at;
    const memory = this.#memory;
    const ordered = size === 2 && where % 2 === 0 && random.once(2);
    if (random.once(2)) {
      const value = random.next();
      if (ordered) memory.storeUint16(where, value & 0xffff);
      else if (size === 4) memory.setUint32(where, value);
      else if (size === 2) memory.setUint16(where, value & 0xffff);
      else memory.setUint8(where, value & 0xff);
      const places = this.#due(page, offset + at, size, Access.WRITE);
      for (const [byte, place] of (places ?? []).entries())
        this.#copy[place] = value >>> (8 * byte);
      return this.compare();
    }
    let value: number;
    if (ordered) value = memory.loadUint16(where);
    else if (size === 4) value = memory.getUint32(where);
    else value = size === 2 ? memory.getUint16(where) : memory.getUint8(where);
    let expected = 0;
    const places = this.#due(page, offset + at, size, Access.READ);
    for (const [byte, place] of (places ?? []).entries())
      expected += this.#copy[place]! * 2 ** (8 * byte); // In memory.
    if (value !== expected)
      throw wrong('a word is another', `${value} for ${expected}, ${size} bytes`);
    this.compare();
  }

  #copyBytes(write: boolean): void {
    const some = this.#some(1 + this.#random.number(this.#random.once(4) ? BYTES_MAX : 40));
    if (some === undefined) return;
    const { position, page, offset, at, bytes } = some;
    const scratch = this.#scratch;
    scatter(scratch, this.#random.number(0x1_0000));
    if (write) this.#memory.write(position + at, scratch, 1, bytes);
    else this.#memory.read(position + at, scratch, 1, bytes);
    const places = this.#due(page, offset + at, bytes, write ? Access.WRITE : Access.READ);
    for (let byte = 0; byte < bytes; byte += 1) {
      const place = places?.[byte];
      const due = place === undefined ? 0 : this.#copy[place]!; // In memory.
      if (write && place !== undefined) this.#copy[place] = scratch[1 + byte]!; // Below the length.
      else if (!write && scratch[1 + byte] !== due)
        throw wrong('bytes are others', `byte ${byte} of ${bytes}`);
    }
    this.compare();
  }

  #pieces(): void {
    const some = this.#some(1 + this.#random.number(this.#random.once(2) ? BYTES_MAX : 40));
    if (some === undefined) return;
    const { position, page, offset, at, bytes } = some;
    const list = this.#list;
    list.begin();
    const access = this.#random.once(2) ? Access.WRITE : Access.READ;
    const there = this.#memory.pieces(position + at, bytes, access, list);
    const views = list.end();
    const before = this.#faulted;
    const places = this.#due(page, offset + at, bytes, access);
    // A buffer that cannot be reached is no reason to doubt the ring.
    this.#faulted = before;
    const found = views.flatMap((view) => [...view.keys()].map((byte) => view.byteOffset + byte));
    if (there !== (places !== undefined)) throw wrong('pieces are refused wrongly', String(there));
    if (list.sizeBytes !== (places?.length ?? 0))
      throw wrong('pieces are others', `${list.sizeBytes} bytes`);
    if ((places ?? []).some((place, index) => place !== found[index]))
      throw wrong('pieces are others', `${bytes} bytes`);
    this.compare();
  }
}

function wrong(matter: string, evidence: string): Deviation {
  return new Deviation('ring', `memory: ${matter}`, evidence);
}
