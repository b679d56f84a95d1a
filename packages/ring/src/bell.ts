/**
 * A word in shared memory that one side bumps and the other sleeps on.
 *
 * No wake-up is lost: a sleeper reads the word first, looks for work second, and sleeps only while the word still has
 * the value it read. Whatever is announced after the look changes the word.
 *
 * A wake-up is a hint and no more: it may come for work that was found already, or from a side that rings for fun. A
 * sleeper looks again and, with nothing found, sleeps again for what is left of its time.
 */

/** `Atomics.waitAsync`, which is newer than the language level this project compiles for. */
interface AsyncAtomics extends Pick<typeof Atomics, 'load'> {
  waitAsync?(
    words: Int32Array,
    index: number,
    value: number,
    timeoutMs: number,
  ): { readonly async: boolean; readonly value: string | Promise<string> };
}

/** One side's bell. */
export class Bell {
  readonly #words: Int32Array;
  readonly #index: number;

  /** `words` lies over the shared buffer; `index` counts 32-bit words. */
  constructor(words: Int32Array, index: number) {
    this.#words = words;
    this.#index = index;
  }

  /** The value to pass to {@link wait}, read before looking for work. */
  value(): number {
    // Pairs with the add in `ring`: work announced before that add is visible after this load.
    return Atomics.load(this.#words, this.#index);
  }

  /** Keeps the other side from falling asleep, and lets it sleep if it does. */
  bump(): void {
    // Pairs as in `ring`.
    Atomics.add(this.#words, this.#index, 1);
  }

  /** Wakes the other side, or keeps it from falling asleep. */
  ring(): void {
    // Pairs with the load in `value` and the comparison inside `wait`.
    Atomics.add(this.#words, this.#index, 1);
    Atomics.notify(this.#words, this.#index);
  }

  /**
   * Sleeps while the word still has the value `seen`, for at most `timeoutMs`. False if the time ran out; true says that
   * the bell rang, or had rung before, and not that there is work: callers loop.
   */
  wait(seen: number, timeoutMs: number): boolean {
    return Atomics.wait(this.#words, this.#index, seen, timeoutMs) !== 'timed-out';
  }

  /**
   * As {@link wait}, for threads that must not block.
   *
   * A pending wait does not keep a Node thread alive: the caller holds it open while it waits.
   */
  async waitAsync(seen: number, timeoutMs: number): Promise<boolean> {
    const atomics = Atomics as AsyncAtomics; // Newer than the language level.
    if (atomics.waitAsync === undefined) return this.value() !== seen;
    const outcome = atomics.waitAsync(this.#words, this.#index, seen, timeoutMs);
    return (await outcome.value) !== 'timed-out';
  }
}
