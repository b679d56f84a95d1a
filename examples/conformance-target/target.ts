/**
 * A target for `viommu conform`: here, a device that is a library in this process and has no transport of its own. What
 * a transport would do, status, features, queue set-up, is written out below; yours has it in registers.
 */

import { DeviceStatus, MapFlag, guestPhysical, iova as asIova } from '@viommu/common';
import type {
  DeviceTarget,
  DeviceTargetFactory,
  DmaDirection,
  DmaOutcome,
  TargetEndpoint,
  TargetWish,
} from '@viommu/conformance';
import { IommuDevice, PieceKind, TranslateOutcome } from '@viommu/device';
import { type QueueLayout, SharedMemory, createDeviceQueue, queueFeatures } from '@viommu/ring';

const { FEATURES_OK, DRIVER_OK, DEVICE_NEEDS_RESET } = DeviceStatus;
const RAM = { start: 0x8000_0000n, bytes: 0x10_0000 };
const MSI = { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' } as const;

/** What `--target` loads. Every case opens a target of its own, so nothing is left from the one before. */
export const target: DeviceTargetFactory = {
  name: 'example',
  open: (wish) => new ExampleTarget(wish),
};

class ExampleTarget implements DeviceTarget {
  // --- What the suite is told ---
  readonly memory: SharedMemory;
  readonly window = RAM;
  readonly transport = 'other';
  /** `wait` below knows when the device has nothing left to do: silence needs no time. */
  readonly quietMs = 0;
  readonly resets = ['device', 'system'] as const;
  readonly endpoints: readonly TargetEndpoint[] = [
    { id: 1, role: 'present', reserved: [MSI], dma: {} },
    { id: 2, role: 'present', reserved: [MSI], dma: {} },
    { id: 3, role: 'absent' },
  ];

  // --- The device under test, and the transport around it ---
  readonly #device: IommuDevice;
  readonly #layouts: (QueueLayout | undefined)[] = [];
  #status = 0;
  #features = 0n;
  #interrupts = { used: 0, config: 0 };

  /** A wish is how a case would like the device; what is not granted leads to a skip. This one grants some of them. */
  constructor({ bypass, pageSizeMask }: TargetWish) {
    this.#device = new IommuDevice({
      endpoints: this.endpoints
        .filter(({ role }) => role === 'present')
        .map(({ id, reserved = [] }) => ({ id, reserved })),
      features: { packed: true },
      ...(bypass !== undefined && { bypass }),
      ...(pageSizeMask !== undefined && { pageSizeMask }),
    });
    const buffer = new SharedArrayBuffer(RAM.bytes);
    this.memory = new SharedMemory({
      buffer,
      offset: 0,
      size: RAM.bytes,
      base: guestPhysical(RAM.start),
    });
  }

  readStatus(): number {
    return this.#status;
  }

  writeStatus(value: number): void {
    const set = value & ~this.#status;
    this.#status = value;
    if (value === 0) {
      this.#device.reset();
      this.#layouts.length = 0;
      this.#features = 0n;
    }
    // A device shows FEATURES_OK only if it can live with the set.
    if ((set & FEATURES_OK) !== 0 && !this.#accept()) this.#status &= ~FEATURES_OK;
    if ((set & DRIVER_OK) !== 0) this.#start();
  }

  readFeatures(): bigint {
    return this.#device.offeredFeatures;
  }

  writeFeatures(features: bigint): void {
    if ((this.#status & FEATURES_OK) === 0) this.#features = features;
  }

  readConfig(offset: number, width: number): number {
    const bytes = this.#device.config.subarray(offset, offset + width);
    return bytes.reduce((value, byte, index) => value + byte * 2 ** (8 * index), 0);
  }

  writeConfig(offset: number, width: number, value: number): void {
    this.#device.writeConfig(offset, width, value);
  }

  queueSizeMax(queue: number): number {
    return this.#device.queueSizesMax[queue] ?? 0;
  }

  enableQueue(queue: number, layout: QueueLayout): void {
    this.#layouts[queue] = layout;
  }

  /** The device looks at its queues in {@link wait}; a notification says nothing more. */
  notify(): void {}

  wait(done: () => boolean): boolean {
    while (!done()) {
      const running = (this.#status & (DRIVER_OK | DEVICE_NEEDS_RESET)) === DRIVER_OK;
      // Nothing left to do: waiting longer would not help.
      if (!running || !this.#device.serve()) return done();
    }
    return true;
  }

  takeInterrupts(): { readonly used: number; readonly config: number } {
    const taken = this.#interrupts;
    this.#interrupts = { used: 0, config: 0 };
    return taken;
  }

  reset(): void {
    this.writeStatus(0);
    this.#device.systemReset();
  }

  /** An endpoint of this platform: one call of the device, then a copy. */
  dma(endpoint: number, direction: DmaDirection, iova: bigint, bytes: Uint8Array): DmaOutcome {
    const right = direction === 'read' ? MapFlag.READ : MapFlag.WRITE;
    const { iommu } = this.#device;
    const { outcome, translation } = iommu.translateRange(
      endpoint,
      asIova(iova),
      bytes.length,
      right,
    );
    if (outcome !== TranslateOutcome.OK) return 'refused';
    let at = 0;
    for (let piece = 0; piece < translation.count; piece += 1) {
      const length = translation.length[piece] ?? 0;
      const from = translation.address(piece) - RAM.start;
      // Interrupts leave for the interrupt controller; memory that is not there takes nothing.
      const reachable = from >= 0n && from + BigInt(length) <= BigInt(RAM.bytes);
      if (translation.kind[piece] !== PieceKind.MSI && !reachable) return 'refused';
      if (translation.kind[piece] !== PieceKind.MSI)
        this.memory[direction](Number(from), bytes, at, length);
      at += length;
    }
    return 'done';
  }

  dispose(): void {}

  #accept(): boolean {
    const known = (this.#features & ~this.#device.offeredFeatures) === 0n;
    return known && this.#device.acceptFeatures(this.#features);
  }

  #start(): void {
    const { memory } = this;
    const features = queueFeatures(this.#features);
    this.#device.start({
      features: this.#features,
      memory,
      queues: this.#layouts.map((layout) =>
        layout === undefined ? undefined : createDeviceQueue({ memory, layout, features }),
      ),
      port: {
        interrupt: () => (this.#interrupts.used += 1),
        configChanged: () => (this.#interrupts.config += 1),
        needsReset: () => {
          this.#status |= DEVICE_NEEDS_RESET;
          this.#interrupts.config += 1;
        },
      },
    });
  }
}
