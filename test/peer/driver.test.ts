/**
 * Our driver on a virtio PCI device of another process: the stand-in for QEMU, which is our own device behind registers
 * of PCI, and every real QEMU of this machine.
 */

import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { DeviceStatus, guestPhysical } from '@viommu/common';
import {
  type FaultReport,
  IommuDriver,
  Protection,
  allocPaging,
  attach,
  detach,
  iotlbSync,
  iotlbSyncMap,
  mapPages,
  unmapPages,
} from '@viommu/driver';
import {
  PciTransport,
  QEMU_WINDOW,
  QemuMachine,
  SdDma,
  qemuProgram,
  sdDmaDevice,
} from '@viommu/peers';
import { FakeQemus, realQemus } from './kit/install.ts';

const fakes = new FakeQemus();
afterAll(() => fakes.dispose());

const machines: QemuMachine[] = [];
afterEach(() => {
  for (const machine of machines.splice(0)) machine.dispose();
});

const SLOT = 5;
const ENDPOINT = SLOT << 3;
/** Where the driver's own memory ends, and that of the mappings begins. */
const DRIVER_BYTES = 0x40_0000;
const DATA = QEMU_WINDOW.start + BigInt(DRIVER_BYTES);

function start(command: string, packed = false): QemuMachine {
  const machine = new QemuMachine({
    program: qemuProgram(command),
    devices: [sdDmaDevice(SLOT)],
    iommu: packed ? { packed: 'on' } : {},
    lifeMs: 50_000,
  });
  machines.push(machine);
  return machine;
}

function probe(machine: QemuMachine, onFault?: (report: FaultReport) => void): IommuDriver {
  let free: bigint = QEMU_WINDOW.start;
  return IommuDriver.probe({
    transport: new PciTransport(machine.iommu),
    memory: machine.memory,
    pages: {
      allocate(bytes) {
        const address = guestPhysical(free);
        free += BigInt(Math.ceil(bytes / 4096) * 4096);
        expect(free).toBeLessThanOrEqual(DATA);
        return address;
      },
    },
    clock: { now: () => performance.now() },
    ...(onFault === undefined ? {} : { onFault }),
  });
}

const page = (address: bigint): number => Number(address >> 12n);
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Mappings are obeyed, also across pages and after an unmap, and what is refused is reported. */
function expectMappings(machine: QemuMachine): void {
  const faults: FaultReport[] = [];
  const driver = probe(machine, (report) => faults.push(report));
  const source = new SdDma(machine, SLOT);
  const endpoint = driver.probeDevice([ENDPOINT]);
  const domain = allocPaging(endpoint);
  attach(domain, endpoint);
  for (const index of [0, 1])
    mapPages(domain, 0x100 + index, page(DATA) + index, 1, Protection.READ | Protection.WRITE);
  iotlbSyncMap(domain, 0x100, 2);

  source.write(0x10_0ffen, bytesOf('across pages'));
  const there = new Uint8Array(12);
  const position = machine.memory.locate(Number(DATA), 0, 0x2000);
  machine.memory.read(position + 0xffe, there, 0, 12);
  expect(there).toEqual(bytesOf('across pages'));
  const got = new Uint8Array(5);
  source.read(0x10_0fffn, got);
  expect(got).toEqual(bytesOf('cross'));
  expect([driver.serveEvents(), faults.length]).toEqual([0, 0]);

  unmapPages(domain, 0x101, 1);
  iotlbSync(domain);
  source.write(0x10_1000n, bytesOf('nope'));
  machine.memory.read(position + 0x1000, there, 0, 4);
  expect(there.subarray(0, 4)).toEqual(bytesOf('ross'));
  while (driver.serveEvents() > 0);
  expect(faults[0]).toMatchObject({ endpointId: ENDPOINT, address: 0x10_1000n });
  detach(endpoint);
  driver.remove();
  expect(machine.iommu.readStatus()).toBe(0);
}

describe.each([
  ['the stand-in', () => fakes.path('well'), false],
  ...realQemus().map((command) => [command, () => command, true] as const),
] as const)('the driver on %s', (_, commandOf, isReal) => {
  // Real QEMUs leave WRITE out of used descriptors of a packed ring, and our driver then does not believe their length.
  it.each(isReal ? [false] : [false, true])('maps, and hears of faults (packed: %s)', (packed) => {
    expectMappings(start(commandOf(), packed));
  });

  it('takes the device over again after a reset of the machine, and of the process', () => {
    const machine = start(commandOf());
    probe(machine);
    expect(machine.iommu.readStatus() & DeviceStatus.DRIVER_OK).not.toBe(0);
    machine.memory.setUint32(0, 0x1234_5678);
    machine.reset();
    expect([machine.iommu.readStatus(), machine.memory.getUint32(0)]).toEqual([0, 0x1234_5678]);
    expect(probe(machine).probeDevice([ENDPOINT]).name).toBeDefined();
    machine.restart();
    expect([machine.iommu.readStatus(), machine.memory.getUint32(0)]).toEqual([0, 0]);
    expect(probe(machine).state).toBe('live');
    expect(new SdDma(machine, SLOT).read(DATA, new Uint8Array(4))).toBeUndefined();
  });

  it('resets a queue alone', () => {
    const machine = start(commandOf());
    const driver = probe(machine);
    driver.resetRequestQueue(32);
    driver.resetEventQueue(16);
    expect(driver.probeDevice([ENDPOINT]).name).toBeDefined();
  });
});

describe('the driver on a stand-in', () => {
  it.each(['loud', 'tcg'] as const)('that is %s maps, and hears of faults', (mode) => {
    const machine = start(fakes.path(mode));
    expect(machine.accelerator).toBe(mode === 'tcg' ? 'tcg' : 'qtest');
    expectMappings(machine);
  });
});
