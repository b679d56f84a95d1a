/** The canary of the fuzzer: defects planted in our own sources, which it must find. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { EVERY_DEFECT } from './defect/every.ts';
import { seek } from './defect/run.ts';

const PACKAGES = join(import.meta.dirname, '..', '..', '..');
/** One each of the device, the books, an access, the rings of both sides. All are looked for by `npm run defects`. */
const CANARIES = [
  'UNMAP that would cut a mapping is INVAL',
  'flags of mappings are not saved',
  'an access goes on behind its mapping',
  'the lap does not turn',
  'the driver takes the length of the entry behind',
];

describe('planted defects', () => {
  it('are enough, each of its own name', () => {
    expect(EVERY_DEFECT.length).toBeGreaterThanOrEqual(30);
    const names = EVERY_DEFECT.map(({ file, name }) => `${file}: ${name}`);
    expect(new Set(names).size).toBe(names.length);
  });

  it.each(EVERY_DEFECT)('stand once in the sources: $name', ({ file, find, replace }) => {
    const parts = readFileSync(join(PACKAGES, file), 'utf8').split(find);
    expect(parts.length - 1).toBe(1);
    expect(find).not.toBe(replace);
  });

  it.each(CANARIES)('are found: %s', async (name) => {
    const defect = EVERY_DEFECT.find((one) => one.name === name);
    if (defect === undefined) throw new Error('There is no such defect.');
    expect((await seek(defect, 30)).matter).toBeDefined();
  });
});
