import { FaultFlag, FaultReason, FaultRecord } from '@viommu/common';
import { type Endpoint, type Fault, allocPaging, attach } from '@viommu/driver';
import { describe, expect, it } from 'vitest';
import { type Setup, setUp } from './helper/setup.ts';

const { READ, WRITE, ADDRESS } = FaultFlag;
const EVENTS = 8;

function setUpFaults(): Setup & { endpoint: Endpoint; handled: Fault[] } {
  const setup = setUp({ queueSizes: [8, EVENTS] });
  const endpoint = setup.driver.probeDevice([8]);
  const domain = allocPaging(endpoint);
  attach(domain, endpoint);
  const handled: Fault[] = [];
  domain.faultHandler = (fault) => {
    handled.push(fault);
    return undefined;
  };
  setup.device.notifications = 0;
  return { ...setup, endpoint, handled };
}

const WRITE_FAULT = {
  reason: FaultReason.MAPPING,
  flags: WRITE | ADDRESS,
  endpoint: 8,
  address: 0x2010n,
};

/** What the driver makes of one record. */
function reportOf(record: Parameters<typeof FaultRecord.encode>[0]): Setup['faults'][number] {
  const { driver, device, faults } = setUpFaults();
  device.inject(record);
  expect(driver.serveEvents()).toBe(1);
  expect(faults).toHaveLength(1);
  const [report] = faults;
  if (report === undefined) throw new Error('one report');
  return report;
}

/** Buffers the device could use now. */
function buffersLeft({ device, driver }: Setup): number {
  let count = 0;
  while (device.inject(new Uint8Array(0), 0)) count += 1;
  driver.serveEvents();
  return count;
}

describe('fault records', () => {
  it('S3.13 [A22] reach the domain’s handler once, and the buffer goes back', () => {
    const setup = setUpFaults();
    const { driver, device, endpoint, handled, faults } = setup;
    device.inject(WRITE_FAULT);
    expect(driver.serveEvents()).toBe(1);
    expect(driver.serveEvents()).toBe(0);
    const fault = {
      reason: FaultReason.MAPPING,
      flags: WRITE | ADDRESS,
      endpointId: 8,
      endpoint,
      domain: endpoint.domain,
      address: 0x2010n,
    };
    expect(handled).toEqual([fault]);
    expect(faults).toEqual([{ ...fault, outcome: undefined }]);
    expect(buffersLeft(setup)).toBe(EVENTS);
  });

  it('are understood byte for byte', () => {
    const { driver, device, faults } = setUpFaults();
    device.inject(
      Uint8Array.of(2, 0, 0, 0, 2, 1, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x20, 0, 0, 0, 0, 0, 0),
    );
    driver.serveEvents();
    expect(faults).toMatchObject([
      { reason: FaultReason.MAPPING, flags: WRITE | ADDRESS, endpointId: 8, address: 0x2010n },
    ]);
  });

  it('S3.13 keep what the handler returns; without one it is ENOSYS', () => {
    const { driver, device, endpoint, faults } = setUpFaults();
    const { domain } = endpoint;
    if (domain === null) throw new Error('attached');
    domain.faultHandler = () => 'EFAULT';
    device.inject(WRITE_FAULT);
    driver.serveEvents();
    domain.faultHandler = undefined;
    device.inject(WRITE_FAULT);
    driver.serveEvents();
    expect(faults.map(({ outcome }) => outcome)).toEqual(['EFAULT', 'ENOSYS']);
  });

  it('of an endpoint nobody probed are reported and counted', () => {
    const { driver, device, faults } = setUpFaults();
    device.inject({ ...WRITE_FAULT, endpoint: 99 });
    driver.serveEvents();
    expect(faults).toMatchObject([
      { endpointId: 99, endpoint: undefined, domain: null, outcome: 'ENOSYS' },
    ]);
    expect(driver.log.counters.faultEndpointUnknown).toBe(1);
  });

  it('iommu.drv.fault.reserved-nonzero-ignored: no report, and the buffer goes back', () => {
    const setup = setUpFaults();
    for (const at of [1, 2, 3]) {
      const record = FaultRecord.encode(WRITE_FAULT);
      record[at] = 1;
      setup.device.inject(record);
    }
    expect(setup.driver.serveEvents()).toBe(3);
    expect(setup.faults).toEqual([]);
    expect(setup.driver.log.counters.eventReserved).toBe(3);
    expect(buffersLeft(setup)).toBe(EVENTS);
  });

  it('iommu.drv.fault.reserved1-ignored', () => {
    const marked = { ...WRITE_FAULT, reserved1: Uint8Array.of(255, 255, 255, 255) };
    expect(comparable(reportOf(marked))).toEqual(comparable(reportOf(WRITE_FAULT)));
  });

  it('iommu.drv.fault.flags-undefined-ignored', () => {
    const marked = { ...WRITE_FAULT, flags: 0xffff_fffe };
    expect(comparable(reportOf(marked))).toEqual(comparable(reportOf(WRITE_FAULT)));
    expect(reportOf({ ...WRITE_FAULT, flags: 0xffff_ffff }).flags).toBe(READ | WRITE | ADDRESS);
  });

  it('iommu.drv.fault.reason-unknown', () => {
    const { driver, device, faults } = setUpFaults();
    device.inject({ ...WRITE_FAULT, reason: 0x7f });
    device.inject(WRITE_FAULT);
    driver.serveEvents();
    expect(faults.map(({ reason }) => reason)).toEqual([FaultReason.UNKNOWN, FaultReason.MAPPING]);
    expect(driver.log.counters.faultReasonUnknown).toBe(1);
  });

  it('without the ADDRESS flag have no address', () => {
    expect(reportOf({ ...WRITE_FAULT, flags: READ })).toMatchObject({
      flags: READ,
      address: undefined,
    });
  });

  it('(8.13) shorter than 24 bytes are ignored and counted; the buffer goes back', () => {
    const setup = setUpFaults();
    setup.device.inject(FaultRecord.encode(WRITE_FAULT), 23);
    setup.device.inject(FaultRecord.encode(WRITE_FAULT), 0);
    setup.driver.serveEvents();
    expect(setup.faults).toEqual([]);
    expect(setup.driver.log.counters.eventShort).toBe(2);
    expect(buffersLeft(setup)).toBe(EVENTS);
  });

  it('(8.12) that claim to be longer are counted, and their first 24 bytes used', () => {
    const { driver, device, faults } = setUpFaults();
    device.inject(FaultRecord.encode(WRITE_FAULT), 0xffff_ffff);
    driver.serveEvents();
    expect(faults).toMatchObject([{ address: 0x2010n }]);
    expect(driver.log.counters.eventLong).toBe(1);
  });
});

