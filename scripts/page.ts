/** Pieces of generated pages: tables, and tests in them. */

import type { TestRun } from './test-report.ts';

/** Tests by file: what each title says behind its claim, the first of them in full. */
export function namesOf(
  tests: readonly TestRun[],
  claimOf: (title: string) => string | undefined,
): string {
  return [...Map.groupBy(tests, ({ file }) => file)]
    .map(([file, [first, ...others]]) => {
      const title = first?.title ?? '';
      const rest = title.slice(claimOf(title)?.length).replace(/^[\s,:]+/, '');
      const more = others.length === 0 ? '' : ` (and ${others.length} more)`;
      const link = `[${file.replace(/^.*\//, '')}](../${file})`;
      return `${link}${rest === '' ? '' : `: ${escape(rest)}`}${more}`;
    })
    .join('<br>');
}

/** Text without a meaning for Markdown. */
export function escape(text: string): string {
  return text.replaceAll(/[|<\\`*_[\]]/g, (character) => `\\${character}`);
}

/** The lines of a table. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(heads), line(heads.map(() => '---')), ...rows.map(line)];
}
