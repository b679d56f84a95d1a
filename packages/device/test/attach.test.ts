import { Status } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { A, ABSENT, B, attachBytes, createGuest, type Guest } from './guest.ts';

const { OK, UNSUPP, INVAL, RANGE, NOENT, NOMEM } = Status;
const BYPASS = 1;
const NO_BYPASS_CONFIG = ~(1n << 6n);

const exists = (guest: Guest, domain: number): boolean =>
  guest.device.iommu.domains.some((id) => id === domain);

describe('ATTACH', () => {
  it('iommu.dev.attach.reserved-nonzero', () => {
    for (let byte = 16; byte < 20; byte += 1) {
      const guest = createGuest();
      const request = attachBytes(1, A);
      request[byte] = 1;
      expect(guest.status(request)).toBe(INVAL);
      expect(guest.map(1, 0n, 0xfffn, 0n)).toBe(NOENT);
    }
  });

  it('iommu.dev.attach.flags-unknown', () => {
    const guest = createGuest();
    for (let bit = 1; bit < 32; bit += 1) {
      expect(guest.attach(1, A, 2 ** bit)).toBe(INVAL);
      expect(guest.attach(1, A, 2 ** bit + BYPASS)).toBe(INVAL);
    }
    expect(guest.device.iommu.domains).toEqual([]);
  });

  it('(2.6) the BYPASS flag is known only if the feature was negotiated', () => {
    const { offeredFeatures } = createGuest({ started: false }).device;
    expect(createGuest({ accept: offeredFeatures & NO_BYPASS_CONFIG }).attach(1, A, BYPASS)).toBe(
      INVAL,
    );
    expect(createGuest({ features: { bypassConfig: false } }).attach(1, A, BYPASS)).toBe(INVAL);
    expect(createGuest().attach(1, A, BYPASS)).toBe(OK);
  });

  it('iommu.dev.attach.endpoint-missing, (2.11) all 32 bits count', () => {
    const guest = createGuest();
    for (const endpoint of [ABSENT, A + 0x1_0000, B & 0xffff, 0xffff_ffff]) {
      expect(guest.attach(1, endpoint)).toBe(NOENT);
      expect(exists(guest, 1)).toBe(false);
    }
    expect(guest.attach(1, B)).toBe(OK);
  });

  it('iommu.dev.attach.shared-domain-allowed', () => {
    const guest = createGuest();
    expect([guest.attach(1, A), guest.attach(1, B)]).toEqual([OK, OK]);
  });

  it('iommu.dev.attach.compatible-properties: endpoints with the same regions share a domain', () => {
    const reserved = [{ start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' as const }];
    const guest = createGuest({
      endpoints: [
        { id: A, reserved },
        { id: B, reserved },
      ],
    });
    expect(guest.probe(A).bytes).toEqual(guest.probe(B).bytes);
    expect(guest.attach(1, A)).toBe(OK);
    expect(guest.map(1, 0n, 0xfffn, 0n)).toBe(OK);
    expect(guest.attach(1, B)).toBe(OK);
  });

  const conflicting = (): Guest =>
    createGuest({
      endpoints: [
        { id: A },
        { id: B, reserved: [{ start: 0x8800n, last: 0x88ffn, type: 'reserved' as const }] },
      ],
    });

  it('iommu.dev.attach.incompatible-properties, (2.8) (6.11) a mapping over a region of the newcomer', () => {
    const guest = conflicting();
    guest.attach(1, A);
    expect(guest.map(1, 0x7000n, 0x7fffn, 0n)).toBe(OK);
    expect(guest.map(1, 0x9000n, 0x9fffn, 0n)).toBe(OK);
    // The page that the region lies in, although the region is smaller.
    expect(guest.map(1, 0x8000n, 0x8fffn, 0n)).toBe(OK);
    expect(guest.attach(1, B)).toBe(UNSUPP);
    expect(guest.unmap(1, 0x8000n, 0x8fffn)).toBe(OK);
    expect(guest.attach(1, B)).toBe(OK);
  });

  it('iommu.dev.attach.shared-domain-refused: exactly UNSUPP, and the newcomer is left as it was', () => {
    const guest = conflicting();
    guest.attach(1, A);
    guest.map(1, 0x8000n, 0x8fffn, 0n);
    expect(guest.attach(1, B)).toBe(UNSUPP);
    expect(guest.device.iommu.domainOf(B)).toBeUndefined();
    expect(guest.access(B, 0x8000n, 1)).toBe('domain fault at 8000');
  });

  it('iommu.dev.attach.move-refused: exactly UNSUPP, and the old mappings hold', () => {
    const guest = conflicting();
    guest.attach(1, A);
    guest.map(1, 0x8000n, 0x8fffn, 0n);
    guest.attach(2, B);
    guest.map(2, 0x1000n, 0x1fffn, 0x7000n);
    expect(guest.attach(1, B)).toBe(UNSUPP);
    expect(guest.access(B, 0x1234n, 2)).toBe('7234+2');
    expect(guest.detach(2, B)).toBe(OK);
  });

  it('iommu.dev.attach.bypass-flag-mismatch, (2.2) the old attachment holds', () => {
    const guest = createGuest({ endpoints: [{ id: A }, { id: B }, { id: 9 }] });
    guest.attach(1, A);
    guest.attach(2, B, BYPASS);
    expect(guest.attach(1, 9, BYPASS)).toBe(INVAL);
    expect(guest.attach(2, 9)).toBe(INVAL);
    guest.attach(3, 9);
    guest.map(3, 0n, 0xfffn, 0x5000n);
    expect(guest.attach(1, 9, BYPASS)).toBe(INVAL);
    expect(guest.access(9, 0n, 1)).toBe('5000+1');
  });

  it('(2.7) the same domain with the other flag is a mismatch, for the only endpoint as well', () => {
    const guest = createGuest();
    guest.attach(1, A, BYPASS);
    expect(guest.attach(1, A)).toBe(INVAL);
    expect(guest.access(A, 0x77n, 1)).toBe('=77+1');
    guest.attach(2, B);
    expect(guest.attach(2, B, BYPASS)).toBe(INVAL);
    expect(guest.map(2, 0n, 0xfffn, 0n)).toBe(OK);
  });

  it('(2.1) the same domain again changes nothing', () => {
    const guest = createGuest();
    guest.attach(1, A);
    guest.map(1, 0n, 0xfffn, 0x5000n);
    expect(guest.attach(1, A)).toBe(OK);
    expect(guest.access(A, 0n, 1)).toBe('5000+1');
  });

  it('iommu.dev.attach.move-detaches-first', () => {
    const guest = createGuest();
    guest.attach(1, A);
    expect(guest.attach(2, A)).toBe(OK);
    expect(guest.detach(1, A)).toBe(INVAL);
    expect(guest.detach(2, A)).toBe(OK);
  });

  it('iommu.dev.attach.move-acts-like-detach', () => {
    const guest = createGuest();
    guest.attach(1, A);
    guest.map(1, 0n, 0xfffn, 0x5000n);
    expect(guest.attach(2, A)).toBe(OK);
    expect(guest.map(1, 0x2000n, 0x2fffn, 0n)).toBe(NOENT);
    expect(guest.access(A, 0n, 1)).toBe('mapping fault at 0');
    // And the number is free for a new domain, even of the other kind.
    expect(guest.attach(1, B, BYPASS)).toBe(OK);
  });

  it('iommu.dev.attach.accepted-means-attached', () => {
    const guest = createGuest();
    expect(guest.map(1, 0n, 0xfffn, 0x5000n)).toBe(NOENT);
    expect(guest.attach(1, A)).toBe(OK);
    expect(guest.map(1, 0n, 0xfffn, 0x5000n)).toBe(OK);
    expect(guest.access(A, 0x123n, 4)).toBe('5123+4');
    expect(guest.detach(1, A)).toBe(OK);
  });

  it('(2.9) a newcomer sees the mappings that are there', () => {
    const guest = createGuest();
    guest.attach(1, A);
    guest.map(1, 0n, 0xfffn, 0x5000n);
    guest.attach(1, B);
    expect(guest.access(B, 0x10n, 1)).toBe('5010+1');
  });

  it('(2.3) (2.4) a domain outside the range is RANGE, whether or not the range was negotiated', () => {
    const options = { domainRange: { first: 4, last: 6 } };
    const { offeredFeatures } = createGuest({ ...options, started: false }).device;
    for (const accept of [offeredFeatures, offeredFeatures & ~2n]) {
      const guest = createGuest({ ...options, accept });
      expect([3, 4, 6, 7, 0, 0xffff_ffff].map((domain) => guest.attach(domain, A))).toEqual([
        RANGE,
        OK,
        OK,
        RANGE,
        RANGE,
        RANGE,
      ]);
    }
  });

  it('(2.5) without a range every number is a domain', () => {
    const guest = createGuest({
      features: { domainRange: false },
      domainRange: { first: 4, last: 6 },
    });
    expect(guest.attach(0, A)).toBe(OK);
    expect(guest.attach(0xffff_ffff, B)).toBe(OK);
    expect(guest.map(0xffff_ffff, 0n, 0xfffn, 0x5000n)).toBe(OK);
    expect(guest.access(B, 0n, 1)).toBe('5000+1');
    expect(guest.access(A, 0n, 1)).toBe('mapping fault at 0');
  });

  it('(2.5) more domains than the limit are NOMEM, and a move that ends one makes room', () => {
    const guest = createGuest({
      endpoints: [{ id: 1 }, { id: 2 }, { id: 3 }],
      limits: { domains: 2 },
    });
    expect([guest.attach(1, 1), guest.attach(2, 2), guest.attach(3, 3)]).toEqual([OK, OK, NOMEM]);
    expect(guest.device.iommu.domainOf(3)).toBeUndefined();
    expect(guest.attach(3, 2)).toBe(OK);
    expect(guest.attach(3, 3)).toBe(OK);
    expect(guest.attach(4, 3)).toBe(NOMEM);
    expect(guest.device.iommu.domainOf(3)).toBe(3);
  });

  it('(2.10) an endpoint that is unplugged leaves its domain and is unknown', () => {
    const guest = createGuest();
    guest.attach(1, A);
    guest.map(1, 0n, 0xfffn, 0n);
    expect(guest.device.iommu.unplug(A)).toBe(true);
    expect(guest.device.iommu.unplug(A)).toBe(false);
    expect(guest.map(1, 0n, 0xfffn, 0n)).toBe(NOENT);
    expect([guest.attach(1, A), guest.detach(1, A)]).toEqual([NOENT, NOENT]);
    expect(guest.access(A, 0n, 1)).toBe('unknown fault at 0');
    guest.device.iommu.plug({ id: A });
    expect(guest.attach(1, A)).toBe(OK);
    expect(guest.map(1, 0n, 0xfffn, 0n)).toBe(OK);
  });
});
