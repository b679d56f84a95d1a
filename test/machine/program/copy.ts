/** Copies with offsets and lengths of all kinds, and says how many bytes are where they should not be. */

import { allocPaging, attach } from '@viommu/driver';
import { iova } from '@viommu/common';
import type { GuestContext } from '@viommu/machine';
import { type Buffer, contents, fill, mapBuffer } from './memory.ts';

const SIZES = [0, 1, 3, 4095, 4096, 4097, 65_535, 65_536, 65_537, 200_000];
const OFFSETS = [0, 1, 4095];

export default function program(context: GuestContext): object {
  const engine = context.copyEngine('first');
  const endpoint = context.driver.probeDevice([8]);
  const domain = allocPaging(endpoint);
  attach(domain, endpoint);
  const low = mapBuffer(context, domain, 0x7000_0000n, 64);
  // Ends with the last address there is.
  const high = mapBuffer(context, domain, 0xffff_ffff_fffc_0000n, 64);
  let copies = 0;
  let wrong = 0;
  for (const length of SIZES)
    for (const offset of OFFSETS)
      for (const [from, to] of [
        [low, high],
        [high, low],
      ] as const) {
        wrong += copyAndCompare(from, to, offset, offset ^ 5, length);
        copies += 1;
      }

  // The very last byte.
  fill(low, 77);
  const last = engine.copy({ from: low.iova, to: iova(0xffff_ffff_ffff_ffffn), length: 1 });
  return { copies, wrong, last, lastByte: high.pages[63]?.[4095] === low.pages[0]?.[0] };

  function copyAndCompare(
    from: Buffer,
    to: Buffer,
    fromOffset: number,
    toOffset: number,
    length: number,
  ): number {
    fill(from, length + fromOffset);
    fill(to, 99);
    const expected = contents(to);
    const source = contents(from);
    expected.set(source.subarray(fromOffset, fromOffset + length), toOffset);
    const result = engine.copy({
      from: iova(from.iova + BigInt(fromOffset)),
      to: iova(to.iova + BigInt(toOffset)),
      length,
    });
    if (!result.ok || result.copied !== length) return length;
    return differences(contents(to), expected) + differences(contents(from), source);
  }
}

function differences(a: Uint8Array, b: Uint8Array): number {
  return a.reduce((count, byte, at) => count + (byte === b[at] ? 0 : 1), 0);
}
