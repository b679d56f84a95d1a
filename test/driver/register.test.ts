/** What the driver does at the registers in its whole life: section "Virtio Over MMIO", driver side. */

import { describe, expect, it } from 'vitest';
import { R, RecordedGuest } from './recorded-guest.ts';

/** Registers that only the driver writes, those of shared memory among them. */
const WRITE_ONLY: readonly number[] = [
  0x014, 0x020, 0x024, 0x030, 0x038, 0x050, 0x064, 0x080, 0x084, 0x090, 0x094, 0x0a0, 0x0a4, 0x0ac,
];

/** A guest whose driver has come and gone. */
function retired(): RecordedGuest {
  const guest = new RecordedGuest();
  guest.wholeLife();
  return guest;
}

/** What a transport on a register that reads `value` fails with. */
function refusal(register: number, value: number): unknown {
  const guest = new RecordedGuest();
  guest.onRead = (offset, read) => (offset === register ? value : read);
  try {
    guest.transport();
    return undefined;
  } catch (error) {
    return error;
  }
}

describe('identification', () => {
  it('mmio.drv.init.read-device-id: third, before any write', () => {
    const { log } = retired();
    expect(log.slice(0, 3).map(({ kind, offset }) => [kind, offset])).toEqual([
      ['read', R.magic],
      ['read', R.version],
      ['read', R.deviceId],
    ]);
  });

  it('mmio.drv.reg.bad-magic-report: as ENODEV', () => {
    expect(refusal(R.magic, 0x7472_6977)).toMatchObject({ code: 'ENODEV' });
    expect(refusal(R.magic, 0x7669_7274)).toMatchObject({ code: 'ENODEV' });
  });

  it('mmio.drv.reg.bad-version-report: as ENODEV, the legacy version 1 too', () => {
    for (const version of [0, 1, 3, 0x0200_0000])
      expect(refusal(R.version, version)).toMatchObject({ code: 'ENODEV' });
  });
});

describe('an empty slot', () => {
  function emptySlot(): RecordedGuest {
    const guest = new RecordedGuest();
    guest.onRead = (offset, value) => (offset === R.deviceId ? 0 : value);
    return guest;
  }

  it('mmio.drv.reg.device-id-zero-ignored: is not accessed any further', () => {
    const guest = emptySlot();
    expect(() => guest.probe()).toThrow('Device type 0');
    expect(guest.log.map(({ offset }) => offset)).toEqual([R.magic, R.version, R.deviceId]);
  });

  it('mmio.drv.init.abort-device-id-zero: keeps status 0, also if somebody insists', () => {
    const guest = emptySlot();
    const transport = guest.transport();
    expect(() => transport.negotiate({ wanted: 0n, required: 0n })).toThrow('no device');
    expect(guest.written(R.status)).toEqual([]);
    expect(transport.status()).toBe(0);
  });

  it('mmio.drv.reg.device-id-zero-silent: is found without an error or a warning', () => {
    const guest = emptySlot();
    expect(guest.transport().deviceId).toBe(0);
    expect(guest.warnings).toEqual([]);
  });
});

describe('accesses', () => {
  it('mmio.drv.reg.width-control: 32 bits, aligned', () => {
    const control = retired()
      .registers()
      .filter(({ offset }) => offset < R.config);
    expect(control.length).toBeGreaterThan(50);
    expect(control.filter(({ offset, width }) => width !== 4 || offset % 4 !== 0)).toEqual([]);
  });

  it('mmio.drv.reg.no-read-write-only: nothing is read that can only be written', () => {
    const read = retired().log.filter(({ kind }) => kind === 'read');
    expect(read.filter(({ offset }) => WRITE_ONLY.includes(offset))).toEqual([]);
    expect(read.length).toBeGreaterThan(20);
  });

  it('mmio.drv.init.no-shm-registers: the IOMMU has no shared memory regions', () => {
    const registers = retired().registers();
    expect(registers.filter(({ offset }) => offset >= 0xac && offset <= 0xbc)).toEqual([]);
    expect(registers.length).toBeGreaterThan(50);
  });

  it('mmio.drv.reg.features-sel-before-write: each word is selected before it is written', () => {
    const { log } = retired();
    const selected: number[] = [];
    for (const [at, { kind, offset }] of log.entries()) {
      if (kind !== 'write' || offset !== R.driverFeatures) continue;
      const before = log[at - 1];
      expect(before).toMatchObject({ kind: 'write', offset: R.driverFeaturesSel });
      selected.push(before?.value ?? -1);
    }
    expect(selected).toEqual([0, 1]);
  });

  it('mmio.drv.init.common-procedure: the steps of the generic initialisation, in order', () => {
    const guest = new RecordedGuest();
    guest.probe();
    const steps = guest.registers().flatMap(({ kind, offset, value }) => {
      if (offset === R.status) return [`${kind} status ${value}`];
      if (kind === 'read') return offset === R.deviceFeatures ? ['read features'] : [];
      if (offset === R.driverFeatures) return ['write features'];
      return offset === R.queueReady ? ['queue ready'] : [];
    });
    expect(steps).toEqual([
      'write status 0',
      'read status 0',
      'write status 1',
      'write status 3',
      'read features',
      'read features',
      'write features',
      'write features',
      'write status 11',
      'read status 11',
      'queue ready',
      'queue ready',
      'write status 15',
      'read status 15',
    ]);
  });
});

describe('interrupts', () => {
  /** A guest at work, whose device raises these events. */
  function interrupted(events: number): { guest: RecordedGuest; handle: () => void } {
    const guest = new RecordedGuest();
    const driver = guest.probe();
    driver.serveEvents();
    guest.log.length = 0;
    if ((events & 1) !== 0) guest.fault();
    if ((events & 2) !== 0) guest.announceChange();
    return { guest, handle: () => driver.serveEvents() };
  }

  it('mmio.drv.irq.acknowledge: with the bits read; the interrupt drops', () => {
    const { guest, handle } = interrupted(3);
    expect(guest.interruptStatus).toBe(3);
    handle();
    const status = guest.log.findIndex(({ offset }) => offset === R.interruptStatus);
    expect(guest.log.slice(status, status + 2)).toEqual([
      { kind: 'read', offset: R.interruptStatus, width: 4, value: 3 },
      { kind: 'write', offset: R.interruptAck, width: 4, value: 3 },
    ]);
    expect(guest.interruptStatus).toBe(0);
  });

  it.each([1, 2, 3])('mmio.drv.reg.ack-handled: events %i are acknowledged', (events) => {
    const { guest, handle } = interrupted(events);
    handle();
    expect(guest.written(R.interruptAck)).toEqual([events]);
  });

  it('mmio.drv.reg.ack-defined-only: bits that nobody defined are not', () => {
    const { guest, handle } = interrupted(2);
    guest.onRead = (offset, value) => (offset === R.interruptStatus ? value | 0xfff0_00fc : value);
    handle();
    expect(guest.written(R.interruptAck)).toEqual([2]);
  });
});
