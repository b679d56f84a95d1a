/** What a guided run is about to do, in shared memory: if its target never returns, the input can be made again. */

import { decodeInput, encodeInput } from '../corpus-file.ts';
import type { Plan } from './trial.ts';

/** Bytes that are enough for the longest input, but for some that are odd. */
const BYTES = 1 << 18;
const HEAD_BYTES = 32;

export class Announcement {
  /** To be sent to the other thread, which makes an announcement of it. */
  readonly buffer: SharedArrayBuffer;
  /** Bytes that follow, the seed, the steps that follow it, and the steps that were begun. */
  readonly #head: Float64Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(BYTES)) {
    this.buffer = buffer;
    this.#head = new Float64Array(buffer, 0, HEAD_BYTES / Float64Array.BYTES_PER_ELEMENT);
  }

  /** A plan is run from here on. One that is too long is not kept. */
  begin({ stream, seed, more }: Plan): void {
    const bytes = encodeInput(stream);
    const fits = HEAD_BYTES + bytes.length <= this.buffer.byteLength;
    if (fits) new Uint8Array(this.buffer, HEAD_BYTES).set(bytes);
    this.#head.set([fits ? bytes.length : 0, seed, more, 0]);
  }

  /** So many steps are begun. */
  set steps(count: number) {
    this.#head[3] = count;
  }

  get steps(): number {
    return this.#head[3] ?? 0;
  }

  /** What was announced last; undefined if nothing was. */
  get plan(): Plan | undefined {
    const [length = 0, seed = 0, more = 0] = this.#head;
    if (length === 0) return undefined;
    const bytes = new Uint8Array(this.buffer, HEAD_BYTES, length).slice();
    return { stream: decodeInput(bytes), seed, more };
  }
}
