/** A `viommu-stream` file, read event by event. */

import { type StreamEvent, StreamParser, type StreamVersion } from '@viommu/common';
import { inputFailure } from './failure.ts';
import { inputName, readLines } from './input.ts';

/** What stands around the events. */
export interface StreamFile {
  /** What the file is called in messages. */
  readonly name: string;
  readonly version: StreamVersion;
  readonly lines: number;
  /** The comments before the first event, without `#`, the header not among them. */
  readonly remarks: readonly string[];
}

/** Takes one event and the number of its line; a string says what is wrong with it and ends the reading. */
export type EventTaker = (event: StreamEvent, line: number) => string | undefined;

const REMARKS_MAX = 100;

/**
 * Passes every event of `file` to `take`, in order.
 *
 * @throws {Failure} with file, line and reason, for the first thing that is wrong.
 */
export async function readStream(
  file: string,
  take: EventTaker,
  signal?: AbortSignal,
): Promise<StreamFile> {
  const name = inputName(file);
  const parser = new StreamParser();
  const remarks: string[] = [];
  let started = false;
  await readLines(
    file,
    (text, line) => {
      const event = parser.line(text);
      if (event === undefined) {
        if (line > 1 && !started && remarks.length < REMARKS_MAX)
          remarks.push(text.slice(1).trim());
        return;
      }
      started = true;
      const reason = event.kind === 'error' ? event.reason : take(event, line);
      if (reason !== undefined) throw inputFailure(name, line, reason);
    },
    signal,
  );
  const missing = parser.end();
  // An empty file is wrong at its first line.
  if (missing !== undefined) throw inputFailure(name, missing.line || 1, missing.reason);
  // `end` has seen to it that there is a header.
  return { name, version: parser.version as StreamVersion, lines: parser.lines, remarks };
}
