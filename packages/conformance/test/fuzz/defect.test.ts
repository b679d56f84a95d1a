/** The canary of the fuzzer: defects planted in our own sources, which it must find. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DEFECTS } from './defect/list.ts';
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
    expect(DEFECTS.length).toBeGreaterThanOrEqual(30);
    expect(new Set(DEFECTS.map(({ name }) => name)).size).toBe(DEFECTS.length);
  });

  it.each(DEFECTS)('stand once in the sources: $name', ({ file, find, replace }) => {
    const parts = readFileSync(join(PACKAGES, file), 'utf8').split(find);
    expect(parts.length - 1).toBe(1);
    expect(find).not.toBe(replace);
  });

  it.each(CANARIES)('are found: %s', async (name) => {
    const defect = DEFECTS.find((one) => one.name === name);
    if (defect === undefined) throw new Error('There is no such defect.');
    expect((await seek(defect, 30)).matter).toBeDefined();
  });
});
