import { Status } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import type { ReservedRegion } from '../src/index.ts';
import { A, B, READ, WRITE, createGuest, type Guest, type GuestOptions } from './guest.ts';

const { OK, INVAL } = Status;

const msi: ReservedRegion = { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' };
const hole: ReservedRegion = { start: 0x8000n, last: 0xbfffn, type: 'reserved' };

/** A has both regions, B has none. */
const reserving = (options: GuestOptions = {}): Guest =>
  createGuest({ endpoints: [{ id: A, reserved: [msi, hole] }, { id: B }], ...options });

describe('reserved regions', () => {
  it('iommu.dev.resv.map-overlap-rejected, (4.11)', () => {
    const guest = reserving();
    guest.attach(1, A);
    for (const [start, last] of [
      [0x8000n, 0xbfffn],
      [0x7000n, 0xcfffn],
      [0x7000n, 0x8fffn],
      [0xb000n, 0xcfffn],
      [0x9000n, 0x9fffn],
      [0xfeef_f000n, 0xfeef_ffffn],
      [0n, 0xffff_ffff_ffff_ffffn],
    ] as const)
      expect(guest.map(1, start, last, 0n)).toBe(INVAL);
    for (const [start, last] of [
      [0x7000n, 0x7fffn],
      [0xc000n, 0xcfffn],
      [0xfedf_f000n, 0xfedf_ffffn],
      [0xfef0_0000n, 0xfef0_0fffn],
    ] as const)
      expect(guest.map(1, start, last, 0n)).toBe(OK);
  });

  it('(4.12) the regions of all endpoints count, as long as they are attached', () => {
    const guest = createGuest({
      endpoints: [{ id: A, reserved: [hole] }, { id: B, reserved: [hole, msi] }, { id: 3 }],
    });
    const mapHole = (): number => {
      const status = guest.map(1, 0x9000n, 0x9fffn, 0n);
      guest.unmap(1, 0x9000n, 0x9fffn);
      return status;
    };
    guest.attach(1, 3);
    expect(mapHole()).toBe(OK);
    guest.attach(1, A);
    guest.attach(1, B);
    expect(mapHole()).toBe(INVAL);
    guest.detach(1, A);
    expect(mapHole()).toBe(INVAL);
    guest.attach(2, B);
    expect(mapHole()).toBe(OK);
    guest.attach(1, A);
    expect(mapHole()).toBe(INVAL);
    guest.device.iommu.unplug(A);
    expect(mapHole()).toBe(OK);
  });

  it('(6.11) a region that is not aligned keeps whole granules from being mapped', () => {
    const odd: ReservedRegion = { start: 0x8fffn, last: 0x9000n, type: 'reserved' };
    const guest = createGuest({ endpoints: [{ id: A, reserved: [odd] }] });
    guest.attach(1, A);
    expect(guest.map(1, 0x8000n, 0x8fffn, 0n)).toBe(INVAL);
    expect(guest.map(1, 0x9000n, 0x9fffn, 0n)).toBe(INVAL);
    expect(guest.map(1, 0x7000n, 0x7fffn, 0n)).toBe(OK);
    expect(guest.map(1, 0xa000n, 0xafffn, 0n)).toBe(OK);
  });

  it('iommu.dev.resv.access-contained', () => {
    // (6.7) Nobody probed, and neither bypass nor a bypass domain opens the region.
    const guest = reserving({ bypass: true });
    const expectContained = (): void => {
      for (const access of [READ, WRITE])
        expect(guest.access(A, 0x9000n, 8, access)).toBe('mapping fault at 9000');
      expect(guest.access(A, 0x7ffen, 8, READ)).toBe('mapping fault at 8000');
    };
    expectContained();
    expect(guest.access(B, 0x9000n, 8)).toBe('=9000+8');
    guest.attach(1, A, 1);
    expectContained();
    expect(guest.access(A, 0xc000n, 8)).toBe('=c000+8');
    guest.attach(2, A);
    guest.map(2, 0x7000n, 0x7fffn, 0n);
    expectContained();
  });

  it('(6.12) a write to the MSI region is for the interrupt controller; a read is refused', () => {
    const guest = reserving();
    guest.attach(1, A);
    expect(guest.access(A, 0xfee0_1000n, 4, WRITE)).toBe('!fee01000+4');
    expect(guest.access(A, 0xfee0_1000n, 4, READ)).toBe('mapping fault at fee01000');
    expect(guest.access(A, 0xfee0_1000n, 4, READ | WRITE)).toBe('mapping fault at fee01000');
    // Behind the last byte of the region.
    expect(guest.access(A, 0xfeef_fffcn, 8, WRITE)).toBe('mapping fault at fef00000');
    guest.map(1, 0xfef0_0000n, 0xfef0_0fffn, 0x3000n);
    expect(guest.access(A, 0xfeef_fffcn, 8, WRITE)).toBe('!feeffffc+4 3000+4');
    guest.attach(1, B);
    expect(guest.access(B, 0xfee0_1000n, 4, WRITE)).toBe('mapping fault at fee01000');
  });

  it('(6.12) in front of a region, inside it and behind it, in one access', () => {
    const small: ReservedRegion = { start: 0x1ff8n, last: 0x2007n, type: 'msi' };
    const guest = createGuest({ endpoints: [{ id: A, reserved: [small] }], bypass: true });
    expect(guest.access(A, 0x1ff0n, 0x20, WRITE)).toBe('=1ff0+8 !1ff8+16 =2008+8');
  });
});
