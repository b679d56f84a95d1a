/** QEMU's virtio-iommu as a device under test of `@viommu/conformance`. */

import {
  type DeviceTarget,
  type DeviceTargetFactory,
  type DmaDirection,
  type DmaOutcome,
  type ResetKind,
  TargetFailure,
  type TargetEndpoint,
  type TargetInterrupts,
  type TargetRegion,
} from '@viommu/conformance';
import { InterruptBit, PAGE_SIZE, VirtioFeature, featureMask } from '@viommu/common';
import type { QueueLayout } from '@viommu/ring';
import { QEMU_WINDOW, QemuMachine, type QemuMachineOptions } from './machine.ts';
import { KEPT_LIFE_MS, MachinePool } from './machine-pool.ts';
import type { MirrorMemory } from './mirror-memory.ts';
import { readFeatures, resetQueue, writeFeatures } from './pci-transport.ts';
import { iommuOptionsOf } from './iommu-option.ts';
import { qemuManifest } from './manifest.ts';
import type { LossKind } from './peer-lost.ts';
import { type QemuProgram, qemuByName } from './program.ts';
import { SD_DMA_BYTES_MAX, SD_DMA_LAST, SdDma, sdDmaDevice } from './sd-dma.ts';
import { accessWidth } from './virtio-pci.ts';

