/**
 * A device behind a virtio-mmio register window as a target: all that is common to a device in this thread and one in
 * another, or in a machine whose registers can be reached.
 */

import { InterruptBit, MmioRegister } from '@viommu/common';
import type { QueueLayout } from '@viommu/ring';
import type { TargetInterrupts, TargetRegisters } from '../target.ts';

const FEATURE_WORDS = [0, 1] as const;
/** Reads of a register that a device takes its time to change. */
const READS_MAX = 100_000;

/** The methods of a target that work by registers. */
export class MmioRegisters {
  readonly registers: TargetRegisters;

  constructor(registers: TargetRegisters) {
    this.registers = registers;
  }

  readStatus(): number {
    return this.#read(MmioRegister.Status);
  }

  writeStatus(value: number): void {
    this.#write(MmioRegister.Status, value);
    if (value === 0) this.#awaitZero(MmioRegister.Status);
  }

  readFeatures(): bigint {
    return FEATURE_WORDS.reduce((features, word) => {
      this.#write(MmioRegister.DeviceFeaturesSel, word);
      return features | (BigInt(this.#read(MmioRegister.DeviceFeatures)) << BigInt(32 * word));
    }, 0n);
  }

  writeFeatures(features: bigint): void {
    for (const word of FEATURE_WORDS) {
      this.#write(MmioRegister.DriverFeaturesSel, word);
      this.#write(MmioRegister.DriverFeatures, wordOf(features, word));
    }
  }

  readConfig(offset: number, width: number): number {
    return this.registers.read(MmioRegister.Config + offset, width);
  }

  writeConfig(offset: number, width: number, value: number): void {
    this.registers.write(MmioRegister.Config + offset, width, value);
  }

  readGeneration(): number {
    return this.#read(MmioRegister.ConfigGeneration);
  }

  queueSizeMax(queue: number): number {
    this.#write(MmioRegister.QueueSel, queue);
    return this.#read(MmioRegister.QueueSizeMax);
  }

  enableQueue(queue: number, layout: QueueLayout): void {
    this.#write(MmioRegister.QueueSel, queue);
    this.#write(MmioRegister.QueueSize, layout.size);
    this.#write(MmioRegister.QueueDescLow, wordOf(layout.descriptorArea, 0));
    this.#write(MmioRegister.QueueDescHigh, wordOf(layout.descriptorArea, 1));
    this.#write(MmioRegister.QueueDriverLow, wordOf(layout.driverArea, 0));
    this.#write(MmioRegister.QueueDriverHigh, wordOf(layout.driverArea, 1));
    this.#write(MmioRegister.QueueDeviceLow, wordOf(layout.deviceArea, 0));
    this.#write(MmioRegister.QueueDeviceHigh, wordOf(layout.deviceArea, 1));
    this.#write(MmioRegister.QueueReady, 1);
  }

  resetQueue(queue: number): void {
    this.#write(MmioRegister.QueueSel, queue);
    this.#write(MmioRegister.QueueReset, 1);
    this.#awaitZero(MmioRegister.QueueReset);
  }

  /** What InterruptStatus has, acknowledged. It counts no more than one of each. */
  takeInterrupts(): TargetInterrupts {
    const bits = this.#read(MmioRegister.InterruptStatus);
    if (bits !== 0) this.#write(MmioRegister.InterruptACK, bits);
    return {
      used: (bits & InterruptBit.USED_BUFFER) === 0 ? 0 : 1,
      config: (bits & InterruptBit.CONFIG_CHANGE) === 0 ? 0 : 1,
    };
  }

  #read(register: number): number {
    return this.registers.read(register, 4);
  }

  #write(register: number, value: number): void {
    this.registers.write(register, 4, value);
  }

  #awaitZero(register: number): void {
    for (let reads = 0; reads < READS_MAX && this.#read(register) !== 0; reads += 1);
  }
}

function wordOf(value: bigint, word: number): number {
  return Number((value >> BigInt(32 * word)) & 0xffff_ffffn);
}
