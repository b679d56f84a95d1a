/** Whatever does one kind of work, for one window of time after another. */

/** One window. */
export interface Order {
  /** Requests that are sent together; 0 keeps the ring filled instead of waiting for each batch. */
  readonly batch: number;
  readonly windowMs: number;
  /** Ends the window earlier, after this many requests. */
  readonly requestsMax?: number;
}

/** What came of it. */
export interface Outcome {
  readonly requests: number;
  readonly elapsedMs: number;
  /** Garbage collections of each side meanwhile, where there is garbage. */
  readonly collections?: Readonly<Record<Side, number>>;
  /** How often one side woke the other, where that is counted. */
  readonly wakes?: number;
}

export type Side = 'driver' | 'device';

export interface Contender {
  window(order: Order): Promise<Outcome>;
  end(): Promise<void>;
}
