/** Register writes between threads, and the host that serves them. */

import { Worker } from 'node:worker_threads';
import { IommuError } from '@viommu/common';
import { SplitDriverQueue, Waiter } from '@viommu/ring';
import {
  CONTROL_BLOCKS_MAX,
  ControlBlock,
  ControlHead,
  ControlPage,
  HostMailbox,
  HostPort,
  MailboxPort,
  MmioTransport,
  type RegisterDevice,
  RegisterWindow,
} from '@viommu/transport';
import { afterEach, describe, expect, it } from 'vitest';
import type { HostWorkerData } from './kit/host-worker.ts';
import { R, VERSION_1 } from './kit/register.ts';
import {
  RAM_AT,
  RAM_BYTES,
  type Rig,
  WINDOW_AT,
  answer,
  layoutOf,
  request,
  sharedMemory,
} from './kit/rig.ts';

/** Writes down what it is told; has `work` things to do. */
class Recorder implements RegisterDevice {
  readonly writes: (readonly [offset: number, width: number, value: number])[] = [];
  work = 0;
  late = false;
  armed = 0;
  suppressed = 0;

  write(offset: number, width: number, value: number): void {
    this.writes.push([offset, width, value]);
  }

  serve(): boolean {
    if (this.work === 0) return false;
    this.work -= 1;
    return true;
  }

  arm(): boolean {
    this.armed += 1;
    return !this.late;
  }

  suppress(): void {
    this.suppressed += 1;
  }
}

function controlPage(): {
  buffer: SharedArrayBuffer;
  control: ControlPage;
  window: RegisterWindow;
} {
  const buffer = new SharedArrayBuffer(WINDOW_AT + 0x200);
  return {
    buffer,
    control: new ControlPage(buffer, 0),
    window: new RegisterWindow(buffer, WINDOW_AT),
  };
}

function errorOf(call: () => void): IommuError | undefined {
  try {
    call();
  } catch (error) {
    if (error instanceof IommuError) return error;
    throw error;
  }
  return undefined;
}

describe('the control page', () => {
  it('keeps what different threads write in different cache lines', () => {
    const { offset } = ControlBlock;
    const lines = [offset.posted, offset.interrupt, offset.doorbells].map((at) => at >> 6);
    expect(new Set(lines).size).toBe(3);
    for (const at of [offset.acknowledged, offset.register, offset.value])
      expect(at >> 6).toBe(offset.posted >> 6);
    expect([ControlHead.size % 64, ControlBlock.size % 64]).toEqual([0, 0]);
  });

  it('has blocks that do not overlap, and no others', () => {
    const { buffer, control } = controlPage();
    for (let block = 0; block < CONTROL_BLOCKS_MAX; block += 1)
      control.block(block).fill(block + 1);
    for (let block = 0; block < CONTROL_BLOCKS_MAX; block += 1)
      expect(new Set(control.block(block))).toEqual(new Set([block + 1]));
    expect([...new Int32Array(buffer, 0, 64)].every((word) => word === 0)).toBe(true);
    expect(new Int32Array(buffer, 4096).every((word) => word === 0)).toBe(true);
    for (const block of [-1, CONTROL_BLOCKS_MAX, 0.5])
      expect(errorOf(() => control.block(block))?.code).toBe('EINVAL');
  });

  it('holds in each doorbell what was written last, and wakes the host', () => {
    const { control } = controlPage();
    const doorbells = control.doorbells(1);
    const rung = control.hostBell.value();
    for (const [queue, data] of [
      [0, 5],
      [0, 0],
      [7, 0x8005_0007],
    ] as const)
      doorbells.ring(queue, data);
    const words = new Uint32Array(control.block(1)).subarray(ControlBlock.offset.doorbells / 4);
    expect([...words.subarray(0, 8)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0x8005_0007]);
    expect(control.hostBell.value()).toBe(rung + 3);
    expect(() => doorbells.ring(8, 8)).toThrow('every queue has a doorbell');
  });

  it('must lie in its buffer, and so must a window', () => {
    const buffer = new SharedArrayBuffer(0x2000);
    for (const offset of [-64, 32, 0x1040])
      expect(errorOf(() => void new ControlPage(buffer, offset))?.code).toBe('EINVAL');
    for (const [offset, size] of [
      [-4, 0x200],
      [2, 0x200],
      [0x1f00, 0x200],
      [0, 0xfc],
      [0, 0x1fe],
    ] as const)
      expect(errorOf(() => void new RegisterWindow(buffer, offset, size))?.code).toBe('EINVAL');
  });
});

