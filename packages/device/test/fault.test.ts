import { FaultReason, Status } from '@viommu/common';
import { type DeviceQueue, Popped } from '@viommu/ring';
import { describe, expect, it, vi } from 'vitest';
import { A, ABSENT, B, READ, WRITE, attachBytes, createGuest, type Guest } from './guest.ts';

const ADDRESS = 0x100;

/** A is in domain 1 with a read-only page at 0x1000; B is attached nowhere. */
function faulty(): Guest {
  const guest = createGuest();
  guest.attach(1, A);
  guest.map(1, 0x1000n, 0x1fffn, 0xa000n, READ);
  return guest;
}

/** One fault of each kind. */
function causeFaults(guest: Guest): void {
  guest.access(A, 0x2000n, 4, READ);
  guest.access(A, 0x1000n, 4, WRITE);
  guest.access(B, 0x1000n, 4, READ | WRITE);
}

describe('fault records', () => {
  it('iommu.dev.fault.reserved-zero', () => {
    const guest = faulty();
    guest.postEvents(24, 24, 24);
    causeFaults(guest);
    const events = guest.takeEvents();
    expect(events).toHaveLength(3);
    for (const { length, bytes } of events) {
      expect(length).toBe(24);
      expect([...bytes.subarray(1, 4), ...bytes.subarray(12, 16)]).toEqual([0, 0, 0, 0, 0, 0, 0]);
    }
  });

  it('iommu.dev.fault.flags-undefined-zero, (8.7) READ and WRITE as the access had them', () => {
    const guest = faulty();
    guest.postEvents(24, 24, 24);
    causeFaults(guest);
    expect(guest.takeFaults().map(({ flags }) => flags)).toEqual([
      READ | ADDRESS,
      WRITE | ADDRESS,
      READ | WRITE | ADDRESS,
    ]);
  });

  it('iommu.dev.fault.endpoint-valid', () => {
    const guest = faulty();
    guest.postEvents(24, 24, 24, 24);
    causeFaults(guest);
    expect(guest.access(ABSENT, 0n, 1)).toBe('unknown fault at 0');
    expect(guest.takeFaults().map(({ endpoint }) => endpoint)).toEqual([A, A, B]);
    expect(guest.device.droppedFaults).toBe(0);
  });

  it('iommu.dev.fault.address-optional: it is always given', () => {
    const guest = faulty();
    guest.postEvents(24, 24);
    guest.access(A, 0x2345n, 4, READ);
    guest.access(A, 0xfedc_ba98_7654_3210n, 4, READ);
    expect(guest.takeFaults().map(({ address }) => address)).toEqual([
      0x2345n,
      0xfedc_ba98_7654_3210n,
    ]);
  });

  it('(8.8) the address is the first byte that could not be translated', () => {
    const guest = faulty();
    guest.postEvents(24);
    expect(guest.access(A, 0x1ff0n, 0x100, READ)).toBe('mapping fault at 2000');
    expect(guest.takeFaults()[0]?.address).toBe(0x2000n);
  });

  it('(8.9) (8.10) reasons', () => {
    const guest = faulty();
    guest.postEvents(24, 24, 24);
    causeFaults(guest);
    expect(guest.takeFaults().map(({ reason }) => reason)).toEqual([
      FaultReason.MAPPING,
      FaultReason.MAPPING,
      FaultReason.DOMAIN,
    ]);
  });

  it('(8.1) (8.11) one record for each refused access', () => {
    const guest = faulty();
    guest.postEvents(24, 24, 24);
    guest.access(A, 0x2000n, 0x8000, READ);
    guest.access(A, 0x2000n, 0x8000, READ);
    expect(guest.takeFaults()).toHaveLength(2);
  });

  it('an access beyond the last address is refused', () => {
    const guest = createGuest({ bypass: true });
    guest.postEvents(24);
    expect(guest.access(A, 0xffff_ffff_ffff_fff0n, 0x10)).toBe('=fffffffffffffff0+16');
    expect(guest.access(A, 0xffff_ffff_ffff_fff0n, 0x11)).toBe('unknown fault at fffffffffffffff0');
    expect(guest.takeFaults()).toMatchObject([{ reason: FaultReason.UNKNOWN }]);
  });
});

