/**
 * Every byte of a true image changed, taken away and added, also with lengths and checksums put right, so that only what
 * the bytes say can refuse them. What is taken over saves to the same bytes; what is refused changes nothing.
 */

import { describe, expect, it } from 'vitest';
import { Board, OPTIONS, Random } from './board.ts';
import { attachBytes, mapBytes } from './guest.ts';
import { hexOf, outcome, reseal } from './image.ts';

describe('every byte of an image', () => {
  const board = new Board({ device: OPTIONS });
  board.start();
  for (const request of [
    attachBytes(7, 8),
    attachBytes(2, 0x1_0028, 1),
    attachBytes(7, 9),
    mapBytes(7, 0x1000n, 0x2fffn, 0x5000n),
    mapBytes(7, 0x9000n, 0x9fffn, 0xffff_f000n, 7),
    attachBytes(1, 77),
  ])
    board.add(request, 4);
  board.publish();
  board.mmio.serve();
  board.access(9, 0x5000n, 1, 1);
  const image = board.mmio.save();
  /** Where the device's own image begins. */
  const inner = image.length - board.device.save().length;
  const [shown, ram] = [board.shown(), board.ram()];

  /** Restores `bytes`; puts the true image back if they are taken over. */
  const attempt = (bytes: Uint8Array): string => {
    const result = outcome(() => board.mmio.restore(bytes));
    const saved = board.mmio.save();
    if (result === 'taken over') {
      expect(hexOf(saved)).toBe(hexOf(bytes));
      board.mmio.serve();
      board.mmio.arm();
      board.access(8, 0x1000n, 0x3000, 1);
      board.memory.write(0, ram, 0, ram.length);
      board.mmio.restore(image);
      return result;
    }
    if (Buffer.compare(saved, image) !== 0) return 'changed';
    return Buffer.compare(board.shown(), shown) === 0 ? result : 'shown';
  };
  const tally = (images: Iterable<Uint8Array>): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (const bytes of images) {
      const result = attempt(bytes);
      counts[result] = (counts[result] ?? 0) + 1;
    }
    expect(
      Object.keys(counts).filter((result) => result !== 'EINVAL' && result !== 'taken over'),
    ).toEqual([]);
    return counts;
  };

  function* flipped(): Generator<Uint8Array<ArrayBuffer>> {
    for (const [at, byte] of image.entries())
      for (const bits of [0x01, 0x80, 0xff]) yield image.with(at, byte ^ bits);
  }

  it('changed: refused by its checksum', () => {
    expect(tally(flipped())).toEqual({ EINVAL: 3 * image.length });
  });

  it('changed, with the checksums put right: refused by what it says, or true', () => {
    const counts = tally([...flipped()].map((bytes) => reseal(bytes, inner)));
    // Physical addresses, flags, numbers of domains, counters, selectors and positions may be others.
    expect(counts['taken over']).toBeGreaterThan(50);
    expect(counts['EINVAL']).toBeGreaterThan(image.length);
  });

  it('cut off, doubled, added or taken away', () => {
    const cut = Array.from(image.keys(), (length) => image.subarray(0, length));
    const others = [...image.keys()].flatMap((at) => [
      Uint8Array.of(...image.subarray(0, at), 0, ...image.subarray(at)),
      Uint8Array.of(...image.subarray(0, at), ...image.subarray(at + 1)),
    ]);
    const longer = [1, 2, 4, 28, 1000].map((more) =>
      Uint8Array.of(...image, ...new Uint8Array(more)),
    );
    const all = [...cut, ...others, ...longer, Uint8Array.of(...image, ...image)];
    expect(tally(all)).toEqual({ EINVAL: all.length });
    const sealed = all.map((bytes) => reseal(bytes, inner));
    // Inserting and removing shifts what stands behind; next to none of it makes sense then.
    expect(tally(sealed)['EINVAL']).toBeGreaterThan(sealed.length - 40);
  });

  it('any words in any place', () => {
    const random = new Random(12);
    const words = [
      0, 1, 2, 16, 28, 0xff, 0x7fff, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff,
    ];
    const sealed = Array.from({ length: 4000 }, () => {
      const bytes = Uint8Array.from(image);
      const view = new DataView(bytes.buffer);
      for (let changes = 1 + random.below(3); changes > 0; changes -= 1)
        view.setUint32(random.below(bytes.length - 4), random.pick(words), true);
      return reseal(bytes, inner);
    });
    const counts = tally(sealed);
    expect(counts['EINVAL']).toBeGreaterThan(1000);
  });
});
