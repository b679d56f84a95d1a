/**
 * The driver of a disk: section "Block Device", from the driver's side.
 *
 * Requests are submitted one by one, shown to the device by `kick`, and told about by `reap`, each exactly once,
 * whatever happens to the device. Memory is mapped for the time that the device has a request, by operations that were
 * chosen when the device was initialised and are not asked about again.
 */

import { type Context, type ErrorCode, IommuError } from '@viommu/common';
import { type Device, Direction, type DmaOps, ScatterEntry } from '@viommu/iommu';
import type { DriverTransport } from '@viommu/transport';
import { DiskProgress } from './disk-progress.ts';
import type { DiskQueue } from './disk-queue.ts';
import { DiskSession } from './disk-session.ts';
import { DiskWaiter } from './disk-waiter.ts';
import type { BlkDriverOptions, Submitted } from './driver-options.ts';
import { RequestBook } from './request-book.ts';
import { BlkFeature } from './spec/feature.ts';
import { BLK_DEVICE_ID, SECTOR_BYTES } from './spec/identity.ts';
import { BlkRangeFlag, BlkRequestType } from './spec/request.ts';

const { IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES } = BlkRequestType;
const { TO_DEVICE, FROM_DEVICE } = Direction;
const QUEUES_DEFAULT = 1;
const DEPTH_DEFAULT = 64;
const TIMEOUT_MS = 5000;
const NONE = -1;
/** A part of the requests, one in so many, is worth a wait for the IOMMU while the device has the others. */
const TOGETHER = 4;

/** A request that moves data. */
export type Transfer = (typeof BlkRequestType)['IN' | 'OUT'];

/** Drives one disk. */
export class BlkDriver {
  /** How the request ended that {@link reap} returned last; `undefined` is well. */
  error: ErrorCode | undefined = undefined;
  /** Requests told about, and those of them that failed. */
  requests = 0;
  failures = 0;
  readonly #options: BlkDriverOptions;
  readonly #transport: DriverTransport;
  readonly #device: Device;
  readonly #depth: number;
  readonly #book: RequestBook;
  readonly #waiter: DiskWaiter;
  readonly #progress: DiskProgress;
  readonly #pieces: ScatterEntry[] = [];
  #removed = false;

  /**
   * Takes over a disk: negotiates, has DMA operations chosen, sets the queues up and lets it go.
   *
   * @throws {IommuError} `ENODEV` if it is no disk or lacks what the driver needs, `EINVAL` if its configuration makes no
   * sense, `ENOMEM` if there is no memory; the device is reset and marked as failed then, and nothing is kept.
   */
  static probe(options: BlkDriverOptions): BlkDriver {
    const { deviceId } = options.transport;
    if (deviceId !== BLK_DEVICE_ID)
      throw new IommuError('ENODEV', `Device type ${deviceId} is no disk.`);
    return new BlkDriver(options);
  }

