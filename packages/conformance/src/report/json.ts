/** A report as events: one JSON object for each case, then one for the whole run. */

import type { ConformanceReport } from '../run.ts';
import type { CaseResult } from '../verdict.ts';

export type JsonEvent = Readonly<Record<string, unknown>>;

export function caseEvent(result: CaseResult): JsonEvent {
  const { id, clause, title, section, level, how, evidence, seconds, expected } = result;
  return {
    event: 'case',
    id,
    clause,
    level,
    result: result.result,
    ...(how === undefined ? {} : { how }),
    ...(expected === undefined ? {} : { expected }),
    title,
    section,
    evidence,
    seconds: Math.round(seconds * 1e5) / 1e5,
  };
}

/** The last lines: divergences that are gone, and the summary. */
export function closingEvents(report: ConformanceReport, seconds: number): JsonEvent[] {
  return [
    ...report.vanished.map((id) => ({ event: 'vanished', id })),
    {
      event: 'summary',
      target: report.target,
      ...report.summary,
      vanished: report.vanished.length,
      conforms: report.conforms,
      seconds: Math.round(seconds * 1000) / 1000,
    },
  ];
}
