import { ADDRESS_MAX, MapFlag, PAGE_MAX, guestPhysical, iova } from '@viommu/common';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Iommu, PieceKind, TranslateOutcome, Translation } from '../src/index.ts';
import { A, B, READ, WRITE, createGuest } from './guest.ts';

describe('translation', () => {
  it('is physStart + address - virtStart, for the first, a middle and the last byte', () => {
    const guest = createGuest();
    guest.attach(1, A);
    guest.map(1, 0x12_3000n, 0x12_6fffn, 0xdead_f000n);
    expect(guest.access(A, 0x12_3000n, 1)).toBe('deadf000+1');
    expect(guest.access(A, 0x12_4567n, 1)).toBe('deae0567+1');
    expect(guest.access(A, 0x12_6fffn, 1)).toBe('deae2fff+1');
    expect(guest.access(A, 0x12_2fffn, 1)).toBe('mapping fault at 122fff');
    expect(guest.access(A, 0x12_7000n, 1)).toBe('mapping fault at 127000');
  });

  it('crosses adjacent mappings, piece by piece', () => {
    const guest = createGuest();
    guest.attach(1, A);
    guest.map(1, 0n, 0xfffn, 0x8000n);
    guest.map(1, 0x1000n, 0x1fffn, 0x3000n, READ);
    guest.map(1, 0x2000n, 0x3fffn, 0x6000n);
    expect(guest.access(A, 0xff0n, 0x1020)).toBe('8ff0+16 3000+4096 6000+16');
    expect(guest.access(A, 0xff0n, 0x1020, WRITE)).toBe('mapping fault at 1000');
    expect(guest.access(A, 0x3fffn, 2)).toBe('mapping fault at 4000');
  });

  it('keeps domains apart', () => {
    const guest = createGuest();
    guest.attach(1, A);
    guest.attach(2, B);
    guest.map(1, 0n, 0xfffn, 0x8000n);
    guest.map(2, 0n, 0xfffn, 0x9000n);
    expect([guest.access(A, 0n, 1), guest.access(B, 0n, 1)]).toEqual(['8000+1', '9000+1']);
  });

  it('of no byte is nothing', () => {
    const guest = createGuest();
    expect(guest.access(A, 0n, 0)).toBe('');
    expect(guest.access(A, ADDRESS_MAX, 0)).toBe('');
  });

  it('refuses a length that is not 32 bits', () => {
    for (const length of [-1, 0.5, 2 ** 32, Number.NaN])
      expect(() => new Iommu().translateRange(1, iova(0n), length, READ)).toThrow(
        expect.objectContaining({ code: 'EINVAL' }),
      );
  });

  it('refuses a page beyond the last one, with or without an observer', () => {
    const faults: bigint[] = [];
    const observer = { faulted: (_endpoint: number, address: bigint) => faults.push(address) };
    const iommu = new Iommu({ endpoints: [{ id: A }], bypass: true, observer });
    const translation = new Translation();
    expect(iommu.translate(A, PAGE_MAX + 1, 0, 1, READ, translation)).toBe(TranslateOutcome.FAULT);
    expect(faults).toEqual([ADDRESS_MAX]);
  });

  it('takes four GiB in one piece', () => {
    const guest = createGuest();
    guest.attach(1, A);
    guest.map(1, 0n, ADDRESS_MAX, 0n);
    expect(guest.access(A, 0x1234n, 0xffff_ffff)).toBe(`1234+${0xffff_ffff}`);
  });

  it('grows with the pieces of an access, and is used again', () => {
    const iommu = new Iommu({ pageSizeMask: 1n, endpoints: [{ id: A }] });
    iommu.negotiate(4n);
    iommu.attach(1, A, 0);
    const pieces = 300;
    for (let byte = 0n; byte < pieces; byte += 1n) {
      const at = iova(4000n + byte);
      iommu.mapRange(1, { start: at, last: at }, guestPhysical(0x7000n + 2n * byte), READ);
    }
    const translation = new Translation();
    expect(iommu.translate(A, 0, 4000, pieces, READ, translation)).toBe(TranslateOutcome.OK);
    expect(translation.count).toBe(pieces);
    expect(translation.address(299)).toBe(0x7000n + 598n);
    expect(iommu.translate(A, 0, 4000, 1, READ, translation)).toBe(TranslateOutcome.OK);
    expect(translation.count).toBe(1);
    expect(iommu.translate(A, 0, 4000, 1, WRITE, translation)).toBe(TranslateOutcome.FAULT);
    expect(translation.count).toBe(0);
  });

  /** What the standard says, byte by byte. */
  interface Region {
    readonly start: bigint;
    readonly last: bigint;
    readonly phys: bigint;
    readonly flags: number;
  }

  for (const granule of [1n, 64n, 4096n, 65536n]) {
    it(`agrees byte by byte with the mappings that were made, granule ${granule}`, () => {
      const cells = 12n;
      const base = fc.constantFrom(
        0n,
        (1n << 32n) - granule * 4n,
        ADDRESS_MAX - granule * cells + 1n,
      );
      const cell = fc.bigInt({ min: 0n, max: cells - 1n });
      const mapping = fc.tuple(
        cell,
        fc.bigInt({ min: 1n, max: 3n }),
        cell,
        fc.integer({ min: 0, max: 3 }),
      );
      const edge = fc.bigInt({ min: -2n, max: 2n });
      const access = fc.tuple(
        cell,
        edge,
        fc.integer({ min: 1, max: 4 }),
        edge,
        fc.integer({ min: 1, max: 3 }),
      );
      fc.assert(
        fc.property(
          base,
          fc.array(mapping, { minLength: 1, maxLength: 10 }),
          fc.array(access, { minLength: 1, maxLength: 12 }),
          (low, mappings, accesses) => {
            const iommu = new Iommu({ pageSizeMask: granule, endpoints: [{ id: 1 }] });
            iommu.negotiate(4n);
            iommu.attach(0, 1, 0);
            const regions: Region[] = [];
            for (const [first, count, phys, flags] of mappings) {
              const start = low + first * granule;
              const last = start + count * granule - 1n;
              const physStart = (phys * 0x1_0000_0000n) & -granule;
              if (last > ADDRESS_MAX) continue;
              const range = { start: iova(start), last: iova(last) };
              if (iommu.mapRange(0, range, guestPhysical(physStart), flags) === 0)
                regions.push({ start, last, phys: physStart, flags });
            }
            for (const [first, skew, count, more, wanted] of accesses) {
              const address = low + first * granule + skew;
              const length = Number(BigInt(count) * granule + more);
              const last = address + BigInt(length) - 1n;
              if (address < 0n || length < 1 || last > ADDRESS_MAX) continue;
              const { outcome, translation } = iommu.translateRange(
                1,
                iova(address),
                length,
                wanted,
              );
              const fault = expectedFault(regions, address, last, wanted);
              if (fault !== undefined) {
                expect(outcome).toBe(TranslateOutcome.FAULT);
                expect(translation.faultAddress()).toBe(fault);
                continue;
              }
              expect(outcome).toBe(TranslateOutcome.OK);
              let at = address;
              for (let piece = 0; piece < translation.count; piece += 1) {
                const region = regions.find(({ start, last: end }) => start <= at && at <= end);
                expect(translation.kind[piece]).toBe(PieceKind.MEMORY);
                expect(translation.address(piece)).toBe(
                  (region?.phys ?? 0n) + at - (region?.start ?? 0n),
                );
                at += BigInt(translation.length[piece] ?? 0);
                expect(at - 1n).toBe(
                  region === undefined || last < region.last ? last : region.last,
                );
              }
              expect(at).toBe(last + 1n);
            }
          },
        ),
        { seed: 9, numRuns: 120 },
      );
    });
  }

  /** The first byte that no mapping with these permissions holds. */
  function expectedFault(
    regions: readonly Region[],
    address: bigint,
    last: bigint,
    access: number,
  ): bigint | undefined {
    let at = address;
    while (at <= last) {
      const region = regions.find(
        ({ start, last: end, flags }) => start <= at && at <= end && (flags & access) === access,
      );
      if (region === undefined) return at;
      at = region.last + 1n;
    }
    return undefined;
  }

  it('has access bits that are those of a mapping', () => {
    expect([READ, WRITE]).toEqual([MapFlag.READ, MapFlag.WRITE]);
  });
});
