/** The registers of a modern virtio PCI device, found and reached as a driver would: section "Virtio Over PCI Bus". */

import { IommuError } from '@viommu/common';
import type { QueueLayout } from '@viommu/ring';
import {
  NOTIFY_MULTIPLIER_OFFSET,
  PCI_CAPABILITY_VENDOR,
  PciCapability,
  PciCommonConfig,
  PciStructure,
  VIRTIO_PCI_DEVICE_BASE,
  VIRTIO_PCI_VENDOR,
} from '../spec/pci.ts';
import type { MirrorMemory } from './mirror-memory.ts';
import type { PciBus, PciFunction } from './pci.ts';
import type { Qtest, QtestWrite, Width } from './qtest.ts';

const COMMON = PciCommonConfig.offset;

export interface VirtioPciOptions {
  readonly qtest: Qtest;
  readonly bus: PciBus;
  readonly pciFunction: PciFunction;
  /** What the device reads and writes; kept coherent around every access of a register. */
  readonly memory: MirrorMemory;
}

/** One device, register by register. Nothing here follows the rules for drivers: that is up to the caller. */
export class VirtioPci {
  /** The virtio device type. */
  readonly deviceId: number;
  readonly #qtest: Qtest;
  readonly #memory: MirrorMemory;
  readonly #common: bigint;
  readonly #isr: bigint;
  readonly #config: bigint;
  readonly #notify: bigint;
  readonly #multiplier: number;
  /** Where each queue is notified. */
  readonly #doorbells: Map<number, bigint> = new Map();

  /** @throws {IommuError} `ENODEV` if it is no modern virtio device, or lacks a structure. */
  constructor({ qtest, bus, pciFunction, memory }: VirtioPciOptions) {
    const { device, vendorId, deviceId } = pciFunction;
    if (vendorId !== VIRTIO_PCI_VENDOR || deviceId < VIRTIO_PCI_DEVICE_BASE)
      throw new IommuError('ENODEV', 'The PCI function is no modern virtio device.');
    this.deviceId = deviceId - VIRTIO_PCI_DEVICE_BASE;
    this.#qtest = qtest;
    this.#memory = memory;
    const bars = bus.enable(device);
    const places = new Map<number, { readonly capability: number; readonly address: bigint }>();
    for (const capability of bus.capabilities(device, PCI_CAPABILITY_VENDOR)) {
      const field = (offset: number, width: Width): number =>
        bus.read(device, capability + offset, width);
      const type = field(PciCapability.offset.cfgType, 1);
      const bar = bars.get(field(PciCapability.offset.bar, 1));
      const usable = bar !== undefined && type !== PciStructure.PCI_ACCESS;
      // The first of each type is the one that the device prefers.
      if (!usable || places.has(type)) continue;
      const address = bar + BigInt(field(PciCapability.offset.offset, 4));
      places.set(type, { capability, address });
    }
    const place = (type: number): { readonly capability: number; readonly address: bigint } => {
      const found = places.get(type);
      if (found !== undefined) return found;
      throw new IommuError('ENODEV', `The device has no structure of type ${type}.`);
    };
    this.#common = place(PciStructure.COMMON).address;
    this.#isr = place(PciStructure.ISR).address;
    this.#config = place(PciStructure.DEVICE).address;
    const notify = place(PciStructure.NOTIFY);
    this.#notify = notify.address;
    this.#multiplier = bus.read(device, notify.capability + NOTIFY_MULTIPLIER_OFFSET, 4);
  }

  readStatus(): number {
    return this.#read(COMMON.deviceStatus, 1);
  }

  writeStatus(value: number): void {
    this.#write(COMMON.deviceStatus, 1, value);
  }

  /** The offered bits of word `word`: 32 * `word` and up. */
  readFeatureWord(word: number): number {
    this.#write(COMMON.deviceFeatureSelect, 4, word);
    return this.#read(COMMON.deviceFeature, 4);
  }