describe('a mailbox', () => {
  it('passes one write on, with its offset, width and value', () => {
    const { control, window } = controlPage();
    const device = new Recorder();
    const host = new HostMailbox(control, 2);
    const port = new MailboxPort({ control, block: 2, window, timeoutMs: 0 });
    const rung = control.hostBell.value();
    // Nobody answers in this thread: the write is posted, and times out.
    expect(errorOf(() => port.write(0x124, 1, -1))?.code).toBe('ETIMEDOUT');
    expect(control.hostBell.value()).not.toBe(rung);
    expect(host.serve(device)).toBe(true);
    expect(host.serve(device)).toBe(false);
    expect(device.writes).toEqual([[0x124, 1, 0xffff_ffff]]);
  });

  it('a device that does not answer costs the time limit and one clear error', () => {
    const { control, window } = controlPage();
    const port = new MailboxPort({ control, block: 0, window, timeoutMs: 30 });
    const before = performance.now();
    const error = errorOf(() => port.write(0x70, 4, 0));
    expect(performance.now() - before).toBeGreaterThan(25);
    expect(error?.code).toBe('ETIMEDOUT');
    expect(error?.message).toBe('The device did not answer a register write within 30 ms.');
  });

  it('never replaces a write that the device may still be looking at', () => {
    const { control, window } = controlPage();
    const device = new Recorder();
    const host = new HostMailbox(control, 0);
    const port = new MailboxPort({ control, block: 0, window, timeoutMs: 1 });
    for (const value of [1, 2, 3]) expect(errorOf(() => port.write(0x30, 4, value))).toBeDefined();
    host.serve(device);
    expect(errorOf(() => port.write(0x30, 4, 4))).toBeDefined();
    host.serve(device);
    expect(device.writes).toEqual([
      [0x30, 4, 1],
      [0x30, 4, 4],
    ]);
  });

  it('takes a post without an answer, and has it done before the next write', () => {
    const { control, window } = controlPage();
    const device = new Recorder();
    const host = new HostMailbox(control, 0);
    const port = new MailboxPort({ control, block: 0, window, timeoutMs: 0 });
    port.post(0x64, 4, 1);
    expect(device.writes).toEqual([]);
    const rung = control.hostBell.value();
    // The write waits for the post, and wakes a host that sleeps over it.
    expect(errorOf(() => port.write(0x70, 4, 0))?.code).toBe('ETIMEDOUT');
    expect(control.hostBell.value()).not.toBe(rung);
    host.serve(device);
    expect(host.serve(device)).toBe(false);
    expect(device.writes).toEqual([[0x64, 4, 1]]);
    expect(errorOf(() => port.write(0x70, 4, 0))?.code).toBe('ETIMEDOUT');
    host.serve(device);
    expect(device.writes).toEqual([
      [0x64, 4, 1],
      [0x70, 4, 0],
    ]);
  });

  it('makes one of equal posts that are under way, and of no others', () => {
    const { control, window } = controlPage();
    const device = new Recorder();
    const host = new HostMailbox(control, 0);
    const port = new MailboxPort({ control, block: 0, window, timeoutMs: 0 });
    for (let turn = 0; turn < 3; turn += 1) port.post(0x64, 4, 1);
    expect(errorOf(() => port.post(0x64, 4, 2))?.code).toBe('ETIMEDOUT');
    expect(errorOf(() => port.post(0x65, 4, 1))?.code).toBe('ETIMEDOUT');
    expect(errorOf(() => port.post(0x64, 2, 1))?.code).toBe('ETIMEDOUT');
    host.serve(device);
    expect(host.serve(device)).toBe(false);
    // That one is done: the next is another.
    port.post(0x64, 4, 1);
    host.serve(device);
    port.post(0x64, 4, 2);
    host.serve(device);
    expect(device.writes).toEqual([
      [0x64, 4, 1],
      [0x64, 4, 1],
      [0x64, 4, 2],
    ]);
    expect(errorOf(() => port.post(0x1_0000, 4, 0))?.code).toBe('EINVAL');
  });

  it('goes on where an earlier guest stopped', () => {
    const { control, window } = controlPage();
    const device = new Recorder();
    const host = new HostMailbox(control, 0);
    for (const value of [1, 2]) {
      const port = new MailboxPort({ control, block: 0, window, timeoutMs: 0 });
      expect(errorOf(() => port.write(0x30, 4, value))).toBeDefined();
      host.serve(device);
    }
    expect(device.writes.map(([, , value]) => value)).toEqual([1, 2]);
  });

  it('refuses an offset that it cannot carry', () => {
    const { control, window } = controlPage();
    const port = new MailboxPort({ control, block: 0, window });
    for (const offset of [-1, 0x1_0000])
      expect(errorOf(() => port.write(offset, 4, 0))?.code).toBe('EINVAL');
    expect(control.block(0).every((word) => word === 0)).toBe(true);
  });

  it('does at most one write per call, whatever the guest puts there', () => {
    const { control } = controlPage();
    const words = control.block(0);
    const device = new Recorder();
    const host = new HostMailbox(control, 0);
    const { offset } = ControlBlock;
    for (const [posted, register, value] of [
      [1000, -1, -1],
      [-5, 0x7fff_ffff, 7],
      [0, 0, 0],
    ] as const) {
      words[offset.register / 4] = register;
      words[offset.value / 4] = value;
      words[offset.posted / 4] = posted;
      words[offset.acknowledged / 4] = 12345;
      expect(host.serve(device)).toBe(true);
      expect(host.serve(device)).toBe(false);
      expect(words[offset.acknowledged / 4]).toBe(posted);
    }
    expect(device.writes).toEqual([
      [0xffff, 0xffff, 0xffff_ffff],
      [0xffff, 0x7fff, 7],
      [0, 0, 0],
    ]);
  });
});

