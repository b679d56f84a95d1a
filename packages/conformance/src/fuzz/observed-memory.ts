/** Guest memory each access to which is looked at, whoever looks. */

import type { GuestMemory } from '@viommu/ring';

export abstract class ObservedMemory implements GuestMemory {
  abstract readonly view: DataView | undefined;
  readonly #memory: GuestMemory;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  locate(low: number, high: number, length: number): number {
    return this.#memory.locate(low, high, length);
  }

  getUint8(position: number): number {
    this.beforeRead(position, 1);
    const value = this.#memory.getUint8(position);
    this.afterRead(position, 1);
    return value;
  }

  getUint16(position: number): number {
    this.beforeRead(position, 2);
    const value = this.#memory.getUint16(position);
    this.afterRead(position, 2);
    return value;
  }

  getUint32(position: number): number {
    this.beforeRead(position, 4);
    const value = this.#memory.getUint32(position);
    this.afterRead(position, 4);
    return value;
  }

  setUint8(position: number, value: number): void {
    this.beforeWrite(position, 1);
    this.#memory.setUint8(position, value);
  }

  setUint16(position: number, value: number): void {
    this.beforeWrite(position, 2);
    this.#memory.setUint16(position, value);
  }

  setUint32(position: number, value: number): void {
    this.beforeWrite(position, 4);
    this.#memory.setUint32(position, value);
  }

  loadUint16(position: number): number {
    this.beforeIndex(position);
    this.beforeRead(position, 2);
    const value = this.#memory.loadUint16(position);
    this.afterRead(position, 2);
    return value;
  }

  storeUint16(position: number, value: number): void {
    this.beforeIndex(position);
    this.beforeWrite(position, 2);
    this.#memory.storeUint16(position, value);
  }

  read(position: number, target: Uint8Array, at: number, length: number): void {
    this.beforeRead(position, length);
    this.#memory.read(position, target, at, length);
    this.afterRead(position, length);
  }

  write(position: number, source: Uint8Array, at: number, length: number): void {
    this.beforeWrite(position, length);
    this.#memory.write(position, source, at, length);
  }

  protected abstract beforeWrite(position: number, length: number): void;

  protected beforeRead(_position: number, _length: number): void {}

  protected afterRead(_position: number, _length: number): void {}

  /** An access in one piece follows. */
  protected beforeIndex(_position: number): void {}
}
