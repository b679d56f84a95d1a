/**
 * The registers of one virtio-mmio device as bytes in shared memory: section "MMIO Device Register Layout".
 *
 * The device stores whatever a read of a register must return, so that a driver's read is a load. The device never
 * reads the window: a driver can write there too, and harms nobody but itself.
 */

import { IommuError, MMIO_WINDOW_SIZE, MmioRegister } from '@viommu/common';

const { Config } = MmioRegister;

/** A register window at some place of a shared buffer. Both sides have one. */
export class RegisterWindow {
  /** Bytes in the window. */
  readonly size: number;
  readonly #bytes: Uint8Array;
  readonly #halves: Uint16Array;
  readonly #words: Uint32Array;

  /**
   * `offset` and `size` in bytes, multiples of 4; the window has room for the control registers at least.
   *
   * @throws {IommuError} `EINVAL` if it has not, or does not lie in the buffer.
   */
  constructor(buffer: SharedArrayBuffer, offset: number, size: number = MMIO_WINDOW_SIZE) {
    if (offset < 0 || offset % 4 !== 0 || size % 4 !== 0 || size < Config)
      throw new IommuError('EINVAL', `A register window cannot have ${size} bytes at ${offset}.`);
    if (offset + size > buffer.byteLength)
      throw new IommuError('EINVAL', 'The register window does not lie inside its buffer.');
    this.size = size;
    this.#bytes = new Uint8Array(buffer, offset, size);
    this.#halves = new Uint16Array(buffer, offset, size / 2);
    this.#words = new Uint32Array(buffer, offset, size / 4);
  }

  /**
   * A driver's read: control registers in aligned words, the configuration space in naturally aligned units of 1, 2
   * or 4 bytes. Anything else reads 0.
   */
  read(offset: number, width: number): number {
    if (offset < 0 || offset + width > this.size || offset % width !== 0) return 0;
    // Each load pairs with a store of the device: what it stored before is visible after this.
    if (width === 4) return Atomics.load(this.#words, offset / 4);
    if (offset < Config) return 0;
    if (width === 2) return Atomics.load(this.#halves, offset / 2);
    return width === 1 ? Atomics.load(this.#bytes, offset) : 0;
  }

  /** The device shows a register, or an aligned word of the configuration space. */
  store(offset: number, value: number): void {
    // Pairs with the load in `read`.
    Atomics.store(this.#words, offset / 4, value);
  }
}
