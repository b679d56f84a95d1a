/** A copy engine without threads: what it does with registers that no guest of ours would write. */

import { FaultReason, guestPhysical, iova } from '@viommu/common';
import { Iommu, type IommuObserver } from '@viommu/device';
import { SharedMemory } from '@viommu/ring';
import { RegisterWindow } from '@viommu/transport';
import { describe, expect, it } from 'vitest';
import { CopyDevice } from '../src/copy-device.ts';
import { CopyEngine } from '../src/copy-engine.ts';
import { COPY_BYTES_MAX, CopyRegisters, CopyStatus } from '../src/copy-register.ts';
import type { HostContext } from '../src/host.ts';

const { offset: At } = CopyRegisters;
const BASE = guestPhysical(0x4000_0000n);
const ENDPOINT = 8;

interface Bench {
  readonly device: CopyDevice;
  readonly window: RegisterWindow;
  readonly memory: SharedMemory;
  readonly engine: CopyEngine;
  readonly faults: { address: bigint; access: number; reason: number }[];
  readonly messages: { address: bigint; data: number }[];
}

/** An engine in bypass: every address leads to itself. */
function bench(): Bench {
  const faults: Bench['faults'] = [];
  const messages: Bench['messages'] = [];
  const observer: IommuObserver = {
    faulted: (_, address, access, reason) => void faults.push({ address, access, reason }),
  };
  const reserved = [{ start: 0x1000n, last: 0x1fffn, type: 'msi' }] as const;
  const iommu = new Iommu({ bypass: true, endpoints: [{ id: ENDPOINT, reserved }], observer });
  const window = new RegisterWindow(new SharedArrayBuffer(0x200), 0);
  const size = 4096;
  const memory = new SharedMemory({
    buffer: new SharedArrayBuffer(size),
    offset: 0,
    size,
    base: BASE,
  });
  const unused = (): never => {
    throw new Error('a copy engine has no use for this');
  };
  const host: HostContext = {
    name: 'engine',
    id: ENDPOINT,
    iommu,
    memory,
    registers: window,
    interrupt: unused,
    interruptMessage: (_, address, data) => void messages.push({ address, data }),
    observe: unused,
    systemReset: unused,
    log: unused,
    report: unused,
  };
  const device = new CopyDevice(host, ENDPOINT, new Float64Array(8));
  const port = {
    read: (offset: number, width: number) => window.read(offset, width),
    write: (offset: number, width: number, value: number) => device.write(offset, width, value),
    post: unused,
  };
  return { device, window, memory, engine: new CopyEngine(port), faults, messages };
}

function go({ device, window }: Bench, from: bigint, to: bigint, length: number): number {
  const write = (offset: number, value: bigint): void =>
    device.write(offset, 4, Number(value & 0xffff_ffffn));
  write(At.sourceLow, from);
  write(At.sourceHigh, from >> 32n);
  write(At.targetLow, to);
  write(At.targetHigh, to >> 32n);
  write(At.length, BigInt(length));
  write(At.go, 0n);
  return window.read(At.status, 4);
}

