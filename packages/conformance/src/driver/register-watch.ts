/** Watches what a driver does at the registers of virtio-mmio: sections "MMIO Device Register Layout" and "Device Initialization". */

import {
  DeviceStatus,
  IommuConfig,
  IommuFeature,
  MmioRegister,
  VirtioFeature,
  hasFeature,
} from '@viommu/common';
import type { Ledger } from './ledger.ts';
import {
  FOREIGN_FEATURES,
  KNOWN,
  KNOWN_FEATURES,
  LAYOUT,
  OPTIONAL_FIELDS,
  READ_ONLY,
  SHARED_MEMORY,
  WRITE_ONLY,
} from './register-table.ts';

/** What the watcher is told about the device, as it is at the moment of an access. */
export interface RegisterState {
  readonly offered: bigint;
  /** As the driver has written them so far. */
  readonly accepted: bigint;
  /** The status register before the access. */
  readonly status: number;
  readonly queue: number;
  /** Of the queue that is selected. */
  readonly ready: boolean;
  readonly queueSizeMax: number;
  readonly packed: boolean;
}

const R = MmioRegister;
const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK, SUSPEND, FAILED } = DeviceStatus;

export class RegisterWatch {
  readonly #ledger: Ledger;
  /** Accesses since power-up, and writes of the status since the last reset. */
  #accesses = 0;
  #identified = { magic: false, version: false, id: false };
  #steps: number[] = [];
  #selectedForRead = false;
  #selectedForWrite = false;
  #featuresFixed = false;
  #interruptRead = false;
  #generationRead = false;
  #fieldsSinceGeneration = 0;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  read(offset: number, width: number, state: RegisterState): void {
    const { offered } = state;
    const hex = `a read of ${width} bytes at 0x${offset.toString(16)}`;
    this.#any(offset, width, hex, 'read');
    this.#check('mmio.drv.reg.no-read-write-only', !WRITE_ONLY.has(offset), hex);
    if (offset === R.DeviceFeatures)
      this.#check('mmio.drv.reg.features-sel-before-read', this.#selectedForRead, hex);
    if (offset === R.InterruptStatus) this.#interruptRead = true;
    if (offset === R.ConfigGeneration) this.#generation();
    if (offset < R.Config) return;
    const field = offset - R.Config;
    for (const [feature, first, last] of OPTIONAL_FIELDS)
      if (field <= last && field + width - 1 >= first)
        this.#check(
          'basic.drv.config.check-feature-first',
          hasFeature(offered, feature),
          `${hex}, whose feature ${feature} is not offered`,
        );
    if (field < IommuConfig.offset.bypass) this.#fieldsSinceGeneration += 1;
  }

  write(offset: number, width: number, value: number, state: RegisterState): void {
    const hex = `0x${value.toString(16)} is written at 0x${offset.toString(16)}`;
    this.#any(offset, width, hex, 'write');
    this.#check('mmio.drv.reg.no-write-read-only', !READ_ONLY.has(offset), hex);
    this.#check(
      'mmio.drv.init.read-device-id',
      this.#identified.id,
      `${hex} before DeviceID was read`,
    );
    if (offset === R.DeviceFeaturesSel) this.#selectedForRead = true;
    if (offset === R.DriverFeaturesSel) this.#selectedForWrite = true;
    if (offset === R.DriverFeatures) this.#features(value, state, hex);
    if (offset === R.Status) this.#status(value, state, hex);
    if (offset === R.QueueNotify)
      this.#check(
        'basic.drv.init.no-notify-before-driver-ok',
        // As the driver wrote it: a device may lose its status.
        ((this.#steps.at(-1) ?? 0) & DRIVER_OK) !== 0,
        `${hex} with status 0x${(this.#steps.at(-1) ?? 0).toString(16)}`,
      );
    if (offset === R.InterruptACK) {
      this.#check('mmio.drv.reg.ack-defined-only', (value & ~3) === 0, hex);
      this.#check('mmio.drv.irq.read-status', this.#interruptRead, `${hex} and nothing was read`);
    }
    this.#queue(offset, value, state, hex);
    if (offset >= R.Config) this.#config(offset - R.Config, width, value, state, hex);
  }

  #any(offset: number, width: number, hex: string, way: 'read' | 'write'): void {
    this.#accesses += 1;
    const known =
      offset >= R.Config ? offset + width <= R.Config + IommuConfig.size : KNOWN.has(offset);
    this.#check('mmio.drv.reg.known-offsets-only', known, hex);
    this.#check('mmio.drv.init.no-shm-registers', !SHARED_MEMORY.has(offset), hex);
    if (offset < R.Config)
      this.#check(
        'mmio.drv.reg.width-control',
        width === 4 && offset % 4 === 0,
        `${hex}, ${width} bytes wide`,
      );
    else {
      const wide = offset - R.Config < IommuConfig.offset.bypass;
      this.#check(
        'mmio.drv.reg.width-config',
        wide ? width === 4 && offset % 4 === 0 : width === 1,
        `${hex}, ${width} bytes wide`,
      );
    }
    const { magic, version } = this.#identified;
    if (this.#accesses <= 2)
      this.#check(
        'mmio.drv.init.check-magic-version',
        way === 'read' &&
          (offset === R.MagicValue || offset === R.Version) &&
          (offset === R.MagicValue ? !magic : !version),
        `access ${this.#accesses}: ${hex}`,
      );
    if (way === 'write') return;
    if (offset === R.MagicValue) this.#identified.magic = true;
    if (offset === R.Version) this.#identified.version = true;
    if (offset === R.DeviceID) this.#identified.id = true;
  }

  /** Fields between two reads of the generation are bracketed by them. */
  #generation(): void {
    if (this.#generationRead && this.#fieldsSinceGeneration > 0)
      this.#check('basic.drv.config.generation-loop', true, '');
    this.#generationRead = true;
    this.#fieldsSinceGeneration = 0;
  }

  /** To be called at DRIVER_OK: whatever was read of the configuration must have been bracketed by then. */
  #bracketed(): void {
    if (this.#generationRead || this.#fieldsSinceGeneration > 0)
      this.#check(
        'basic.drv.config.generation-loop',
        this.#fieldsSinceGeneration === 0,
        'configuration fields were read and ConfigGeneration was not read afterwards',
      );
  }

  #features(value: number, { offered, accepted }: RegisterState, hex: string): void {
    this.#check('mmio.drv.reg.features-sel-before-write', this.#selectedForWrite, hex);
    this.#check(
      'basic.drv.init.no-new-features-late',
      !this.#featuresFixed,
      `${hex} after FEATURES_OK`,
    );
    const word = BigInt(value >>> 0);
    void word;
    const hexOf = (bits: bigint): string => `0x${bits.toString(16)}`;
    const excess = accepted & ~offered;
    this.#check(
      'basic.drv.features.subset-of-offer',
      excess === 0n,
      `${hexOf(excess)} is accepted and not offered`,
    );
    const unknown = accepted & (~KNOWN_FEATURES | FOREIGN_FEATURES);
    this.#check(
      'basic.drv.features.not-accept-unknown',
      unknown === 0n,
      `${hexOf(unknown)} is accepted, which no driver of this device and transport can know`,
    );
    this.#check(
      'basic.drv.reserved.sr-iov-not-without-cap',
      !hasFeature(accepted, VirtioFeature.SR_IOV),
      'SR_IOV is accepted over virtio-mmio',
    );
  }

  #status(value: number, { status }: RegisterState, hex: string): void {
    const was = this.#steps.at(-1) ?? 0;
    const { check } = { check: this.#check.bind(this) };
    if (value === 0) {
      this.#steps = [0];
      this.#selectedForRead = this.#selectedForWrite = this.#featuresFixed = false;
      this.#generationRead = false;
      this.#fieldsSinceGeneration = 0;
      return;
    }
    check(
      'basic.drv.status.no-clear-bit',
      (was & ~value) === 0,
      `${hex} after 0x${was.toString(16)}`,
    );
    check(
      'basic.drv.suspend.only-when-allowed',
      (value & SUSPEND) === 0,
      `${hex}, and SUSPEND is not negotiated`,
    );
    check(
      'basic.drv.status.failed-then-reset',
      (was & FAILED) === 0 || (value & FAILED) !== 0,
      hex,
    );
    if ((value & FAILED) === 0) {
      const order = [0, ACKNOWLEDGE, ACKNOWLEDGE | DRIVER, 0xb, 0xf];
      const step = order.indexOf(value);
      const before = order.indexOf(was);
      const fine = this.#steps.length > 0 && step >= 0 && (step === before + 1 || step === before);
      for (const clause of [
        'basic.drv.status.stepwise',
        'basic.drv.init.sequence',
        'mmio.drv.init.common-procedure',
      ])
        check(
          clause,
          fine,
          `${hex} after ${this.#steps.length === 0 ? 'no reset' : `0x${was.toString(16)}`}`,
        );
    }
    if ((value & FEATURES_OK) !== 0) this.#featuresFixed = true;
    if ((value & DRIVER_OK) !== 0) {
      this.#bracketed();
      check(
        'basic.drv.init.stop-on-error',
        (status & FEATURES_OK) !== 0 && (was & FAILED) === 0,
        `${hex}, and the device does not show FEATURES_OK`,
      );
    }
    this.#steps.push(value);
  }

  #queue(offset: number, value: number, state: RegisterState, hex: string): void {
    const { ready, queueSizeMax, packed } = state;
    if (LAYOUT.has(offset))
      this.#check(
        'mmio.drv.reg.no-queue-access-when-ready',
        !ready,
        `${hex} of a queue that is live`,
      );
    if (offset === R.QueueSize) {
      const power = value > 0 && (value & (value - 1)) === 0;
      const fine = value > 0 && value <= queueSizeMax && (packed || power);
      this.#check(
        'mmio.drv.reg.queue-size-limit',
        fine,
        `${hex}, and QueueSizeMax is ${queueSizeMax}`,
      );
      if (!packed) this.#check('fact.split.size', power && value <= 32768, hex);
    }
  }

  #config(field: number, width: number, value: number, state: RegisterState, hex: string): void {
    const { bypass } = IommuConfig.offset;
    this.#check(
      'iommu.drv.config.write-only-bypass',
      field === bypass && width === 1,
      `${hex}, ${width} bytes wide: field 0x${field.toString(16)}`,
    );
    this.#check(
      'basic.drv.init.no-config-write-early',
      (state.status & FEATURES_OK) !== 0,
      `${hex} before FEATURES_OK`,
    );
    if (field !== bypass) return;
    this.#check('iommu.drv.config.bypass-write-value', value === 0 || value === 1, hex);
    this.#check(
      'iommu.drv.config.bypass-writable',
      hasFeature(state.accepted, IommuFeature.BYPASS_CONFIG),
      `${hex}, and BYPASS_CONFIG is not negotiated`,
    );
  }

  #check(clause: string, condition: boolean, message: string): void {
    this.#ledger.check(clause, condition, message);
  }
}
