import { describe, expect, it } from 'vitest';
import { SECTOR_BYTES, Stamps } from '../../src/workload/stamp.ts';

const COUNT = 4;
const WORDS = SECTOR_BYTES / 4;
const FIRST = 100;
const GENERATION = 7;
const stamps = new Stamps(0x1234_5678);

/** Four sectors, stamped, with something else between the stamps. */
function stamped(): Int32Array {
  const words = new Int32Array(COUNT * WORDS).fill(0x5555_5555);
  stamps.write(words, FIRST, COUNT, GENERATION);
  return words;
}

const wrong = (words: Int32Array): number => stamps.wrong(words, FIRST, COUNT, GENERATION);

describe('stamps of sectors', () => {
  it('are found again', () => {
    expect(wrong(stamped())).toBe(0);
  });

  it.each([0, 1, 2, WORDS - 1])('are wrong if word %i of a sector is', (word) => {
    for (let sector = 0; sector < COUNT; sector += 1) {
      const words = stamped();
      words[sector * WORDS + word]! ^= 1; // There is one.
      expect(wrong(words)).toBe(1);
    }
  });

  it('tell sectors, generations and runs apart', () => {
    const words = stamped();
    expect(stamps.wrong(words, FIRST + 1, COUNT, GENERATION)).toBe(COUNT);
    expect(stamps.wrong(words, FIRST, COUNT, GENERATION + 1)).toBe(COUNT);
    expect(new Stamps(1).wrong(words, FIRST, COUNT, GENERATION)).toBe(COUNT);
  });

  it('notice sectors that changed places', () => {
    const words = stamped();
    const first = words.slice(0, WORDS);
    words.copyWithin(0, WORDS, 2 * WORDS);
    words.set(first, WORDS);
    expect(wrong(words)).toBe(2);
  });

  it('are all gone when wiped, once or twice', () => {
    const words = stamped();
    stamps.wipe(words, COUNT);
    expect(wrong(words)).toBe(COUNT);
    stamps.wipe(words, COUNT);
    expect(wrong(words)).toBe(COUNT);
  });

  it('are not whole when only the front of a sector arrives', () => {
    const words = stamped();
    const source = stamped();
    stamps.wipe(words, COUNT);
    words.set(source.subarray(0, WORDS / 2));
    expect(stamps.wrong(words, FIRST, 1, GENERATION)).toBe(1);
  });
});
