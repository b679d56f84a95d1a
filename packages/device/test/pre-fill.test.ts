/** What lay in writable memory beforehand is nothing to the device: sections "Split Virtqueues" and "Packed Virtqueues". */

import { describe, expect, it } from 'vitest';
import {
  A,
  ABSENT,
  attachBytes,
  createGuest,
  detachBytes,
  type GuestOptions,
  mapBytes,
  probeBytes,
  unmapBytes,
} from './guest.ts';

/** What the device makes of requests of every kind, good and bad, whose writable parts hold `fill` beforehand. */
function transcript(options: GuestOptions, fill: number): (string | number)[] {
  const guest = createGuest({ probeSize: 64, ...options });
  guest.fill = fill;
  const requests: [readable: Uint8Array, writableBytes: number][] = [
    [attachBytes(1, A), 4],
    [attachBytes(1, ABSENT), 4],
    [mapBytes(1, 0x1000n, 0x1fffn, 0xa000n), 4],
    [mapBytes(1, 0x1000n, 0x1fffn, 0xa000n), 8],
    [probeBytes(A), 68],
    [probeBytes(A), 20],
    [probeBytes(ABSENT), 80],
    [unmapBytes(1, 0x1800n, 0x1fffn), 4],
    [Uint8Array.of(9, 0, 0, 0), 4],
    [Uint8Array.of(3, 0, 0, 0), 4],
    [detachBytes(1, A), 300],
  ];
  const outcome = requests.flatMap(([readable, writableBytes]) =>
    [[], [1, 2], [writableBytes - 1]].map((writableCuts) => {
      const { length, bytes } = guest.send(readable, writableBytes, { writableCuts });
      // Behind the used length nothing was written.
      const kept = bytes.subarray(length).every((byte) => byte === fill);
      return `${length}: ${bytes.subarray(0, length).join(' ')}${kept ? '' : ' and more'}`;
    }),
  );
  return [...outcome, guest.access(A, 0x1234n, 1), guest.resets.join()];
}

describe('the pre-fill of writable buffers', () => {
  it.each([
    ['split.dev.desc.no-read-writable', {}],
    ['packed.dev.desc.no-read-writable', { features: { packed: true } }],
  ] as const)('%s: makes no difference', (_, options) => {
    const [zeros, ...others] = [0x00, 0xff, 0x01, 0xa5].map((fill) => transcript(options, fill));
    expect(zeros?.join()).toContain('4: 0 0 0 0');
    expect(zeros?.join()).not.toContain('and more');
    for (const other of others) expect(other).toEqual(zeros);
  });
});
