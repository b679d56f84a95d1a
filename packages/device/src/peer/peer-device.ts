/**
 * Our device with the habits of others. It takes a longer road than {@link IommuDevice}, which knows nothing of it.
 *
 * Habits that only need a wider core (ranges and granules that are shown but not enforced) are the core's options; the
 * others stand around the calls of the core, request by request.
 */

import {
  FULL_RANGE,
  FaultFlag,
  FaultReason,
  FaultRecord,
  ImageReader,
  ImageWriter,
  IommuConfig,
  IommuFeature,
  IommuQueue,
  ProbeRequest,
  RequestTail,
  RequestType,
  AttachRequest,
  DetachRequest,
  MapRequest,
  Status,
  UnmapRequest,
  featureMask,
  type Range,
} from '@viommu/common';
import type { Chain, DeviceQueue, GuestMemory } from '@viommu/ring';
import type { VirtioSession } from '@viommu/transport';
import { IommuDevice, type IommuDeviceOptions } from '../iommu-device.ts';
import { handle } from '../request.ts';
import { attach, detach } from './attachment.ts';
import type { Habits } from './habit.ts';
import { map, unmap } from './mapping.ts';

export interface PeerDeviceOptions extends IommuDeviceOptions {
  /** One of `PEERS`, or any others. */
  readonly habits: Habits;
}

const IMAGE = { kind: 0, version: 1 } as const;
const TAIL_BYTES = RequestTail.size;
const HEAD_BYTES = 4;
const REQUEST_BYTES_MAX = ProbeRequest.size;
const SIZES: Readonly<Record<number, number>> = {
  [RequestType.ATTACH]: AttachRequest.size,
  [RequestType.DETACH]: DetachRequest.size,
  [RequestType.MAP]: MapRequest.size,
  [RequestType.UNMAP]: UnmapRequest.size,
  [RequestType.PROBE]: ProbeRequest.size,
};

/** A device that behaves like another one. */
export class PeerDevice extends IommuDevice {
  readonly habits: Habits;
  readonly #input: Range;
  readonly #initialBypass: boolean;
  readonly #request: Uint8Array = new Uint8Array(REQUEST_BYTES_MAX);
  readonly #view: DataView = new DataView(this.#request.buffer);
  #memory: GuestMemory | undefined = undefined;

  /** @throws {IommuError} as the constructor of {@link IommuDevice}. */
  constructor({ habits, ...options }: PeerDeviceOptions) {
    const shown = new IommuDevice(options);
    super(widened(options, habits));
    this.habits = habits;
    this.#input = shown.iommu.inputRange;
    this.#initialBypass = shown.iommu.bypass;
    this.config.set(shown.config);
    this.amendFaults((record) => this.#amend(record));
  }

  override acceptFeatures(features: bigint): boolean {
    super.acceptFeatures(features);
    // The core serves what was accepted.
    if (this.habits.unnegotiatedType === 'served') {
      const probe = this.offeredFeatures & featureMask(IommuFeature.PROBE);
      this.iommu.negotiate(features | featureMask(IommuFeature.MAP_UNMAP) | probe);
    }
    return true;
  }

  override start(session: VirtioSession): void {
    this.#memory = session.memory;
    super.start(session);
  }

  override queueStarted(index: number, queue: DeviceQueue): void {
    if (index === IommuQueue.EVENT && this.habits.faultReport === 'never') return;
    super.queueStarted(index, queue);
  }

  override writeConfig(offset: number, width: number, value: number): boolean {
    const known = this.habits.bypassValue === 'lowBit' ? value & 1 : value;
    return super.writeConfig(offset, width, offset === IommuConfig.offset.bypass ? known : value);
  }

  override reset(): void {
    const { iommu, habits } = this;
    if (habits.resetBypass === 'initial') iommu.writeBypass(this.#initialBypass ? 1 : 0);
    const image = new ImageWriter(IMAGE);
    iommu.save(image);
    super.reset();
    if (habits.resetState === 'kept') {
      // What is kept may be from a driver that accepted more than the last one.
      iommu.restore(this.offeredFeatures, new ImageReader(image.finish(), IMAGE));
      iommu.negotiate(0n);
    }
    this.config[IommuConfig.offset.bypass] = iommu.bypass ? 1 : 0;
  }

  override handlePair(
    readable: number,
    readableBytes: number,
    writable: number,
    writableBytes: number,
  ): number {
    const memory = this.#memory;
    if (memory === undefined) return 0;
    memory.read(readable, this.#request, 0, Math.min(readableBytes, REQUEST_BYTES_MAX));
    return this.#serve(readableBytes, writableBytes, (at, bytes) => {
      memory.write(writable + at, bytes, 0, bytes.length);
    });
  }

  override handleChain(chain: Chain): number {
    const { readableBytes, writableBytes } = chain;
    if (!chain.reachable) return 0;
    chain.read(0, this.#request, 0, Math.min(readableBytes, REQUEST_BYTES_MAX));
    return this.#serve(readableBytes, writableBytes, (at, bytes) => {
      chain.write(at, bytes, 0, bytes.length);
    });
  }

