/** Guest memory as the model sees it: bytes from an address on. */

export class Memory {
  readonly base: bigint;
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(base: bigint, bytes: Uint8Array) {
    this.base = base;
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** A copy of `length` bytes. @throws {RangeError} if they are not all in memory. */
  read(address: bigint, length: number): Uint8Array {
    const at = this.#at(address, length);
    return this.bytes.slice(at, at + length);
  }

  /** @throws {RangeError} if the bytes do not all go into memory. */
  write(address: bigint, bytes: Uint8Array): void {
    this.bytes.set(bytes, this.#at(address, bytes.length));
  }

  read16(address: bigint): number {
    const at = this.#at(address, 2);
    return this.#view.getUint16(at, true);
  }

  write16(address: bigint, value: number): void {
    const at = this.#at(address, 2);
    this.#view.setUint16(at, value, true);
  }

  #at(address: bigint, length: number): number {
    const at = address - this.base;
    if (at < 0n || at + BigInt(length) > BigInt(this.bytes.length))
      throw new RangeError(`There are no ${length} bytes of memory at 0x${address.toString(16)}.`);
    return Number(at);
  }
}
