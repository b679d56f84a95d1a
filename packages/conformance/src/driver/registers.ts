/** The register window of a scripted device: virtio-mmio version 2, with whatever a script changes about it. */

import {
  DeviceStatus,
  IOMMU_DEVICE_ID,
  IommuConfig,
  MMIO_MAGIC,
  MMIO_VERSION,
  MmioRegister,
  VirtioFeature,
  guestPhysical,
  hasFeature,
} from '@viommu/common';
import type { QueueLayout } from '@viommu/ring';
import { type TargetRegisters, TargetFailure } from '../target.ts';
import type { Ledger } from './ledger.ts';
import { DEFAULT_CONFIG, type RegisterScript } from './register-script.ts';
import { RegisterWatch } from './register-watch.ts';

/** One access of the driver's. */
export interface RegisterAccess {
  readonly way: 'read' | 'write';
  readonly offset: number;
  readonly width: number;
  readonly value: number;
}

/** What is behind the registers. */
export interface RegisterHooks {
  /** Status was written 0. */
  reset(): void;
  /** QueueReady was written 1. */
  enable(queue: number, layout: QueueLayout): void;
  /** A queue ends: QueueReady 0 or QueueReset. */
  disable(queue: number): void;
  notify(queue: number, data: number): void;
}

const R = MmioRegister;
const { FEATURES_OK, DRIVER_OK } = DeviceStatus;
/** A driver that accesses registers so often within one action will do so forever. */
const ACCESSES_MAX = 500_000;
const LOG_MAX = 20_000;

interface QueueRegisters {
  size: number;
  ready: boolean;
  resetReads: number;
  readonly areas: [number, number, number, number, number, number];
}

const AREAS = [
  R.QueueDescLow,
  R.QueueDescHigh,
  R.QueueDriverLow,
  R.QueueDriverHigh,
  R.QueueDeviceLow,
  R.QueueDeviceHigh,
] as const;

export class ScriptedRegisters implements TargetRegisters {
  readonly log: RegisterAccess[] = [];
  /** Changes what the driver reads. */
  bend: (offset: number, value: number) => number = (_, value) => value;
  offered: bigint;
  accepted = 0n;
  status = 0;
  interruptStatus = 0;
  generation = 0;
  readonly config: DataView;
  readonly #script: RegisterScript;
  readonly #hooks: RegisterHooks;
  readonly #watch: RegisterWatch;
  readonly #queues: QueueRegisters[];
  #queue = 0;
  #offerWord = 0;
  #acceptWord = 0;
  #slowStatus: { reads: number; shown: number } | undefined;
  #accesses = 0;

  constructor(offered: bigint, script: RegisterScript, ledger: Ledger, hooks: RegisterHooks) {
    this.offered = offered;
    this.#script = script;
    this.#hooks = hooks;
    this.#watch = new RegisterWatch(ledger);
    const bytes = new Uint8Array(script.configBytes ?? IommuConfig.size).fill(0xff);
    bytes.set(IommuConfig.encode({ ...DEFAULT_CONFIG, ...script.config }));
    this.config = new DataView(bytes.buffer);
    this.#queues = (script.queueSizes ?? [64, 16]).map(() => emptyQueue());
  }

  /** Starts counting anew: every action may access registers often, but not forever. */
  begin(): void {
    this.#accesses = 0;
  }