  /** Use {@link BlkDriver.probe}. */
  private constructor(options: BlkDriverOptions) {
    const { transport, device, context, clock, pollsMax, idle } = options;
    const { queues = QUEUES_DEFAULT, depth = DEPTH_DEFAULT } = options;
    this.#options = options;
    this.#transport = transport;
    this.#device = device;
    this.#depth = depth;
    this.#book = new RequestBook(queues, depth);
    this.#waiter = new DiskWaiter(transport.interruptBell, clock, pollsMax, idle);
    const session = new DiskSession(options, context, this.#book, depth);
    this.#progress = new DiskProgress(session, this.#book, transport, device, this.#waiter);
  }

  /** Why the device was given up, if it was: everything fails with `EIO` until {@link reset}. */
  get lost(): string | undefined {
    return this.#progress.lost;
  }

  /** The negotiated bits. */
  get features(): bigint {
    return this.#session.features;
  }

  /** The DMA operations in use. */
  get dma(): DmaOps {
    return this.#session.ops;
  }

  /** Sectors of the disk. */
  get capacity(): number {
    return this.#session.capacity;
  }

  /** What the disk calls a block, in bytes. */
  get blockBytes(): number {
    return this.#session.config.blockBytes;
  }

  get readOnly(): boolean {
    return this.#session.readOnly;
  }

  /** Queues in use. */
  get queues(): number {
    return this.#session.queues.length;
  }

  /** The most pieces of a request's data. */
  get segmentsMax(): number {
    return this.#session.segmentsMax;
  }

  /** The most bytes of one piece. */
  get pieceBytesMax(): number {
    return this.#session.pieceBytesMax;
  }

  /** Requests submitted and not yet told about. */
  get outstanding(): number {
    return this.#book.count;
  }

  /** Requests whose memory was left mapped for good, because the device could not be reset. */
  get abandoned(): number {
    return this.#progress.abandoned;
  }

  /** Doorbells rung. */
  get notifications(): number {
    return this.#transport.notifications;
  }

  /** Waits that went to sleep. */
  get sleeps(): number {
    return this.#waiter.sleeps;
  }

  /**
   * Submits an IN or OUT of the `sizeBytes` bytes from `offset` in `page`, guest memory in one piece. Returns its token,
   * or `EIO` if the device is lost, `EBUSY` if there is no room now, `ENOMEM` if the memory cannot be mapped, `EACCES`
   * for an OUT to a disk that is read only, `ERANGE` beyond the end of the disk, `EINVAL` for bytes that are no whole
   * sectors or more than a request can have.
   */
  submit(
    context: Context,
    type: Transfer,
    sector: number,
    page: number,
    offset: number,
    sizeBytes: number,
  ): Submitted {
    const most = this.#session.pieceBytesMax;
    const pieces = this.#pieces;
    let count = 0;
    for (let done = 0; done < sizeBytes; count += 1) {
      if (count === this.segmentsMax) return 'EINVAL';
      if (count === pieces.length) pieces.push(new ScatterEntry());
      const piece = pieces[count]!; // Just made, if it was not there.
      const at = offset + done;
      piece.page = page + (at >>> 12);
      piece.offset = at & 0xfff;
      piece.sizeBytes = Math.min(sizeBytes - done, most);
      done += piece.sizeBytes;
    }
    return this.submitList(context, type, sector, pieces, count);
  }

  /** Likewise, of the first `count` pieces of a list, none of which has more than {@link pieceBytesMax} bytes. */
  submitList(
    context: Context,
    type: Transfer,
    sector: number,
    list: readonly ScatterEntry[],
    count: number,
  ): Submitted {
    const refused = this.#check(type, sector, list, count);
    if (refused !== undefined) return refused;
    const book = this.#book;
    const token = this.#nextToken(context);
    if (token < 0) return 'EBUSY';
    const device = this.#device;
    const { ops } = this.#session;
    const direction = type === IN ? FROM_DEVICE : TO_DEVICE;
    const segments = book.map(token, context, device, ops, list, count, direction);
    if (segments === 0) return 'ENOMEM';
    if (this.#queueOf(token).add(token, type, sector, segments, type === IN)) return token;
    book.unmap(token, context, device, ops);
    ops.finishUnmaps(context, device);
    return 'EBUSY';
  }

  /** Submits a FLUSH: what was written and told about before is safe when this is. `EOPNOTSUPP` without the feature. */
  submitFlush(context: Context): Submitted {
    if (this.lost !== undefined) return 'EIO';
    if (!this.#session.has(BlkFeature.FLUSH)) return 'EOPNOTSUPP';
    const token = this.#nextToken(context);
    return token >= 0 && this.#queueOf(token).addPlain(token, FLUSH) ? token : 'EBUSY';
  }

  /** Submits a DISCARD of `sectors` sectors. Fails as {@link submit}, and with `EOPNOTSUPP` without the feature. */
  submitDiscard(context: Context, sector: number, sectors: number): Submitted {
    const { discardSectorsMax } = this.#session.config;
    return this.#submitRange(context, DISCARD, sector, sectors, discardSectorsMax, 0);
  }

  /** Submits a WRITE_ZEROES, likewise; `mayUnmap` lets the device give up the storage. */
  submitWriteZeroes(
    context: Context,
    sector: number,
    sectors: number,
    mayUnmap: boolean,
  ): Submitted {
    const { writeZeroesSectorsMax } = this.#session.config;
    const flags = mayUnmap ? BlkRangeFlag.UNMAP : 0;
    return this.#submitRange(context, WRITE_ZEROES, sector, sectors, writeZeroesSectorsMax, flags);
  }

  /**
   * Shows the device all requests submitted so far, and tells it if it wants to be told. It waits for the IOMMU once; a
   * request whose memory that refuses ends with `ENOMEM`.
   */
  kick(): void {
    if (this.lost === undefined) this.#session.kick();
  }

  /**
   * The token of a request that has ended, {@link error} saying how; -1 if none has. Its memory is the caller's again.
   *
   * It waits for the IOMMU once for all that have ended by then, the others of which the next calls tell about.
   */
  reap(context: Context): number {
    const book = this.#book;
    let token = book.takeEnded();
    if (token < 0) {
      this.#progress.collect(context);
      token = book.takeEnded();
      if (token < 0) return NONE;
    }
    this.error = this.#count(token);
    return token;
  }

  /**
   * Waits until a request has ended, for at most `timeoutMs`. False if none has, or none is outstanding.
   *
   * It shows the device what was submitted, unless the device has most of the requests, is quick, and so ends one before
   * that: then the next ones are shown together.
   */
  wait(timeoutMs: number): boolean {
    const progress = this.#progress;
    if (this.#session.staged * TOGETHER < this.outstanding && progress.poll()) return true;
    this.kick();
    return progress.ready() || (this.outstanding > 0 && progress.wait(timeoutMs));
  }

  /** Reads into guest memory, and waits for it. Returns what was wrong, or `undefined`. */
  readSync(
    context: Context,
    sector: number,
    page: number,
    offset: number,
    sizeBytes: number,
  ): ErrorCode | undefined {
    return this.#finish(context, this.submit(context, IN, sector, page, offset, sizeBytes));
  }

  /** Writes guest memory, and waits for it. Returns what was wrong, or `undefined`. */
  writeSync(
    context: Context,
    sector: number,
    page: number,
    offset: number,
    sizeBytes: number,
  ): ErrorCode | undefined {
    return this.#finish(context, this.submit(context, OUT, sector, page, offset, sizeBytes));
  }

  /** Flushes, and waits for it. */
  flushSync(context: Context): ErrorCode | undefined {
    return this.#finish(context, this.submitFlush(context));
  }

  /** The disk's name. @throws {IommuError} `EIO` or `EBUSY` if there is no answer, `EOPNOTSUPP` if it has none. */
  readName(context: Context): string {
    let submitted: Submitted = 'EIO';
    if (this.lost === undefined) {
      const token = this.#nextToken(context);
      submitted = token >= 0 && this.#queueOf(token).addName(token, GET_ID) ? token : 'EBUSY';
    }
    const error = this.#finish(context, submitted);
    if (error !== undefined || typeof submitted === 'string')
      throw new IommuError(error ?? 'EIO', 'The disk does not tell its name.');
    return this.#queueOf(submitted).nameOf(submitted);
  }

  /**
   * Resets the device and takes it over anew. Requests that were outstanding end with `EIO`: nobody knows whether they
   * were done.
   *
   * @throws {IommuError} as {@link probe}; the device is lost then, and this can be tried again.
   */
  reset(context: Context): void {
    if (this.#removed) throw new IommuError('ENODEV', 'The disk was removed.');
    this.#progress.lose('it is being reset');
    this.#progress.release(context);
    this.#progress.resume(new DiskSession(this.#options, context, this.#book, this.#depth));
  }

  /** Resets the device and gives all memory back. What was outstanding ends with `EIO` and can still be reaped. */
  remove(context: Context): void {
    if (this.#removed) return;
    this.#progress.lose('the driver was removed');
    this.#progress.release(context);
    this.#removed = true;
  }

  get #session(): DiskSession {
    return this.#progress.session;
  }

  #check(
    type: Transfer,
    sector: number,
    list: readonly ScatterEntry[],
    count: number,
  ): ErrorCode | undefined {
    if (this.lost !== undefined) return 'EIO';
    if (type === OUT && this.readOnly) return 'EACCES';
    if (count < 1 || count > this.segmentsMax) return 'EINVAL';
    const most = this.pieceBytesMax;
    let bytes = 0;
    for (let index = 0; index < count; index += 1) {
      const { sizeBytes } = list[index]!; // Below the count.
      if (!(sizeBytes > 0 && sizeBytes <= most)) return 'EINVAL';
      bytes += sizeBytes;
    }
    if (bytes % SECTOR_BYTES !== 0) return 'EINVAL';
    return this.#checkRange(sector, bytes / SECTOR_BYTES);
  }

  #checkRange(sector: number, sectors: number): ErrorCode | undefined {
    if (!(sector >= 0 && Number.isInteger(sector))) return 'EINVAL';
    return sector + sectors <= this.capacity ? undefined : 'ERANGE';
  }

  #submitRange(
    context: Context,
    type: typeof DISCARD | typeof WRITE_ZEROES,
    sector: number,
    sectors: number,
    sectorsMax: number,
    flags: number,
  ): Submitted {
    if (this.lost !== undefined) return 'EIO';
    const feature = type === DISCARD ? BlkFeature.DISCARD : BlkFeature.WRITE_ZEROES;
    if (!this.#session.has(feature)) return 'EOPNOTSUPP';
    if (this.readOnly) return 'EACCES';
    if (!(Number.isInteger(sectors) && sectors > 0 && sectors <= sectorsMax)) return 'EINVAL';
    const refused = this.#checkRange(sector, sectors);
    if (refused !== undefined) return refused;
    const token = this.#nextToken(context);
    if (token < 0) return 'EBUSY';
    return this.#queueOf(token).addRange(token, type, sector, sectors, flags) ? token : 'EBUSY';
  }

  /** The slot for the next request of a context; -1 if its queue has none. */
  #nextToken({ cpu }: Context): number {
    return this.#book.next(cpu % this.#session.queues.length);
  }

  #queueOf(token: number): DiskQueue {
    return this.#session.queues[Math.floor(token / this.#depth)]!; // Each token belongs to one.
  }

  /** Waits for one request; others that end meanwhile are kept for {@link reap}. */
  #finish(context: Context, submitted: Submitted): ErrorCode | undefined {
    if (typeof submitted === 'string') return submitted;
    const { timeoutMs = TIMEOUT_MS } = this.#options;
    for (;;) {
      this.#progress.collect(context);
      if (this.#book.takeThis(submitted)) return this.#count(submitted);
      if (!this.#progress.wait(timeoutMs))
        this.#progress.lose(`the device made no progress for ${timeoutMs} ms`);
    }
  }

  /** Counts a request that is told about; returns how it ended. */
  #count(token: number): ErrorCode | undefined {
    const error = this.#book.errors[token];
    this.requests += 1;
    if (error !== undefined) this.failures += 1;
    return error;
  }
}
