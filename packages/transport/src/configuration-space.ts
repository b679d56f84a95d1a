/**
 * The device's configuration space as it shows in the register window: section "Device Configuration Space".
 *
 * Reads are loads from the window, so the generation must protect a reader that is interrupted by a change. It is
 * bumped before the bytes change and again after. A driver reads the generation, writes any register, reads the fields
 * and reads the generation again: the write is answered between two changes, so a change that was under way at the
 * first read shows as the second bump, and one that began later as the first bump. (A driver that leaves out the write
 * can be misled only if all its reads fall into one change of a few stores.) Words are stored whole, so that no field
 * of up to 32 bits is ever seen half old and half new.
 */

import { IommuError, MmioRegister, assert } from '@viommu/common';
import type { RegisterWindow } from './register-window.ts';
import type { VirtioDevice } from './virtio-device.ts';

/** The device's end of its configuration space. */
export class ConfigurationSpace {
  readonly #window: RegisterWindow;
  readonly #device: Pick<VirtioDevice, 'config'>;
  /** What the window shows, filled up with zeros to whole words. */
  readonly #shown: Uint8Array;
  readonly #words: Uint32Array;
  /** Bytes in the configuration space. */
  readonly size: number;
  #generation = 0;

  /** Shows the bytes of `device`. @throws {IommuError} `EINVAL` if the window is too small for them. */
  constructor(window: RegisterWindow, device: Pick<VirtioDevice, 'config'>) {
    this.size = device.config.length;
    if (MmioRegister.Config + this.size > window.size)
      throw new IommuError(
        'EINVAL',
        `The window has no room for ${this.size} configuration bytes.`,
      );
    this.#window = window;
    this.#device = device;
    this.#words = new Uint32Array(Math.ceil(this.size / 4));
    this.#shown = new Uint8Array(this.#words.buffer);
    this.show();
  }

  /** Changes with every change that the driver did not make. */
  get generation(): number {
    return this.#generation;
  }

  /** Shows the bytes of a device that was restored, under the generation that the driver knows. */
  restore(generation: number): void {
    this.show();
    this.#generation = generation;
    this.#window.store(MmioRegister.ConfigGeneration, generation);
  }

  /** Shows the bytes after the driver's own write of a single field, which no reader can see in parts. */
  show(): void {
    const { config } = this.#device;
    assert(config.length === this.size, 'the size of a configuration space is fixed');
    this.#shown.set(config);
    for (const [index, word] of this.#words.entries())
      this.#window.store(MmioRegister.Config + 4 * index, word);
  }

  /** Shows the bytes after a change by the device. The generation stays if nothing is different. */
  update(): void {
    if (this.#device.config.every((byte, at) => byte === this.#shown[at])) return;
    this.#bump();
    this.show();
    this.#bump();
  }

  #bump(): void {
    this.#generation = (this.#generation + 1) >>> 0;
    this.#window.store(MmioRegister.ConfigGeneration, this.#generation);
  }
}
