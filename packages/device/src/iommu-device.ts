/**
 * The virtio-iommu device: two queues and a configuration space around an {@link Iommu}.
 *
 * A request is read out of guest memory, byte by byte once, and done (`handle`), and the status goes back with the exact
 * number of bytes written. Requests are handled and given back strictly in order (9.1).
 */

import {
  FULL_RANGE,
  IOMMU_DEVICE_ID,
  ImageReader,
  type ImageType,
  ImageWriter,
  IommuConfig,
  IommuError,
  IommuFeature,
  IommuQueue,
  QUEUE_SIZE_MAX,
  RequestHead,
  RequestTail,
  Status,
  type Struct,
  VirtioFeature,
  checkSaved,
  hasFeature,
  struct,
} from '@viommu/common';
import { Chain, type ChainHandler, type DeviceQueue, type GuestMemory, Popped } from '@viommu/ring';
import type { VirtioDevice, VirtioSession } from '@viommu/transport';
import { Iommu } from './core/iommu.ts';
import type { IommuOptions } from './core/options.ts';
import { FaultQueue } from './fault-queue.ts';
import { type FeatureOffer, offeredFeatures } from './feature-offer.ts';
import { NoStatus, REQUEST_BYTES_MAX, handle, probedEndpoint } from './request.ts';

/** One IOMMU device. A range, a probe size or `bypass` has no effect without the feature that shows it. */
export interface IommuDeviceOptions extends Omit<IommuOptions, 'bypassControl'> {
  readonly features?: FeatureOffer;
  /** The largest size of each queue, up to 32768; without packed rings a power of two. Default 256. */
  readonly queueSize?: number;
  /**
   * With IN_ORDER: one used entry for a burst of requests instead of one for each (9.3). One that was not written to
   * the end of its buffers ends its burst, since those that an entry stands for besides its own count as such.
   */
  readonly batchUsed?: boolean;
}

// As constants of this module they cost nothing on the hot path.
const HEAD_BYTES = RequestHead.size;
const TAIL_BYTES = RequestTail.size;

const IMAGE: ImageType = { kind: 2, version: 1 };
const stateFields = {
  offeredFeatures: 'le64',
  features: 'le64',
  droppedFaults: 'le64',
  dropSeen: 'le32',
} as const;
/** What comes before the state of the IOMMU itself. */
const DeviceState: Struct<typeof stateFields> = struct('viommu_iommu_device', 28, stateFields);

const QUEUE_SIZE_DEFAULT = 256;
/** Requests between two looks at the rest of the host, so that other devices get their turn. */
const BURST_MAX = 64;
/** Requests between two publications within a burst: the driver takes the first answers while the last are made. */
const PUBLISHED_AT_ONCE = 16;

/** The virtio-iommu, for any transport. */
export class IommuDevice implements VirtioDevice, ChainHandler {
  readonly deviceId: number = IOMMU_DEVICE_ID;
  readonly offeredFeatures: bigint;
  readonly queueSizesMax: readonly number[];
  readonly batchedQueues: readonly number[];
  readonly config: Uint8Array;
  /** What the requests work on; endpoints translate here. */
  readonly iommu: Iommu;

  readonly #faults: FaultQueue;
  /** Where a request that lies in pieces is put together. */
  readonly #gathered: Uint8Array = new Uint8Array(REQUEST_BYTES_MAX);
  readonly #gatheredView: DataView = new DataView(this.#gathered.buffer);
  /** The writable part of a PROBE: properties and tail. */
  readonly #answer: Uint8Array;
  #session: VirtioSession | undefined = undefined;
  #memory: GuestMemory | undefined = undefined;
  #queue: DeviceQueue | undefined = undefined;
  #chain: Chain | undefined = undefined;

