/**
 * Our device in its worker, over virtio-mmio: `viommu conform --target worker`. The suite is the guest; what crosses
 * between the two threads is the same as in a machine.
 *
 * A thread serves one device after the other, each with memory of its own; one that did not answer is thrown away.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { IommuError, MmioRegister } from '@viommu/common';
import type { Bell, SharedMemory } from '@viommu/ring';
import { ControlPage, DOORBELLS_MAX, MailboxPort, type RegisterPort } from '@viommu/transport';
import { writeBytes } from '../ring/bytes.ts';
import {
  type DeviceTarget,
  type DeviceTargetFactory,
  type DmaDirection,
  type DmaOutcome,
  type ResetKind,
  type TargetEndpoint,
  TargetFailure,
  type TargetRegisters,
  type TargetWish,
} from '../target.ts';
import { coreOptions, targetEndpoints } from './core-options.ts';
import {
  ACCESS_BYTES_MAX,
  AccessGo,
  AccessRegisters,
  AccessStatus,
  Block,
  type DeviceSettings,
  RAM_BASE,
  RAM_WINDOW_BYTES,
  createBuffer,
  ramOf,
  windowOf,
} from './device-window.ts';
import { MmioRegisters } from './mmio-registers.ts';

const START_MS = 10_000;
/** Silence of a device that is not asleep is over sooner than this. */
const QUIET_MS = 20;
const BUFFER = RAM_BASE + BigInt(RAM_WINDOW_BYTES);
const { offset: At } = AccessRegisters;

/** One factory keeps one thread at most. */
export function workerTarget(): DeviceTargetFactory {
  let idle: DeviceThread | undefined;
  return {
    name: 'worker',
    choices: {},
    async open(wish) {
      const thread = idle ?? new DeviceThread();
      idle = undefined;
      return thread.start(wish, () => {
        if (idle === undefined && !thread.broken) idle = thread;
        else thread.end();
      });
    },
    close() {
      idle?.end();
      idle = undefined;
    },
  };
}

class DeviceThread {
  /** True once a device of it did not answer. */
  broken = false;
  readonly #worker: Worker;
  #failure: Error | undefined;

  constructor() {
    this.#worker = new Worker(new URL(`./device-worker.${EXTENSION}`, import.meta.url), {
      name: 'device',
    });
    this.#worker.once('error', (error: Error) => (this.#failure = error));
    this.#worker.once('exit', () => (this.#failure ??= new Error('the device thread has ended')));
    // Nothing else holds the process.
    this.#worker.unref();
  }

  async start(wish: TargetWish, release: () => void): Promise<DeviceTarget> {
    const options = coreOptions(wish);
    const settings: DeviceSettings = { buffer: createBuffer(), options };
    this.#worker.postMessage(settings);
    const registers = windowOf(settings.buffer, Block.IOMMU);
    const end = performance.now() + START_MS;
    while (registers.read(MmioRegister.DeviceID, 4) === 0) {
      if (this.#failure !== undefined) throw new TargetFailure('crash', this.#failure.message);
      if (performance.now() > end) throw new TargetFailure('hang', 'the device does not start');
      await delay(1);
    }
    const endpoints = targetEndpoints(options.endpoints);
    return new WorkerTarget(settings.buffer, endpoints, this, release);
  }

  end(): void {
    void this.#worker.terminate();
  }
}

class WorkerTarget extends MmioRegisters implements DeviceTarget {
  readonly memory: SharedMemory;
  readonly window: DeviceTarget['window'] = { start: RAM_BASE, bytes: RAM_WINDOW_BYTES };
  readonly transport = 'mmio';
  readonly quietMs: number = QUIET_MS;
  readonly resets: readonly ResetKind[] = ['device', 'system'];
  readonly endpoints: readonly TargetEndpoint[];
  readonly #control: ControlPage;
  readonly #bell: Bell;
  readonly #access: TargetRegisters;
  readonly #release: () => void;

  constructor(
    buffer: SharedArrayBuffer,
    endpoints: readonly TargetEndpoint[],
    thread: DeviceThread,
    release: () => void,
  ) {
    const control = new ControlPage(buffer, 0);
    const registersOf = (block: number): TargetRegisters => {
      const port = new MailboxPort({ control, block, window: windowOf(buffer, block) });
      return guarded(port, () => (thread.broken = true));
    };
    super(registersOf(Block.IOMMU));
    this.#control = control;
    this.#bell = control.interruptBell(Block.IOMMU);
    this.#access = registersOf(Block.ACCESS);
    this.memory = ramOf(buffer);
    this.endpoints = endpoints;
    this.#release = release;
  }

  notify(queue: number, data?: number): void {
    // There is no doorbell behind the last one: as a register that nobody reads.
    if (queue >= DOORBELLS_MAX) return;
    this.#control
      .doorbells(Block.IOMMU)
      .ring(queue, data === undefined ? queue : (queue | (data << 16)) >>> 0);
  }

  wait(done: () => boolean, timeoutMs: number): boolean {
    const end = performance.now() + timeoutMs;
    for (;;) {
      const seen = this.#bell.value();
      if (done()) return true;
      const leftMs = end - performance.now();
      if (leftMs <= 0) return false;
      // A device that was asked not to interrupt is seen all the same.
      this.#bell.wait(seen, Math.min(leftMs, 1));
    }
  }

  reset(): void {
    this.#access.write(At.go, 4, AccessGo.SYSTEM_RESET);
  }

  dma(endpoint: number, direction: DmaDirection, iova: bigint, bytes: Uint8Array): DmaOutcome {
    if (bytes.length > ACCESS_BYTES_MAX) return 'unknown';
    writeBytes(this.memory, BUFFER, bytes);
    const registers = this.#access;
    registers.write(At.endpoint, 4, endpoint);
    registers.write(At.iovaLow, 4, Number(iova & 0xffff_ffffn));
    registers.write(At.iovaHigh, 4, Number(iova >> 32n));
    registers.write(At.length, 4, bytes.length);
    registers.write(At.go, 4, direction === 'read' ? AccessGo.READ : AccessGo.WRITE);
    if (direction === 'read') this.memory.read(RAM_WINDOW_BYTES, bytes, 0, bytes.length);
    return registers.read(At.status, 4) === AccessStatus.DONE ? 'done' : 'refused';
  }

  dispose(): void {
    this.#control.stop();
    this.#release();
  }
}

/** Registers whose silence is a hang of the target. */
function guarded(port: RegisterPort, onLost: () => void): TargetRegisters {
  return {
    read: (offset, width) => port.read(offset, width),
    write(offset, width, value) {
      try {
        port.write(offset, width, value);
      } catch (error) {
        onLost();
        throw lost(error);
      }
    },
  };
}

function lost(error: unknown): unknown {
  return error instanceof IommuError && error.code === 'ETIMEDOUT'
    ? new TargetFailure('hang', error.message)
    : error;
}

/** That of this file: sources and built files load their own kind. */
const EXTENSION: string = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