  /** Does the request in `#request`; `write` puts bytes into the writable part. Returns the used length. */
  #serve(bytes: number, room: number, write: (at: number, bytes: Uint8Array) => void): number {
    const { iommu, habits } = this;
    if (bytes < HEAD_BYTES || room < TAIL_BYTES) return 0;
    const type = this.#view.getUint8(0);
    const size = SIZES[type];
    if (size === undefined && habits.unknownType === undefined) return 0;
    if (size !== undefined && !iommu.recognises(type)) return 0;
    if (size !== undefined && bytes < size && habits.shortRequest === 'untouched') return 0;
    if (type === RequestType.PROBE) return this.#probe(bytes, room, write);

    let status: number = Status.UNSUPP;
    if (size !== undefined) {
      const long = bytes > size && habits.longRequest !== undefined;
      status = long || bytes < size ? Status.INVAL : this.#status(type, size);
    }
    const at = room > TAIL_BYTES && habits.longTail === 'end' ? room - TAIL_BYTES : 0;
    return this.#finish(status, at, at === 0 ? TAIL_BYTES : room, room, write);
  }

  #status(type: number, size: number): number {
    switch (type) {
      case RequestType.ATTACH:
        return attach(this.iommu, this.habits, this.#view);
      case RequestType.DETACH:
        return detach(this.iommu, this.habits, this.#view);
      case RequestType.MAP:
        return map(this.iommu, this.habits, this.#view);
      case RequestType.UNMAP:
        return unmap(this.iommu, this.habits, this.#view, this.#input);
      default:
        return handle(this.iommu, this.#view, 0, size);
    }
  }

  #probe(bytes: number, room: number, write: (at: number, bytes: Uint8Array) => void): number {
    const { iommu, habits } = this;
    const full = iommu.probeSize + TAIL_BYTES;
    const whole = bytes >= ProbeRequest.size;
    if (room < full && whole) {
      if (habits.probeShort === 'untouched') return 0;
      if (habits.probeShort === 'start')
        return this.#finish(Status.INVAL, 0, TAIL_BYTES, room, write);
    }
    const used = room > full && habits.probeLong !== 'end' ? full : room;
    const properties = new Uint8Array(Math.max(used - TAIL_BYTES, iommu.probeSize));
    let status: number = Status.INVAL;
    const long = bytes > ProbeRequest.size && habits.longRequest !== undefined;
    if (whole && !long && room >= full)
      status = iommu.probe(this.#view.getUint32(ProbeRequest.offset.endpoint, true), properties);
    const kept = status !== Status.OK && habits.probeRefusedArea === 'untouched';
    const nothing = status !== Status.OK && habits.rejectedLength === 'none';
    if (!kept && !nothing) write(0, properties.subarray(0, used - TAIL_BYTES));
    return this.#finish(status, used - TAIL_BYTES, used, room, write);
  }

  /** Writes the tail; returns the used length. */
  #finish(
    status: number,
    at: number,
    used: number,
    room: number,
    write: (at: number, bytes: Uint8Array) => void,
  ): number {
    const habit = status === Status.OK ? undefined : this.habits.rejectedLength;
    if (habit === 'none') return 0;
    write(at, RequestTail.encode({ status }));
    if (habit === 'zero') return 0;
    return habit === 'full' ? room : used;
  }

  /** Changes a fault record before it is sent. */
  #amend(record: DataView): void {
    const { faultAccess, faultAddress, faultUnattached, faultPermission } = this.habits;
    const { reason, flags, endpoint, address } = FaultRecord.offset;
    const why = record.getUint8(reason);
    const permission =
      why === FaultReason.MAPPING &&
      this.#isMapped(record.getUint32(endpoint, true), record.getBigUint64(address, true));
    let bits = record.getUint32(flags, true);
    if (faultAccess === 'never' || (faultAccess === 'permission' && !permission))
      bits &= ~(FaultFlag.READ | FaultFlag.WRITE);
    if (faultAddress === 'absent') {
      bits &= ~FaultFlag.ADDRESS;
      record.setBigUint64(address, 0n, true);
    }
    record.setUint32(flags, bits, true);
    if (why === FaultReason.DOMAIN && faultUnattached !== undefined)
      record.setUint8(reason, FaultReason.UNKNOWN);
    if (permission && faultPermission !== undefined) record.setUint8(reason, FaultReason.UNKNOWN);
  }

  /** True if there is a mapping at an address. */
  #isMapped(endpoint: number, address: bigint): boolean {
    const domain = this.iommu.domainOf(endpoint);
    if (domain === undefined) return false;
    for (const { virt } of this.iommu.mappings(domain))
      if (virt.start <= address && address <= virt.last) return true;
    return false;
  }
}

/** The options of a core that does not enforce what the habits do not. */
function widened(options: IommuDeviceOptions, habits: Habits): IommuDeviceOptions {
  const { pageSizeMask } = options;
  return {
    ...options,
    ...(habits.mapOutside === 'served' && { inputRange: FULL_RANGE }),
    ...(habits.attachOutside === 'served' && { domainRange: { first: 0, last: 0xffff_ffff } }),
    // The lowest page size is the granule.
    ...(habits.mapUnaligned === 'served' && { pageSizeMask: 1n | (pageSizeMask ?? 0n) }),
  };
}
