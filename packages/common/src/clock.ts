/** Time and warnings, as every part of the guest gets them from its shell. */

/** A clock that never goes back. */
export interface Clock {
  /** Milliseconds since some fixed moment. */
  now(): number;
}

/** A clock that can call back. Callbacks never run inside a call of somebody else. */
export interface TimerClock extends Clock {
  /** Calls `callback` once, after `delayMs`. Returns how to prevent that. */
  setTimer(delayMs: number, callback: () => void): Timer;
}

/** A callback that is due. */
export interface Timer {
  /** Prevents the callback, if it was not called yet. */
  cancel(): void;
}

/** Where lines for people go. */
export interface Logger {
  warn(message: string): void;
}