  writeFeatureWord(word: number, value: number): void {
    this.#write(COMMON.driverFeatureSelect, 4, word);
    this.#write(COMMON.driverFeature, 4, value);
  }

  readGeneration(): number {
    return this.#read(COMMON.configGeneration, 1);
  }

  /** The size of a queue as the device has it; 0 if there is no such queue. */
  readQueueSize(queue: number): number {
    this.#write(COMMON.queueSelect, 2, queue);
    return this.#read(COMMON.queueSize, 2);
  }

  readQueueEnable(queue: number): number {
    this.#write(COMMON.queueSelect, 2, queue);
    return this.#read(COMMON.queueEnable, 2);
  }

  /** Programs a queue and enables it. */
  enableQueue(queue: number, layout: QueueLayout): void {
    this.#memory.publish();
    this.#qtest.writeAll([
      this.#to(COMMON.queueSelect, 2, queue),
      this.#to(COMMON.queueSize, 2, layout.size),
      ...this.#toAddress(COMMON.queueDesc, layout.descriptorArea),
      ...this.#toAddress(COMMON.queueDriver, layout.driverArea),
      ...this.#toAddress(COMMON.queueDevice, layout.deviceArea),
      this.#to(COMMON.queueEnable, 2, 1),
    ]);
    this.#memory.refresh();
  }

  writeQueueReset(queue: number): void {
    this.#write(COMMON.queueSelect, 2, queue);
    this.#write(COMMON.queueReset, 2, 1);
  }

  readQueueReset(queue: number): number {
    this.#write(COMMON.queueSelect, 2, queue);
    return this.#read(COMMON.queueReset, 2);
  }

  /** Tells the device of available buffers: the queue's number, or with `data` that as well, in 32 bits. */
  notify(queue: number, data?: number): void {
    const doorbell = this.#doorbell(queue);
    this.#memory.publish();
    if (data === undefined) this.#qtest.write(doorbell, 2, queue & 0xffff);
    else this.#qtest.write(doorbell, 4, (queue | (data << 16)) >>> 0);
    this.#memory.refresh();
  }

  /** Bits of `InterruptBit`; reading clears them. */
  takeInterrupts(): number {
    return this.#qtest.read(this.#isr, 1);
  }

  readConfig(offset: number, width: Width): number {
    return this.#qtest.read(this.#config + BigInt(offset), width);
  }

  /** Bits of `value` that do not fit `width` bytes are not written. */
  writeConfig(offset: number, width: Width, value: number): void {
    const field = width === 4 ? value >>> 0 : value & (2 ** (8 * width) - 1);
    this.#qtest.write(this.#config + BigInt(offset), width, field);
  }

  #doorbell(queue: number): bigint {
    const known = this.#doorbells.get(queue);
    if (known !== undefined) return known;
    this.#write(COMMON.queueSelect, 2, queue);
    const offset = this.#read(COMMON.queueNotifyOff, 2) * this.#multiplier;
    const address = this.#notify + BigInt(offset);
    this.#doorbells.set(queue, address);
    return address;
  }

  #read(offset: number, width: Width): number {
    return this.#qtest.read(this.#common + BigInt(offset), width);
  }

  #write(offset: number, width: Width, value: number): void {
    this.#memory.publish();
    this.#qtest.write(this.#common + BigInt(offset), width, value);
    this.#memory.refresh();
  }

  #to(offset: number, width: Width, value: number): QtestWrite {
    return [this.#common + BigInt(offset), width, value];
  }

  #toAddress(offset: number, address: bigint): QtestWrite[] {
    return [
      this.#to(offset, 4, Number(address & 0xffff_ffffn)),
      this.#to(offset + 4, 4, Number(address >> 32n)),
    ];
  }
}

/** A width of configuration accesses. @throws {IommuError} `EINVAL` for others. */
export function accessWidth(width: number): Width {
  if (width === 1 || width === 2 || width === 4) return width;
  throw new IommuError('EINVAL', `A register is never ${width} bytes wide.`);
}
