/** The suite's memory, dealt out. */

import { Skipped } from '../verdict.ts';
import type { DeviceTarget } from '../target.ts';

/** At the end of the window: where requests and answers lie, one behind the other and round again. */
const EXCHANGE_BYTES = 0x2_8000;
const PAGE = 4096n;

export class Arena {
  #next: bigint;
  readonly #exchangeStart: bigint;
  readonly #end: bigint;
  #exchange: bigint;

  constructor({ window: { start, bytes } }: DeviceTarget) {
    this.#next = start;
    this.#end = start + BigInt(bytes);
    this.#exchangeStart = this.#end - BigInt(EXCHANGE_BYTES);
    this.#exchange = this.#exchangeStart;
  }

  /** Memory that stays the caller's; guest-physical. */
  allocate(bytes: number, align = 16n): bigint {
    const at = (this.#next + align - 1n) & -align;
    if (at + BigInt(bytes) > this.#exchangeStart)
      throw new Skipped('the memory window of the target is too small for this case');
    this.#next = at + BigInt(bytes);
    return at;
  }

  allocatePages(count: number): bigint {
    return this.allocate(count * Number(PAGE), PAGE);
  }

  /** Memory for one request or answer, which others get again later. */
  exchange(bytes: number): bigint {
    if (bytes > EXCHANGE_BYTES) throw new Skipped(`${bytes} bytes are too many for one request`);
    if (this.#exchange + BigInt(bytes) > this.#end) this.#exchange = this.#exchangeStart;
    const at = this.#exchange;
    // No alignment: a request may lie anywhere.
    this.#exchange = at + BigInt(bytes);
    return at;
  }
}
