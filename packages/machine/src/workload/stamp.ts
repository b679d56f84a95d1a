/**
 * What a workload writes into each sector, to find it again: which sector it is, which time it was written, and whose run
 * it was, at the front, and all of them in one word at the back. The rest of a sector keeps what the buffer had.
 */

/** Bytes of a sector. */
export const SECTOR_BYTES = 512;
const SECTOR_WORDS = SECTOR_BYTES / 4;
const SECTOR = 0;
const GENERATION = 1;
const SEED = 2;
const MIX = SECTOR_WORDS - 1;
/** No sector has this number: disks are smaller. */
const WIPED = -1;

/** Stamps of one run. */
export class Stamps {
  readonly #seed: number;

  /** A number of the run, 32 bits. */
  constructor(seed: number) {
    this.#seed = seed | 0;
  }

  /** Writes the stamps of `count` sectors from `sector` on. */
  write(words: Int32Array, sector: number, count: number, generation: number): void {
    const seed = this.#seed;
    for (let index = 0; index < count; index += 1) {
      const at = index * SECTOR_WORDS;
      words[at + SECTOR] = sector + index;
      words[at + GENERATION] = generation;
      words[at + SEED] = seed;
      words[at + MIX] = mix(sector + index, generation, seed);
    }
  }

  /** How many of the sectors have other stamps than {@link write} would write. */
  wrong(words: Int32Array, sector: number, count: number, generation: number): number {
    const seed = this.#seed;
    let wrong = 0;
    for (let index = 0; index < count; index += 1) {
      const at = index * SECTOR_WORDS;
      if (
        words[at + SECTOR] !== ((sector + index) | 0) ||
        words[at + GENERATION] !== (generation | 0) ||
        words[at + SEED] !== seed ||
        words[at + MIX] !== mix(sector + index, generation, seed)
      )
        wrong += 1;
    }
    return wrong;
  }

  /** Makes sure that no stamp is right, so that a read has to bring it. */
  wipe(words: Int32Array, count: number): void {
    for (let index = 0; index < count; index += 1) {
      const at = index * SECTOR_WORDS;
      words[at + SECTOR] = WIPED;
      words[at + MIX] = WIPED;
    }
  }
}

/** Different for every change of one argument. */
function mix(sector: number, generation: number, seed: number): number {
  return Math.imul(Math.imul(sector, 0x9e37_79b1) ^ generation, 0x85eb_ca6b) ^ seed;
}
