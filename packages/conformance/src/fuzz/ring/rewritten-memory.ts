/**
 * Guest memory in which every byte may be another as soon as it was read: what is read twice shows. What was changed so is
 * put back afterwards, and what the reader wrote stays.
 */

import { guestPhysical } from '@viommu/common';
import { SharedMemory } from '@viommu/ring';
import { Deviation } from '../deviation.ts';
import { ObservedMemory } from '../observed-memory.ts';

type Spoil = (position: number, length: number) => void;

export class RewrittenMemory extends ObservedMemory {
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  /** For those who work the other side. */
  readonly raw: DataView<SharedArrayBuffer>;
  readonly view: DataView | undefined;
  /** By byte: what stood there before it was changed, or -1. */
  readonly #before: Int16Array;
  readonly #changed: number[] = [];
  #state = 0;
  #rate = 0;

  constructor(size: number, base: bigint, mapped: boolean) {
    const buffer = new SharedArrayBuffer(size);
    super(new SharedMemory({ buffer, offset: 0, size, base: guestPhysical(base) }));
    this.bytes = new Uint8Array(buffer);
    this.raw = new DataView(buffer);
    this.#before = new Int16Array(size).fill(-1);
    this.view = mapped
      ? new RewrittenView(
          buffer,
          (position, length) => this.afterRead(position, length),
          (position, length) => this.beforeWrite(position, length),
        )
      : undefined;
  }

  /** From now on one read of `rate` changes what was read; 0 is none. */
  begin(seed: number, rate: number): void {
    this.#state = seed;
    this.#rate = rate;
  }

  end(): void {
    this.#rate = 0;
    for (const position of this.#changed) {
      const before = this.#before[position]!; // In memory.
      if (before >= 0) this.bytes[position] = before;
      this.#before[position] = -1;
    }
    this.#changed.length = 0;
  }

  protected override afterRead(position: number, length: number): void {
    this.#check(position, length);
    if (this.#rate === 0) return;
    this.#state = (Math.imul(this.#state, 0x0019_660d) + 0x3c6e_f35f) >>> 0;
    if ((this.#state >>> 16) % this.#rate !== 0) return;
    for (let at = position; at < position + length; at += 1) {
      if (this.#before[at] === -1) {
        this.#before[at] = this.bytes[at]!; // In memory.
        this.#changed.push(at);
      }
      // Now a bit, now a step, now anything.
      this.#state = (Math.imul(this.#state, 0x0019_660d) + 0x3c6e_f35f) >>> 0;
      const some = this.#state >>> 16;
      const byte = this.bytes[at]!; // In memory.
      this.bytes[at] = [byte ^ (1 << (some & 7)), byte + 1, byte - 1, some][(some >>> 8) & 3]!; // One of four.
    }
  }

  protected override beforeWrite(position: number, length: number): void {
    this.#check(position, length);
    for (let at = position; at < position + length; at += 1)
      if (this.#before[at] !== -1) this.#before[at] = -1;
  }

  #check(position: number, length: number): void {
    if (!(position >= 0 && position + length <= this.bytes.length))
      throw new Deviation('memory', 'an access outside memory', `${length} bytes at ${position}`);
  }
}

/** A view whose reads are noticed. */
class RewrittenView extends DataView<SharedArrayBuffer> {
  readonly #reads: Spoil;
  readonly #writes: Spoil;

  constructor(buffer: SharedArrayBuffer, reads: Spoil, writes: Spoil) {
    super(buffer);
    this.#reads = reads;
    this.#writes = writes;
  }

  override getUint8(position: number): number {
    const value = super.getUint8(position);
    this.#reads(position, 1);
    return value;
  }

  override getUint16(position: number, little?: boolean): number {
    const value = super.getUint16(position, little);
    this.#reads(position, 2);
    return value;
  }

  override getUint32(position: number, little?: boolean): number {
    const value = super.getUint32(position, little);
    this.#reads(position, 4);
    return value;
  }

  override getBigUint64(position: number, little?: boolean): bigint {
    const value = super.getBigUint64(position, little);
    this.#reads(position, 8);
    return value;
  }

  override setUint8(position: number, value: number): void {
    this.#writes(position, 1);
    super.setUint8(position, value);
  }

  override setUint16(position: number, value: number, little?: boolean): void {
    this.#writes(position, 2);
    super.setUint16(position, value, little);
  }

  override setUint32(position: number, value: number, little?: boolean): void {
    this.#writes(position, 4);
    super.setUint32(position, value, little);
  }
}
