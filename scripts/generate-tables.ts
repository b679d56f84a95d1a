/**
 * Writes the tables of the documents that repeat what the code says, or checks that they are up to date (`--check`).
 *
 * A document holds a table between two comments, `<!-- table: NAME -->` and `<!-- end of table -->`. Everything else in
 * it is written by hand.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import * as common from '@viommu/common';
import * as transport from '@viommu/transport';

/** Where each table belongs, and what makes its lines. */
const TABLES: readonly { document: string; name: string; lines: () => string[] }[] = [
  { document: 'docs/errors.md', name: 'error codes', lines: errorCodes },
  { document: 'docs/layouts.md', name: 'structures', lines: () => structures(common) },
  {
    document: 'docs/layouts.md',
    name: 'structures of our own',
    lines: () => structures(transport),
  },
];

function errorCodes(): string[] {
  const rows = Object.entries(common.ERROR_CODES).map(([code, text]) => [`\`${code}\``, text]);
  return table(['code', 'meaning'], rows);
}

/** One row for each structure that a package exports, with the offset of every field. */
function structures(exported: Readonly<Record<string, unknown>>): string[] {
  const rows = Object.entries(exported)
    .filter((entry): entry is [string, common.AnyStruct] => isStruct(entry[1]))
    .sort(([, a], [, b]) => (a.name < b.name ? -1 : 1))
    .map(([name, { name: standard, size, fields }]) => [
      `\`${standard}\``,
      `\`${name}\``,
      String(size),
      fields.map((field) => `${field.offset}\u00a0${field.name}`).join(', '),
    ]);
  return table(['structure', 'declared as', 'bytes', 'fields, each after its offset'], rows);
}

function isStruct(value: unknown): value is common.AnyStruct {
  return typeof value === 'object' && value !== null && 'fields' in value && 'encode' in value;
}

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(heads), line(heads.map(() => '---')), ...rows.map(line)];
}

/** `text` with the lines of the table `name` replaced. */
function replaceTable(text: string, name: string, lines: readonly string[]): string {
  const begin = `<!-- table: ${name} -->\n`;
  const from = text.indexOf(begin);
  const to = text.indexOf('<!-- end of table -->', from);
  if (from === -1 || to === -1) throw new Error(`The document has no table "${name}".`);
  return `${text.slice(0, from + begin.length)}\n${lines.join('\n')}\n\n${text.slice(to)}`;
}

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });
for (const { document, name, lines } of TABLES) {
  const place = new URL(`../${document}`, import.meta.url);
  const text = readFileSync(place, 'utf8');
  const wanted = replaceTable(text, name, lines());
  if (wanted === text) continue;
  if (values.check) {
    console.error(`${document}: the table "${name}" is out of date; npm run tables writes it.`);
    process.exitCode = 1;
  } else {
    writeFileSync(place, wanted);
    console.log(`${document}: wrote the table "${name}".`);
  }
}
