/**
 * Where the bytes of a disk are kept.
 *
 * The pieces that a backing gets are guest memory itself, one behind the other the bytes of the access: a file needs one
 * `readv` or `writev`, and nothing is copied twice. They may change while they are read, are the caller's again when the
 * call returns, and must not be kept. The list is used again for the next access, so it must not be kept either.
 *
 * Offsets and sizes are in bytes, multiples of 512, and inside the disk. Calls return false when the storage failed,
 * after which the content of the range is not known; they do not throw.
 */
export interface DiskBacking {
  /** Bytes of the disk: a multiple of 512, at most 2^53 - 512. It stays the same. */
  readonly sizeBytes: number;
  /** Fills all pieces, `sizeBytes` bytes together, with what is stored from `offset` on. */
  read(offset: number, pieces: readonly Uint8Array[], sizeBytes: number): boolean;
  /** Stores what the pieces hold. It may get lost in a crash until the next {@link flush}. */
  write(offset: number, pieces: readonly Uint8Array[], sizeBytes: number): boolean;
  /** Makes everything written before safe from a crash. */
  flush(): boolean;
  /** Nobody needs these bytes any more; what a read finds there afterwards does not matter. */
  discard(offset: number, sizeBytes: number): boolean;
  /** Makes reads find zeros there; `mayUnmap` allows to give the storage up. */
  writeZeroes(offset: number, sizeBytes: number, mayUnmap: boolean): boolean;
}
