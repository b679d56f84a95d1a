/**
 * The file that `--record` writes: a `viommu-stream`, packed if its name ends with `.gz`.
 *
 * Lines are written as they come, to a file beside it, and the version of the header is known only at the end; then
 * the file gets its name. A machine that breaks down leaves the recording of what happened until then.
 */

import {
  closeSync,
  createReadStream,
  createWriteStream,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { STREAM_VERSION_MAX, type StreamVersion, streamHeader } from '@viommu/common';
import { explain } from '../input.ts';

/** A recording in the making. */
export class RecordingFile {
  readonly #path: string;
  readonly #partPath: string;
  readonly #part: number;
  #version: StreamVersion = 1;
  #lines = 0;
  #open = true;

  /** @throws {Failure} if the file cannot be written. */
  constructor(path: string, remark: string) {
    this.#path = path;
    this.#partPath = `${path}.part`;
    try {
      this.#part = openSync(this.#partPath, 'w');
    } catch (error) {
      throw explain(error, path);
    }
    this.#write(`${streamHeader(STREAM_VERSION_MAX)}\n# ${remark}\n`);
  }

  /** Events written so far. */
  get lines(): number {
    return this.#lines;
  }

  /** The lowest version that has all lines so far. */
  get version(): StreamVersion {
    return this.#version;
  }

  /** Adds lines, of which `version` is the lowest that has them and all lines before. */
  add(lines: readonly string[], version: StreamVersion): void {
    this.#version = version;
    this.#lines += lines.length;
    this.#write(`${lines.join('\n')}\n`);
  }

  /** Gives the file its header and its name. */
  async finish(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    try {
      // All versions have one digit, so that only the digit changes.
      const header = new TextEncoder().encode(streamHeader(this.#version));
      writeSync(this.#part, header, 0, header.length, 0);
      closeSync(this.#part);
      if (this.#path.endsWith('.gz')) await this.#pack();
      else renameSync(this.#partPath, this.#path);
    } catch (error) {
      throw explain(error, this.#path);
    }
  }

  async #pack(): Promise<void> {
    const source = createReadStream(this.#partPath);
    await pipeline(source, createGzip(), createWriteStream(this.#path));
    rmSync(this.#partPath);
  }

  #write(text: string): void {
    try {
      writeSync(this.#part, text);
    } catch (error) {
      throw explain(error, this.#path);
    }
  }
}
