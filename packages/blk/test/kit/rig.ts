/** A machine of one thread around a disk: memory, registers, and whatever end a test does not play itself. */

import type { Context } from '@viommu/common';
import {
  BlkDevice,
  type BlkDeviceOptions,
  BlkDriver,
  type BlkDriverOptions,
  MemoryBacking,
} from '@viommu/blk';
import { Device, type DmaOps, VirtioDma } from '@viommu/iommu';
import { type GuestMemory, TranslatedMemory } from '@viommu/ring';
import {
  ControlPage,
  DirectPort,
  MmioDevice,
  MmioTransport,
  RegisterWindow,
  type VirtioDevice,
} from '@viommu/transport';
import { GuestPages } from './guest-pages.ts';
import { PhysicalDma } from './physical-dma.ts';
import { ScriptedDma } from './scripted-dma.ts';

const RAM_AT = 8192;
const RAM_BYTES = 4 << 20;
export const CONTEXT: Context = { cpu: 0 };

export interface RigOptions {
  readonly device?: Partial<BlkDeviceOptions>;
  /** Sectors of the disk. */
  readonly sectors?: number;
  /** The device reaches memory through a translator; default true. */
  readonly translated?: boolean;
  /** It does not work without. */
  readonly insists?: boolean;
  /** The guest's memory, and what the transport gets, if a test makes its own. */
  readonly guest?: GuestPages;
  readonly memory?: GuestMemory;
  /** A device of the test's own, in place of the disk. */
  readonly virtio?: VirtioDevice;
}

export class TestClock {
  nowMs = 0;
  now(): number {
    return this.nowMs;
  }
}

export class Rig {
  readonly guest: GuestPages;
  readonly dma: ScriptedDma;
  readonly backing: MemoryBacking;
  readonly device: BlkDevice;
  readonly mmio: MmioDevice;
  readonly transport: MmioTransport;
  readonly port: DirectPort;
  readonly window: RegisterWindow;
  readonly translated: TranslatedMemory | undefined;
  readonly clock: TestClock = new TestClock();
  readonly parent: Device = new Device({ name: 'disk', bus: 'platform' });

  constructor(options: RigOptions = {}) {
    const { device = {}, sectors = 2048, translated = true, insists = false } = options;
    const buffer = new SharedArrayBuffer(RAM_AT + RAM_BYTES);
    const control = new ControlPage(buffer, 0);
    this.window = new RegisterWindow(buffer, 4096);
    this.guest = options.guest ?? new GuestPages(buffer, RAM_AT, RAM_BYTES);
    this.dma = new ScriptedDma(this.guest);
    const { memory } = this.guest;
    this.translated = translated
      ? new TranslatedMemory({ memory, translator: this.dma })
      : undefined;
    this.backing = new MemoryBacking(new Uint8Array(sectors * 512));
    this.device = new BlkDevice({
      backing: this.backing,
      ...(this.translated !== undefined && {
        access: { memory: this.translated, platform: this.dma, insists },
      }),
      ...device,
    });
    const interruptBell = control.interruptBell(0);
    this.mmio = new MmioDevice({
      window: this.window,
      interruptBell,
      memory: options.memory ?? this.translated ?? memory,
      device: options.virtio ?? this.device,
    });
    this.port = new DirectPort(this.window, this.mmio);
    const doorbells = control.doorbells(0);
    this.transport = new MmioTransport({ port: this.port, doorbells, interruptBell });
  }

  /** A driver that lets the device work while it waits. */
  driver(options: Partial<BlkDriverOptions> = {}, ops: DmaOps = this.dma): BlkDriver {
    return this.sleepingDriver({ idle: () => this.step(), ...options }, ops);
  }

  /** A driver that sleeps on the bell, as with a device in another thread. */
  sleepingDriver(options: Partial<BlkDriverOptions> = {}, ops: DmaOps = this.dma): BlkDriver {
    return BlkDriver.probe({
      transport: this.transport,
      memory: this.guest.memory,
      device: this.parent,
      dma: this.choice(ops),
      context: CONTEXT,
      clock: this.clock,
      ...options,
    });
  }

  choice(ops: DmaOps = this.dma): VirtioDma {
    this.parent.dmaOps = ops;
    return new VirtioDma({ physical: new PhysicalDma(this.guest), direct: ops });
  }

  /** Lets the device do what there is to do, and some time pass. */
  step(): void {
    this.clock.nowMs += 1;
    for (let steps = 0; steps < 10_000 && this.mmio.serve(); steps += 1);
  }

  /** Takes pages and fills them with bytes that a seed decides. */
  fill(pages: number, seed: number): number {
    const page = this.guest.take(pages);
    const bytes = this.guest.at(page, 0, pages * 4096);
    fillBytes(bytes, seed);
    return page;
  }
}

/** Bytes that are different for each seed. */
export function fillBytes(bytes: Uint8Array, seed: number): void {
  let state = (seed * 0x9e37_79b1) | 1;
  for (let index = 0; index < bytes.length; index += 1) {
    state = Math.imul(state ^ (state >>> 13), 0x5bd1_e995) + index;
    bytes[index] = state >>> 24;
  }
}

/** A checksum that notices every swap. */
export function checksum(bytes: Uint8Array): number {
  let hash = 0x811c_9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x0100_0193);
  return hash >>> 0;
}
