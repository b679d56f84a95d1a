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
  type TargetWish,
} from '@viommu/conformance';
import { InterruptBit } from '@viommu/common';
import type { QueueLayout } from '@viommu/ring';
import { QEMU_WINDOW, QemuMachine } from './machine.ts';
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
    open: (wish) => new QemuTarget(program, wish),
    ...(manifest === undefined ? {} : { manifest }),
  };
}

class QemuTarget implements DeviceTarget {
  readonly memory: MirrorMemory;
  readonly window = QEMU_WINDOW;
  readonly transport = 'pci';
  readonly quietMs = 0;
  readonly resets: readonly ResetKind[] = ['device', 'system', 'process'];
  readonly endpoints: readonly TargetEndpoint[] = [
    ...SLOTS.map((slot): TargetEndpoint => ({
      id: endpointOf(slot),
      role: 'present',
      reserved: [MSI],
      dma: { last: SD_DMA_LAST, bytesMax: SD_DMA_BYTES_MAX },
    })),
    ...ABSENT.map((id): TargetEndpoint => ({ id, role: 'absent' })),
  ];
  readonly #machine: QemuMachine;
  /** By endpoint; made when first used. */
  readonly #sources: Map<number, SdDma> = new Map();

  constructor(program: QemuProgram, wish: TargetWish) {
    this.#machine = new QemuMachine({
      program,
      iommu: iommuOptionsOf(wish, program.iommuOptions),
      devices: SLOTS.map(sdDmaDevice),
      lifeMs: LIFE_MS,
      lost: failure,
    });
    this.memory = this.#machine.memory;
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
    for (let round = 0; round < QUIET_ROUNDS; round += 1) {
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
    this.#machine.dispose();
  }
}

/** The endpoint number of a function: bus 0, function 0. */
function endpointOf(slot: number): number {
  return slot << 3;
}

function failure(how: LossKind, message: string, lastWords: string): TargetFailure {
  return new TargetFailure(how, message, lastWords.split('\n').filter(Boolean));
}