function comparable({
  endpointId,
  reason,
  flags,
  address,
  outcome,
}: Setup['faults'][number]): unknown {
  return { endpointId, reason, flags, address, outcome };
}

describe('the event queue', () => {
  it('puts all buffers of a burst back with one notification', () => {
    const setup = setUpFaults();
    for (let n = 0; n < EVENTS; n += 1) setup.device.inject(WRITE_FAULT);
    expect(setup.device.inject(WRITE_FAULT)).toBe(false);
    setup.device.eventQueue.armNotification();
    expect(setup.driver.serveEvents()).toBe(EVENTS);
    expect(setup.device.notifications).toBe(1);
    expect(buffersLeft(setup)).toBe(EVENTS);
  });

  it('asks for an interrupt before the caller sleeps', () => {
    const { driver, device } = setUpFaults();
    for (let round = 0; round < 20; round += 1) {
      while (driver.serveEvents() > 0);
      const seen = device.interruptBell.value();
      device.inject(WRITE_FAULT);
      expect(device.interruptBell.value()).not.toBe(seen);
      device.inject(WRITE_FAULT);
    }
  });

  it('loses no buffer when a handler throws', () => {
    const setup = setUpFaults();
    const { domain } = setup.endpoint;
    if (domain === null) throw new Error('attached');
    domain.faultHandler = () => {
      throw new Error('a bug of the handler');
    };
    setup.device.inject(WRITE_FAULT);
    setup.device.inject(WRITE_FAULT);
    expect(() => setup.driver.serveEvents()).toThrow('a bug of the handler');
    expect(() => setup.driver.serveEvents()).toThrow('a bug of the handler');
    expect(buffersLeft(setup)).toBe(EVENTS);
  });

  it('logs ten lines in five seconds, and counts the others', () => {
    const { driver, device, clock, logger } = setUpFaults();
    for (let n = 0; n < 25; n += 1) {
      device.inject(WRITE_FAULT);
      driver.serveEvents();
    }
    expect(logger.lines).toHaveLength(10);
    expect(logger.lines[0]).toBe(
      'virtio-iommu: endpoint 8 faults: reason 2, access WRITE at 0x2010',
    );
    expect(driver.log.counters).toMatchObject({ faultReported: 25, faultLogDropped: 15 });
    clock.nowMs += 5000;
    device.inject(WRITE_FAULT);
    driver.serveEvents();
    expect(logger.lines).toHaveLength(11);
  });

  it('a damaged ring ends the reports and nothing else', () => {
    const { driver, device, faults, driverOptions } = setUpFaults();
    const used = device.layouts[1]?.deviceArea ?? 0n;
    const { memory } = driverOptions;
    memory.storeUint16(memory.locate(Number(used), 0, 4) + 2, 999);
    expect(driver.serveEvents()).toBe(0);
    expect(driver.serveEvents()).toBe(0);
    expect(faults).toEqual([]);
    expect(driver.log.counters.queueBroken).toBe(1);
    expect(driver.state).toBe('live');
  });
});
