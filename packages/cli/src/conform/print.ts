/** The reports of the suite as people read them. */

import type { CaseResult, ConformanceReport } from '@viommu/conformance';
import { type Output, formatNoun } from '../output.ts';

const STYLES = { pass: 'green', warn: 'yellow', fail: 'red', skip: 'dim' } as const;
const RESULTS = ['pass', 'fail', 'warn', 'skip'] as const;

/** One target: its cases by section, then what it comes to. */
export function printReport(report: ConformanceReport, seconds: number, output: Output): void {
  const { target, results, vanished } = report;
  const sections = new Set(results.map(({ section }) => section));
  for (const section of sections) {
    output.heading(section);
    for (const result of results) if (result.section === section) printCase(result, output);
  }
  output.line();
  output.heading(target);
  for (const id of vanished)
    output.line(`  ${output.style('yellow', 'gone')}  ${id} is listed as a divergence and is none`);
  printTotals(report, seconds, output);
}

function printCase(one: CaseResult, output: Output): void {
  const { id, result, level, how, expected, title, evidence } = one;
  const words = [how, expected === true ? 'expected' : undefined].filter(Boolean).join(', ');
  output.line(
    `  ${output.style(STYLES[result], result)}  ${id}  ${title}${words === '' ? '' : ` (${words})`}`,
  );
  const [first, ...rest] = evidence;
  if (first === undefined) return;
  if (result === 'pass' || result === 'skip') {
    for (const line of evidence) output.line(`        ${output.style('dim', line)}`);
    return;
  }
  output.line(`        ${level}: ${first}`);
  for (const line of rest) output.line(`          ${line}`);
}

function printTotals({ summary }: ConformanceReport, seconds: number, output: Output): void {
  const counts = RESULTS.map((name) => {
    const text = `${summary[name]} ${name}`;
    return summary[name] > 0 ? output.style(STYLES[name], text) : text;
  });
  const listed = summary.expected > 0 ? `, ${summary.expected} of them expected` : '';
  output.line(`  ${counts.join(', ')}${listed}; ${seconds.toFixed(1)} s`);
  const { covered, total } = summary.clauses;
  const areas = Object.entries(summary.areas)
    .filter(([, share]) => share.covered > 0)
    .map(([area, share]) => `${area} ${share.covered}/${share.total}`);
  const others = areas.length > 0 ? `; elsewhere: ${areas.join(', ')}` : '';
  output.line(`  ${covered} of ${formatNoun(total, 'clause')} of the IOMMU chapter${others}`);
  for (const [id, reason] of Object.entries(summary.uncovered))
    output.line(`  ${output.style('dim', 'no verdict')}  ${id}: ${reason}`);
}
