/**
 * A driver that writes rings by hand: chains of any form, any descriptors, several publications, and whatever field is to
 * be wrong. What it writes goes into memory and into the copy that is compared with it.
 */

import { EventSuppression, PackedDescriptor, UsedElement, UsedRing } from '@viommu/common';
import type { Random } from '../random.ts';
import { type PlainBuffer, packedDue, splitDue } from './plain.ts';
import { type Setting, TABLES, clearRing, flagsAt } from './setting.ts';

export const NEXT = 1;
export const WRITE = 2;
export const INDIRECT = 4;
const ENTRY = 16;

/** Where a chain was written. */
export interface Site {
  readonly id: number;
  /** Descriptors in the ring, or slots. */
  readonly ids: readonly number[];
  /** Positions of the descriptors of its buffers, in order; those from {@link tableFrom} on are in a table. */
  readonly at: readonly number[];
  readonly tableFrom: number;
  /** Position of the descriptor of the table, or -1; and the number of the table. */
  readonly indirectAt: number;
  readonly table: number;
  readonly buffers: readonly PlainBuffer[];
}

export class PlainDriver {
  readonly #setting: Setting;
  readonly #views: readonly DataView[];
  readonly #random: Random;
  #freeIds: number[];
  readonly #freeTables: number[] = Array.from({ length: TABLES }, (_, table) => table);
  #freeSlots: number;
  /** The available index; or the next slot, and its wrap counter. */
  #next: number;
  #wrap: boolean;
  #shown: number;
  #addedSlots = 0;
  #held: { readonly at: number; flags: number } | undefined;
  /** Where the next used entry is awaited. */
  #used: number;
  #usedWrap: boolean;
  readonly #inFlight = new Map<number, Site>();

  constructor(setting: Setting, views: readonly DataView[], random: Random) {
    this.#setting = setting;
    this.#views = views;
    this.#random = random;
    const { size, position, packed } = setting;
    this.#freeIds = Array.from({ length: size }, (_, id) => id);
    this.#freeSlots = size;
    this.#next = packed ? position & 0x7fff : position;
    this.#shown = this.#used = this.#next;
    this.#wrap = this.#usedWrap = position >= 0x8000;
    for (const view of views) clearRing(setting, view, position);
  }

  /** Chains added and not reclaimed. */
  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Descriptors that are free. */
  get room(): number {
    return this.#setting.packed ? this.#freeSlots : this.#freeIds.length;
  }

  get waits(): boolean {
    return this.#setting.packed ? this.#addedSlots > 0 : this.#next !== this.#shown;
  }

  /** Describes a chain in any form for which there is room; undefined if there is none. */
  add(buffers: readonly PlainBuffer[]): Site | undefined {
    const { features, tableEntries, packed } = this.#setting;
    const random = this.#random;
    const canTable =
      features.indirect && this.#freeTables.length > 0 && buffers.length <= tableEntries;
    const table = canTable && this.room > 0 && !random.once(3);
    // A split chain may begin with direct descriptors, and go on in a table.
    const direct = table && !packed ? random.number(2) * random.number(buffers.length) : 0;
    const inRing = table ? direct + 1 : buffers.length;
    if (inRing > this.room) return undefined;
    return packed
      ? this.#addPacked(buffers, inRing, table)
      : this.#addSplit(buffers, inRing, table);
  }

