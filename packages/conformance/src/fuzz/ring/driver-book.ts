/** What a driver has to take from a used ring, whatever the device wrote there: from its own books, and nothing else. */

import { PackedDescriptor, UsedElement, UsedRing } from '@viommu/common';
import type { Setting } from './setting.ts';

/** A chain that was made available. */
export interface Entry {
  readonly token: number;
  readonly id: number;
  readonly slots: number;
  readonly writableBytes: number;
  /** The bytes that describe it: from, and to. */
  readonly ranges: readonly (readonly [from: number, to: number])[];
}

export type Take =
  | 'empty'
  | 'broken'
  | { readonly entry: Entry; readonly token: number; readonly bytes: number };

export class DriverBook {
  broken: boolean;
  /** Published and not taken, by id, in the order in which they became available. */
  readonly inFlight: Map<number, Entry> = new Map();
  /** A used entry that stands for several chains, some of which were taken. */
  batch: { readonly last: number; readonly bytes: number } | undefined;
  readonly #setting: Setting;
  readonly #view: DataView;
  /** The used index; or the slot of the next used descriptor, and its wrap counter. */
  #next: number;
  #wrap: boolean;
  /** The used index that was seen; or the flags that were. */
  #seen: number;
  #flags: number | undefined;

  constructor(setting: Setting, position: number) {
    this.#setting = setting;
    this.#view = setting.memory.raw;
    this.#next = setting.packed ? position & 0x7fff : position;
    this.#wrap = position >= 0x8000;
    this.#seen = this.#next;
    this.broken = false;
  }

  /** Descriptors, or slots, of chains that were published. */
  get slots(): number {
    let slots = 0;
    for (const entry of this.inFlight.values()) slots += entry.slots;
    return slots;
  }

  /** The slots that the device may still write, for packed rings; the next used index else. */
  get next(): number {
    return this.#next;
  }

  /** The wrap counter there. */
  get wrap(): boolean {
    return this.#wrap;
  }

  /** What was seen and not taken is looked at once more. */
  forget(): void {
    this.#seen = this.#next;
    this.#flags = undefined;
  }

  ready(): boolean {
    if (this.broken) return true;
    if (this.#setting.packed) return this.batch !== undefined || this.#lookPacked();
    return this.#seen !== this.#next || this.#lookSplit();
  }

  take(): Take {
    if (this.broken) return 'broken';
    const { packed, features } = this.#setting;
    if (!this.ready()) return 'empty';
    // The look may have found a fault.
    if (this.broken) return 'broken';
    const used = this.batch ?? this.#read();
    if (!this.inFlight.has(used.last)) return this.#break();
    const { last, bytes } = used;
    if (!features.inOrder) return this.#end(this.inFlight.get(last)!, bytes); // It is there.
    const [entry] = this.inFlight.values();
    if (entry === undefined) return this.#break();
    const ends = entry.id === last;
    this.batch = ends ? undefined : used;
    // The used index counts chains, those of a batch as well.
    if (!packed && !ends && ((this.#next + 1) & 0xffff) === this.#seen) return this.#break();
    return this.#end(entry, ends ? bytes : entry.writableBytes);
  }

  #end(entry: Entry, bytes: number): Take {
    const { packed, size } = this.#setting;
    this.inFlight.delete(entry.id);
    if (!packed) this.#next = (this.#next + 1) & 0xffff;
    else {
      this.#next += entry.slots;
      if (this.#next >= size) {
        this.#next -= size;
        this.#wrap = !this.#wrap;
      }
    }
    return { entry, token: entry.token, bytes };
  }

  /** A used entry, which is there. */
  #read(): { readonly last: number; readonly bytes: number } {
    const { packed, place, size } = this.#setting;
    const view = this.#view;
    if (!packed) {
      const at = place.device + UsedRing.size + UsedElement.size * (this.#next % size);
      return {
        last: view.getUint32(at, true),
        bytes: view.getUint32(at + UsedElement.offset.len, true),
      };
    }
    const at = place.table + PackedDescriptor.size * this.#next;
    const written = ((this.#flags ?? 0) & 2) !== 0;
    this.#flags = undefined;
    const bytes = written ? view.getUint32(at + PackedDescriptor.offset.len, true) : 0;
    return { last: view.getUint16(at + PackedDescriptor.offset.id, true), bytes };
  }

  #lookSplit(): boolean {
    const index = this.#view.getUint16(this.#setting.place.device + UsedRing.offset.idx, true);
    const ahead = (index - this.#next) & 0xffff;
    if (ahead === 0) return false;
    if (ahead > this.inFlight.size) this.broken = true;
    else this.#seen = index;
    return true;
  }

  #lookPacked(): boolean {
    if (this.#flags !== undefined) return true;
    const flags = this.#view.getUint16(
      this.#setting.place.table +
        PackedDescriptor.size * this.#next +
        PackedDescriptor.offset.flags,
      true,
    );
    const bits = this.#wrap ? 0x8080 : 0;
    if ((flags & 0x8080) !== bits || this.inFlight.size === 0) return false;
    this.#flags = flags;
    return true;
  }

  #break(): 'broken' {
    this.broken = true;
    return 'broken';
  }
}
