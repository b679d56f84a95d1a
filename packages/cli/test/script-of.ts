/** Scripts made of lines of a stream, for tests. */

import { StreamParser } from '@viommu/common';
import type { Script } from '../src/replay/script.ts';
import { ScriptBuilder } from '../src/replay/script-builder.ts';

const HEAD = ['# viommu-stream 2', 'F 100000077', 'C 1000 0 ffffffffffffffff 0 ffffffff 40 1'];

/** The number of the line that the first of the lines given has. */
export const FIRST_LINE: number = HEAD.length + 1;

/** The script of these lines, which stand behind a header. */
export function scriptOf(...lines: readonly string[]): Script {
  const parser = new StreamParser();
  const builder = new ScriptBuilder();
  for (const text of [...HEAD, ...lines]) {
    const event = parser.line(text);
    if (event?.kind === 'error') throw new Error(`${event.line}: ${event.reason}`);
    if (event !== undefined) builder.add(event, parser.lines);
  }
  return builder.build();
}
