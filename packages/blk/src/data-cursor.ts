/** A walk over the data of a request, which may lie in any number of buffers, cut anywhere. */

import type { Access, Chain, ViewList } from '@viommu/ring';
import type { DataMemory } from './data-memory.ts';

/** Made once and used for request after request. */
export class DataCursor {
  /** Buffers that have a part of the data, and the most bytes of it that one of them has. */
  segments = 0;
  segmentBytesMax = 0;
  #chain: Chain | undefined = undefined;
  /** The buffer that the next byte is in, and how far. */
  #index = 0;
  #offset = 0;

  /** Goes to byte `skip` of the readable or the writable part; the data are the `length` bytes from there. */
  begin(chain: Chain, writable: boolean, skip: number, length: number): void {
    this.#chain = chain;
    let index = writable ? chain.readableCount : 0;
    const count = writable ? chain.count : chain.readableCount;
    let offset = skip;
    while (index < count && offset >= chain.length(index)) {
      offset -= chain.length(index);
      index += 1;
    }
    this.#index = index;
    this.#offset = offset;
    this.segments = 0;
    this.segmentBytesMax = 0;
    for (let left = length; left > 0; index += 1) {
      const bytes = Math.min(left, chain.length(index) - offset);
      this.segments += 1;
      if (bytes > this.segmentBytesMax) this.segmentBytesMax = bytes;
      left -= bytes;
      offset = 0;
    }
  }

  /** Adds the memory of the next `bytes` bytes, which are there, to `into`. False if an access to one is refused. */
  take(bytes: number, memory: DataMemory, access: Access, into: ViewList): boolean {
    const chain = this.#chain;
    if (chain === undefined) return false;
    let left = bytes;
    while (left > 0) {
      const room = chain.length(this.#index) - this.#offset;
      const piece = Math.min(left, room);
      if (!memory.pieces(chain.position(this.#index) + this.#offset, piece, access, into))
        return false;
      left -= piece;
      this.#offset += piece;
      if (piece === room) {
        this.#index += 1;
        this.#offset = 0;
      }
    }
    return true;
  }
}
