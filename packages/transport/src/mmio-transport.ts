/**
 * The driver's side of virtio-mmio, version 2: section "MMIO-specific Initialization And Device Operation".
 *
 * The device is not trusted: every wait is bounded, and what it shows is checked before it is used.
 */

import {
  DeviceStatus,
  InterruptBit,
  IommuError,
  MMIO_MAGIC,
  MMIO_VERSION,
  MmioRegister,
  VirtioFeature,
  featureMask,
  hasFeature,
} from '@viommu/common';
import type { Bell, QueueLayout } from '@viommu/ring';
import type { Doorbells } from './control-page.ts';
import type { DriverTransport, FeatureRequest } from './driver-transport.ts';
import { OTHER_TRANSPORTS, wordOf } from './feature-negotiation.ts';
import type { RegisterPort } from './register-device.ts';

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, DEVICE_NEEDS_RESET, FAILED } = DeviceStatus;

/** Reads of a register that a device takes its time to change; some milliseconds at least. */
const READS_MAX = 100_000;
/** Tries to read a configuration that keeps changing. */
const CONFIG_READS_MAX = 100;
/** The two words that hold features. */
const FEATURE_WORDS = [0, 1] as const;

export interface MmioTransportOptions {
  readonly port: RegisterPort;
  readonly doorbells: Doorbells;
  /** Rings with each interrupt. */
  readonly interruptBell: Bell;
}

/** One device behind a register window. */
export class MmioTransport implements DriverTransport {
  readonly deviceId: number;
  readonly interruptBell: Bell;
  notifications = 0;

  readonly #port: RegisterPort;
  readonly #doorbells: Doorbells;
  /** The status bits written since the last reset. What the device shows may lack or add some. */
  #status = 0;
  #features = 0n;
  /** NOTIFICATION_DATA: the doorbell says where the next chain will become available. */
  #notificationData = false;

  /** Identifies the device. @throws {IommuError} `ENODEV` if the registers are not those of version 2. */
  constructor({ port, doorbells, interruptBell }: MmioTransportOptions) {
    this.#port = port;
    this.#doorbells = doorbells;
    this.interruptBell = interruptBell;
    const magic = this.#read(MmioRegister.MagicValue);
    const version = this.#read(MmioRegister.Version);
    if (magic !== MMIO_MAGIC || version !== MMIO_VERSION)
      throw new IommuError('ENODEV', 'There is no virtio-mmio register window of version 2.');
    this.deviceId = this.#read(MmioRegister.DeviceID);
  }

