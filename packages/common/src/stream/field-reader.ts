/** The fields of one line, read from left to right. The first problem is kept, and reading on is harmless. */

const HEX = /^[0-9a-fA-F]{1,16}$/;
const DECIMAL = /^[0-9]{1,10}$/;
/** Below this many hex digits a value is exact as a number. */
const EXACT_HEX_DIGITS = 13;
const QUOTE_MAX = 40;

/** Reads fields; a field that is not what was asked for reads as 0 and sets `problem`. */
export class FieldReader {
  /** What was wrong first, as the end of a sentence; `undefined` as long as nothing was. */
  problem: string | undefined;
  #fields: readonly string[] = [];
  #next = 0;

  /** Turns to the fields of another line, from index `first` on. */
  start(fields: readonly string[], first: number): void {
    this.problem = undefined;
    this.#fields = fields;
    this.#next = first;
  }

  /** The number of fields not read yet. */
  get left(): number {
    return this.#fields.length - this.#next;
  }

  /** The next field as it stands; empty at the end of the line. */
  word(): string {
    return this.#fields[this.#next++] ?? '';
  }

  /** A hex number of at most 64 bits, without `0x`. */
  hex64(name: string): bigint {
    const text = this.word();
    const value = parseHex(text);
    if (value !== undefined) return value;
    return BigInt(this.fail(`${name} is not a hex number of 1 to 16 digits: ${quote(text)}`));
  }

  /** A hex number, without `0x`, from 0 to `max`. */
  hex(name: string, max: number): number {
    const value = this.hex64(name);
    if (value <= BigInt(max)) return Number(value);
    return this.fail(`${name} is above ${max.toString(16)}: ${value.toString(16)}`);
  }

  /** A decimal number from `min` to `max`, at most 10 digits. */
  decimal(name: string, max: number, min = 0): number {
    const text = this.word();
    if (!DECIMAL.test(text))
      return this.fail(`${name} is not a decimal number of 1 to 10 digits: ${quote(text)}`);
    const value = Number(text);
    if (value > max) return this.fail(`${name} is above ${max}: ${text}`);
    if (value < min) return this.fail(`${name} is below ${min}: ${text}`);
    return value;
  }

  /** One of some words. */
  choice<const Word extends string>(name: string, words: readonly [Word, ...Word[]]): Word {
    const text = this.word();
    for (const word of words) if (word === text) return word;
    this.fail(`${name} is none of ${words.join(', ')}: ${quote(text)}`);
    return words[0];
  }

  /** A hex number of 64 bits, or a sign that stands for no number. */
  hex64Or<const Sign extends string>(name: string, sign: Sign): bigint | Sign {
    if (this.#fields[this.#next] !== sign) return this.hex64(name);
    this.#next++;
    return sign;
  }

  /** Two hex numbers of 64 bits with a hyphen between them, in order. */
  hexPair(name: string): { start: bigint; last: bigint } {
    const text = this.word();
    const hyphen = text.indexOf('-');
    const start = hyphen < 0 ? undefined : parseHex(text.slice(0, hyphen));
    const last = parseHex(text.slice(hyphen + 1));
    if (start !== undefined && last !== undefined) {
      if (last < start) this.fail(`${name} ends before it starts: ${quote(text)}`);
      return { start, last };
    }
    this.fail(`${name} is not two hex numbers with a hyphen between them: ${quote(text)}`);
    return { start: 0n, last: 0n };
  }

  /** Notes a problem, unless one is known; 0, to be returned as the value. */
  fail(problem: string): number {
    this.problem ??= problem;
    return 0;
  }
}

/** Text of a stranger for a message: escaped, and cut where it is long. */
export function quote(text: string): string {
  return JSON.stringify(text.length > QUOTE_MAX ? `${text.slice(0, QUOTE_MAX)}…` : text);
}

function parseHex(text: string): bigint | undefined {
  if (!HEX.test(text)) return undefined;
  return text.length <= EXACT_HEX_DIGITS ? BigInt(Number.parseInt(text, 16)) : BigInt(`0x${text}`);
}