describe('the host', () => {
  it('serves the mailbox of every device, then the devices', () => {
    const { control, window } = controlPage();
    const devices = [new Recorder(), new Recorder(), new Recorder()] as const;
    const host = new HostPort({ control, devices });
    expect(host.serve()).toBe(false);
    const port = new MailboxPort({ control, block: 1, window, timeoutMs: 0 });
    expect(errorOf(() => port.write(0x30, 4, 9))).toBeDefined();
    devices[2].work = 1;
    expect(host.serve()).toBe(true);
    expect(devices.map(({ writes }) => writes.length)).toEqual([0, 1, 0]);
    expect(devices[2].work).toBe(0);
    // Who is awake needs no notification from the queues that the write may have brought.
    expect(devices.map(({ suppressed }) => suppressed)).toEqual([0, 1, 0]);
    expect(host.serve()).toBe(false);
  });

  it('finds a write that was posted before it came', () => {
    const { control, window } = controlPage();
    const port = new MailboxPort({ control, block: 0, window, timeoutMs: 0 });
    expect(errorOf(() => port.write(0x30, 4, 9))).toBeDefined();
    const device = new Recorder();
    const host = new HostPort({ control, devices: [device] });
    expect(host.serve()).toBe(true);
    expect(device.writes).toHaveLength(1);
  });

  it('arms every device before it sleeps, and does not sleep over work', () => {
    const { control } = controlPage();
    const devices = [new Recorder(), new Recorder()] as const;
    const host = new HostPort({ control, devices, pollsMax: 10 });
    host.serve();
    expect(host.arm()).toBe(true);
    devices[0].late = true;
    expect(host.arm()).toBe(false);
    expect(devices.map(({ armed }) => armed)).toEqual([2, 2]);
    devices[0].late = false;
    control.hostBell.ring();
    expect(host.arm()).toBe(false);
    host.serve();
    expect(host.arm()).toBe(true);
  });

  it('does the work it waits for, and returns when time is up', () => {
    const { control } = controlPage();
    const device = new Recorder();
    const host = new HostPort({ control, devices: [device], pollsMax: 10 });
    device.work = 1;
    expect(host.wait(10_000)).toBe(true);
    expect(device.work).toBe(0);
    expect(host.wait(5)).toBe(false);
    expect(device.armed).toBe(1);
    expect(device.suppressed).toBe(1);
  });

  it('does not fall asleep over a post', () => {
    const { control, window } = controlPage();
    const device = new Recorder();
    const host = new HostPort({ control, devices: [device] });
    const port = new MailboxPort({ control, block: 0, window });
    host.serve();
    expect(host.arm()).toBe(true);
    port.post(0x64, 4, 1);
    expect(host.arm()).toBe(false);
    expect(host.serve()).toBe(true);
    expect(device.writes).toEqual([[0x64, 4, 1]]);
    expect(host.arm()).toBe(true);
  });

  it('is told to stop', () => {
    const { control } = controlPage();
    const host = new HostPort({ control, devices: [] });
    expect(host.stopped).toBe(false);
    host.serve();
    control.stop();
    expect(host.stopped).toBe(true);
    // A sleep that begins now would end at once.
    expect(host.arm()).toBe(false);
    // Even if the host saw the ring while it looked for work.
    host.serve();
    expect(host.arm()).toBe(false);
  });
});

