/** What a file of records holds: how many, in which blocks, and what of it is torn or damaged. */

import { closeSync, openSync, readSync } from 'node:fs';
import { isRecordFile, readRecordBlocks } from '@viommu/common/records';
import { nodeRecordFile } from '@viommu/machine/node';
import { ExitCode, printable } from '../failure.ts';
import { STANDARD_INPUT } from '../input.ts';
import { type Output, formatCount, formatNoun, formatValue } from '../output.ts';

const MAGIC_BYTES = 8;

/** True if a file of records is there. Whatever else is wrong shows when the file is read as something else. */
export function holdsRecords(file: string): boolean {
  if (file === STANDARD_INPUT) return false;
  const start = new Uint8Array(MAGIC_BYTES);
  try {
    const descriptor = openSync(file, 'r');
    try {
      return readSync(descriptor, start, 0, MAGIC_BYTES, 0) === MAGIC_BYTES && isRecordFile(start);
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return false;
  }
}

/** Prints what the file holds, with every record if they are wanted; the result is the exit code. */
export function inspectRecords(file: string, all: boolean, output: Output): number {
  using records = nodeRecordFile(file, { access: 'read' });
  let blocks = 0;
  let count = 0;
  let problems = 0;
  for (const item of readRecordBlocks(records)) {
    if (item.kind === 'block') {
      blocks += 1;
      for (const record of item.records) {
        count += 1;
        if (!all) continue;
        if (output.json) output.event({ event: 'record', number: count, record });
        else output.line(`${count}  ${printable(formatValue(record))}`);
      }
    } else {
      problems += 1;
      const { kind, position, length, reason } = item;
      output.event({ event: kind, position, length, reason });
      if (!output.json)
        output.line(
          `${printable(file)}: ${kind}: ${formatNoun(length, 'byte')} at ${position}: ${reason}`,
        );
    }
  }
  output.event({ event: 'records', file, records: count, blocks, problems });
  if (!output.json) {
    output.heading(printable(file));
    output.line(`  ${formatNoun(count, 'record')} in ${formatNoun(blocks, 'block')}`);
    if (problems > 0) output.line(`  ${formatCount(problems)} torn or damaged`);
  }
  return problems === 0 ? ExitCode.OK : ExitCode.FAILED;
}
