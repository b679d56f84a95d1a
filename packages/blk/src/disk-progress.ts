/**
 * How requests of a disk end: used by the device, or because it was lost. Each ends once, and its memory is unmapped
 * before anybody is told; one wait is for the memory of all that have ended by then.
 */

import {
  type Context,
  DeviceStatus,
  type ErrorCode,
  InterruptBit,
  IommuError,
  assert,
} from '@viommu/common';
import type { Device } from '@viommu/iommu';
import { Taken } from '@viommu/ring';
import type { DriverTransport } from '@viommu/transport';
import type { DiskQueue } from './disk-queue.ts';
import type { DiskSession } from './disk-session.ts';
import type { DiskWaiter } from './disk-waiter.ts';
import { type RequestBook, RequestState } from './request-book.ts';
import { BlkStatus } from './spec/request.ts';

const { OK, UNSUPP } = BlkStatus;
const BROKEN_RING = Taken.BROKEN;

/** The requests of one driver on their way back. */
export class DiskProgress {
  session: DiskSession;
  /** Why the device was given up, if it was. */
  lost: string | undefined = undefined;
  /** Requests whose memory was left mapped, because the device could not be reset. */
  abandoned = 0;
  readonly #book: RequestBook;
  readonly #transport: DriverTransport;
  readonly #device: Device;
  readonly #waiter: DiskWaiter;
  /** Some context is taking requests back. One that had to wait in there, or another, goes on with them later. */
  #collecting = false;
  /** The device did not reset: it may still use everything it was told about. */
  #stuck = false;
  readonly #acknowledge: () => boolean = () => this.#serveInterrupts();

  constructor(
    session: DiskSession,
    book: RequestBook,
    transport: DriverTransport,
    device: Device,
    waiter: DiskWaiter,
  ) {
    this.session = session;
    this.#book = book;
    this.#transport = transport;
    this.#device = device;
    this.#waiter = waiter;
  }

  /** Takes all requests back that have ended, for the book to tell about: their memory is unmapped. */
  collect(context: Context): void {
    // What another context takes back just now is told about when it is done.
    if (this.#collecting) return;
    this.#collecting = true;
    try {
      if (this.lost === undefined) this.#takeUsed();
      if (this.lost !== undefined) this.#takeLost();
      this.#end(context);
    } finally {
      this.#collecting = false;
    }
  }

  /** True if {@link collect} or the book has one. */
  ready(): boolean {
    if (this.#book.anyEnded) return true;
    if (this.lost !== undefined) return this.#book.count > 0;
    return this.#waiter.ready(this.session.queues);
  }

  /** As {@link ready}, looking for a short while where that pays. */
  poll(): boolean {
    if (this.#book.anyEnded || this.lost !== undefined) return this.ready();
    return this.#waiter.poll(this.session.queues);
  }

  /** Waits, for at most `timeoutMs`, until there is something to take. False if there is nothing. */
  wait(timeoutMs: number): boolean {
    if (this.lost === undefined) {
      this.session.kick();
      // The kick may have found some that end at once.
      if (this.#book.endingCount > 0) return true;
      if (this.#waiter.wait(this.session.queues, timeoutMs, this.#acknowledge)) return true;
    }
    return this.lost !== undefined && this.#book.count > 0;
  }

  /** Gives the device up: it is reset, so that it uses nothing any more, and what it had fails. */
  lose(reason: string): void {
    if (this.lost !== undefined) return;
    this.lost = reason;
    this.#stuck = !this.session.end();
  }

  /** Ends everything that was outstanding, for the book to tell about, and gives the queues' memory back. */
  release(context: Context): void {
    assert(
      !this.#collecting,
      'no context resets a disk inside of another that takes requests back',
    );
    this.collect(context);
    if (!this.#stuck) this.session.free(context);
  }

  /** Goes on with a new session, after {@link release}. */
  resume(session: DiskSession): void {
    this.session = session;
    this.#stuck = false;
    this.lost = undefined;
  }

  /** What the device has used. A ring gives each request back once, and gets no new ones meanwhile. */
  #takeUsed(): void {
    const { queues } = this.session;
    for (let index = 0; index < queues.length; index += 1) {
      const queue = queues[index]!; // Below the length.
      let token = queue.take();
      for (; token >= 0; token = queue.take()) {
        this.#book.errors[token] = this.#errorOf(queue, token);
        this.#book.ending(token);
      }
      if (token === BROKEN_RING) {
        this.lose(queue.ring.fault ?? 'a ring is damaged');
        return;
      }
    }
  }

  /** Unmaps what is mapped for requests that are ending, with one wait for all of it. */
  #end(context: Context): void {
    const book = this.#book;
    const count = book.endingCount;
    if (count === 0) return;
    const { ops } = this.session;
    for (let index = 0; index < count; index += 1) {
      const token = book.endingAt(index);
      if (!this.#stuck) book.unmap(token, context, this.#device, ops);
      else if (book.abandon(token)) this.abandoned += 1;
    }
    if (!this.#stuck) ops.finishUnmaps(context, this.#device);
    book.endedFirst(count);
  }

  #errorOf(queue: DiskQueue, token: number): ErrorCode | undefined {
    const status = queue.status(token);
    if (status === UNSUPP) return 'EOPNOTSUPP';
    // Any other length means that the device does not know what it wrote.
    const written = queue.ring.takenBytes === this.#book.writableBytes[token];
    return status === OK && written ? undefined : 'EIO';
  }

  /** What was in flight when the device was lost. */
  #takeLost(): void {
    const book = this.#book;
    const { states } = book;
    for (let token = 0; token < states.length; token += 1)
      if (states[token] === RequestState.IN_FLIGHT) {
        book.errors[token] = 'EIO';
        book.ending(token);
      }
  }

  /** Sees what the device interrupted for. False if it is lost. */
  #serveInterrupts(): boolean {
    const transport = this.#transport;
    try {
      const events = transport.acknowledgeInterrupts();
      if ((events & InterruptBit.CONFIG_CHANGE) !== 0) this.session.readCapacity();
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      this.lose(`its registers do not make sense (${error.code})`);
      return false;
    }
    if ((transport.status() & DeviceStatus.DEVICE_NEEDS_RESET) !== 0)
      this.lose('the device needs a reset');
    return this.lost === undefined;
  }
}
