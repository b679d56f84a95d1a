/** One sleep for all who wait for the same device in one event loop, so that none takes the notification of another. */

export class SharedSleep {
  readonly #sleep: (timeoutMs: number) => Promise<void>;
  readonly #woken: () => void;
  #turn: Promise<void> | undefined = undefined;
  #wake: (() => void) | undefined = undefined;

  /** `sleep` sleeps until notified, for at most the time given; `woken` is called once after each sleep. */
  constructor(sleep: (timeoutMs: number) => Promise<void>, woken: () => void) {
    this.#sleep = sleep;
    this.#woken = woken;
  }

  /** Joins the sleep that is under way, or begins one of at most `timeoutMs`. Resolves when it is over. */
  join(timeoutMs: number): Promise<void> {
    this.#turn ??= this.#take(timeoutMs).finally(() => {
      this.#turn = undefined;
    });
    return this.#turn;
  }

  /** Ends the sleep under way: what it waits for was found without it. */
  end(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  async #take(timeoutMs: number): Promise<void> {
    const ended = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    await Promise.race([this.#sleep(timeoutMs), ended]);
    this.#woken();
  }
}
