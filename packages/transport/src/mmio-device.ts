/**
 * A virtio device behind a virtio-mmio register window, version 2: section "Virtio Over MMIO".
 *
 * The window shows the registers; this class holds the truth and never reads the window. Every write is acted on before
 * it is acknowledged, resets included. What the standard forbids a driver to write has no effect, save what makes a
 * queue unusable: that sets DEVICE_NEEDS_RESET.
 */

import {
  DeviceStatus,
  ImageReader,
  ImageWriter,
  InterruptBit,
  IommuError,
  MMIO_MAGIC,
  MMIO_VERSION,
  MmioRegister,
  QUEUE_SIZE_MAX,
  VirtioFeature,
  hasFeature,
} from '@viommu/common';
import { type Bell, type DeviceQueue, type GuestMemory, queueFeatures } from '@viommu/ring';
import { ConfigurationSpace } from './configuration-space.ts';
import { statusAfterWrite } from './device-status.ts';
import { FeatureNegotiation } from './feature-negotiation.ts';
import { MmioQueue, QueueArea } from './mmio-queue.ts';
import {
  MMIO_IMAGE,
  MmioQueueState,
  type MmioRegisters,
  MmioState,
  initialRegisters,
  isLive,
  readMmioState,
} from './mmio-state.ts';
import type { RegisterDevice } from './register-device.ts';
import type { RegisterWindow } from './register-window.ts';
import type { DevicePort, VirtioDevice } from './virtio-device.ts';

const { DEVICE_NEEDS_RESET, DRIVER_OK, FAILED, FEATURES_OK } = DeviceStatus;

/** `vIOM`, as a little-endian word. */
const VENDOR_ID = 0x4d4f_4976;
/** What SHMLen and SHMBase read for a shared memory region that is not there. */
const ABSENT = 0xffff_ffff;

export interface MmioDeviceOptions {
  readonly window: RegisterWindow;
  /** Rings with each interrupt. */
  readonly interruptBell: Bell;
  /** Where the driver's queues lie. */
  readonly memory: GuestMemory;
  readonly device: VirtioDevice;
  /** What VendorID reads. */
  readonly vendorId?: number;
}

/** The device's side of one register window. */
export class MmioDevice implements RegisterDevice {
  readonly #window: RegisterWindow;
  readonly #interruptBell: Bell;
  readonly #memory: GuestMemory;
  readonly #device: VirtioDevice;
  readonly #port: DevicePort;
  readonly #negotiation: FeatureNegotiation;
  readonly #config: ConfigurationSpace;
  #queues: readonly MmioQueue[];

  #registers: MmioRegisters = initialRegisters();
  /** True while the device may touch its queues: from DRIVER_OK on, unless it failed or needs a reset. */
  #live = false;
  #fault: string | undefined = undefined;