describe('event queue', () => {
  it('(8.3) buffers are found at the moment of the fault, without a notification', () => {
    const guest = faulty();
    guest.device.suppress();
    guest.postEvents(24);
    guest.access(A, 0x2000n, 1);
    expect(guest.takeFaults()).toHaveLength(1);
    expect(guest.interrupts.at(-1)).toBe(1);
  });

  it('(8.2) without a buffer a record is dropped and counted, and the first one is told', () => {
    const droppedFault = vi.fn<() => void>();
    const guest = createGuest({ observer: { droppedFault } });
    for (let fault = 0; fault < 3; fault += 1) guest.access(A, 0n, 1);
    expect(guest.device.droppedFaults).toBe(3);
    expect(droppedFault).toHaveBeenCalledTimes(1);
    guest.postEvents(24);
    guest.access(A, 0x5000n, 1);
    expect(guest.takeFaults()).toMatchObject([{ address: 0x5000n }]);
    guest.device.reset();
    guest.access(A, 0n, 1);
    expect(guest.device.droppedFaults).toBe(4);
    expect(droppedFault).toHaveBeenCalledTimes(2);
  });

  it('(8.4) a short buffer goes back with length 0, and the record into the next that fits', () => {
    const guest = faulty();
    guest.postEvents(8, 23, 24, 24);
    guest.access(A, 0x2000n, 1);
    const events = guest.takeEvents();
    expect(events.map(({ length }) => length)).toEqual([0, 0, 24]);
    expect([...(events[0]?.bytes ?? [])].every((byte) => byte === 0xff)).toBe(true);
    guest.access(A, 0x2000n, 1);
    expect(guest.takeEvents().map(({ length }) => length)).toEqual([24]);
    expect(guest.device.droppedFaults).toBe(0);
  });

  it('iommu.dev.fault.no-multi-buffer: short buffers come back empty', () => {
    const guest = faulty();
    guest.postEvents(8, 8, 8, 8);
    guest.access(A, 0x2000n, 1);
    const events = guest.takeEvents();
    expect(events.map(({ length }) => length)).toEqual([0, 0, 0, 0]);
    for (const { bytes } of events) expect(bytes.every((byte) => byte === 0xff)).toBe(true);
    expect(guest.device.droppedFaults).toBe(1);
  });

  it('iommu.dev.fault.older-format: there is none, so one byte too few is too short', () => {
    const guest = faulty();
    guest.postEvents(23);
    guest.access(A, 0x2000n, 1);
    expect(guest.takeEvents().map(({ length }) => length)).toEqual([0]);
  });

  it('(8.5) of a large buffer 24 bytes are used', () => {
    const guest = faulty();
    guest.postEvents(32);
    guest.access(A, 0x2000n, 1);
    const [event] = guest.takeEvents();
    expect(event?.length).toBe(24);
    expect([...(event?.bytes.subarray(24) ?? [])]).toEqual(Array.from({ length: 8 }, () => 0xff));
  });

  it('(8.6) readable elements of a buffer are left alone', () => {
    const guest = faulty();
    guest.postEvent(40, 24);
    guest.access(A, 0x2000n, 1);
    expect(guest.takeEvents()[0]?.length).toBe(24);
  });

  it('a damaged event ring stops the device, and requests with it', () => {
    const guest = faulty();
    guest.damageEvents();
    expect(guest.access(A, 0x2000n, 1)).toBe('mapping fault at 2000');
    expect(guest.resets).toHaveLength(1);
    expect(guest.device.droppedFaults).toBe(1);
    guest.access(A, 0x2000n, 1);
    expect(guest.resets).toHaveLength(1);
    guest.add(attachBytes(2, A), 4);
    expect(guest.device.serve()).toBe(false);
    guest.device.reset();
    guest.start();
    expect(guest.attach(1, A)).toBe(Status.OK);
  });

  it('(11.22) after a damaged request ring no record is published', () => {
    const guest = faulty();
    guest.postEvents(24);
    guest.damageRequests();
    guest.device.serve();
    guest.access(A, 0x2000n, 1);
    expect(guest.resets).toHaveLength(1);
    expect(guest.takeEvents()).toEqual([]);
  });

  it('(8.4) a driver that adds short buffers for ever does not keep the device', () => {
    const size = 8;
    let pushed = 0;
    const endless: DeviceQueue = {
      size,
      fault: undefined,
      pop: (chain) => {
        chain.begin(0);
        chain.append(0, 8, true);
        return Popped.CHAIN;
      },
      serve: () => 0,
      push: () => {
        pushed += 1;
      },
      publish: () => false,
      ready: () => true,
      armNotification: () => false,
      suppressNotification: () => {},
      save: () => {
        throw new Error('nobody saves it');
      },
    };
    const guest = createGuest();
    guest.device.queueStarted(1, endless);
    guest.access(A, 0x2000n, 1);
    expect(pushed).toBe(size);
    expect(guest.device.droppedFaults).toBe(1);
  });

  it('a stopped event queue takes no record', () => {
    const guest = faulty();
    guest.postEvents(24);
    guest.device.queueStopped(1);
    guest.access(A, 0x2000n, 1);
    expect(guest.takeEvents()).toEqual([]);
    expect(guest.device.droppedFaults).toBe(1);
  });
});
