/**
 * The slots of a bounce pool: which are free, and where a run of them fits.
 *
 * Slots lie in segments, which no run crosses, and segments in areas, so that processors seldom search in the same place.
 */

/** Bytes of one slot. */
export const SLOT_BYTES = 2048;
/** Slots of one segment, and so the most that one mapping can have. */
export const SEGMENT_SLOTS = 128;

/** Gives out runs of adjacent slots. */
export class BounceSlots {
  readonly slotCount: number;
  /** A power of two. */
  readonly areaCount: number;
  /** Slots in use now, and the most that ever were. */
  used = 0;
  usedMax = 0;
  /** Free slots from each one on, up to the end of its segment; 0 if it is in use. */
  readonly #free: Uint8Array;
  /** Where each area is searched next, from its start. */
  readonly #next: Int32Array;
  readonly #areaSlots: number;
  /** The first slot, if addresses were counted in slots. */
  readonly #base: number;

  /**
   * `slotCount` is a multiple of {@link SEGMENT_SLOTS}. Of the areas asked for there are as many as share the segments
   * evenly, rounded to powers of two.
   */
  constructor(slotCount: number, areas: number, base: number) {
    const segments = slotCount / SEGMENT_SLOTS;
    let areaCount = 1;
    while (areaCount < areas) areaCount *= 2;
    while (segments % areaCount !== 0) areaCount /= 2;
    this.slotCount = slotCount;
    this.areaCount = areaCount;
    this.#areaSlots = slotCount / areaCount;
    this.#base = base;
    this.#next = new Int32Array(areaCount);
    this.#free = new Uint8Array(slotCount);
    for (let slot = 0; slot < slotCount; slot += 1)
      this.#free[slot] = SEGMENT_SLOTS - (slot % SEGMENT_SLOTS);
  }

  /** Free slots from `slot` on, up to the end of its segment. */
  freeFrom(slot: number): number {
    return this.#free[slot] ?? 0;
  }

  /**
   * Takes `count` slots in a row, 1..{@link SEGMENT_SLOTS}. Returns the first, or -1 if there are none.
   *
   * The first slot's address, in slots, is a multiple of `stride`, a power of two; of the bits of `mask`, which follow
   * those below `stride` without a gap, it has `match`; and the run crosses no multiple of `boundary`, `Infinity` for none.
   */
  take(
    cpu: number,
    count: number,
    stride: number,
    mask: number,
    match: number,
    boundary: number,
  ): number {
    const start = cpu & (this.areaCount - 1);
    for (let n = 0; n < this.areaCount; n += 1) {
      const area = (start + n) & (this.areaCount - 1);
      const slot = this.#search(area, count, stride, mask, match, boundary);
      if (slot < 0) continue;
      const next = slot + count - area * this.#areaSlots;
      this.#next[area] = next < this.#areaSlots ? next : 0;
      this.#occupy(slot, count);
      return slot;
    }
    return -1;
  }

  /** Gives back what {@link take} gave. */
  release(slot: number, count: number): void {
    const end = slot + count;
    const behind = end % SEGMENT_SLOTS === 0 ? 0 : this.freeFrom(end);
    this.#count(end - 1, slot, behind);
    this.used -= count;
  }

  #search(
    area: number,
    count: number,
    stride: number,
    mask: number,
    match: number,
    boundary: number,
  ): number {
    const slots = this.#areaSlots;
    const from = area * slots;
    // Once a slot is aligned, all that are not can be skipped.
    const step = mask + stride;
    let at = this.#next[area]!; // The area exists.
    for (let seen = 0; seen < slots;) {
      const address = this.#base + from + at;
      // Bit operations take the low 32 bits of any whole number below 2^53.
      const aligned = (address & (stride - 1)) === 0 && (address & mask) === match;
      if (
        aligned &&
        this.#free[from + at]! >= count && // The area ends within the table.
        (boundary === Infinity || (address % boundary) + count <= boundary)
      )
        return from + at;
      const skip = Math.min(aligned ? step : 1, slots - at);
      seen += skip;
      at = at + skip < slots ? at + skip : 0;
    }
    return -1;
  }

  #occupy(slot: number, count: number): void {
    this.#free.fill(0, slot, slot + count);
    this.#countBefore(slot, 0);
    this.used += count;
    if (this.used > this.usedMax) this.usedMax = this.used;
  }

  /** Marks the slots from `last` down to `first` as free, with `behind` free ones behind them. */
  #count(last: number, first: number, behind: number): void {
    let free = behind;
    for (let slot = last; slot >= first; slot -= 1) this.#free[slot] = free += 1;
    this.#countBefore(first, free);
  }

  /** Counts the free slots just before `slot` again, those of its segment. */
  #countBefore(slot: number, behind: number): void {
    let free = behind;
    for (let at = slot - 1; at % SEGMENT_SLOTS !== SEGMENT_SLOTS - 1 && at >= 0; at -= 1) {
      if (this.#free[at] === 0) return;
      this.#free[at] = free += 1;
    }
  }
}
