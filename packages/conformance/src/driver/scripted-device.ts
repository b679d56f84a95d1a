/**
 * A device that watches and misbehaves: registers, two queues, and a script for every answer. Where the script says
 * nothing it grants everything.
 */

import {
  DeviceStatus,
  FaultRecord,
  IommuConfig,
  IommuQueue,
  InterruptBit,
  RequestTail,
  RequestType,
  Status,
  VirtioFeature,
  hasFeature,
} from '@viommu/common';
import type { GuestMemory, QueueLayout } from '@viommu/ring';
import { writeBytes } from '../ring/bytes.ts';
import { type DeviceRing, type DriverChain, located, readableOf } from './device-ring.ts';
import { Ledger } from './ledger.ts';
import { Monitor, type MonitoredRequest, monitored } from './monitor.ts';
import { PackedDeviceRing } from './packed-device-ring.ts';
import { regionsOf } from './property.ts';
import { USUAL_FEATURES } from './register-table.ts';
import type { RegisterScript } from './register-script.ts';
import { ScriptedRegisters } from './registers.ts';
import { watchBytes } from './request-watch.ts';
import { SplitDeviceRing } from './split-device-ring.ts';

/** A request as it was on the ring. */
export interface SeenRequest {
  readonly type: number;
  readonly bytes: Uint8Array;
  /** `undefined` if the bytes are no request. */
  readonly fields: MonitoredRequest | undefined;
  readonly writableBytes: number;
  readonly chain: DriverChain;
}

/** What to do with a request. */
export interface Reply {
  /** OK if absent. */
  readonly status?: number;
  readonly tailReserved?: readonly number[];
  /** Properties of a PROBE. */
  readonly properties?: Uint8Array;
  /** The used length; all that was written if absent. */
  readonly usedBytes?: number;
  /** The buffer keeps the bytes it has. */
  readonly untouched?: true;
  /** The used id; the chain's own if absent. */
  readonly id?: number;
  /** Given back twice. */
  readonly twice?: true;
  /** Never answered, unless by {@link ScriptedDevice.release}. */
  readonly hold?: true;
}

export interface DeviceScript extends RegisterScript {
  readonly offered?: bigint;
  /** Bits to add to what is offered, and to take away. */
  readonly with?: bigint;
  readonly without?: bigint;
}

const { REQUEST, EVENT } = IommuQueue;

export class ScriptedDevice {
  readonly ledger: Ledger = new Ledger();
  readonly registers: ScriptedRegisters;
  readonly monitor: Monitor = new Monitor(this.ledger);
  /** In the order in which they became available. */
  readonly seen: SeenRequest[] = [];
  /** Answers as the case wants them; `undefined` is a grant. */
  answer: (request: SeenRequest, index: number) => Reply | undefined = () => undefined;
  /** False: it looks at nothing. */
  alive = true;
  /** Notifications by queue, with what they said. */
  readonly notifications: { readonly queue: number; readonly data: number }[] = [];
  /** Where each queue was when it was notified last. */
  readonly notifiedAt: Map<number, number> = new Map();
  readonly rings: (DeviceRing | undefined)[] = [];
  readonly layouts: (QueueLayout | undefined)[] = [];
  readonly #memory: GuestMemory;
  #held: SeenRequest[] = [];

  constructor(memory: GuestMemory, script: DeviceScript = {}) {
    this.#memory = memory;
    const { offered = USUAL_FEATURES, without = 0n } = script;
    this.registers = new ScriptedRegisters(
      (offered | (script.with ?? 0n)) & ~without,
      script,
      this.ledger,
      {
        reset: () => this.#reset(),
        enable: (queue, layout) => this.#enable(queue, layout),
        disable: (queue) => {
          this.rings[queue] = undefined;
          if (queue === REQUEST) this.#held = [];
        },
        notify: (queue, data) => this.#notified(queue, data),
      },
    );
  }

  has(feature: number): boolean {
    return hasFeature(this.registers.accepted, feature);
  }

  /** The request queue, if it is there. */
  get requests(): DeviceRing | undefined {
    return this.rings[REQUEST];
  }

  get events(): DeviceRing | undefined {
    return this.rings[EVENT];
  }

  /** Does all there is to do. False if there was nothing. */
  work(): boolean {
    if (!this.alive || (this.registers.status & DeviceStatus.DRIVER_OK) === 0) return false;
    this.events?.look();
    const ring = this.requests;
    if (ring === undefined) return false;
    ring.look();
    let worked = false;
    // As many as a ring holds: what comes meanwhile is for the next time.
    for (let left = ring.layout.size; left > 0; left -= 1) {
      const chain = ring.take();
      if (chain === undefined) break;
      worked = true;
      this.#take(ring, chain);
    }
    return worked;
  }

  /** Answers what it held back: all, or the ones with these places in this order. */
  release(reply: Reply = {}, order?: readonly number[]): void {
    const held = this.#held;
    const chosen = (order ?? [...held.keys()]).flatMap((index) => held[index] ?? []);
    this.#held = held.filter((request) => !chosen.includes(request));
    const ring = this.requests;
    if (ring !== undefined) for (const request of chosen) this.#reply(ring, request, reply);
  }

  /** Grants all that it holds back by one used entry (IN_ORDER). */
  releaseBatch(): void {
    const held = this.#held.splice(0);
    for (const request of held) this.#fill(request, {});
    const { writableBytes = 0 } = held.at(-1) ?? {};
    this.requests?.giveBatch(
      held.map(({ chain }) => chain),
      writableBytes,
    );
    this.interrupt(InterruptBit.USED_BUFFER);
  }