describe('copy engine', () => {
  it('has the registers of its plan', () => {
    expect(CopyRegisters.fields.map(({ name, offset, width }) => [name, offset, width])).toEqual([
      ['magic', 0x00, 4],
      ['version', 0x04, 4],
      ['endpoint', 0x08, 4],
      ['reserved0', 0x0c, 4],
      ['sourceLow', 0x10, 4],
      ['sourceHigh', 0x14, 4],
      ['targetLow', 0x18, 4],
      ['targetHigh', 0x1c, 4],
      ['length', 0x20, 4],
      ['go', 0x24, 4],
      ['status', 0x28, 4],
      ['copied', 0x2c, 4],
      ['faultLow', 0x30, 4],
      ['faultHigh', 0x34, 4],
    ]);
  });

  it('copies, and says how much', () => {
    const one = bench();
    one.memory.write(0, Uint8Array.of(1, 2, 3), 0, 3);
    expect(go(one, BASE, BASE + 100n, 3)).toBe(CopyStatus.OK);
    expect([100, 101, 102, 103].map((at) => one.memory.getUint8(at))).toEqual([1, 2, 3, 0]);
    expect(one.window.read(At.copied, 4)).toBe(3);
  });

  it('moves overlapping bytes as if they had been read before any was written', () => {
    const one = bench();
    one.memory.write(0, Uint8Array.of(1, 2, 3, 4), 0, 4);
    expect(go(one, BASE, BASE + 1n, 4)).toBe(CopyStatus.OK);
    expect([0, 1, 2, 3, 4].map((at) => one.memory.getUint8(at))).toEqual([1, 1, 2, 3, 4]);
  });

  it.each([
    [0xffff_ffff_ffff_ffffn, 2],
    [0xffff_ffff_ffff_0000n, 0x1_0001],
    [0xffff_ffff_ffff_0000n, 0x4_0000],
    [0xffff_ffff_fff0_0001n, COPY_BYTES_MAX],
  ])('is refused an access at %d that leaves 64 bits, once', (address, length) => {
    const one = bench();
    expect(go(one, address, BASE, length)).toBe(CopyStatus.READ_FAULT);
    expect(go(one, BASE, address, length)).toBe(CopyStatus.WRITE_FAULT);
    expect(one.faults).toEqual([
      { address, access: 1, reason: FaultReason.UNKNOWN },
      { address, access: 2, reason: FaultReason.UNKNOWN },
    ]);
    expect(one.window.read(At.copied, 4)).toBe(0);
  });

  it.each([COPY_BYTES_MAX + 1, 0xffff_ffff])('does not copy %d bytes', (length) => {
    const one = bench();
    expect(go(one, BASE, BASE, length)).toBe(CopyStatus.TOO_LONG);
    expect(one.faults).toEqual([]);
  });

  it('says that no memory is where an address leads', () => {
    const one = bench();
    expect(go(one, BASE + 4000n, BASE, 97)).toBe(CopyStatus.READ_UNBACKED);
    expect(go(one, BASE, BASE - 1n, 1)).toBe(CopyStatus.WRITE_UNBACKED);
    expect(go(one, BASE, 0x1_4000_0000n, 1)).toBe(CopyStatus.WRITE_UNBACKED);
  });

  it('sends a word into an MSI region as an interrupt, and what is no word nowhere', () => {
    const one = bench();
    one.memory.setUint32(0, 0x8765_4321);
    for (const length of [4, 1, 8]) expect(go(one, BASE, 0x1010n, length)).toBe(CopyStatus.OK);
    expect(one.messages).toEqual([{ address: 0x1010n, data: 0x8765_4321 }]);
  });

  it('ignores writes of other widths and to registers that are read only', () => {
    const one = bench();
    one.device.write(At.length, 1, 5);
    one.device.write(At.go, 2, 1);
    for (const offset of [At.magic, At.status, At.copied, At.faultLow, 0x1fc, 0x3])
      one.device.write(offset, 4, 0xffff_ffff);
    expect(one.window.read(At.status, 4)).toBe(CopyStatus.IDLE);
    expect(one.window.read(At.endpoint, 4)).toBe(ENDPOINT);
  });
});

describe('copy engine, from the guest', () => {
  it('is found by its magic number', () => {
    const port = { read: () => 0, write: () => undefined, post: () => undefined };
    expect(() => new CopyEngine(port)).toThrow(expect.objectContaining({ code: 'ENODEV' }));
  });

  it.each([-1, 0.5, Number.NaN, 2 ** 53])('refuses a length of %d', (length) => {
    const { engine } = bench();
    expect(() => engine.copy({ from: iova(0n), to: iova(0n), length })).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
  });

  it('refuses addresses beyond 64 bits', () => {
    const { engine } = bench();
    const last = iova(0xffff_ffff_ffff_ffffn);
    for (const request of [
      { from: last, to: iova(0n), length: 2 },
      { from: iova(0n), to: last, length: 2 },
    ])
      expect(() => engine.copy(request)).toThrow(expect.objectContaining({ code: 'EOVERFLOW' }));
  });

  it('believes no status that does not exist', () => {
    const { window } = bench();
    const port = {
      read: (offset: number, width: number) =>
        offset === At.status ? 77 : window.read(offset, width),
      write: () => undefined,
      post: () => undefined,
    };
    const request = { from: iova(0n), to: iova(0n), length: 1 };
    expect(() => new CopyEngine(port).copy(request)).toThrow(
      expect.objectContaining({ code: 'EIO' }),
    );
  });
});
