/** A virtio PCI device as our drivers take it: section "PCI-specific Initialization And Device Operation". */

import {
  DeviceStatus,
  InterruptBit,
  IommuError,
  VirtioFeature,
  featureMask,
  hasFeature,
} from '@viommu/common';
import { Bell, type QueueLayout } from '@viommu/ring';
import type { DriverTransport, FeatureRequest } from '@viommu/transport';
import { type VirtioPci, accessWidth } from './virtio-pci.ts';

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, DEVICE_NEEDS_RESET, FAILED } = DeviceStatus;

/** Reads of a register that a device takes its time to change. */
const READS_MAX = 10_000;
/** Tries to read a configuration that keeps changing. */
const CONFIG_READS_MAX = 100;
/** What our drivers do not do on this transport: queue numbers of the device's choosing, virtual functions, commands. */
const NOT_HERE =
  featureMask(VirtioFeature.SR_IOV) |
  featureMask(VirtioFeature.NOTIF_CONFIG_DATA) |
  featureMask(VirtioFeature.ADMIN_VQ);

/**
 * Drives one device. There are no interrupts to be had: the bell rings after each notification, by when the peer has
 * usually done what it was notified of.
 */
export class PciTransport implements DriverTransport {
  readonly deviceId: number;
  readonly interruptBell: Bell = new Bell(new Int32Array(new SharedArrayBuffer(4)), 0);
  notifications = 0;
  readonly #device: VirtioPci;
  /** The status bits written since the last reset. */
  #status = 0;
  #features = 0n;

  constructor(device: VirtioPci) {
    this.#device = device;
    this.deviceId = device.deviceId;
  }

  negotiate({ wanted, required }: FeatureRequest): bigint {
    this.reset();
    this.#addStatus(ACKNOWLEDGE);
    this.#addStatus(DRIVER);
    const offered = readFeatures(this.#device) & ~NOT_HERE;
    const needed = required | featureMask(VirtioFeature.VERSION_1);
    const missing = needed & ~offered;
    if (missing !== 0n)
      this.#giveUp(`The device lacks features 0x${missing.toString(16)}, which the driver needs.`);
    const chosen = offered & (wanted | needed);
    writeFeatures(this.#device, chosen);
    this.#addStatus(FEATURES_OK);
    if ((this.status() & FEATURES_OK) === 0)
      this.#giveUp(`The device refuses features 0x${chosen.toString(16)}.`);
    this.#features = chosen;
    return chosen;
  }

  queueSizeMax(index: number): number {
    return this.#device.readQueueSize(index);
  }

  enableQueue(index: number, layout: QueueLayout): void {
    const sizeMax = this.queueSizeMax(index);
    if (sizeMax === 0) throw new IommuError('ENODEV', `The device has no queue ${index}.`);
    if (this.#device.readQueueEnable(index) !== 0)
      throw new IommuError('EBUSY', `Queue ${index} is enabled already.`);
    if (layout.size > sizeMax)
      throw new IommuError('EINVAL', `Queue ${index} cannot have more than ${sizeMax} entries.`);
    this.#device.enableQueue(index, layout);
    if (this.#device.readQueueEnable(index) !== 1)
      throw new IommuError('EIO', `The device refuses the layout of queue ${index}.`);
  }

  resetQueue(index: number): void {
    if (!hasFeature(this.#features, VirtioFeature.RING_RESET))
      throw new IommuError('ENOSYS', 'The device cannot reset a single queue.');
    resetQueue(this.#device, index);
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
    this.#device.writeStatus(0);
    awaitZero(() => this.status(), 'reset');
  }

  status(): number {
    return this.#device.readStatus();
  }

  readConfig(offset: number, width: number): number {
    return this.#device.readConfig(offset, accessWidth(width));
  }

  readConfigStable<Fields>(read: () => Fields): Fields {
    for (let tries = 0; tries < CONFIG_READS_MAX; tries += 1) {
      const generation = this.#device.readGeneration();
      const fields = read();
      if (this.#device.readGeneration() === generation) return fields;
    }
    throw new IommuError('EIO', 'The configuration of the device never stays the same.');
  }

  readConfig64(offset: number): bigint {
    return this.readConfigStable(
      () => (BigInt(this.readConfig(offset + 4, 4)) << 32n) | BigInt(this.readConfig(offset, 4)),
    );
  }

  writeConfig(offset: number, width: number, value: number): void {
    this.#device.writeConfig(offset, accessWidth(width), value);
  }

  notify(queue: number, position: number): void {
    if ((this.#status & (DRIVER_OK | FAILED)) !== DRIVER_OK) return;
    this.notifications += 1;
    const withData = hasFeature(this.#features, VirtioFeature.NOTIFICATION_DATA);
    if (withData) this.#device.notify(queue, position);
    else this.#device.notify(queue);
    this.interruptBell.ring();
  }

  acknowledgeInterrupts(): number {
    const defined = InterruptBit.USED_BUFFER | InterruptBit.CONFIG_CHANGE;
    return this.#device.takeInterrupts() & defined;
  }

  #addStatus(bit: number): void {
    this.#status |= bit;
    this.#device.writeStatus(this.#status);
  }

  #giveUp(reason: string): never {
    this.fail();
    throw new IommuError('ENODEV', reason);
  }
}

/** All offered feature bits, 0 to 63. */
export function readFeatures(device: VirtioPci): bigint {
  return (BigInt(device.readFeatureWord(1)) << 32n) | BigInt(device.readFeatureWord(0));
}

/** Writes the accepted features, bits 0 to 63. */
export function writeFeatures(device: VirtioPci, features: bigint): void {
  device.writeFeatureWord(0, Number(features & 0xffff_ffffn));
  device.writeFeatureWord(1, Number((features >> 32n) & 0xffff_ffffn));
}

/** Resets one queue and waits until that is done. @throws {IommuError} `ETIMEDOUT` if it never is. */
export function resetQueue(device: VirtioPci, index: number): void {
  device.writeQueueReset(index);
  awaitZero(() => device.readQueueReset(index), `reset queue ${index}`);
  awaitZero(() => device.readQueueEnable(index), `stop queue ${index}`);
}

function awaitZero(read: () => number, action: string): void {
  for (let reads = 0; reads < READS_MAX; reads += 1) if (read() === 0) return;
  throw new IommuError('ETIMEDOUT', `The device did not ${action} in time.`);
}
