/** Which bytes a driver may write: its own parts of the ring, without what describes chains in flight. */

import type { Entry } from './driver-book.ts';
import { type Setting, deviation } from './setting.ts';

export class OwnedBytes {
  /** 1 for each byte that may be written. */
  readonly map: Uint8Array;
  readonly #setting: Setting;

  constructor(setting: Setting) {
    this.#setting = setting;
    this.map = new Uint8Array(setting.memory.size);
  }

  /** A new queue: nothing is in flight. */
  begin(withTables: boolean): void {
    const { place, bytes, tables, tableBytes, size, packed } = this.#setting;
    const map = this.map.fill(0);
    map.fill(1, place.table, place.table + bytes.table);
    if (!packed) map.fill(1, place.driver + 4, place.driver + 4 + 2 * size);
    if (withTables) map.fill(1, tables, tables + tableBytes);
  }

  /** What only some calls may write: the index, and what says whether notifications are wanted. */
  during<Result>(call: () => Result): Result {
    this.#open(1);
    const result = call();
    this.#open(0);
    return result;
  }

  /** A chain is in flight: nobody writes what describes it. */
  claim({ ranges, id }: Entry): void {
    for (const [start, end] of ranges)
      for (let byte = start; byte < end; byte += 1) {
        if (this.map[byte] === 0)
          throw deviation(
            'driver: two chains in one descriptor',
            this.#setting,
            `byte ${byte}, id ${id}`,
          );
        this.map[byte] = 0;
      }
  }

  /** A chain has come back; `next` is where the used entry behind it will be. */
  release({ ranges, slots }: Entry, next: number): void {
    const { packed, place, size } = this.#setting;
    for (const [start, end] of ranges)
      if (!packed || start < place.table || start >= place.table + 16 * size)
        this.map.fill(1, start, end);
    if (!packed) return;
    // Slots come back in the order of the ring, whosever they were.
    for (let back = 1; back <= slots; back += 1) {
      const slot = (next - back + size) % size;
      this.map.fill(1, place.table + 16 * slot, place.table + 16 * slot + 16);
    }
  }

  #open(value: number): void {
    const { place, size, packed, features } = this.#setting;
    if (packed) {
      this.map.fill(value, place.driver, place.driver + 4);
      return;
    }
    this.map.fill(value, place.driver + 2, place.driver + 4);
    const wish = place.driver + (features.eventIndex ? 4 + 2 * size : 0);
    this.map.fill(value, wish, wish + 2);
  }
}