  read(offset: number, width: number): number {
    this.#count();
    this.#watch.read(offset, width, this.#state());
    const value = this.bend(offset, this.#read(offset, width)) >>> 0;
    this.#note({ way: 'read', offset, width, value });
    return value;
  }

  write(offset: number, width: number, value: number): void {
    this.#count();
    const state = this.#state();
    const accepted = offset === R.DriverFeatures ? this.#withWord(value) : this.accepted;
    this.#watch.write(offset, width, value >>> 0, { ...state, accepted });
    this.#note({ way: 'write', offset, width, value: value >>> 0 });
    this.accepted = accepted;
    this.#write(offset, width, value >>> 0);
  }

  /** Everything written to a register, in order. */
  written(offset: number): number[] {
    return this.log.flatMap((one) =>
      one.way === 'write' && one.offset === offset ? [one.value] : [],
    );
  }

  reads(offset: number): number {
    return this.log.filter((one) => one.way === 'read' && one.offset === offset).length;
  }

  #read(offset: number, width: number): number {
    const queue = this.#queues[this.#queue];
    switch (offset) {
      case R.MagicValue:
        return this.#script.magic ?? MMIO_MAGIC;
      case R.Version:
        return this.#script.version ?? MMIO_VERSION;
      case R.DeviceID:
        return this.#script.deviceId ?? IOMMU_DEVICE_ID;
      case R.DeviceFeatures:
        return this.#offerWord > 3
          ? 0
          : Number((this.offered >> BigInt(32 * this.#offerWord)) & 0xffff_ffffn);
      case R.QueueSizeMax:
        return (
          this.#script.queueSizes?.[this.#queue] ??
          (queue === undefined ? 0 : this.#queue === 0 ? 64 : 16)
        );
      case R.QueueReady:
        return queue?.ready === true ? 1 : 0;
      case R.QueueReset:
        if (queue === undefined || queue.resetReads === 0) return 0;
        queue.resetReads -= 1;
        return 1;
      case R.InterruptStatus:
        return this.interruptStatus;
      case R.Status:
        return this.#readStatus();
      case R.ConfigGeneration:
        return this.generation;
      case R.SHMLenLow:
      case R.SHMLenHigh:
      case R.SHMBaseLow:
      case R.SHMBaseHigh:
        return 0xffff_ffff;
      default:
        return offset >= R.Config ? this.#readConfig(offset - R.Config, width) : 0;
    }
  }

  #readStatus(): number {
    const slow = this.#slowStatus;
    if (slow === undefined) return this.status;
    slow.reads -= 1;
    if (slow.reads <= 0) this.#slowStatus = undefined;
    return slow.shown;
  }

  #readConfig(field: number, width: number): number {
    if (field + width > this.config.byteLength) return 0;
    if (width === 1) return this.config.getUint8(field);
    return width === 2 ? this.config.getUint16(field, true) : this.config.getUint32(field, true);
  }

  #write(offset: number, width: number, value: number): void {
    const queue = this.#queues[this.#queue];
    const area = AREAS.findIndex((register) => register === offset);
    if (queue !== undefined && area >= 0 && !queue.ready) queue.areas[area] = value;
    switch (offset) {
      case R.DeviceFeaturesSel:
        this.#offerWord = value;
        break;
      case R.DriverFeaturesSel:
        this.#acceptWord = value;
        break;
      case R.QueueSel:
        this.#queue = value;
        break;
      case R.QueueSize:
        if (queue !== undefined && !queue.ready) queue.size = value;
        break;
      case R.QueueReady:
        if (queue !== undefined) this.#ready(queue, value);
        break;
      case R.QueueReset:
        if (queue === undefined || value !== 1) break;
        queue.resetReads = this.#script.slowReads ?? 0;
        queue.ready = false;
        this.#hooks.disable(this.#queue);
        break;
      case R.QueueNotify:
        this.#hooks.notify(value & 0xffff, value);
        break;
      case R.InterruptACK:
        this.interruptStatus &= ~value;
        break;
      case R.Status:
        this.#writeStatus(value);
        break;
      default:
        if (offset === R.Config + IommuConfig.offset.bypass && width === 1)
          this.config.setUint8(IommuConfig.offset.bypass, value & 0xff);
    }
  }

  #ready(queue: QueueRegisters, value: number): void {
    if (value === 0) {
      if (queue.ready) this.#hooks.disable(this.#queue);
      queue.ready = false;
      return;
    }
    if (queue.ready || queue.size === 0) return;
    const at = (low: number): ReturnType<typeof guestPhysical> =>
      guestPhysical((BigInt(queue.areas[low + 1] ?? 0) << 32n) | BigInt(queue.areas[low] ?? 0));
    queue.ready = true;
    this.#hooks.enable(this.#queue, {
      size: queue.size,
      descriptorArea: at(0),
      driverArea: at(2),
      deviceArea: at(4),
    });
  }

  #writeStatus(value: number): void {
    if (value !== 0) {
      const kept = this.#script.refuseFeatures === true ? value & ~FEATURES_OK : value;
      this.status = kept | (this.status & DeviceStatus.DEVICE_NEEDS_RESET);
      if ((value & DRIVER_OK) !== 0) this.#hooks.notify(-1, 0);
      return;
    }
    const { slowReads = 0 } = this.#script;
    if (slowReads > 0 && this.status !== 0)
      this.#slowStatus = { reads: slowReads, shown: this.status };
    this.status = this.interruptStatus = 0;
    this.accepted = 0n;
    for (const index of this.#queues.keys()) this.#queues[index] = emptyQueue();
    this.#hooks.reset();
  }

  #withWord(value: number): bigint {
    if (this.#acceptWord > 3) return this.accepted;
    const shift = BigInt(32 * this.#acceptWord);
    return (this.accepted & ~(0xffff_ffffn << shift)) | (BigInt(value >>> 0) << shift);
  }

  #state(): Parameters<RegisterWatch['read']>[2] {
    const queue = this.#queues[this.#queue];
    return {
      offered: this.offered,
      accepted: this.accepted,
      status: this.status,
      queue: this.#queue,
      ready: queue?.ready === true,
      queueSizeMax: this.#script.queueSizes?.[this.#queue] ?? (this.#queue === 0 ? 64 : 16),
      packed: hasFeature(this.accepted, VirtioFeature.RING_PACKED),
    };
  }

  #note(access: RegisterAccess): void {
    if (this.log.length < LOG_MAX) this.log.push(access);
  }

  #count(): void {
    this.#accesses += 1;
    if (this.#accesses > ACCESSES_MAX)
      throw new TargetFailure('hang', 'the driver accesses registers without end');
  }
}

function emptyQueue(): QueueRegisters {
  return { size: 0, ready: false, resetReads: 0, areas: [0, 0, 0, 0, 0, 0] };
}
