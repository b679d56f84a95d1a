/** The guest's memory as its programs use it: bytes by address, and pages to put things in. */

import {
  type GuestPhysical,
  IommuError,
  highWord,
  lowWord,
  offsetInPage,
  pageOf,
} from '@viommu/common';
import { SharedMemory, type SharedMemoryOptions } from '@viommu/ring';
import { PageAllocator } from './page-allocator.ts';

/** Guest memory with an allocator over all of it. */
export class GuestRam extends SharedMemory {
  /** Which pages are in use. Rings and request buffers of the driver come out of it too. */
  readonly pages: PageAllocator;

  constructor(options: SharedMemoryOptions) {
    super(options);
    this.pages = new PageAllocator(this.base, this.size);
  }

  /** Takes whole pages, cleared. Errors as {@link PageAllocator.allocate}. */
  allocate(bytes: number, alignment?: number): GuestPhysical {
    const address = this.pages.allocate(bytes, alignment);
    this.bytes(address, bytes).fill(0);
    return address;
  }

  /** Gives back what {@link allocate} returned. Errors as {@link PageAllocator.free}. */
  free(address: GuestPhysical): void {
    this.pages.free(address);
  }

  /**
   * The bytes themselves, no copy: what devices write shows, and may show while it is read.
   *
   * @throws {IommuError} `EFAULT` if any of them lies outside memory.
   */
  bytes(address: GuestPhysical, length: number): Uint8Array {
    const page = pageOf(address);
    const position = this.locate(lowWord(page, offsetInPage(address)), highWord(page), length);
    if (position < 0 || length < 0)
      throw new IommuError(
        'EFAULT',
        `The ${length} bytes at 0x${address.toString(16)} are not guest memory.`,
      );
    return new Uint8Array(this.view.buffer, this.view.byteOffset + position, length);
  }
}
