/**
 * Input files: plain or gzip (told by their first bytes, not by their names), `-` for standard input, read as a
 * stream of lines that know their numbers.
 */

import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { Failure, inputFailure } from './failure.ts';

/** The name that stands for standard input on the command line. */
export const STANDARD_INPUT = '-';

/** A line longer than this is no line of ours; an UNMAP that removed half a million mappings fits. */
const LINE_LENGTH_MAX = 1 << 24;
const GZIP_MAGIC = [0x1f, 0x8b] as const;
const LINE_FEED = '\n';

/** Takes one line without its line end; lines are numbered from 1. Throws to stop. */
export type LineTaker = (text: string, line: number) => void;

/** How a file is called in messages. */
export function inputName(file: string): string {
  return file === STANDARD_INPUT ? 'standard input' : file;
}

/**
 * Passes every line of `file` to `take`, in order.
 *
 * @throws {Failure} with the file, the line reached and the reason, if the file cannot be read to its end.
 */
export async function readLines(
  file: string,
  take: LineTaker,
  signal?: AbortSignal,
): Promise<void> {
  const decoder = new TextDecoder();
  let line = 0;
  let rest = '';
  const split = (text: string): void => {
    let start = 0;
    for (let end = text.indexOf(LINE_FEED); end >= 0; end = text.indexOf(LINE_FEED, start)) {
      line += 1;
      take(rest === '' ? text.slice(start, end) : rest + text.slice(start, end), line);
      rest = '';
      start = end + 1;
    }
    rest += text.slice(start);
    if (rest.length > LINE_LENGTH_MAX)
      throw inputFailure(inputName(file), line + 1, `the line is longer than ${LINE_LENGTH_MAX}`);
  };
  try {
    for await (const bytes of readBytes(file, signal)) split(decoder.decode(bytes, STREAMING));
    rest += decoder.decode();
  } catch (error) {
    throw explain(error, file, line + 1);
  }
  if (rest !== '') take(rest, line + 1);
}

const STREAMING = { stream: true } as const;

/** The bytes of `file`, unpacked if it is packed. Errors are those of Node. */
export async function* readBytes(file: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const source: Readable = file === STANDARD_INPUT ? process.stdin : createReadStream(file);
  const stop = (): void => void source.destroy(signal?.reason as Error); // our own reasons are errors
  signal?.addEventListener('abort', stop);
  try {
    const chunks = source[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>; // no encoding is set
    const head = await firstBytes(chunks);
    const whole = rejoin(head, chunks);
    if (head[0] === GZIP_MAGIC[0] && head[1] === GZIP_MAGIC[1]) yield* unpack(whole);
    else yield* whole;
  } finally {
    signal?.removeEventListener('abort', stop);
    source.destroy();
  }
}

/** As many chunks as it takes to have the two bytes that tell gzip, in one piece. */
async function firstBytes(chunks: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  let head: Uint8Array = new Uint8Array(0);
  while (head.length < GZIP_MAGIC.length) {
    const next = await chunks.next();
    if (next.done === true) break;
    head = head.length === 0 ? next.value : Buffer.concat([head, next.value]);
  }
  return head;
}

async function* rejoin(
  head: Uint8Array,
  chunks: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (head.length > 0) yield head;
  for (;;) {
    const next = await chunks.next();
    if (next.done === true) return;
    yield next.value;
  }
}

async function* unpack(packed: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip();
  const source = Readable.from(packed);
  source.on('error', (error) => gunzip.destroy(error));
  source.pipe(gunzip);
  try {
    for await (const chunk of gunzip) yield chunk as Uint8Array; // no encoding is set
  } finally {
    source.destroy();
    gunzip.destroy();
  }
}

/** What Node's errors mean to somebody with a file in hand. */
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'no permission to read it',
  EISDIR: 'it is a directory, not a file',
  ENOTDIR: 'a part of its path is no directory',
  Z_BUF_ERROR: 'the gzip data ends before its end mark: the file is cut off',
  Z_DATA_ERROR: 'the gzip data is damaged',
};

/** The failure to report for an error that reading gave; failures of ours pass through. */
export function explain(error: unknown, file: string, line?: number): Error {
  if (error instanceof Failure) return error;
  if (!(error instanceof Error)) return new Error(String(error));
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === undefined) return error;
  const reason = REASONS[code] ?? error.message;
  const opening = syscall === 'open' || (syscall === 'read' && code === 'EISDIR');
  return inputFailure(inputName(file), opening ? undefined : line, reason);
}
