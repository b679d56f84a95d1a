/** `viommu fuzz --merge`: what several runs came to and kept, put together. */

import { statSync } from 'node:fs';
import {
  type SavedFinding,
  type Subject,
  mergeCorpora,
  mergeResults,
  minimiseCorpus,
  signatureOf,
} from '@viommu/conformance/fuzz';
import { IommuError } from '@viommu/common';
import { ExitCode, usageFailure } from '../failure.ts';
import { type Output, formatCount, formatNoun } from '../output.ts';
import { corpusFolder, readFindings, readResult, saveFinding, saveResult } from './store.ts';
import { tellFinding, tellResult } from './tell.ts';

/**
 * Puts the results, findings and inputs of these folders into `out`: each finding once, with its shortest input, and of
 * the inputs as few as reach what all of them do.
 */
export async function merge(
  folders: readonly string[],
  out: string,
  subject: Subject,
  output: Output,
): Promise<number> {
  const none = folders.find(
    (folder) => !statSync(folder, { throwIfNoEntry: false })?.isDirectory(),
  );
  if (none !== undefined) throw usageFailure(`${none} is no folder`);
  const result = merged(folders);
  const found = new Map<string, SavedFinding>();
  for (const saved of folders.flatMap(readFindings)) {
    const signature = signatureOf(saved.finding);
    const known = found.get(signature);
    if (known === undefined || lengthOf(saved) < lengthOf(known)) found.set(signature, saved);
  }
  for (const saved of found.values()) tellFinding(saved.finding, saveFinding(out, saved), output);
  saveResult(out, { ...result, findings: found.size });
  const { read, kept, problems } = await mergeCorpora(
    folders.map(corpusFolder),
    corpusFolder(out),
    (entries) => minimiseCorpus(subject, entries),
  );
  for (const problem of problems) output.note(problem);
  output.event({ event: 'corpus', read, kept });
  output.line(`${formatNoun(read, 'input')}, of which ${formatCount(kept)} reach the same`);
  tellResult(result, found.size, output);
  return found.size > 0 ? ExitCode.FAILED : ExitCode.OK;
}

function merged(folders: readonly string[]): ReturnType<typeof mergeResults> {
  try {
    return mergeResults(folders.map(readResult));
  } catch (error) {
    if (error instanceof IommuError) throw usageFailure(error.message);
    throw error;
  }
}

function lengthOf({ finding: { input } }: SavedFinding): number {
  return input.kind === 'stream' ? input.stream.steps.length : input.tape.length;
}
