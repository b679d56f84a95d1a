/**
 * What commands say: plain lines and tables to people, or, under `--json`, one JSON object a line to programs. Under
 * `--json` standard output holds nothing else, and whatever is said to people goes to standard error.
 */

import { styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];

/** A stream of text, such as the standard ones. */
export interface TextStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

export interface OutputOptions {
  readonly json: boolean;
  readonly stdout: TextStream;
  readonly stderr: TextStream;
  /** Where `NO_COLOR` and `TERM` stand. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Right-aligned cells are figures. */
export interface Column {
  readonly title: string;
  readonly align: 'left' | 'right';
}

/** Where a command writes. */
export class Output {
  /** True if the reader is a program. */
  readonly json: boolean;
  readonly #people: TextStream;
  readonly #programs: TextStream;
  /** Standard error, for what is drawn over again. */
  readonly notes: TextStream;
  readonly #environment: OutputOptions['environment'];

  constructor({ json, stdout, stderr, environment }: OutputOptions) {
    this.json = json;
    this.#people = json ? stderr : stdout;
    this.#programs = stdout;
    this.notes = stderr;
    this.#environment = environment;
  }

  /** A line for people. */
  line(text = ''): void {
    this.#people.write(`${text}\n`);
  }

  /** A line for people that opens a section. */
  heading(text: string): void {
    this.line(this.style('bold', text));
  }

  /** A line on standard error, whoever reads. */
  note(text: string): void {
    this.notes.write(`${text}\n`);
  }

  /** Text of a program that runs inside a command, as it comes. */
  pass(text: string, stream: 'stdout' | 'stderr'): void {
    (stream === 'stdout' ? this.#people : this.notes).write(text);
  }

  /** An object for programs; big integers become hex strings with `0x`. Nothing without `--json`. */
  event(value: Readonly<Record<string, unknown>>): void {
    if (this.json) this.#programs.write(`${formatValue(value)}\n`);
  }

  /** Rows in columns, two spaces in. */
  table(columns: readonly Column[], rows: readonly (readonly string[])[]): void {
    const widths = columns.map(({ title }, index) =>
      rows.reduce((width, row) => Math.max(width, row[index]?.length ?? 0), title.length),
    );
    const format = (cells: readonly string[]): string =>
      cells
        .map((cell, index) => {
          const width = widths[index] ?? 0;
          return columns[index]?.align === 'right' ? cell.padStart(width) : cell.padEnd(width);
        })
        .join('  ')
        .trimEnd();
    if (columns.some(({ title }) => title !== ''))
      this.line(`  ${this.style('dim', format(columns.map(({ title }) => title)))}`);
    for (const row of rows) this.line(`  ${format(row)}`);
  }

  /** `text` in a style where people look at a terminal and have not refused colour. */
  style(style: Style, text: string): string {
    const { NO_COLOR: noColor = '', TERM: terminal = '' } = this.#environment;
    const plain = this.#people.isTTY !== true || noColor !== '' || terminal === 'dumb';
    return plain ? text : styleText(style, text, { validateStream: false });
  }
}

/** A whole number with separators, as people read it. */
export function formatCount(value: number | bigint): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** A count and its noun: `1 line`, `2 lines`. */
export function formatNoun(count: number | bigint, noun: string, plural = `${noun}s`): string {
  return `${formatCount(count)} ${Number(count) === 1 ? noun : plural}`;
}

/** An address, as people and programs read it. */
export function formatAddress(value: bigint): string {
  return `0x${value.toString(16)}`;
}

/** A range with both ends, the last one included. */
export function formatRange(start: bigint, last: bigint): string {
  return `${formatAddress(start)}-${formatAddress(last)}`;
}

/** A number of bytes in the largest unit that divides it. */
export function formatBytes(bytes: bigint): string {
  let unit = 0;
  let count = bytes;
  while (count !== 0n && count % 1024n === 0n && unit < BYTE_UNITS.length - 1) {
    count /= 1024n;
    unit += 1;
  }
  return unit === 0 ? formatNoun(count, 'byte') : `${formatCount(count)} ${BYTE_UNITS[unit]}`;
}

const BYTE_UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'] as const;

/** Seconds with no more digits than mean something. */
export function roundSeconds(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}

/** Any value of a program on one line. */
export function formatValue(value: unknown): string {
  return JSON.stringify(value, hexBigints) ?? String(value);
}

function hexBigints(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? formatAddress(value) : value;
}
