/**
 * The page of shared memory through which host and guest wake each other. Guest memory does not include it.
 *
 * Its layout is ours, not the standard's. What different threads write lies in different cache lines of 64 bytes.
 */

import { IommuError, PAGE_SIZE, type Struct, assert, struct } from '@viommu/common';
import { Bell } from '@viommu/ring';

const headFields = {
  /** Bumped by everybody who wants the host's attention; the host sleeps on it. */
  hostBell: 'le32',
  /** Not 0 once the host is asked to end. */
  stop: 'le32',
  reserved: 'u8[248]',
} as const;

/** The beginning of the page. */
export const ControlHead: Struct<typeof headFields> = struct('control_head', 256, headFields);

const blockFields = {
  /** The mailbox: number of the last register write posted by the guest. */
  posted: 'le32',
  /** Number of the last register write the device has acted on; the guest sleeps on it. */
  acknowledged: 'le32',
  /** Offset in the window in the lower half, width in bytes in the upper. */
  register: 'le32',
  value: 'le32',
  reservedMailbox: 'u8[48]',
  /** Bumped with each interrupt; the guest sleeps on it. */
  interrupt: 'le32',
  reservedInterrupt: 'u8[60]',
  /** A word for each queue: what the driver wrote to QueueNotify last. */
  doorbells: 'u8[32]',
  reserved: 'u8[96]',
} as const;

/** What each device has in the page, one block behind the other after the head. */
export const ControlBlock: Struct<typeof blockFields> = struct('control_block', 256, blockFields);

/** Bytes in the page. */
export const CONTROL_PAGE_SIZE: number = PAGE_SIZE;
/** Blocks in the page. */
export const CONTROL_BLOCKS_MAX: number = (PAGE_SIZE - ControlHead.size) / ControlBlock.size;
/** Queues that have a doorbell. */
export const DOORBELLS_MAX = 8;

/** The control page at some place of a shared buffer. Every thread has its own view of it. */
export class ControlPage {
  /** The host sleeps on this one. */
  readonly hostBell: Bell;
  readonly #words: Int32Array;

  /** `offset` in bytes, a multiple of 64. @throws {IommuError} `EINVAL` if the page does not lie in the buffer. */
  constructor(buffer: SharedArrayBuffer, offset: number) {
    if (offset < 0 || offset % 64 !== 0 || offset + CONTROL_PAGE_SIZE > buffer.byteLength)
      throw new IommuError('EINVAL', 'The control page does not lie inside its buffer.');
    this.#words = new Int32Array(buffer, offset, CONTROL_PAGE_SIZE / 4);
    this.hostBell = new Bell(this.#words, ControlHead.offset.hostBell / 4);
  }

  /** True once the host is asked to end. */
  get stopped(): boolean {
    return Atomics.load(this.#words, ControlHead.offset.stop / 4) !== 0;
  }

  /** Asks the host to end and wakes it. */
  stop(): void {
    Atomics.store(this.#words, ControlHead.offset.stop / 4, 1);
    this.hostBell.ring();
  }

  /** The words of device number `device`, from 0. @throws {IommuError} `EINVAL` if the page has no such block. */
  block(device: number): Int32Array {
    if (!Number.isInteger(device) || device < 0 || device >= CONTROL_BLOCKS_MAX)
      throw new IommuError('EINVAL', `The control page has no block ${device}.`);
    const at = (ControlHead.size + device * ControlBlock.size) / 4;
    return this.#words.subarray(at, at + ControlBlock.size / 4);
  }

  /** The bell that rings with each interrupt of device number `device`. */
  interruptBell(device: number): Bell {
    return new Bell(this.block(device), ControlBlock.offset.interrupt / 4);
  }

  /** The doorbells of device number `device`. */
  doorbells(device: number): Doorbells {
    return new SharedDoorbells(this.block(device), this.hostBell);
  }
}

/** QueueNotify: how a driver tells a device that a queue has available chains. */
export interface Doorbells {
  /** `data` is what the register is written with: the queue's index, with NOTIFICATION_DATA a position in its upper half. */
  ring(queue: number, data: number): void;
}

class SharedDoorbells implements Doorbells {
  readonly #words: Int32Array;
  readonly #hostBell: Bell;

  constructor(words: Int32Array, hostBell: Bell) {
    this.#words = words;
    this.#hostBell = hostBell;
  }

  ring(queue: number, data: number): void {
    assert(queue < DOORBELLS_MAX, 'every queue has a doorbell');
    // Before the bell, whose load in the host makes it visible.
    Atomics.store(this.#words, ControlBlock.offset.doorbells / 4 + queue, data);
    this.#hostBell.ring();
  }
}