  negotiate({ wanted, required }: FeatureRequest): bigint {
    if (this.deviceId === 0) throw new IommuError('ENODEV', 'There is no device in this window.');
    this.reset();
    this.#addStatus(ACKNOWLEDGE);
    this.#addStatus(DRIVER);
    let offered = 0n;
    for (const word of FEATURE_WORDS) {
      this.#write(MmioRegister.DeviceFeaturesSel, word);
      offered |= BigInt(this.#read(MmioRegister.DeviceFeatures)) << BigInt(32 * word);
    }
    offered &= ~OTHER_TRANSPORTS;
    const needed = required | featureMask(VirtioFeature.VERSION_1);
    const missing = needed & ~offered;
    if (missing !== 0n)
      this.#giveUp(`The device lacks features 0x${missing.toString(16)}, which the driver needs.`);
    const chosen = offered & (wanted | needed);
    for (const word of FEATURE_WORDS) {
      this.#write(MmioRegister.DriverFeaturesSel, word);
      this.#write(MmioRegister.DriverFeatures, wordOf(chosen, word));
    }
    this.#addStatus(FEATURES_OK);
    if ((this.status() & FEATURES_OK) === 0)
      this.#giveUp(`The device refuses features 0x${chosen.toString(16)}.`);
    this.#features = chosen;
    this.#notificationData = hasFeature(chosen, VirtioFeature.NOTIFICATION_DATA);
    return chosen;
  }

  queueSizeMax(index: number): number {
    this.#write(MmioRegister.QueueSel, index);
    return this.#read(MmioRegister.QueueSizeMax);
  }

  enableQueue(index: number, layout: QueueLayout): void {
    const sizeMax = this.queueSizeMax(index);
    if (this.#read(MmioRegister.QueueReady) !== 0)
      throw new IommuError('EBUSY', `Queue ${index} is enabled already.`);
    if (sizeMax === 0) throw new IommuError('ENODEV', `The device has no queue ${index}.`);
    if (layout.size > sizeMax)
      throw new IommuError('EINVAL', `Queue ${index} cannot have more than ${sizeMax} entries.`);
    this.#write(MmioRegister.QueueSize, layout.size);
    this.#write(MmioRegister.QueueDescLow, wordOf(layout.descriptorArea, 0));
    this.#write(MmioRegister.QueueDescHigh, wordOf(layout.descriptorArea, 1));
    this.#write(MmioRegister.QueueDriverLow, wordOf(layout.driverArea, 0));
    this.#write(MmioRegister.QueueDriverHigh, wordOf(layout.driverArea, 1));
    this.#write(MmioRegister.QueueDeviceLow, wordOf(layout.deviceArea, 0));
    this.#write(MmioRegister.QueueDeviceHigh, wordOf(layout.deviceArea, 1));
    this.#write(MmioRegister.QueueReady, 1);
    if (this.#read(MmioRegister.QueueReady) !== 1)
      throw new IommuError('EIO', `The device refuses the layout of queue ${index}.`);
  }

  resetQueue(index: number): void {
    if (!hasFeature(this.#features, VirtioFeature.RING_RESET))
      throw new IommuError('ENOSYS', 'The device cannot reset a single queue.');
    this.#write(MmioRegister.QueueSel, index);
    this.#write(MmioRegister.QueueReset, 1);
    this.#awaitZero(MmioRegister.QueueReset, `reset queue ${index}`);
    this.#awaitZero(MmioRegister.QueueReady, `reset queue ${index}`);
  }

  /**
   * Stops one queue without RING_RESET, which only virtio-mmio can.
   *
   * @throws {IommuError} `ETIMEDOUT` if the device does not finish.
   */
  disableQueue(index: number): void {
    this.#write(MmioRegister.QueueSel, index);
    this.#write(MmioRegister.QueueReady, 0);
    this.#awaitZero(MmioRegister.QueueReady, `stop queue ${index}`);
  }

  driverOk(): void {
    this.#addStatus(DRIVER_OK);
    if ((this.status() & (DRIVER_OK | DEVICE_NEEDS_RESET)) !== DRIVER_OK)
      this.#giveUp('The device does not start.');
  }

  fail(): void {
    this.#addStatus(FAILED);
  }

  reset(): void {
    this.#status = 0;
    this.#features = 0n;
    this.#write(MmioRegister.Status, 0);
    this.#awaitZero(MmioRegister.Status, 'reset');
  }

  status(): number {
    return this.#read(MmioRegister.Status);
  }

  readConfig(offset: number, width: number): number {
    return this.#port.read(MmioRegister.Config + offset, width);
  }

  readConfigStable<Fields>(read: () => Fields): Fields {
    for (let tries = 0; tries < CONFIG_READS_MAX; tries += 1) {
      const generation = this.#read(MmioRegister.ConfigGeneration);
      // Any register write is answered between two changes, so none is under way unseen; see `ConfigurationSpace`.
      this.#write(MmioRegister.QueueSel, 0);
      const fields = read();
      if (this.#read(MmioRegister.ConfigGeneration) === generation) return fields;
    }
    throw new IommuError('EIO', 'The configuration of the device never stays the same.');
  }

  readConfig64(offset: number): bigint {
    return this.readConfigStable(
      () => (BigInt(this.readConfig(offset + 4, 4)) << 32n) | BigInt(this.readConfig(offset, 4)),
    );
  }

  writeConfig(offset: number, width: number, value: number): void {
    this.#port.write(MmioRegister.Config + offset, width, value);
  }

  notify(queue: number, position: number): void {
    if ((this.#status & (DRIVER_OK | FAILED)) !== DRIVER_OK) return;
    this.notifications += 1;
    this.#doorbells.ring(queue, this.#notificationData ? (queue | (position << 16)) >>> 0 : queue);
  }

  acknowledgeInterrupts(): number {
    const defined = InterruptBit.USED_BUFFER | InterruptBit.CONFIG_CHANGE;
    const events = this.#read(MmioRegister.InterruptStatus) & defined;
    // Sleepers look at their queues and at the bell, which rings whether the bit is still set or not. So nobody waits for
    // the most frequent acknowledgement, which would cost two more wake-ups.
    if (events === InterruptBit.USED_BUFFER) this.#port.post(MmioRegister.InterruptACK, 4, events);
    else if (events !== 0) this.#write(MmioRegister.InterruptACK, events);
    return events;
  }

  #read(register: number): number {
    return this.#port.read(register, 4);
  }

  #write(register: number, value: number): void {
    this.#port.write(register, 4, value);
  }

  #addStatus(bit: number): void {
    this.#status |= bit;
    this.#write(MmioRegister.Status, this.#status);
  }

  #giveUp(reason: string): never {
    this.fail();
    throw new IommuError('ENODEV', reason);
  }

  #awaitZero(register: number, action: string): void {
    for (let reads = 0; reads < READS_MAX; reads += 1) {
      if (this.#read(register) === 0) return;
    }
    throw new IommuError('ETIMEDOUT', `The device did not ${action} in time.`);
  }
}
