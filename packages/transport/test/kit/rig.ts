/** One buffer with control page, register window and RAM; a device and the raw registers, in one thread. */

import { guestPhysical } from '@viommu/common';
import { BufferList, type QueueLayout, SharedMemory, SplitDriverQueue } from '@viommu/ring';
import {
  CONTROL_PAGE_SIZE,
  ControlPage,
  DirectPort,
  MmioDevice,
  MmioTransport,
  RegisterWindow,
} from '@viommu/transport';
import { FakeDevice } from './fake-device.ts';
import { R, VERSION_1 } from './register.ts';

export const WINDOW_AT: number = CONTROL_PAGE_SIZE;
export const RAM_AT: number = 2 * CONTROL_PAGE_SIZE;
export const RAM_BYTES = 0x40000;
export const RAM_BASE = 0x4000_0000n;

export class Rig {
  readonly buffer: SharedArrayBuffer;
  readonly control: ControlPage;
  readonly window: RegisterWindow;
  readonly memory: SharedMemory;
  readonly device: FakeDevice;
  readonly mmio: MmioDevice;
  readonly port: DirectPort;

  constructor({
    device = new FakeDevice(),
    windowBytes = 0x200,
    buffer = new SharedArrayBuffer(RAM_AT + RAM_BYTES),
  } = {}) {
    this.buffer = buffer;
    this.control = new ControlPage(this.buffer, 0);
    this.window = new RegisterWindow(this.buffer, WINDOW_AT, windowBytes);
    this.memory = sharedMemory(this.buffer);
    this.device = device;
    this.mmio = new MmioDevice({
      window: this.window,
      interruptBell: this.control.interruptBell(0),
      memory: this.memory,
      device,
    });
    this.port = new DirectPort(this.window, this.mmio);
  }

  get(register: number): number {
    return this.port.read(register, 4);
  }

  set(register: number, value: number): void {
    this.port.write(register, 4, value);
  }

  /** Up to FEATURES_OK, with register writes as the standard lists them; returns the status. */
  features(features: bigint = VERSION_1): number {
    this.set(R.status, 0);
    this.set(R.status, 1);
    this.set(R.status, 3);
    this.set(R.driverFeaturesSel, 0);
    this.set(R.driverFeatures, Number(features & 0xffff_ffffn));
    this.set(R.driverFeaturesSel, 1);
    this.set(R.driverFeatures, Number(features >> 32n));
    this.set(R.status, 0x0b);
    return this.get(R.status);
  }

  /** Programs a queue; does not make it ready. */
  program(index: number, layout: QueueLayout): void {
    this.set(R.queueSel, index);
    this.set(R.queueSize, layout.size);
    const areas = [
      [R.descLow, R.descHigh, layout.descriptorArea],
      [R.driverLow, R.driverHigh, layout.driverArea],
      [R.deviceLow, R.deviceHigh, layout.deviceArea],
    ] as const;
    for (const [low, high, address] of areas) {
      this.set(low, Number(address & 0xffff_ffffn));
      this.set(high, Number(address >> 32n));
    }
  }

  /** Features, both queues and DRIVER_OK; returns the status. */
  start(features: bigint = VERSION_1): number {
    this.features(features);
    for (const index of [0, 1]) {
      this.program(index, layoutOf(index));
      this.set(R.queueReady, 1);
    }
    this.set(R.status, 0x0f);
    return this.get(R.status);
  }

  /** Device features as the driver reads them. */
  offer(): bigint {
    let offer = 0n;
    for (const word of [0, 1, 2, 3]) {
      this.set(R.deviceFeaturesSel, word);
      offer |= BigInt(this.get(R.deviceFeatures)) << BigInt(32 * word);
    }
    return offer;
  }

  /** A driver queue in the memory of `layout`, which it clears. */
  driverQueue(layout: QueueLayout, eventIndex = false): SplitDriverQueue {
    return new SplitDriverQueue({
      memory: this.memory,
      layout,
      features: { indirect: false, eventIndex },
    });
  }

  transport(): MmioTransport {
    return new MmioTransport({
      port: this.port,
      doorbells: this.control.doorbells(0),
      interruptBell: this.control.interruptBell(0),
    });
  }

  /** A copy of the RAM. */
  ram(): Uint8Array {
    return new Uint8Array(this.buffer, RAM_AT, RAM_BYTES).slice();
  }
}

export function sharedMemory(buffer: SharedArrayBuffer): SharedMemory {
  return new SharedMemory({
    buffer,
    offset: RAM_AT,
    size: RAM_BYTES,
    base: guestPhysical(RAM_BASE),
  });
}

/** A layout in RAM for queue `index`, `set` choosing among several places. */
export function layoutOf(index: number, { size = 8, set = 0 } = {}): QueueLayout {
  const at = RAM_BASE + BigInt(0x1000 * (4 * set + index));
  return {
    size,
    descriptorArea: guestPhysical(at),
    driverArea: guestPhysical(at + 0x400n),
    deviceArea: guestPhysical(at + 0x800n),
  };
}

const BUFFERS_AT = RAM_BASE + 0x20000n;

/** Makes one request of two bytes available, under `token`. */
export function request(rig: Pick<Rig, 'memory'>, queue: SplitDriverQueue, token: number): boolean {
  const at = BUFFERS_AT + BigInt(0x100 * token);
  const position = Number(at - RAM_BASE);
  rig.memory.setUint16(position, 0x1010 + token);
  const buffers = new BufferList(2)
    .addReadable(guestPhysical(at), 2)
    .addWritable(guestPhysical(at + 0x80n), 2);
  if (!queue.add(buffers, token)) throw new Error('the queue is full');
  return queue.publish();
}

/** What the device wrote for `token`; 0x1111 more than nothing if it answered. */
export function answer(rig: Pick<Rig, 'memory'>, token: number): number {
  return rig.memory.getUint16(Number(BUFFERS_AT - RAM_BASE) + 0x100 * token + 0x80);
}
