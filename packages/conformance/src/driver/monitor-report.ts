/** What the monitor found in a recording, as a report: a result for every clause that the recording is about. */

import { CLAUSES, entryOf } from '../catalogue.ts';
import { summarize } from '../coverage.ts';
import type { ConformanceReport } from '../run.ts';
import type { CaseResult } from '../verdict.ts';
import { type StreamFinding, type StreamMonitor, weightOf } from './stream-monitor.ts';

/** Clauses first, in the order of the standard; then advice. */
export function monitorReport(
  name: string,
  { ledger }: StreamMonitor,
  findings: readonly StreamFinding[],
): ConformanceReport {
  const order = new Map(CLAUSES.map(({ id }, index) => [id, index]));
  const placeOf = (clause: string): number => order.get(clause) ?? CLAUSES.length;
  const results = ledger.clauses
    .toSorted((a, b) => placeOf(a) - placeOf(b))
    .map((clause): CaseResult => {
      const breaches = ledger.breaches(clause);
      const told = findings.filter((finding) => finding.clause === clause);
      const { level, result } = weightOf(clause);
      const looks = ledger.looks(clause);
      return {
        id: clause,
        clause,
        title:
          entryOf(clause)?.summary ??
          'No clause forbids it, and a device refuses it or does nothing.',
        section: entryOf(clause)?.section ?? 'Advice',
        level,
        result: breaches === 0 ? 'pass' : result,
        evidence: [
          breaches === 0 ? `kept ${looks} times` : `broken ${breaches} of ${looks} times`,
          ...told.map(({ line, message }) => `line ${line}: ${message}`),
        ],
        seconds: 0,
      };
    });
  const summary = summarize(results, '', 'driver');
  const uncovered = Object.fromEntries(
    Object.keys(summary.uncovered).map((id) => [
      id,
      'the recording has nothing that this is about',
    ]),
  );
  return {
    target: name,
    results,
    vanished: [],
    summary: { ...summary, uncovered },
    conforms: results.every(({ result }) => result !== 'fail'),
  };
}
