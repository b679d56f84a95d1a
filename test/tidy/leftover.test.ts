import { describe, expect, it } from 'vitest';
import { matches, textFiles } from './tree.ts';

/** Work that was put off: it goes into the list of issues. Written apart, so that this file passes its own rule. */
const LEFTOVER = new RegExp(`\\b(?:TO${'DO'}|FIX${'ME'}|XX${'X'}|HA${'CK'})\\b`);

describe('files', () => {
  it('hold no notes of unfinished work', () => {
    expect(textFiles().flatMap((file) => matches(file, LEFTOVER))).toEqual([]);
  });

  it('the rule finds a note', () => {
    const text = `a();\n// TO${'DO'}: more`;
    expect(matches({ path: 'a.ts', text }, LEFTOVER)).toEqual([`a.ts:2  TO${'DO'}`]);
    expect(matches({ path: 'a.ts', text: 'TODOS, hacker' }, LEFTOVER)).toEqual([]);
  });
});
