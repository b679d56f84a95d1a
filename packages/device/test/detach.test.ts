import { Status } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { A, ABSENT, B, createGuest, detachBytes } from './guest.ts';

const { OK, INVAL, NOENT } = Status;

describe('DETACH', () => {
  it('iommu.dev.detach.reserved-ignored', () => {
    const guest = createGuest();
    guest.attach(1, A);
    expect(guest.status(detachBytes(1, A).fill(0xff, 12, 20))).toBe(OK);
    expect(guest.device.iommu.domainOf(A)).toBeUndefined();
  });

  it('iommu.dev.detach.endpoint-missing', () => {
    const guest = createGuest();
    guest.attach(1, A);
    expect(guest.detach(1, ABSENT)).toBe(NOENT);
    expect(guest.detach(1, A + 0x1_0000)).toBe(NOENT);
  });

  it('iommu.dev.detach.wrong-domain, (3.1) (3.2) INVAL and no change', () => {
    const guest = createGuest();
    guest.attach(1, A);
    guest.attach(2, B);
    expect(guest.detach(2, A)).toBe(INVAL);
    expect(guest.detach(3, A)).toBe(INVAL);
    expect(guest.detach(1, A)).toBe(OK);
    expect(guest.detach(1, A)).toBe(INVAL);
    expect(guest.device.iommu.domainOf(B)).toBe(2);
  });

  it('iommu.dev.detach.no-access-after', () => {
    const guest = createGuest();
    guest.attach(1, A);
    guest.attach(1, B);
    guest.map(1, 0n, 0xfffn, 0x5000n);
    expect(guest.access(A, 0n, 1)).toBe('5000+1');
    guest.detach(1, A);
    expect(guest.access(A, 0n, 1)).toBe('domain fault at 0');
    expect(guest.access(B, 0n, 1)).toBe('5000+1');
  });

  it('iommu.dev.detach.no-access-after: with bypass the access is not translated any more', () => {
    const guest = createGuest({ bypass: true });
    guest.attach(1, A);
    guest.map(1, 0n, 0xfffn, 0x5000n);
    guest.detach(1, A);
    expect(guest.access(A, 0n, 1)).toBe('=0+1');
  });

  it('(3.4) the domain ends with its last endpoint, its mappings with it', () => {
    const guest = createGuest();
    guest.attach(1, A);
    guest.attach(1, B);
    guest.map(1, 0n, 0xfffn, 0n);
    guest.detach(1, A);
    expect(guest.map(1, 0x1000n, 0x1fffn, 0n)).toBe(OK);
    guest.detach(1, B);
    expect(guest.map(1, 0x2000n, 0x2fffn, 0n)).toBe(NOENT);
    expect(guest.device.iommu.usage.mappings).toBe(0);
    guest.attach(1, A);
    expect(guest.access(A, 0n, 1)).toBe('mapping fault at 0');
    expect(guest.map(1, 0n, 0xfffn, 0n)).toBe(OK);
  });
});