  /** Shows what was added: a count of descriptors as the device is told of them, and from where. */
  publish(): void {
    if (!this.#setting.packed) {
      this.put16(this.#setting.place.driver + 2, this.#next);
      this.#shown = this.#next;
    } else if (this.#held !== undefined) {
      this.put16(this.#held.at + 14, this.#held.flags);
      this.#held = undefined;
      this.#addedSlots = 0;
    }
  }

  /** Publishes and looks, as it must, at what the device wants. True if it has to be notified. */
  publishAndLook(): boolean | undefined {
    const { packed, size, place, features } = this.#setting;
    const view = this.#views[0]!; // There is one.
    if (packed) {
      const count = this.#addedSlots;
      const back = this.#next - count;
      const from =
        back < 0 ? { slot: back + size, wrap: !this.#wrap } : { slot: back, wrap: this.#wrap };
      this.publish();
      const desc = view.getUint16(place.device, true);
      const flags = view.getUint16(place.device + EventSuppression.offset.flags, true);
      return packedDue({ desc, flags }, features.eventIndex, size, from, count);
    }
    const before = this.#shown;
    this.publish();
    if (!features.eventIndex) return (view.getUint16(place.device, true) & 1) === 0;
    return splitDue(
      view.getUint16(place.device + UsedRing.size + UsedElement.size * size, true),
      before,
      this.#next,
    );
  }

  /** Takes back what the device has used, in the order of its used entries. */
  reclaim(id: number): void {
    const site = this.#inFlight.get(id);
    if (site === undefined) return;
    this.#inFlight.delete(id);
    const { packed, size } = this.#setting;
    if (site.table >= 0) this.#freeTables.push(site.table);
    if (!packed) {
      this.#freeIds.push(...site.ids);
      this.#used = (this.#used + 1) & 0xffff;
      return;
    }
    this.#freeIds.push(id);
    this.#freeSlots += site.ids.length;
    this.#used += site.ids.length;
    if (this.#used >= size) {
      this.#used -= size;
      this.#usedWrap = !this.#usedWrap;
    }
  }

  /** Asks for a notification of the next used entry and looks once more: true if it would sleep then. */
  arm(): boolean {
    const { packed, size, place, features } = this.#setting;
    const view = this.#views[0]!; // There is one.
    if (packed) {
      if (features.eventIndex) this.put16(place.driver, this.#used | (this.#usedWrap ? 0x8000 : 0));
      this.put16(place.driver + EventSuppression.offset.flags, features.eventIndex ? 2 : 0);
      const flags = view.getUint16(
        place.table + ENTRY * this.#used + PackedDescriptor.offset.flags,
        true,
      );
      return flags >= 0x8000 !== this.#usedWrap || ((flags & 0x80) !== 0) !== this.#usedWrap;
    }
    if (features.eventIndex) this.put16(place.driver + 4 + 2 * size, this.#used);
    else this.put16(place.driver, 0);
    return view.getUint16(place.device + UsedRing.offset.idx, true) === this.#used;
  }

  /** Writes anything into what says whether it wants to hear; what is legal mostly. */
  wish(): void {
    const { packed, size, place, features } = this.#setting;
    const random = this.#random;
    const near = random.number(6) - 2;
    if (packed) {
      const slot = (this.#used + near + 2 * size) % size;
      this.put16(
        place.driver,
        random.once(8) ? random.number(0x1_0000) : slot | (random.number(2) << 15),
      );
      this.put16(
        place.driver + EventSuppression.offset.flags,
        random.number(features.eventIndex ? 3 : 2),
      );
    } else if (features.eventIndex) {
      this.put16(
        place.driver + 4 + 2 * size,
        random.once(8) ? random.number(0x1_0000) : (this.#used + near) & 0xffff,
      );
    } else this.put16(place.driver, random.once(8) ? random.number(0x1_0000) : random.number(2));
  }

  put16(at: number, value: number): void {
    for (const view of this.#views) view.setUint16(at, value & 0xffff, true);
  }

  put32(at: number, value: number): void {
    for (const view of this.#views) view.setUint32(at, value, true);
  }

  put64(at: number, value: bigint): void {
    for (const view of this.#views) view.setBigUint64(at, BigInt.asUintN(64, value), true);
  }

  put8(at: number, value: number): void {
    for (const view of this.#views) view.setUint8(at, value);
  }

  /** Flags of a descriptor in the ring or in a table. */
  flags(at: number): number {
    if (this.#held?.at === at) return this.#held.flags;
    return this.#views[0]!.getUint16(at + flagsAt(this.#setting.packed), true); // There is one.
  }

  setFlags(at: number, flags: number): void {
    if (this.#held?.at === at) this.#held.flags = flags;
    else this.put16(at + flagsAt(this.#setting.packed), flags);
  }

  /** The entry of the available ring that was written last. */
  get lastEntry(): number {
    const { place, size } = this.#setting;
    return place.driver + 4 + 2 * (((this.#next - 1) & 0xffff) % size);
  }

  /** Makes the available index any. */
  setIndex(index: number): void {
    this.put16(this.#setting.place.driver + 2, index);
  }

  #addSplit(buffers: readonly PlainBuffer[], inRing: number, inTable: boolean): Site {
    const { place, size } = this.#setting;
    const ids = this.#draw(inRing);
    const ringAt = ids.map((id) => place.table + ENTRY * id);
    const { table, tableAt } = this.#table(inTable);
    const direct = inTable ? inRing - 1 : inRing;
    const rest = buffers.length - direct;
    const at = buffers.map(
      (_, index) => (index < direct ? ringAt[index]! : tableAt + ENTRY * (index - direct)), // There are as many.
    );
    for (const [index, buffer] of buffers.entries()) {
      const last = index + 1 === buffers.length;
      const next =
        index + 1 < direct || (inTable && index < direct) ? ids[index + 1]! : index - direct + 1; // There is one.
      this.#descriptor(
        at[index]!,
        buffer,
        last ? 0 : NEXT,
        last ? this.#random.number(size) : next,
      ); // As above.
    }
    let indirectAt = -1;
    if (inTable) {
      indirectAt = ringAt[direct]!; // The last one.
      const { base } = this.#setting.memory;
      const length = ENTRY * rest;
      const buffer = { address: base + BigInt(tableAt), length, writable: this.#random.once(4) };
      this.#descriptor(indirectAt, buffer, INDIRECT, this.#random.number(size));
    }
    const id = ids[0]!; // There is one.
    this.put16(place.driver + 4 + 2 * (this.#next % size), id);
    this.#next = (this.#next + 1) & 0xffff;
    const site = { id, ids, at, tableFrom: direct, indirectAt, table, buffers };
    this.#inFlight.set(id, site);
    return site;
  }

  #addPacked(buffers: readonly PlainBuffer[], inRing: number, inTable: boolean): Site {
    const { place, size } = this.#setting;
    const random = this.#random;
    const id = this.#draw(1)[0]!; // There is one.
    const ids: number[] = [];
    const { table, tableAt } = this.#table(inTable);
    const ringAt: number[] = [];
    const { base } = this.#setting.memory;
    const listed = inTable
      ? [{ address: base + BigInt(tableAt), length: ENTRY * buffers.length, writable: false }]
      : buffers;
    for (const [index, { address, length, writable }] of listed.entries()) {
      const at = place.table + ENTRY * this.#next;
      const last = index + 1 === listed.length;
      const flags =
        (inTable ? INDIRECT : (writable ? WRITE : 0) | (last ? 0 : NEXT)) |
        (this.#wrap ? 0x80 : 0x8000);
      this.put64(at, address);
      this.put32(at + 8, length);
      // The id of a list is that of its last descriptor; the others may have any.
      this.put16(at + 12, last ? id : random.number(0x1_0000));
      if (this.#addedSlots === 0 && index === 0) this.#held = { at, flags };
      else this.put16(at + 14, flags);
      ids.push(this.#next);
      ringAt.push(at);
      this.#next += 1;
      if (this.#next === size) {
        this.#next = 0;
        this.#wrap = !this.#wrap;
      }
    }
    if (inTable)
      for (const [index, { address, length, writable }] of buffers.entries()) {
        const at = tableAt + ENTRY * index;
        this.put64(at, address);
        this.put32(at + 8, length);
        // Neither ids nor NEXT have a meaning here.
        this.put16(at + 12, random.number(0x1_0000));
        this.put16(at + 14, (writable ? WRITE : 0) | (random.once(8) ? NEXT : 0));
      }
    this.#addedSlots += inRing;
    this.#freeSlots -= inRing;
    const at = inTable ? buffers.map((_, index) => tableAt + ENTRY * index) : ringAt;
    const indirectAt = inTable ? ringAt[0]! : -1; // There is one.
    const tableFrom = inTable ? 0 : buffers.length;
    const site = { id, ids, at, tableFrom, indirectAt, table, buffers };
    this.#inFlight.set(id, site);
    return site;
  }

  #descriptor(
    at: number,
    { address, length, writable }: PlainBuffer,
    flags: number,
    next: number,
  ): void {
    this.put64(at, address);
    this.put32(at + 8, length);
    this.put16(at + 12, flags | (writable ? WRITE : 0));
    this.put16(at + 14, next);
  }

  #table(wanted: boolean): { readonly table: number; readonly tableAt: number } {
    const table = wanted ? this.#freeTables.pop()! : -1; // There is a free one then.
    return { table, tableAt: this.#setting.tables + ENTRY * this.#setting.tableEntries * table };
  }

  /** Any free descriptors, or ids. */
  #draw(count: number): number[] {
    return Array.from({ length: count }, () => {
      const index = this.#random.number(Math.min(this.#freeIds.length, 8));
      const id = this.#freeIds[index]!; // Below the length.
      this.#freeIds[index] = this.#freeIds.at(-1)!; // There is one.
      this.#freeIds.pop();
      return id;
    });
  }
}
