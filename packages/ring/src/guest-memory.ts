/**
 * Guest memory by guest-physical address: what rings, devices and drivers read and write.
 *
 * A guest-physical address is checked once, by `locate`, and is a *position* from then on: a plain number that only the
 * memory that returned it understands. The two halves of an address are unsigned 32-bit numbers, so that no hot path
 * needs a bigint. Everything is little-endian.
 */
export interface GuestMemory {
  /**
   * The bytes themselves, where they are mapped into this process: position p is byte p of the view. Absent where
   * memory can only be reached by calls.
   */
  readonly view: DataView | undefined;

  /** The position of the first of `length` bytes at `high:low`, or -1 if any of them lies outside this memory. */
  locate(low: number, high: number, length: number): number;
  /**
   * As {@link locate}, for what a queue is made of. Only where positions do not last: those of `locate` are good until
   * the next chain is taken, and these until the device is reset.
   */
  locateArea?(low: number, high: number, length: number): number;

  /** Plain accesses, of any alignment. Another thread may see them in any order. */
  getUint8(position: number): number;
  getUint16(position: number): number;
  getUint32(position: number): number;
  setUint8(position: number, value: number): void;
  setUint16(position: number, value: number): void;
  setUint32(position: number, value: number): void;

  /** Reads a ring index: everything the other side wrote before it stored the value is visible after this. Even positions. */
  loadUint16(position: number): number;
  /** Publishes a ring index: everything written before is visible to the other side once it loads the value. Even positions. */
  storeUint16(position: number, value: number): void;

  /** Copies `length` bytes from `position` into `target` at byte `at`. */
  read(position: number, target: Uint8Array, at: number, length: number): void;
  /** Copies `length` bytes from `source` at byte `at` to `position`. */
  write(position: number, source: Uint8Array, at: number, length: number): void;
}
