/**
 * How requests of a disk end: used by the device, or because it was lost. Each ends once, and its memory is unmapped
 * before anybody is told.
 */

import {
  type Context,
  DeviceStatus,
  type ErrorCode,
  InterruptBit,
  IommuError,
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
const NONE = -1;

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
  /** The queue that is looked at next. */
  #nextQueue = 0;
  /** The request whose end is under way; a context that had to wait in there goes on with it. */
  #ending: number = NONE;
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

  /** The next request that has ended, its memory unmapped; -1 if there is none. */
  take(context: Context): number {
    let token = this.#ending;
    if (token < 0) {
      token = this.lost === undefined ? this.#takeUsed() : this.#takeLost();
      if (token < 0) return NONE;
      this.#ending = token;
    }
    if (!this.#stuck) this.#book.unmap(token, context, this.#device, this.session.ops);
    else if (this.#book.abandon(token)) this.abandoned += 1;
    this.#ending = NONE;
    return token;
  }

  /** True if {@link take} or the book has one. */
  ready(): boolean {
    if (this.#book.anyEnded || this.#ending >= 0) return true;
    if (this.lost !== undefined) return this.#book.count > 0;
    return this.#waiter.ready(this.session.queues);
  }

  /** Waits, for at most `timeoutMs`, until there is something to take. False if there is nothing. */
  wait(timeoutMs: number): boolean {
    if (this.lost === undefined) {
      this.session.kick();
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
    for (let token = this.take(context); token >= 0; token = this.take(context))
      this.#book.ended(token);
    if (!this.#stuck) this.session.free(context);
  }

  /** Goes on with a new session, after {@link release}. */
  resume(session: DiskSession): void {
    this.session = session;
    this.#stuck = false;
    this.lost = undefined;
  }

  /** The next request that the device has used. */
  #takeUsed(): number {
    const { queues } = this.session;
    for (let looks = 0; looks < queues.length; looks += 1) {
      if (this.#nextQueue >= queues.length) this.#nextQueue = 0;
      const queue = queues[this.#nextQueue]!; // Below the length.
      const token = queue.ring.take();
      if (token >= 0) {
        this.#book.errors[token] = this.#errorOf(queue, token);
        return token;
      }
      if (token === BROKEN_RING) {
        this.lose(queue.ring.fault ?? 'a ring is damaged');
        return this.#takeLost();
      }
      this.#nextQueue += 1;
    }
    return NONE;
  }

  #errorOf(queue: DiskQueue, token: number): ErrorCode | undefined {
    const status = queue.status(token);
    if (status === UNSUPP) return 'EOPNOTSUPP';
    // Any other length means that the device does not know what it wrote.
    const written = queue.ring.takenBytes === this.#book.writableBytes[token];
    return status === OK && written ? undefined : 'EIO';
  }

  /** The next request that was in flight when the device was lost. */
  #takeLost(): number {
    const token = this.#book.states.indexOf(RequestState.IN_FLIGHT);
    if (token >= 0) this.#book.errors[token] = 'EIO';
    return token;
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