  /** @throws {IommuError} `EINVAL` for a device that cannot be shown over virtio-mmio. */
  constructor({ window, interruptBell, memory, device, vendorId = VENDOR_ID }: MmioDeviceOptions) {
    for (const size of device.queueSizesMax) {
      if (!Number.isInteger(size) || size < 1 || size > QUEUE_SIZE_MAX)
        throw new IommuError('EINVAL', `A device cannot have a queue of ${size} descriptors.`);
    }
    if (device.deviceId === 0) throw new IommuError('EINVAL', 'Device id 0 means no device.');
    this.#window = window;
    this.#interruptBell = interruptBell;
    this.#memory = memory;
    this.#device = device;
    this.#negotiation = new FeatureNegotiation(device.offeredFeatures);
    this.#config = new ConfigurationSpace(window, device);
    this.#queues = queuesOf(device);
    this.#port = {
      interrupt: () => {
        if (this.#live) this.#interrupt(InterruptBit.USED_BUFFER);
      },
      configChanged: () => {
        if (this.#live) this.configChanged();
      },
      needsReset: (reason) => {
        if (this.#live) this.#needReset(reason);
      },
    };
    window.store(MmioRegister.MagicValue, MMIO_MAGIC);
    window.store(MmioRegister.Version, MMIO_VERSION);
    window.store(MmioRegister.VendorID, vendorId);
    window.store(MmioRegister.SHMLenLow, ABSENT);
    window.store(MmioRegister.SHMLenHigh, ABSENT);
    window.store(MmioRegister.SHMBaseLow, ABSENT);
    window.store(MmioRegister.SHMBaseHigh, ABSENT);
    this.#showAll();
    // Last: a driver that looks early finds no device.
    window.store(MmioRegister.DeviceID, device.deviceId);
  }

  /** Why the device needs a reset, while it does. */
  get fault(): string | undefined {
    return this.#fault;
  }

  serve(): boolean {
    return this.#live && this.#device.serve();
  }

  arm(): boolean {
    return !this.#live || this.#device.arm();
  }

  suppress(): void {
    if (this.#live) this.#device.suppress();
  }

  write(offset: number, width: number, value: number): void {
    if (offset >= MmioRegister.Config)
      this.#writeConfig(offset - MmioRegister.Config, width, value);
    else if (width === 4) this.#writeControl(offset, value >>> 0);
  }

  /** The bytes of `device.config` were changed from outside, for instance by a management interface. */
  configChanged(): void {
    this.#config.update();
    if (this.#live) this.#interrupt(InterruptBit.CONFIG_CHANGE);
    else if (this.#registers.status !== 0) this.#registers.configPending = 1;
  }

  /** What a reset of the whole machine does: a device reset, and first values for what survives one. */
  systemReset(): void {
    this.#reset();
    this.#device.systemReset?.();
    this.#config.update();
  }

  #writeConfig(offset: number, width: number, value: number): void {
    if ((width !== 1 && width !== 2 && width !== 4) || offset % width !== 0) return;
    if (offset + width > this.#config.size) return;
    const field = width === 4 ? value >>> 0 : value & (width === 2 ? 0xffff : 0xff);
    if (this.#device.writeConfig(offset, width, field)) this.#config.show();
  }

  #writeControl(offset: number, value: number): void {
    const queue = this.#queues[this.#registers.queueSelector];
    switch (offset) {
      case MmioRegister.DeviceFeaturesSel:
        this.#registers.deviceFeaturesSelector = value;
        return this.#showFeatures();
      case MmioRegister.DriverFeaturesSel:
        this.#registers.driverFeaturesSelector = value;
        return;
      case MmioRegister.DriverFeatures:
        // After FEATURES_OK this has no effect: the choice was made when that bit was set.
        this.#negotiation.writeDriverWord(this.#registers.driverFeaturesSelector, value);
        return;
      case MmioRegister.QueueSel:
        this.#registers.queueSelector = value;
        return this.#showQueue();
      case MmioRegister.QueueSize:
        return queue?.setSize(value);
      case MmioRegister.QueueDescLow:
        return queue?.setArea(QueueArea.DESCRIPTOR_LOW, value);
      case MmioRegister.QueueDescHigh:
        return queue?.setArea(QueueArea.DESCRIPTOR_HIGH, value);
      case MmioRegister.QueueDriverLow:
        return queue?.setArea(QueueArea.DRIVER_LOW, value);
      case MmioRegister.QueueDriverHigh:
        return queue?.setArea(QueueArea.DRIVER_HIGH, value);
      case MmioRegister.QueueDeviceLow:
        return queue?.setArea(QueueArea.DEVICE_LOW, value);
      case MmioRegister.QueueDeviceHigh:
        return queue?.setArea(QueueArea.DEVICE_HIGH, value);
      case MmioRegister.QueueReady:
        return this.#writeQueueReady(queue, value);
      case MmioRegister.QueueReset:
        return this.#writeQueueReset(queue, value);
      case MmioRegister.InterruptACK:
        return this.#acknowledge(value);
      case MmioRegister.Status:
        return this.#writeStatus(value);
      default:
      // QueueNotify needs no action, since the host serves the device after every write; what NOTIFICATION_DATA adds
      // stands in the ring as well, and only there it is believed. SHMSel selects among no regions. All others cannot
      // be written.
    }
  }

  #writeStatus(value: number): void {
    if (value === 0) return this.#reset();
    const before = this.#registers.status;
    let next = statusAfterWrite(before, value);
    const added = next & ~before;
    if ((added & FEATURES_OK) !== 0) {
      const choice = this.#negotiation.choice();
      if (choice !== undefined && this.#device.acceptFeatures(choice))
        this.#registers.features = choice;
      else next &= ~FEATURES_OK;
      // How large a queue can be depends on its format.
      this.#showQueue();
    }
    this.#registers.status = next;
    if ((added & FAILED) !== 0) this.#halt();
    if ((added & DRIVER_OK) !== 0) this.#start();
    this.#window.store(MmioRegister.Status, this.#registers.status);
  }

  /**
   * Everything that the device knows, the part behind the registers included, as an image. Guest memory is the
   * caller's to save.
   *
   * @throws {IommuError} `EBUSY` while the device holds a chain, `ENOSYS` if it is of a kind that cannot be saved.
   */
  save(): Uint8Array<ArrayBuffer> {
    if (this.#device.save === undefined) throw new IommuError('ENOSYS', CANNOT);
    const image = new ImageWriter(MMIO_IMAGE).add(MmioState, {
      ...this.#registers,
      deviceId: this.#device.deviceId,
      queues: this.#queues.length,
      configGeneration: this.#config.generation,
      driverFeatures: this.#negotiation.written,
      foreignFeatures: this.#negotiation.foreign ? 1 : 0,
    });
    for (const queue of this.#queues) image.add(MmioQueueState, queue.save());
    return image.addBytes(this.#device.save()).finish();
  }

  /**
   * Takes over what {@link save} returned and goes on from there, with guest memory as it was. Everything is checked
   * before anything changes.
   *
   * @throws {IommuError} `EINVAL` for an image that is not whole, or of no state of this device; `ENOSYS` as `save`.
   */
  restore(image: Uint8Array): void {
    const device = this.#device;
    if (device.restore === undefined) throw new IommuError('ENOSYS', CANNOT);
    const from = new ImageReader(image, MMIO_IMAGE);
    const queues = queuesOf(device);
    const state = readMmioState(from, device.deviceId, this.#negotiation, queues, this.#memory);
    device.restore(from.rest(), state.features);
    // The image is good, and from here on nothing fails.
    this.#live = false;
    this.#queues = queues;
    this.#registers = state;
    const needsReset = (state.status & DEVICE_NEEDS_RESET) !== 0;
    this.#fault = needsReset ? 'The device needed a reset before it was saved.' : undefined;
    this.#negotiation.restore(state.driverFeatures, state.foreignFeatures === 1);
    this.#config.restore(state.configGeneration);
    if (isLive(state.status)) this.#run();
    this.#showAll();
    // The interrupt is a level, and whoever waits for it may wait on another bell now.
    if (this.#registers.interruptStatus !== 0) this.#interruptBell.ring();
  }

  #run(): void {
    this.#live = true;
    this.#device.start({
      features: this.#registers.features,
      memory: this.#memory,
      queues: this.#queues.map(({ queue }) => queue),
      port: this.#port,
    });
  }

  #start(): void {
    this.#run();
    if (this.#registers.configPending === 1 && this.#live)
      this.#interrupt(InterruptBit.CONFIG_CHANGE);
    this.#registers.configPending = 0;
  }

  #reset(): void {
    this.#live = false;
    this.#device.reset();
    this.#negotiation.reset();
    for (const queue of this.#queues) queue.reset();
    this.#registers = initialRegisters();
    this.#fault = undefined;
    this.#config.update();
    this.#showAll();
  }

  #writeQueueReady(queue: MmioQueue | undefined, value: number): void {
    if (queue === undefined) return;
    if (value === 0) this.#stopQueue(queue);
    else if (value === 1 && queue.queue === undefined) this.#startQueue(queue);
    this.#showQueue();
  }

  #startQueue(queue: MmioQueue): void {
    const settling = FEATURES_OK | FAILED | DEVICE_NEEDS_RESET;
    const features = queueFeatures(this.#registers.features);
    if ((this.#registers.status & settling) !== FEATURES_OK || !queue.sizeValid(features)) return;
    let started: DeviceQueue;
    try {
      started = queue.enable(this.#memory, features);
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      this.#halt();
      this.#needReset(error.message);
      return;
    }
    if (this.#live) this.#device.queueStarted(this.#registers.queueSelector, started);
  }

  #stopQueue(queue: MmioQueue): void {
    if (queue.queue === undefined) return;
    if (this.#live) this.#device.queueStopped(this.#registers.queueSelector);
    queue.disable();
  }

  #writeQueueReset(queue: MmioQueue | undefined, value: number): void {
    if (queue === undefined || value !== 1) return;
    if (!hasFeature(this.#registers.features, VirtioFeature.RING_RESET)) return;
    // Complete when this returns, so that QueueReset never reads 1.
    this.#stopQueue(queue);
    queue.reset();
    this.#showQueue();
  }

  /** Takes all queues from a device at work, which does not know yet that it cannot go on. */
  #halt(): void {
    if (!this.#live) return;
    this.#live = false;
    for (const [index, { queue }] of this.#queues.entries()) {
      if (queue !== undefined) this.#device.queueStopped(index);
    }
  }

  #needReset(reason: string): void {
    this.#fault = reason;
    this.#live = false;
    this.#registers.status |= DEVICE_NEEDS_RESET;
    this.#window.store(MmioRegister.Status, this.#registers.status);
    if ((this.#registers.status & DRIVER_OK) !== 0) this.#interrupt(InterruptBit.CONFIG_CHANGE);
  }

  #interrupt(bit: number): void {
    this.#registers.interruptStatus |= bit;
    // Before the bell: who wakes by it sees the bit.
    this.#window.store(MmioRegister.InterruptStatus, this.#registers.interruptStatus);
    this.#interruptBell.ring();
  }

  #acknowledge(bits: number): void {
    this.#registers.interruptStatus &= ~bits;
    this.#window.store(MmioRegister.InterruptStatus, this.#registers.interruptStatus);
    // The interrupt is a level: it stands until the last bit is acknowledged.
    if (this.#registers.interruptStatus !== 0) this.#interruptBell.ring();
  }

  #showAll(): void {
    this.#showFeatures();
    this.#showQueue();
    this.#window.store(MmioRegister.InterruptStatus, this.#registers.interruptStatus);
    // Last: who sees status 0 sees everything else reset.
    this.#window.store(MmioRegister.Status, this.#registers.status);
  }

  #showFeatures(): void {
    const word = this.#negotiation.deviceWord(this.#registers.deviceFeaturesSelector);
    this.#window.store(MmioRegister.DeviceFeatures, word);
  }

  #showQueue(): void {
    const queue = this.#queues[this.#registers.queueSelector];
    const sizeMax = queue?.sizeMax(queueFeatures(this.#registers.features)) ?? 0;
    this.#window.store(MmioRegister.QueueSizeMax, sizeMax);
    this.#window.store(MmioRegister.QueueReady, queue?.queue === undefined ? 0 : 1);
  }
}

const CANNOT = 'A device of this kind cannot be saved.';

function queuesOf({ queueSizesMax, batchedQueues }: VirtioDevice): readonly MmioQueue[] {
  const batched = new Set(batchedQueues);
  return queueSizesMax.map((size, index) => new MmioQueue(size, batched.has(index)));
}