describe('two threads', { timeout: 30_000 }, () => {
  const stops: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const stop of stops.splice(0)) await stop();
  });

  /** A guest in this thread with a host in another. */
  function guest(changeEvery: number): {
    rig: Pick<Rig, 'memory'>;
    port: MailboxPort;
    transport: MmioTransport;
  } {
    const buffer = new SharedArrayBuffer(RAM_AT + RAM_BYTES);
    const control = new ControlPage(buffer, 0);
    const workerData: HostWorkerData = { buffer, changeEvery };
    const worker = new Worker(new URL('./kit/host-worker.ts', import.meta.url), { workerData });
    const exited = new Promise<number>((resolve, reject) => {
      worker.once('exit', resolve);
      worker.once('error', reject);
    });
    stops.push(async () => {
      control.stop();
      expect(await exited).toBe(0);
    });
    const window = new RegisterWindow(buffer, WINDOW_AT);
    const port = new MailboxPort({ control, block: 0, window, timeoutMs: 10_000 });
    // The magic value is there once the device is; a write is answered then.
    port.write(R.status, 4, 0);
    const transport = new MmioTransport({
      port,
      doorbells: control.doorbells(0),
      interruptBell: control.interruptBell(0),
    });
    return { rig: { memory: sharedMemory(buffer) }, port, transport };
  }

  it('initialise a device, exchange requests awake and asleep, and reset', () => {
    const { rig, port, transport } = guest(0);
    transport.negotiate({ wanted: 1n << 29n, required: VERSION_1 });
    const layout = layoutOf(0);
    const driver = new SplitDriverQueue({
      memory: rig.memory,
      layout,
      features: { indirect: false, eventIndex: true },
    });
    transport.enableQueue(0, layout);
    transport.driverOk();
    const polling = new Waiter({ bell: transport.interruptBell });
    const sleeping = new Waiter({ bell: transport.interruptBell, pollsMax: 0 });
    for (let token = 0; token < 200; token += 1) {
      if (request(rig, driver, token)) transport.notify(0, 0);
      const waiter = token % 2 === 0 ? polling : sleeping;
      // Early wake-ups are normal: a ring may come late.
      for (let waits = 0; !driver.ready() && waits < 100; waits += 1) waiter.wait(driver, 10_000);
      transport.acknowledgeInterrupts();
      expect(driver.take()).toBe(token);
      expect(answer(rig, token)).toBe(
        ((0x1010 + token) & 0xff00) + 0x100 + ((0x11 + token) & 0xff),
      );
    }
    expect(sleeping.sleeps).toBeGreaterThan(0);
    // Whatever was acknowledged without waiting is acknowledged before the device acts on this.
    port.write(R.queueSel, 4, 0);
    expect(port.read(R.interruptStatus, 4)).toBe(0);
    transport.reset();
    expect(transport.status()).toBe(0);
  });

  it('a wake-up that comes too early does not end the wait for an answer', async () => {
    const { buffer, control, window } = controlPage();
    const worker = new Worker(new URL('./kit/early-waker.ts', import.meta.url), {
      workerData: buffer,
    });
    const exited = new Promise<number>((resolve) => worker.once('exit', resolve));
    const port = new MailboxPort({ control, block: 0, window, timeoutMs: 10_000 });
    const error = errorOf(() => port.write(0x30, 4, 1));
    control.stop();
    expect(error).toBeUndefined();
    expect(await exited).toBe(0);
  });

  it('basic.drv.config.no-atomic-wide-read: halves that change under way are never mixed', () => {
    // Some 80 µs between two changes: a reader that is slow for lack of a processor still gets its turn.
    const { transport } = guest(4000);
    transport.negotiate({ wanted: 0n, required: 0n });
    const values = new Set<bigint>();
    for (let reads = 0; reads < 1000 || (values.size <= 10 && reads < 20_000); reads += 1) {
      const value = transport.readConfig64(0x10);
      expect(value >> 32n).toBe(value & 0xffff_ffffn);
      values.add(value);
    }
    // It did change meanwhile.
    expect(values.size).toBeGreaterThan(10);
  });
});