  /** How many it holds back. */
  get held(): number {
    return this.#held.length;
  }

  /** Writes a fault record into the next event buffer. False if there is none that takes it. */
  inject(record: FaultInput | Uint8Array, usedBytes?: number): boolean {
    const ring = this.events;
    ring?.look();
    const chain = ring?.take();
    if (ring === undefined || chain === undefined) return false;
    const bytes = record instanceof Uint8Array ? record : FaultRecord.encode(record);
    this.#write(chain, 0, bytes);
    ring.give(chain, usedBytes ?? bytes.length);
    this.interrupt(InterruptBit.USED_BUFFER);
    return true;
  }

  interrupt(bits: number): void {
    this.registers.interruptStatus |= bits;
  }

  /** Asks for a reset, and says so. */
  needReset(): void {
    this.registers.status |= DeviceStatus.DEVICE_NEEDS_RESET;
    this.interrupt(InterruptBit.CONFIG_CHANGE);
  }

  #take(ring: DeviceRing, chain: DriverChain): void {
    const bytes = readableOf(this.#memory, chain.elements);
    const writableBytes = chain.elements.reduce(
      (sum, { writable, length }) => sum + (writable ? length : 0),
      0,
    );
    const probeSize = this.registers.config.getUint32(IommuConfig.offset.probeSize, true);
    const fields = watchBytes(bytes, writableBytes, probeSize, this.ledger);
    if (fields !== undefined) this.monitor.request(fields);
    const request: SeenRequest = { type: bytes[0] ?? 0, bytes, fields, writableBytes, chain };
    const index = this.seen.push(request) - 1;
    const reply = this.answer(request, index) ?? {};
    if (reply.hold === true) this.#held.push(request);
    else this.#reply(ring, request, reply);
  }

  #reply(ring: DeviceRing, request: SeenRequest, reply: Reply): void {
    const usedBytes = this.#fill(request, reply);
    for (let times = reply.twice === true ? 2 : 1; times > 0; times -= 1)
      ring.give(request.chain, usedBytes, reply.id);
    this.interrupt(InterruptBit.USED_BUFFER);
  }

  /** Writes the answer, and tells the monitor. Returns the used length. */
  #fill({ chain, fields, type, writableBytes }: SeenRequest, reply: Reply): number {
    const { status = Status.OK, tailReserved = [0, 0, 0], properties, untouched, id } = reply;
    const tailAt = writableBytes - RequestTail.size;
    if (untouched !== true && tailAt >= 0) {
      if (type === RequestType.PROBE) this.#write(chain, 0, new Uint8Array(tailAt));
      if (properties !== undefined) this.#write(chain, 0, properties.subarray(0, tailAt));
      const reserved = Uint8Array.from(tailReserved);
      this.#write(chain, tailAt, RequestTail.encode({ status, reserved }));
    }
    const usedBytes = reply.usedBytes ?? (untouched === true ? 0 : writableBytes);
    const clear = untouched !== true && usedBytes === writableBytes && id === undefined;
    if (fields !== undefined)
      this.monitor.answered(fields, clear ? status : undefined, regionsOf(properties));
    return usedBytes;
  }

  /** Writes bytes into the writable part of a chain, as far as there is one. */
  #write({ elements }: DriverChain, at: number, bytes: Uint8Array): void {
    let offset = 0;
    for (const { address, length, writable } of elements) {
      if (!writable) continue;
      const from = Math.max(0, at - offset);
      const part = bytes.subarray(offset + from - at, offset + length - at);
      if (from < length && part.length > 0 && located(this.#memory, address, length))
        writeBytes(this.#memory, address + BigInt(from), part);
      offset += length;
      if (offset >= at + bytes.length) return;
    }
  }

  #notified(queue: number, data: number): void {
    for (const ring of this.rings) ring?.look();
    if (queue < 0) return this.#started();
    this.notifications.push({ queue, data });
    const ring = this.rings[queue];
    if (ring === undefined) return;
    this.notifiedAt.set(queue, ring.position);
    if (!this.has(VirtioFeature.NOTIFICATION_DATA)) return;
    this.ledger.check(
      this.has(VirtioFeature.RING_PACKED)
        ? 'packed.drv.desc.notify-offset-wrap'
        : 'advice.notification.position',
      data >>> 16 === ring.position,
      `the notification says 0x${(data >>> 16).toString(16)}, and the driver is at 0x${ring.position.toString(16)}`,
    );
  }

  /** DRIVER_OK. */
  #started(): void {
    const { config, accepted } = this.registers;
    this.monitor.begin(monitored(config, accepted));
  }

  #enable(queue: number, layout: QueueLayout): void {
    this.layouts[queue] = layout;
    const options = {
      memory: this.#memory,
      layout,
      features: this.registers.accepted,
      ledger: this.ledger,
    };
    this.notifiedAt.delete(queue);
    this.rings[queue] = this.has(VirtioFeature.RING_PACKED)
      ? new PackedDeviceRing(options)
      : new SplitDeviceRing(options);
  }

  #reset(): void {
    this.rings.length = 0;
    this.#held = [];
    this.monitor.reset();
  }
}

export type FaultInput = Parameters<typeof FaultRecord.encode>[0];
