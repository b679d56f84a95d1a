/** Sets of up to 32 small numbers, each a bit of a word. */

/** A word with the lowest `count` bits set, 0 to 32 of them. */
export function lowBits(count: number): number {
  return count === 0 ? 0 : -1 >>> (32 - count);
}

/** The number of the lowest bit that is set; one is. */
export function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** The number of the highest bit that is set; one is. */
export function highestBit(word: number): number {
  return 31 - Math.clz32(word);
}

/** How many bits are set. */
export function bitCount(word: number): number {
  const pairs = (word - ((word >>> 1) & 0x5555_5555)) | 0;
  const quads = ((pairs & 0x3333_3333) + ((pairs >>> 2) & 0x3333_3333)) | 0;
  return Math.imul(((quads + (quads >>> 4)) | 0) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}
