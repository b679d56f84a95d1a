import { describe, expect, it } from 'vitest';
import { sourceFiles, type TextFile } from './tree.ts';

/** Beyond this a file holds a second noun and is split by it. */
const LINES_MAX = 400;

function tooLong(file: TextFile): string[] {
  const lines = file.text.trimEnd().split('\n').length;
  return lines > LINES_MAX ? [`${file.path}  ${lines} lines`] : [];
}

describe('source files', () => {
  it(`have at most ${LINES_MAX} lines`, () => {
    expect(sourceFiles().flatMap(tooLong)).toEqual([]);
  });

  it('the rule counts lines', () => {
    const ofLines = (count: number) => ({ path: 'a.ts', text: 'x\n'.repeat(count) });
    expect(tooLong(ofLines(LINES_MAX))).toEqual([]);
    expect(tooLong(ofLines(LINES_MAX + 1))).toEqual(['a.ts  401 lines']);
  });
});
