/**
 * Plants every defect of the fuzzer's list, one at a time in threads of their own, and writes how fast each is found to
 * docs/fuzz-defects.md: `npm run defects`. Ends with code 1 if one is not found within a minute, or too many take long.
 */

import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { EVERY_DEFECT } from '../packages/conformance/test/fuzz/defect/every.ts';
import type { Defect } from '../packages/conformance/test/fuzz/defect/list.ts';
import { seek } from '../packages/conformance/test/fuzz/defect/run.ts';
import type { DefectOutcome } from '../packages/conformance/test/fuzz/defect/worker.ts';

const SECONDS_MAX = 60;
const SECONDS_GOOD = 10;
const SHARE_GOOD = 0.9;
const FILE = new URL('../docs/fuzz-defects.md', import.meta.url);

const outcomes = new Map<Defect, DefectOutcome>();
const turns = EVERY_DEFECT.values();
async function lane(): Promise<void> {
  for (const defect of turns) {
    const outcome = await seek(defect, SECONDS_MAX);
    outcomes.set(defect, outcome);
    process.stdout.write(
      `${outcome.seconds.toFixed(1)} s  ${defect.name}: ${outcome.fuzzer}, ${outcome.matter}\n`,
    );
  }
}
await Promise.all(Array.from({ length: availableParallelism() }, lane));

const rows = EVERY_DEFECT.map((defect) => ({ defect, outcome: outcomes.get(defect) }));
const found = rows.filter(({ outcome }) => outcome?.matter !== undefined);
const fast = found.filter(({ outcome }) => (outcome?.seconds ?? Infinity) <= SECONDS_GOOD);
const lines = [
  '# Planted defects',
  '',
  'Written by `npm run defects`: each change of the lists in `packages/conformance/test/fuzz/defect/` is made to the sources',
  'as a thread loads them, and in this one thread all fuzzers take turns, as they do in `viommu fuzz`, until one shows something.',
  'Seconds are processor time of that thread; the command has one for each processor.',
  '',
  `${found.length} of ${rows.length} are found, ${fast.length} within ${SECONDS_GOOD} s.`,
  '',
  '| defect | in | seconds | requests | found by | as |',
  '| --- | --- | ---: | ---: | --- | --- |',
  ...rows.map(({ defect: { name, file }, outcome }) => {
    const { matter = 'not found', fuzzer = '', seconds = 0, requests = 0 } = outcome ?? {};
    const cells = [name, `\`${file}\``, seconds.toFixed(1), String(requests), fuzzer, matter];
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  }),
  '',
];
writeFileSync(FILE, lines.join('\n'));
const enough = found.length === rows.length && fast.length >= SHARE_GOOD * rows.length;
process.exitCode = enough ? 0 : 1;