  /** @throws {IommuError} `EINVAL`, `EOVERFLOW` or `ENOSPC` for options that contradict each other or a bound. */
  constructor(options: IommuDeviceOptions = {}) {
    const { features, queueSize = QUEUE_SIZE_DEFAULT, batchUsed = false, observer } = options;
    const sizes = features?.packed === true ? queueSize : Math.log2(queueSize);
    if (queueSize < 1 || queueSize > QUEUE_SIZE_MAX || !Number.isInteger(sizes))
      throw new IommuError('EINVAL', `A queue cannot have ${queueSize} descriptors.`);
    this.queueSizesMax = [queueSize, queueSize];
    this.batchedQueues = batchUsed ? [IommuQueue.REQUEST] : [];
    this.offeredFeatures = offeredFeatures(features);
    this.#faults = new FaultQueue(observer);
    this.iommu = new Iommu(offeredOptions(options, this.offeredFeatures), this.#faults);
    this.#answer = new Uint8Array(this.iommu.probeSize + RequestTail.size);
    this.config = encodeConfig(this.iommu, this.offeredFeatures);
  }

  /** Faults that found no buffer in the event queue. */
  get droppedFaults(): number {
    return this.#faults.dropped;
  }

  writeConfig(offset: number, width: number, value: number): boolean {
    // 7.6, 7.7: there is one byte to write, and it is written as one byte.
    if (offset !== IommuConfig.offset.bypass || width !== 1) return false;
    if (!this.iommu.writeBypass(value)) return false;
    this.#showBypass();
    return true;
  }

  acceptFeatures(features: bigint): boolean {
    this.iommu.negotiate(features);
    return true;
  }

  start(session: VirtioSession): void {
    this.#session = session;
    session.queues.forEach((queue, index) => {
      if (queue !== undefined) this.queueStarted(index, queue);
    });
  }

  queueStarted(index: number, queue: DeviceQueue): void {
    const session = this.#session;
    if (session === undefined) return;
    if (index === IommuQueue.REQUEST) {
      this.#queue = queue;
      this.#chain = new Chain(session.memory, queue.size);
      this.#memory = session.memory;
    } else if (index === IommuQueue.EVENT) {
      this.#faults.start(queue, session, (reason) => this.#needReset(reason));
    }
  }

  queueStopped(index: number): void {
    if (index === IommuQueue.REQUEST) this.#queue = undefined;
    else if (index === IommuQueue.EVENT) this.#faults.stop();
  }

  reset(): void {
    this.#disconnect();
    this.#faults.reset();
    this.iommu.reset();
  }

  systemReset(): void {
    this.iommu.systemReset();
    this.#showBypass();
  }

  /** Everything but the queues, as an image that {@link restore} takes. The same state always gives the same bytes. */
  save(): Uint8Array<ArrayBuffer> {
    const image = new ImageWriter(IMAGE).add(DeviceState, {
      offeredFeatures: this.offeredFeatures,
      features: this.iommu.features,
      droppedFaults: BigInt(this.#faults.dropped),
      dropSeen: this.#faults.dropSeen ? 1 : 0,
    });
    this.iommu.save(image.addBytes(this.#configWithoutBypass()));
    return image.finish();
  }

  /**
   * Takes over what {@link save} returned, all of it or nothing; `features` are those that a transport remembers, if there
   * is one. The device has no queues then, until it is started. What a driver has read must still be true, so the offer,
   * the configuration space and the endpoints with their regions have to be those of the device that was saved; limits
   * may differ, if the state fits them.
   *
   * @throws {IommuError} `EINVAL` for an image that is not whole, or of no state of this device.
   */
  restore(image: Uint8Array, features?: bigint): void {
    const from = new ImageReader(image, IMAGE);
    const state = from.read(DeviceState);
    const offered = this.offeredFeatures;
    checkSaved(
      state.offeredFeatures === offered && from.matches(this.#configWithoutBypass()),
      'it is of a device with another offer or configuration',
    );
    const negotiated = state.features;
    checkSaved(
      (features ?? negotiated) === negotiated &&
        (negotiated & ~offered) === 0n &&
        (negotiated === 0n || hasFeature(negotiated, VirtioFeature.VERSION_1)),
      'its features were not negotiated',
    );
    const dropped = Number(state.droppedFaults);
    checkSaved(
      Number.isSafeInteger(dropped) && state.dropSeen <= Math.min(dropped, 1),
      'it counts faults that cannot be',
    );
    this.iommu.restore(negotiated, from);
    this.#disconnect();
    this.#faults.dropped = dropped;
    this.#faults.dropSeen = state.dropSeen === 1;
    this.#showBypass();
  }

  /** For devices that tell of faults in another way: `amend` may change each record before it is sent. */
  protected amendFaults(amend: (record: DataView) => void): void {
    this.#faults.amend = amend;
  }

  /** Handles the requests that are there, a burst at most. False if there were none. */
  serve(): boolean {
    const queue = this.#queue;
    const chain = this.#chain;
    const session = this.#session;
    if (queue === undefined || chain === undefined || session === undefined) return false;
    let served = 0;
    let wanted = false;
    while (served < BURST_MAX) {
      const count = this.#serveSome(queue, chain, Math.min(PUBLISHED_AT_ONCE, BURST_MAX - served));
      if (count === 0) break;
      served += count;
      // 9.2, 9.6: one publication and one look at the driver's wish for all of them, and one interrupt for a burst.
      if (queue.publish()) wanted = true;
    }
    if (wanted) session.port.interrupt(IommuQueue.REQUEST);
    if (queue.fault !== undefined) this.#needReset(queue.fault);
    return served > 0;
  }

  /** Handles the requests of one publication, `most` of them; returns how many. */
  #serveSome(queue: DeviceQueue, chain: Chain, most: number): number {
    if (this.batchedQueues.length === 0) return queue.serve(this, chain, most);
    let served = 0;
    while (served < most && queue.pop(chain) === Popped.CHAIN) {
      const written = this.handleChain(chain);
      queue.push(chain, written);
      served += 1;
      // 9.4: skipped as one of a batch, it would count as fully written.
      if (written < chain.writableBytes) break;
    }
    return served;
  }

  arm(): boolean {
    // Faults need no notification of buffers, so only requests are waited for.
    return this.#queue === undefined || this.#queue.armNotification();
  }

  suppress(): void {
    this.#queue?.suppressNotification();
  }

  handlePair(
    readable: number,
    readableBytes: number,
    writable: number,
    writableBytes: number,
  ): number {
    const memory = this.#memory;
    // 1.5, 1.6: without a head and room for a tail there is no request.
    if (memory === undefined || !isRequest(readableBytes, writableBytes)) return 0;
    let { view } = memory;
    let at = readable;
    if (view === undefined) {
      view = this.#gatheredView;
      at = 0;
      memory.read(readable, this.#gathered, 0, Math.min(readableBytes, REQUEST_BYTES_MAX));
    }
    const status = handle(this.iommu, view, at, readableBytes);
    if (status >= 0) {
      // 1.9: the tail comes first. One word, so that the reserved bytes are zero: iommu.dev.req.tail-reserved-zero.
      memory.setUint32(writable, status);
      return TAIL_BYTES; // 1.1
    }
    const written = this.#answerOther(status, view, at, readableBytes, writableBytes);
    memory.write(writable, this.#answer, 0, written);
    return written;
  }

  handleChain(chain: Chain): number {
    const { readableBytes, writableBytes } = chain;
    // 1.5, 1.6, 10.6: nor is there one without memory under both.
    if (!isRequest(readableBytes, writableBytes) || !chain.reachable) return 0;
    // 1.10: any framing will do.
    chain.read(0, this.#gathered, 0, Math.min(readableBytes, REQUEST_BYTES_MAX));
    const view = this.#gatheredView;
    const status = handle(this.iommu, view, 0, readableBytes);
    if (status >= 0) {
      chain.writeWord(0, status);
      return TAIL_BYTES;
    }
    const written = this.#answerOther(status, view, 0, readableBytes, writableBytes);
    chain.write(0, this.#answer, 0, written);
    return written;
  }

  /** Answers what has no status. Returns how many bytes of `#answer` go back. */
  #answerOther(
    noStatus: number,
    view: DataView,
    at: number,
    readableBytes: number,
    writableBytes: number,
  ): number {
    // iommu.dev.req.unknown-type-not-written, iommu.dev.req.unknown-type-used-len-zero
    if (noStatus !== NoStatus.PROBE) return 0;
    const endpoint = probedEndpoint(view, at, readableBytes);
    const answer = this.#answer;
    // 6.2: the tail stands behind the properties, whatever room there is behind it.
    const written = Math.min(writableBytes, answer.length);
    let status: Status = Status.INVAL; // 1.4
    // iommu.dev.probe.too-small-inval, iommu.dev.probe.too-small-no-property; 6.1
    if (written < answer.length || endpoint === undefined) answer.fill(0);
    else status = this.iommu.probe(endpoint, answer);
    // The reserved bytes of the tail are never anything but zero.
    const tail = written - TAIL_BYTES;
    answer[tail + RequestTail.offset.status] = status;
    return written;
  }

  /** A damaged ring: no queue is touched any more (11.22). */
  #needReset(reason: string): void {
    const session = this.#session;
    this.#disconnect();
    session?.port.needsReset(reason);
  }

  #disconnect(): void {
    this.#session = undefined;
    this.#queue = undefined;
    this.#chain = undefined;
    this.#memory = undefined;
    this.#faults.stop();
  }

  /** What a driver has read of the configuration space for good. */
  #configWithoutBypass(): Uint8Array {
    return this.config.with(IommuConfig.offset.bypass, 0);
  }

  #showBypass(): void {
    this.config[IommuConfig.offset.bypass] = this.iommu.bypass ? 1 : 0;
  }
}

/** True for room enough for a head and a tail. */
function isRequest(readableBytes: number, writableBytes: number): boolean {
  return readableBytes >= HEAD_BYTES && writableBytes >= TAIL_BYTES;
}

/** The options of the core: ranges that are not offered do not hold. */
function offeredOptions(options: IommuDeviceOptions, offered: bigint): IommuOptions {
  const { inputRange, domainRange, probeSize, ...rest } = options;
  let bypassControl: NonNullable<IommuOptions['bypassControl']> = 'none';
  if (hasFeature(offered, IommuFeature.BYPASS_CONFIG)) bypassControl = 'config';
  else if (hasFeature(offered, IommuFeature.BYPASS)) bypassControl = 'legacy';
  return {
    ...rest,
    bypassControl,
    ...(hasFeature(offered, IommuFeature.INPUT_RANGE) &&
      inputRange !== undefined && { inputRange }),
    ...(hasFeature(offered, IommuFeature.DOMAIN_RANGE) &&
      domainRange !== undefined && { domainRange }),
    ...(hasFeature(offered, IommuFeature.PROBE) && probeSize !== undefined && { probeSize }),
  };
}

/** The configuration space; fields of features that are not offered are zero (7.12). */
function encodeConfig(iommu: Iommu, offered: bigint): Uint8Array {
  const { pageSizeMask, inputRange, domainRange, probeSize, bypass } = iommu;
  const input = hasFeature(offered, IommuFeature.INPUT_RANGE)
    ? inputRange
    : { ...FULL_RANGE, last: 0n };
  const domains = hasFeature(offered, IommuFeature.DOMAIN_RANGE)
    ? domainRange
    : { first: 0, last: 0 };
  return IommuConfig.encode({
    pageSizeMask,
    inputRangeStart: input.start,
    inputRangeEnd: input.last,
    domainRangeStart: domains.first,
    domainRangeEnd: domains.last,
    probeSize: hasFeature(offered, IommuFeature.PROBE) ? probeSize : 0,
    bypass: bypass ? 1 : 0,
  });
}
