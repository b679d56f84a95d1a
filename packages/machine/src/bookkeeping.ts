/**
 * One page of the shared buffer for the machine's own needs, out of the guest's reach: whether the guest program shall
 * end, whether the host is up, how many messages are on their way to the creator, and the figures of both sides.
 */

/** Bytes of the page. */
export const BOOKKEEPING_SIZE = 4096;

/** 32-bit words, each in a cache line of its own. */
const Word = { END_WANTED: 0, HOST_READY: 16, HOST_MESSAGES: 32, GUEST_MESSAGES: 48 } as const;

/** Where the counters of each side begin, in bytes. */
const HOST_COUNTERS = 1024;
const GUEST_COUNTERS = 2048;
const COUNTERS = 64;

/** The page, as every thread sees it. */
export class Bookkeeping {
  readonly #words: Int32Array;
  /** By `HostCounter`; written by the host worker. */
  readonly hostCounters: Float64Array;
  /** By `GuestCounter`; written by the guest worker. */
  readonly guestCounters: Float64Array;

  constructor(buffer: SharedArrayBuffer, offset: number) {
    this.#words = new Int32Array(buffer, offset, BOOKKEEPING_SIZE / 4);
    this.hostCounters = new Float64Array(buffer, offset + HOST_COUNTERS, COUNTERS);
    this.guestCounters = new Float64Array(buffer, offset + GUEST_COUNTERS, COUNTERS);
  }

  /** True once the guest program shall come to its end. */
  get endWanted(): boolean {
    return Atomics.load(this.#words, Word.END_WANTED) !== 0;
  }

  /** Asks the guest program to come to its end. */
  wantEnd(): void {
    Atomics.store(this.#words, Word.END_WANTED, 1);
    Atomics.notify(this.#words, Word.END_WANTED);
    this.announceHost();
  }

  /** Host worker: registers are there, and writes to them are served from now on. */
  announceHost(): void {
    Atomics.store(this.#words, Word.HOST_READY, 1);
    Atomics.notify(this.#words, Word.HOST_READY);
  }

  /** Guest worker: waits for the host, however long its endpoints take to load; the creator ends the wait if it fails. */
  awaitHost(): void {
    while (Atomics.load(this.#words, Word.HOST_READY) === 0)
      Atomics.wait(this.#words, Word.HOST_READY, 0, 1000);
  }

  messages(side: 'host' | 'guest'): MessageCount {
    return new MessageCount(
      this.#words,
      side === 'host' ? Word.HOST_MESSAGES : Word.GUEST_MESSAGES,
    );
  }
}

/** Messages on their way before a sender waits: a creator that is slow must not run out of memory. */
const MESSAGES_MAX = 256;

/** How many messages of one worker its creator has not yet handled. */
export class MessageCount {
  readonly #words: Int32Array;
  readonly #index: number;

  constructor(words: Int32Array, index: number) {
    this.#words = words;
    this.#index = index;
  }

  /** Sender: counts one more, and waits while there are too many. */
  add(): void {
    for (;;) {
      const count = Atomics.load(this.#words, this.#index);
      if (count < MESSAGES_MAX) break;
      Atomics.wait(this.#words, this.#index, count, 1000);
    }
    Atomics.add(this.#words, this.#index, 1);
  }

  /** Creator: one has been handled. */
  remove(): void {
    Atomics.sub(this.#words, this.#index, 1);
    Atomics.notify(this.#words, this.#index);
  }
}
