/** Reports as one page that needs nothing else: a row for each case, a column for each target. */

import type { ConformanceReport } from '../run.ts';
import type { CaseResult } from '../verdict.ts';
import { escapeXml } from './junit.ts';

const STYLE = `
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 78rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #8884; padding: .3rem .5rem; text-align: left; vertical-align: top; }
th { position: sticky; top: 0; background: Canvas; }
tbody th { font-size: 1.05rem; padding-top: 1.4rem; position: static; }
code, pre { font: 12.5px/1.4 ui-monospace, monospace; }
pre { margin: .3rem 0; overflow-x: auto; max-width: 46rem; }
td:nth-child(3), .n { white-space: nowrap; }
.pass { color: #2a7d3f } .warn { color: #a86500 } .fail { color: #c2252d; font-weight: 600 } .skip { color: #888 }
summary { cursor: pointer }
small { color: #888 }
`;

const RESULTS = ['pass', 'fail', 'warn', 'skip'] as const;

/** The page. The same cases should have run against all targets; one that is missing leaves its cell empty. */
export function htmlOf(reports: readonly ConformanceReport[]): string {
  const found = reports.map(
    ({ results }) => new Map(results.map((result) => [result.id, result] as const)),
  );
  const cases = new Map(reports.flatMap(({ results }) => results.map((one) => [one.id, one])));
  const rows: string[] = [];
  let section = '';
  for (const one of cases.values()) {
    if (one.section !== section) {
      section = one.section;
      rows.push(`<tr><th colspan="${3 + reports.length}">${escapeXml(section)}</th></tr>`);
    }
    rows.push(
      `<tr id="${escapeXml(one.id)}"><td><code>${escapeXml(one.id)}</code></td><td>${escapeXml(one.title)}</td>` +
        `<td>${one.level}</td>${found.map((results) => cell(results.get(one.id))).join('')}</tr>`,
    );
  }
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>virtio-iommu conformance: ${escapeXml(reports.map(({ target }) => target).join(', '))}</title>
<style>${STYLE}</style></head><body>
<h1>virtio-iommu conformance</h1>
<table class="n"><thead><tr><th>target</th>${RESULTS.map((name) => `<th>${name}</th>`).join('')}<th>expected</th><th>clauses of the IOMMU chapter</th></tr></thead><tbody>
${reports.map(totals).join('\n')}
</tbody></table>
<p><small>A broken MUST fails, a broken SHOULD warns, an open choice passes and is reported.</small></p>
<table><thead><tr><th>case</th><th>what</th><th>level</th>${reports.map(({ target }) => `<th>${escapeXml(target)}</th>`).join('')}</tr></thead><tbody>
${rows.join('\n')}
</tbody></table>
${reports.map(uncovered).join('\n')}
</body></html>
`;
}

function totals({ target, summary }: ConformanceReport): string {
  const { covered, total } = summary.clauses;
  const counts = RESULTS.map((name) => `<td class="${name}">${summary[name]}</td>`).join('');
  return `<tr><td>${escapeXml(target)}</td>${counts}<td>${summary.expected}</td><td>${covered} of ${total}</td></tr>`;
}

function cell(one: CaseResult | undefined): string {
  if (one === undefined) return '<td></td>';
  const { result, how, expected, evidence } = one;
  const verdict = [result, how, expected === true ? 'expected' : undefined]
    .filter((word) => word !== undefined)
    .join(', ');
  const text = `<span class="${result}">${verdict}</span>`;
  if (evidence.length === 0) return `<td>${text}</td>`;
  return `<td><details><summary>${text}</summary><pre>${escapeXml(evidence.join('\n'))}</pre></details></td>`;
}

function uncovered({ target, summary }: ConformanceReport): string {
  const reasons = Object.entries(summary.uncovered);
  if (reasons.length === 0) return '';
  const rows = reasons.map(
    ([id, reason]) =>
      `<tr><td><code>${escapeXml(id)}</code></td><td>${escapeXml(reason)}</td></tr>`,
  );
  return `<h2>Clauses without a verdict for ${escapeXml(target)}</h2><table>${rows.join('\n')}</table>`;
}
