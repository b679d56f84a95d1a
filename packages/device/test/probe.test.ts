import { ProbeProperty, ProbeType, ReservedMemory, Status } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import {
  A,
  ABSENT,
  B,
  FILL,
  createGuest,
  type Guest,
  type GuestOptions,
  probeBytes,
} from './guest.ts';

const { OK, INVAL, NOENT } = Status;

const regions = [
  { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' as const },
  { start: 0x1000n, last: 0x1234n, type: 'reserved' as const },
  { start: 0xffff_ffff_ffff_0000n, last: 0xffff_ffff_ffff_ffffn, type: 'reserved' as const },
];
const probeSize = 96;

const probing = (options: GuestOptions = {}): Guest =>
  createGuest({ probeSize, endpoints: [{ id: A, reserved: regions }, { id: B }], ...options });

const zeros = (length: number): number[] => Array.from({ length }, () => 0);

/** The properties as the standard says to walk them. */
function walk(bytes: Uint8Array): ReturnType<typeof ReservedMemory.read>[] {
  const view = new DataView(bytes.slice().buffer);
  const found: ReturnType<typeof ReservedMemory.read>[] = [];
  let at = 0;
  while (at + 4 <= probeSize) {
    const { type, length } = ProbeProperty.read(view, at);
    if (type === ProbeType.NONE) break;
    found.push(ReservedMemory.read(view, at));
    at += length + 4;
  }
  return found;
}

describe('PROBE', () => {
  it('iommu.dev.probe.property-length', () => {
    for (const { type, length } of walk(probing().probe(A).bytes))
      expect([type, length]).toEqual([ProbeType.RESV_MEM, 20]);
  });

  it('iommu.dev.probe.property-stride, (6.6) inclusive ends', () => {
    const found = walk(probing().probe(A).bytes);
    expect(found.map(({ subtype, start, end }) => [subtype, start, end])).toEqual([
      [0, 0x1000n, 0x1234n],
      [1, 0xfee0_0000n, 0xfeef_ffffn],
      [0, 0xffff_ffff_ffff_0000n, 0xffff_ffff_ffff_ffffn],
    ]);
  });

  it('iommu.dev.probe.property-reserved-zero', () => {
    const { bytes } = probing().probe(A);
    expect([0, 24, 48].map((at) => (bytes[at + 1] ?? 0) >> 4)).toEqual([0, 0, 0]);
  });

  it('iommu.dev.resv.reserved-zero', () => {
    const found = walk(probing().probe(A).bytes);
    expect(found.map(({ reserved }) => [...reserved])).toEqual([zeros(3), zeros(3), zeros(3)]);
  });

  it('iommu.dev.resv.single-msi', () => {
    const msi = walk(probing().probe(A).bytes).filter(({ subtype }) => subtype === 1);
    expect(msi).toHaveLength(1);
    const twice = [regions[0], { start: 0n, last: 0xfffn, type: 'msi' as const }];
    expect(() => probing({ endpoints: [{ id: A, reserved: twice as typeof regions }] })).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
  });

  it('iommu.dev.resv.no-overlap', () => {
    const found = walk(probing().probe(A).bytes);
    found.forEach(({ start, end }, index) => {
      expect(start <= end).toBe(true);
      expect(found[index + 1]?.start ?? end + 1n).toBeGreaterThan(end);
    });
    const touching = { start: 0x1234n, last: 0x1235n, type: 'reserved' as const };
    expect(() => probing({ endpoints: [{ id: A, reserved: [...regions, touching] }] })).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
    const beside = { start: 0x1235n, last: 0x1235n, type: 'reserved' as const };
    expect(
      walk(probing({ endpoints: [{ id: A, reserved: [...regions, beside] }] }).probe(A).bytes),
    ).toHaveLength(4);
  });

  it('iommu.dev.probe.fill-zero', () => {
    const { length, bytes } = probing().probe(A);
    expect(length).toBe(probeSize + 4);
    expect([...bytes.subarray(72)]).toEqual(zeros(28));
    expect([...probing().probe(B).bytes]).toEqual(zeros(probeSize + 4));
  });

  it('iommu.dev.probe.reserved-ignored', () => {
    const guest = probing();
    const request = probeBytes(A);
    const plain = guest.send(request, probeSize + 4);
    expect(guest.send(request.fill(0xff, 8), probeSize + 4)).toEqual(plain);
  });

  it('iommu.dev.probe.endpoint-missing, (6.3) zeros in front of the tail', () => {
    const guest = probing();
    // The buffer of the device holds properties from before.
    guest.probe(A);
    const { length, bytes } = guest.probe(ABSENT);
    expect(length).toBe(probeSize + 4);
    expect([...bytes]).toEqual([...zeros(probeSize), NOENT, 0, 0, 0]);
  });

  it('iommu.dev.probe.not-offered-untouched', () => {
    const { bytes } = probing({ features: { probe: false } }).send(probeBytes(A), probeSize + 4);
    expect(bytes.every((byte) => byte === FILL)).toBe(true);
  });

  it('iommu.dev.probe.not-offered-used-len', () => {
    expect(probing({ features: { probe: false } }).send(probeBytes(A), probeSize + 4).length).toBe(
      0,
    );
  });

  const rooms = [4, 5, 28, 50, probeSize, probeSize + 3];

  it('iommu.dev.probe.too-small-no-property, (6.1) nothing but zeros in front of the tail', () => {
    const guest = probing();
    guest.probe(A);
    for (const room of rooms)
      expect([...guest.send(probeBytes(A), room).bytes.subarray(0, room - 4)]).toEqual(
        zeros(room - 4),
      );
  });

  it('iommu.dev.probe.too-small-inval, (6.1) in the last four bytes, all of them counted', () => {
    const guest = probing();
    for (const room of rooms) {
      const { length, bytes } = guest.send(probeBytes(A), room);
      expect(length).toBe(room);
      expect([...bytes.subarray(-4)]).toEqual([INVAL, 0, 0, 0]);
    }
    expect(guest.probe(A).bytes.at(probeSize)).toBe(OK);
  });

  it('(6.2) with more room the tail stays at probe_size', () => {
    const { length, bytes } = probing().send(probeBytes(A), probeSize + 20);
    expect(length).toBe(probeSize + 4);
    expect(walk(bytes)).toHaveLength(3);
    expect([...bytes.subarray(probeSize)]).toEqual([
      ...zeros(4),
      ...Array.from({ length: 16 }, () => FILL),
    ]);
  });

  it('(6.4) properties that do not fit are refused when the device is made', () => {
    expect(() => probing({ probeSize: 71 })).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(probing({ probeSize: 72 }).send(probeBytes(A), 76).bytes.at(-4)).toBe(OK);
  });

  it('(6.5) a probe size of 0 leaves the tail alone', () => {
    const guest = createGuest({ probeSize: 0 });
    expect(guest.send(probeBytes(A), 4)).toEqual({ length: 4, bytes: Uint8Array.of(0, 0, 0, 0) });
    expect(guest.send(probeBytes(ABSENT), 4).bytes[0]).toBe(NOENT);
  });

  it('(6.10) the same answer at any time', () => {
    const guest = probing();
    const before = guest.probe(A);
    guest.attach(1, A);
    guest.map(1, 0x10_0000n, 0x10_0fffn, 0n);
    expect(guest.probe(A)).toEqual(before);
  });
});
