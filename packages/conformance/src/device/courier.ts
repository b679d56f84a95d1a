/**
 * Carries one request to the device and its answer back, and sees to what no case should have to think of: nothing
 * outside the writable part may change, a completion names the chain that was sent, and there is one of them.
 */

import { DeviceStatus, IommuQueue, RequestTail } from '@viommu/common';
import { readBytes, writeBytes } from '../ring/bytes.ts';
import type { ChainBuffer, TestRing } from '../ring/test-ring.ts';
import type { DeviceTarget } from '../target.ts';
import { NoAnswer, Violation } from '../verdict.ts';
import { Answer } from './answer.ts';
import type { Arena } from './arena.ts';
import type { Transcript } from './transcript.ts';

export interface SendOptions {
  /** What the transcript calls the request. */
  readonly label?: string;
  /** Bytes of the writable part; default 4, the tail. */
  readonly writable?: number;
  /** Where the tail is in it; default its last four bytes. */
  readonly tailAt?: number;
  /** What the writable part holds beforehand; default 0xa5. */
  readonly fill?: number;
  /** Sizes of the pieces of the readable part; what is left over is one more. Likewise the writable part. */
  readonly readableCuts?: readonly number[];
  readonly writableCuts?: readonly number[];
  /** What memory holds right behind the readable part, which the device has no business to look at. */
  readonly behind?: Uint8Array;
  /** Puts the buffers from this one on into an indirect table. */
  readonly indirectFrom?: number;
  /** Sent by the framework. */
  readonly routine?: boolean;
}

const FILL = 0xa5;
/** Around every buffer. */
const GUARD_BYTES = 16;
const GUARD = 0x5a;
/** A device in another thread or process that takes longer than this does not answer. */
const ANSWER_MS = 3000;

export class Courier {
  readonly #target: DeviceTarget;
  readonly #arena: Arena;
  readonly #transcript: Transcript;

  constructor(target: DeviceTarget, arena: Arena, transcript: Transcript) {
    this.#target = target;
    this.#arena = arena;
    this.#transcript = transcript;
  }

  /** True if the device shows DEVICE_NEEDS_RESET. */
  get needsReset(): boolean {
    return (this.#target.readStatus() & DeviceStatus.DEVICE_NEEDS_RESET) !== 0;
  }

  /**
   * Sends one chain, and waits for it. `undefined` if the device asks for a reset instead.
   *
   * @throws {NoAnswer} if it does neither. @throws {Violation} if it breaks something.
   */
  send(ring: TestRing, readable: Uint8Array, options: SendOptions = {}): Answer | undefined {
    const { writable = RequestTail.size, fill = FILL, label = labelOf(readable) } = options;
    const target = this.#target;
    const exchange = this.#transcript.request(readable, label, options.routine === true);
    const request = this.#place(readable, options.behind);
    const answer = this.#place(new Uint8Array(writable).fill(fill));
    const buffers = [
      ...pieces(request, readable.length, options.readableCuts, false),
      ...pieces(answer, writable, options.writableCuts, true),
    ];
    const { indirectFrom } = options;
    const id = ring.offer(
      buffers,
      indirectFrom === undefined
        ? {}
        : { indirectFrom, tableAt: this.#arena.exchange(16 * (buffers.length + 1) + 16) },
    );
    target.notify(IommuQueue.REQUEST, ring.position);
    // A device that asks for a reset gives nothing back: no use in waiting for the whole bound.
    let broken = false;
    const answered = target.wait(() => {
      if (ring.ready()) return true;
      broken = this.needsReset;
      return broken;
    }, ANSWER_MS);
    if (!answered && this.needsReset) broken = true;
    this.#checkGuards(request, readable, label, true, options.behind);
    if (!ring.ready()) {
      this.#checkGuards(answer, new Uint8Array(writable), label, false);
      if (broken) {
        this.#transcript.note('the device shows DEVICE_NEEDS_RESET');
        return undefined;
      }
      throw new NoAnswer(`${label} never comes back`);
    }
    const used = ring.take();
    const bytes = readBytes(target.memory, answer, writable);
    const { tailAt = writable - RequestTail.size } = options;
    exchange.answer = new Answer({
      length: used?.length ?? 0,
      bytes,
      fill,
      tailAt: tailAt >= 0 && tailAt + RequestTail.size <= writable ? tailAt : -1,
      writeFlag: used?.writeFlag,
    });
    this.#checkGuards(answer, bytes, label, false);
    if (used?.id !== id)
      throw new Violation(`${label} comes back under id ${used?.id}, not ${id}`, 'fail');
    if (exchange.answer.length > writable)
      throw new Violation(
        `${label}: the used length ${exchange.answer.length} is more than the ${writable} writable bytes`,
        'fail',
      );
    if (ring.ready()) throw new Violation(`${label} comes back more than once`, 'fail');
    return exchange.answer;
  }

  #place(bytes: Uint8Array, behind: Uint8Array = new Uint8Array(0)): bigint {
    const around = guarded(bytes, behind);
    const at = this.#arena.exchange(around.length);
    writeBytes(this.#target.memory, at, around);
    return at + BigInt(GUARD_BYTES);
  }

  #checkGuards(
    at: bigint,
    content: Uint8Array,
    label: string,
    readable = true,
    behind?: Uint8Array,
  ): void {
    const around = readBytes(
      this.#target.memory,
      at - BigInt(GUARD_BYTES),
      content.length + 2 * GUARD_BYTES,
    );
    const end = GUARD_BYTES + content.length;
    const expected = guarded(content, behind);
    const isGuard = (index: number): boolean => index < GUARD_BYTES || index >= end;
    if (around.some((byte, index) => isGuard(index) && byte !== expected[index]))
      throw new Violation(`${label}: the device wrote outside the buffers`, 'fail');
    if (readable && !content.every((byte, index) => byte === around[GUARD_BYTES + index]))
      throw new Violation(`${label}: the device wrote into the readable part`, 'fail');
  }
}

/** Bytes with guards around them, the first of which behind them may be something else. */
function guarded(bytes: Uint8Array, behind: Uint8Array = new Uint8Array(0)): Uint8Array {
  const around = new Uint8Array(bytes.length + 2 * GUARD_BYTES).fill(GUARD);
  around.set(bytes, GUARD_BYTES);
  around.set(behind.subarray(0, GUARD_BYTES), GUARD_BYTES + bytes.length);
  return around;
}

const TYPES = ['', 'ATTACH', 'DETACH', 'MAP', 'UNMAP', 'PROBE'];

function labelOf(readable: Uint8Array): string {
  const type = readable[0];
  return (type === undefined ? undefined : TYPES[type]) || `type ${type ?? 'missing'}`;
}

function pieces(
  address: bigint,
  total: number,
  cuts: readonly number[] = [],
  writable: boolean,
): ChainBuffer[] {
  const found: ChainBuffer[] = [];
  let at = 0;
  for (const cut of [...cuts, total]) {
    const length = Math.min(cut, total - at);
    if (length > 0) found.push({ address: address + BigInt(at), length, writable });
    at += length;
  }
  return found;
}
