/** Writes packages/conformance/vectors from the reference model, or checks that they are up to date (`--check`). */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { vectorFiles } from './vector/file.ts';

const FOLDER = new URL('../packages/conformance/vectors/', import.meta.url);

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });
mkdirSync(FOLDER, { recursive: true });
for (const [name, text] of vectorFiles()) {
  const place = new URL(name, FOLDER);
  if (!values.check) writeFileSync(place, text);
  else if (readFileSync(place, 'utf8') !== text) {
    console.error(`${name} is out of date; npm run vectors writes it.`);
    process.exitCode = 1;
  }
}
