/** One line on a terminal that says how far long work has come. Nothing for the first second, and nothing in a pipe. */

import type { TextStream } from './output.ts';

const FIRST_MS = 1000;
const REDRAW_MS = 100;
const CLEAR_LINE = '\r\u001b[2K';

/** Redraws a line while work goes on. */
export class Progress {
  readonly #stream: TextStream;
  readonly #text: () => string;
  #timer: NodeJS.Timeout | undefined;
  #drawn = false;

  /** `text` says how far the work is, in one line that fits a terminal. */
  constructor(stream: TextStream, text: () => string) {
    this.#stream = stream;
    this.#text = text;
    if (stream.isTTY !== true) return;
    this.#timer = setTimeout(() => {
      this.#draw();
      this.#timer = setInterval(() => this.#draw(), REDRAW_MS);
      this.#timer.unref();
    }, FIRST_MS);
    this.#timer.unref();
  }

  /** Wipes the line, before something else is written. It comes back. */
  clear(): void {
    if (this.#drawn) this.#stream.write(CLEAR_LINE);
    this.#drawn = false;
  }

  /** Wipes the line for good. */
  end(): void {
    clearTimeout(this.#timer);
    this.clear();
  }

  #draw(): void {
    this.#stream.write(`${CLEAR_LINE}${this.#text()}`);
    this.#drawn = true;
  }
}

/** A share of the whole as people read it, `42 %`. */
export function formatShare(done: number, total: number): string {
  return `${total === 0 ? 100 : Math.floor((100 * done) / total)} %`;
}