/** A case takes some 100 ms, on a machine with much other work a hundred times that. One that hangs takes this long. */
const LIFE_MS = 14_000;
/** Longer than the life of two: a case may start one anew. */
const CASE_MS = 30_000;
/** Where the endpoints are: three functions that can do DMA. */
const SLOTS = [5, 6, 7] as const;
/** What a PC tells its IOMMU to leave alone. */
const MSI: TargetRegion = { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' };
/** No function 1 in that slot; and a number that no function of this bus has. */
const ABSENT = [endpointOf(5) + 1, 0x1_0000 + endpointOf(5)] as const;
/**
 * Rounds of QEMU's main loop in which nothing happens until nothing will: a notification is served within its command,
 * and what is put off runs in the next round, which each of our commands is.
 */
const QUIET_ROUNDS = 100;
/** The same where memory changes only within our commands. */
const KEPT_ROUNDS = 2;
/** How long status 0 may take to be read after a reset. */
const RESET_MS = 1000;

/**
 * A target by name: `qemu`, `qemu:7.2`, `qemu:PATH` or `qemu:` and a command line. Each case gets a process of its own.
 *
 * @param root - the folder below which `scripts/install-peers.sh` installed some; the current one if absent.
 * @throws {IommuError} `ENOENT` if there is no such QEMU.
 */
export function qemuTarget(name = 'qemu', root?: string): DeviceTargetFactory {
  const program = qemuByName(name, root);
  const manifest = qemuManifest(program.version);
  return {
    name: `qemu ${program.version}`,
    caseTimeoutMs: CASE_MS,
    apart: true,
    open: (wish) => {
      const machine = new QemuMachine({
        ...machineOptions(program, iommuOptionsOf(wish, program.iommuOptions)),
        lifeMs: LIFE_MS,
      });
      return new QemuTarget(machine, false, () => machine.dispose());
    },
    kept: () => keptTarget(program),
    ...(manifest === undefined ? {} : { manifest }),
  };
}

/** The same with processes that serve one test after the other, after a reset of the machine. */
function keptTarget(program: QemuProgram): DeviceTargetFactory {
  const pool = new MachinePool(
    (options) =>
      new QemuMachine({ ...machineOptions(program, options), lifeMs: KEPT_LIFE_MS, kept: true }),
  );
  return {
    name: `qemu ${program.version}`,
    caseTimeoutMs: CASE_MS,
    apart: true,
    open: (wish) => {
      const options = iommuOptionsOf(
        // A driver can leave it alone, and then a start less is needed.
        {
          ...wish,
          withFeatures: (wish.withFeatures ?? 0n) | featureMask(VirtioFeature.RING_PACKED),
        },
        program.iommuOptions,
      );
      const machine = pool.take(options);
      return new QemuTarget(machine, true, () => pool.give(options, machine));
    },
    close: () => pool.close(),
  };
}

function machineOptions(
  program: QemuProgram,
  iommu: Readonly<Record<string, string>>,
): QemuMachineOptions {
  return { program, iommu, devices: SLOTS.map(sdDmaDevice), lost: failure };
}

class QemuTarget implements DeviceTarget {
  readonly memory: MirrorMemory;
  readonly window = QEMU_WINDOW;
  readonly transport = 'pci';
  readonly quietMs = 0;
  readonly resets: readonly ResetKind[] = ['device', 'system', 'process'];
  readonly endpoints: readonly TargetEndpoint[];
  readonly #machine: QemuMachine;
  readonly #rounds: number;
  readonly #release: () => void;
  /** By endpoint; made when first used. */
  readonly #sources: Map<number, SdDma> = new Map();

  /** `release` takes the machine back. */
  constructor(machine: QemuMachine, kept: boolean, release: () => void) {
    this.#machine = machine;
    this.#rounds = kept ? KEPT_ROUNDS : QUIET_ROUNDS;
    this.#release = release;
    this.memory = machine.memory;
    const dma = { last: SD_DMA_LAST, bytesMax: SD_DMA_BYTES_MAX };
    this.endpoints = [
      ...SLOTS.map((slot): TargetEndpoint => ({
        id: endpointOf(slot),
        role: 'present',
        reserved: [MSI],
        // What crosses pages is cut there, and each piece is let through or not for itself.
        dma: kept ? { ...dma, boundary: PAGE_SIZE } : dma,
      })),
      ...ABSENT.map((id): TargetEndpoint => ({ id, role: 'absent' })),
    ];
  }

  readStatus(): number {
    return this.#machine.iommu.readStatus();
  }

  writeStatus(value: number): void {
    this.#machine.iommu.writeStatus(value);
    if (value === 0) this.wait(() => this.readStatus() === 0, RESET_MS);
  }

  readFeatures(): bigint {
    return readFeatures(this.#machine.iommu);
  }

  writeFeatures(features: bigint): void {
    writeFeatures(this.#machine.iommu, features);
  }

  readConfig(offset: number, width: number): number {
    return this.#machine.iommu.readConfig(offset, accessWidth(width));
  }

  writeConfig(offset: number, width: number, value: number): void {
    this.#machine.iommu.writeConfig(offset, accessWidth(width), value);
  }

  readGeneration(): number {
    return this.#machine.iommu.readGeneration();
  }

  queueSizeMax(queue: number): number {
    return this.#machine.iommu.readQueueSize(queue);
  }

  enableQueue(queue: number, layout: QueueLayout): void {
    this.#machine.iommu.enableQueue(queue, layout);
  }

  resetQueue(queue: number): void {
    resetQueue(this.#machine.iommu, queue);
  }

  notify(queue: number, data?: number): void {
    this.#machine.iommu.notify(queue, data);
  }

  wait(done: () => boolean, timeoutMs: number): boolean {
    const end = performance.now() + timeoutMs;
    for (let round = 0; round < this.#rounds; round += 1) {
      this.memory.refresh();
      if (done()) return true;
      if (performance.now() > end) return false;
      this.readStatus();
    }
    return false;
  }

  takeInterrupts(): TargetInterrupts {
    const bits = this.#machine.iommu.takeInterrupts();
    return {
      used: (bits & InterruptBit.USED_BUFFER) === 0 ? 0 : 1,
      config: (bits & InterruptBit.CONFIG_CHANGE) === 0 ? 0 : 1,
    };
  }

  reset(kind: Exclude<ResetKind, 'device'>): void {
    this.#sources.clear();
    if (kind === 'system') this.#machine.reset();
    else this.#machine.restart();
  }

  dma(endpoint: number, direction: DmaDirection, iova: bigint, bytes: Uint8Array): DmaOutcome {
    let source = this.#sources.get(endpoint);
    if (source === undefined) {
      source = new SdDma(this.#machine, endpoint >>> 3);
      this.#sources.set(endpoint, source);
    }
    if (direction === 'read') source.read(iova, bytes);
    else source.write(iova, bytes);
    return 'unknown';
  }

  dispose(): void {
    this.#release();
  }
}

/** The endpoint number of a function: bus 0, function 0. */
function endpointOf(slot: number): number {
  return slot << 3;
}

/** The last line of what it said belongs to a crash: which of them it is. */
function failure(how: LossKind, message: string, lastWords: string): TargetFailure {
  const lines = lastWords.split('\n').filter(Boolean);
  const last = how === 'crash' ? lines.pop() : undefined;
  return new TargetFailure(how, last === undefined ? message : `${message} ${last}`, lines);
}
