/** What the fuzzer says: findings as they come, and what the run came to. */

import { type Finding, type FuzzResult, type Progress, STREAM } from '@viommu/conformance/fuzz';
import { type Column, type Output, formatCount, formatNoun, roundSeconds } from '../output.ts';

const COLUMNS: readonly Column[] = [
  { title: 'fuzzer', align: 'left' },
  { title: 'runs', align: 'right' },
  { title: 'requests', align: 'right' },
  { title: 'a second, all threads', align: 'right' },
];

const DEVIATION_COLUMNS: readonly Column[] = [
  { title: 'known difference', align: 'left' },
  { title: 'times', align: 'right' },
];

export function tellFinding(finding: Finding, file: string, output: Output): void {
  const { fuzzer, kind, matter, evidence, seed, input } = finding;
  const steps = input.kind === 'stream' ? input.stream.steps.length : input.tape.length;
  output.event({ event: 'finding', fuzzer, kind, matter, evidence, seed, steps, file });
  if (output.json) return;
  output.line(`${output.style('red', kind)}  ${matter}`);
  output.line(`  ${evidence.split('\n')[0] ?? ''}`);
  const noun = formatNoun(steps, input.kind === 'stream' ? 'step' : 'random value');
  output.line(`  ${fuzzer}, seed ${seed}, ${noun}; viommu fuzz --replay ${file}`);
}

export function tellResult(result: FuzzResult, findings: number, output: Output): void {
  const { target, runs, requests, accesses, coverage, edgesThere, deviations, parts } = result;
  const edges = result.covered.filter((name) => name.startsWith('edge ')).length;
  const seconds = roundSeconds(result.seconds);
  const perSecond = Math.round(rateOf(result));
  const fuzzers = parts.map((part) => ({ ...part, perSecond: Math.round(part.perSecond) }));
  output.event({
    event: 'summary',
    target,
    runs,
    requests,
    findings,
    coverage,
    seconds,
    perSecond,
    accesses,
    edges,
    edgesThere,
    inputs: result.inputs,
    deviations,
    fuzzers,
  });
  if (output.json) return;
  output.heading(target);
  output.line(`  ${formatNoun(runs, 'run')}, ${formatNoun(requests, 'request')} in ${seconds} s`);
  const ofEdges =
    edgesThere > 0 ? `, ${formatCount(edges)} of ${formatCount(edgesThere)} edges` : '';
  output.line(`  coverage ${formatCount(coverage)}${ofEdges}; ${formatNoun(findings, 'finding')}`);
  output.table(
    COLUMNS,
    fuzzers.map((part) => [
      part.fuzzer,
      formatCount(part.runs),
      formatCount(part.requests),
      formatCount(part.perSecond),
    ]),
  );
  if (Object.keys(deviations).length === 0) return;
  output.table(
    DEVIATION_COLUMNS,
    Object.entries(deviations).map(([name, count]) => [name, formatCount(count)]),
  );
}

export function formatProgress(progress: Progress): string {
  const { runs, coverage, inputs, findings } = progress;
  const rate = formatCount(Math.round(rateOf(progress)));
  return `${formatNoun(runs, 'run')}, ${rate} requests/s, coverage ${coverage}, ${formatNoun(inputs, 'input')}, ${formatNoun(findings, 'finding')}`;
}

/** Of streams in lock-step with the model, if there are any. */
function rateOf({ parts, requests, seconds }: Progress): number {
  const streams = parts.find(({ fuzzer }) => fuzzer === STREAM);
  return streams?.perSecond ?? requests / Math.max(seconds, 0.001);
}
