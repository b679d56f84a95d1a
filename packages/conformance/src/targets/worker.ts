/**
 * Our device in its worker, over virtio-mmio: `viommu conform --target worker`. It is the host worker of a machine, with
 * an endpoint module for the accesses; the suite is the guest.
 *
 * One worker serves many cases, with a system reset between them; one that a case has its own wishes for, or that did
 * not answer, is thrown away.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { IommuError, MmioRegister } from '@viommu/common';
import { type HostSettings, MemoryMap, RAM_BASE } from '@viommu/machine';
import type { Bell, SharedMemory } from '@viommu/ring';
import { type ControlPage, MailboxPort, type RegisterPort } from '@viommu/transport';
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
import { ACCESS_BYTES_MAX, AccessGo, AccessRegisters, AccessStatus } from './access-register.ts';
import { coreOptions, targetEndpoints } from './core-options.ts';
import { MmioRegisters } from './mmio-registers.ts';

const WINDOW_BYTES = 0x10_0000;
/** Behind the window: the buffer of accesses. */
const RAM_BYTES = WINDOW_BYTES + 0x1000;
const BUFFER = RAM_BASE + BigInt(WINDOW_BYTES);
const START_MS = 10_000;
/** Silence of a device that is not asleep is over sooner than this. */
const QUIET_MS = 20;
const { offset: At } = AccessRegisters;

/** One factory keeps one worker at most. */
export function workerTarget(): DeviceTargetFactory {
  let idle: WorkerTarget | undefined;
  return {
    name: 'worker',
    async open(wish) {
      const usual = Object.keys(wish).length === 0;
      const target = usual ? idle : undefined;
      if (target !== undefined) idle = undefined;
      if (target?.renew() === true) return target;
      target?.end();
      return WorkerTarget.create(wish, (used) => {
        if (usual && idle === undefined && !used.broken) idle = used;
        else used.end();
      });
    },
    close() {
      idle?.end();
      idle = undefined;
    },
  };
}

class WorkerTarget extends MmioRegisters implements DeviceTarget {
  readonly memory: SharedMemory;
  readonly window: DeviceTarget['window'] = { start: RAM_BASE, bytes: WINDOW_BYTES };
  readonly transport = 'mmio';
  readonly quietMs: number = QUIET_MS;
  readonly resets: readonly ResetKind[] = ['device', 'system'];
  readonly endpoints: readonly TargetEndpoint[];
  /** True once it did not answer. */
  broken = false;
  readonly #worker: Worker;
  readonly #control: ControlPage;
  readonly #bell: Bell;
  readonly #accesses: ReadonlyMap<number, RegisterPort>;
  readonly #release: (target: WorkerTarget) => void;

  private constructor(
    parts: {
      readonly worker: Worker;
      readonly map: MemoryMap;
      readonly settings: HostSettings;
      readonly endpoints: readonly TargetEndpoint[];
    },
    release: (target: WorkerTarget) => void,
  ) {
    const { worker, map, settings, endpoints } = parts;
    const { buffer } = settings;
    const control = map.controlPage(buffer);
    const portOf = (block: number): RegisterPort =>
      new MailboxPort({ control, block, window: map.window(buffer, block) });
    super(guarded(portOf(0), () => (this.broken = true)));
    this.#worker = worker;
    this.#control = control;
    this.#bell = control.interruptBell(0);
    this.memory = map.ram(buffer);
    this.endpoints = endpoints;
    this.#accesses = new Map(
      settings.endpoints.map(({ id, device }) => [id ?? 0, portOf(device)] as const),
    );
    this.#release = release;
  }

  static async create(
    wish: TargetWish,
    release: (target: WorkerTarget) => void,
  ): Promise<WorkerTarget> {
    const device = coreOptions(wish);
    const mapOptions = { devices: device.endpoints.length + 1, ramBytes: RAM_BYTES };
    const map = new MemoryMap(mapOptions);
    const settings: HostSettings = {
      map: mapOptions,
      buffer: map.createBuffer(),
      device,
      record: false,
      polls: undefined,
      endpoints: device.endpoints.map(({ id }, index) => ({
        name: `endpoint ${id}`,
        device: index + 1,
        kind: 'module',
        id,
        module: new URL(`./access-endpoint.${EXTENSION}`, import.meta.url).href,
        data: undefined,
        disk: undefined,
      })),
    };
    const worker = new Worker(new URL(import.meta.resolve('@viommu/machine/host-worker')), {
      workerData: settings,
      name: 'device',
    });
    let failure: Error | undefined;
    worker.once('error', (error: Error) => (failure = error));
    worker.once('exit', () => (failure ??= new Error('the worker has ended')));
    // Nothing else holds the process.
    worker.unref();
    const registers = map.window(settings.buffer, 0);
    for (let waitedMs = 0; registers.read(MmioRegister.DeviceID, 4) === 0; waitedMs += 1) {
      if (failure !== undefined) throw new TargetFailure('crash', failure.message);
      if (waitedMs > START_MS) throw new TargetFailure('hang', 'the worker does not start');
      await delay(1);
    }
    const endpoints = targetEndpoints(device.endpoints);
    return new WorkerTarget({ worker, map, settings, endpoints }, release);
  }

  /** As after power-up. False if it cannot be had. */
  renew(): boolean {
    try {
      this.reset();
      writeBytes(this.memory, RAM_BASE, new Uint8Array(RAM_BYTES));
      return true;
    } catch {
      return false;
    }
  }

  notify(queue: number, data?: number): void {
    this.#control
      .doorbells(0)
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
    const [port] = this.#accesses.values();
    this.#during(() => port?.write(At.go, 4, AccessGo.SYSTEM_RESET));
  }

  dma(endpoint: number, direction: DmaDirection, iova: bigint, bytes: Uint8Array): DmaOutcome {
    const port = this.#accesses.get(endpoint);
    if (port === undefined || bytes.length > ACCESS_BYTES_MAX) return 'unknown';
    writeBytes(this.memory, BUFFER, bytes);
    this.#during(() => {
      port.write(At.iovaLow, 4, Number(iova & 0xffff_ffffn));
      port.write(At.iovaHigh, 4, Number(iova >> 32n));
      port.write(At.length, 4, bytes.length);
      port.write(At.bufferLow, 4, Number(BUFFER & 0xffff_ffffn));
      port.write(At.bufferHigh, 4, Number(BUFFER >> 32n));
      port.write(At.go, 4, direction === 'read' ? AccessGo.READ : AccessGo.WRITE);
    });
    if (direction === 'read') this.memory.read(WINDOW_BYTES, bytes, 0, bytes.length);
    return port.read(At.status, 4) === AccessStatus.DONE ? 'done' : 'refused';
  }

  dispose(): void {
    this.#release(this);
  }

  /** Ends the worker. */
  end(): void {
    this.#control.stop();
    void this.#worker.terminate();
  }

  #during(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.broken = true;
      throw lost(error);
    }
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
