/** Reports as JUnit XML, for programs that show test results. */

import type { ConformanceReport } from '../run.ts';
import type { CaseResult } from '../verdict.ts';

/** One `testsuite` for each target. A warning counts as passed, and says so in its output. */
export function junitOf(reports: readonly ConformanceReport[]): string {
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<testsuites>',
    ...reports.flatMap(suiteOf),
    '</testsuites>',
    '',
  ].join('\n');
}

function suiteOf({ target, results, summary }: ConformanceReport): string[] {
  const seconds = results.reduce((sum, result) => sum + result.seconds, 0);
  const { fail, skip } = summary;
  const counts = `tests="${results.length}" failures="${fail}" skipped="${skip}"`;
  return [
    `  <testsuite name="${escapeXml(target)}" ${counts} time="${seconds.toFixed(3)}">`,
    ...results.flatMap(caseOf),
    '  </testsuite>',
  ];
}

function caseOf(one: CaseResult): string[] {
  const { id, title, section, level, result, how, evidence, seconds } = one;
  const open = `    <testcase classname="${escapeXml(section)}" name="${escapeXml(`${id}: ${title}`)}" time="${seconds.toFixed(4)}"`;
  const [first = result] = evidence;
  const text = escapeXml(evidence.join('\n'));
  switch (result) {
    case 'pass':
      return [`${open}/>`];
    case 'skip':
      return [`${open}>`, `      <skipped message="${escapeXml(first)}"/>`, '    </testcase>'];
    case 'warn':
      return [`${open}>`, `      <system-out>${level}: ${text}</system-out>`, '    </testcase>'];
    case 'fail':
      return [
        `${open}>`,
        `      <failure type="${how ?? level}" message="${escapeXml(first)}">${text}</failure>`,
        '    </testcase>',
      ];
  }
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
};

/** Text for XML and HTML: markup as entities, and control characters, which XML cannot have, as spaces. */
export function escapeXml(text: string): string {
  return text
    .replace(/[^\P{Cc}\n\t]/gu, ' ')
    .replace(/[&<>"]/g, (character) => ENTITIES[character] ?? character);
}
