import { describe, expect, it } from 'vitest';
import { parse } from './syntax.ts';
import { sourceFiles, type TextFile } from './tree.ts';

const ACCESSOR = /^[gs]et(?:Big)?(?:Ui|I)nt(?:8|16|32|64)$/;

/**
 * Numbers that may stand in a position: where a view begins, and the way from the low to the high half of a 64-bit
 * field.
 */
const HARMLESS = new Set([0, 4]);

/** Offsets are written once, in a layout (`common/src/wire/struct.ts`), and elsewhere by their name. */
function offsetLiterals(file: TextFile): string[] {
  const module = parse(file);
  const found: string[] = [];
  module.visit({
    CallExpression: ({ callee, arguments: [position] }) => {
      if (callee.type !== 'MemberExpression' || callee.property.type !== 'Identifier') return;
      if (position === undefined || !ACCESSOR.test(callee.property.name)) return;
      const text = file.text.slice(position.start, position.end);
      const numbers = text.match(/(?<![\w.$])(?:0x[\da-f]+|\d+)(?![\w.])/gi) ?? [];
      if (numbers.some((digits) => !HARMLESS.has(Number(digits))))
        found.push(`${module.at(position)}  ${callee.property.name}(${text}`);
    },
  });
  return found;
}

describe('positions in memory', () => {
  it('are never written as numbers outside the layouts', () => {
    expect(sourceFiles().flatMap(offsetLiterals)).toEqual([]);
  });

  it('the rule finds a number in a position', () => {
    const planted = (text: string) => offsetLiterals({ path: 'a.ts', text });
    expect(planted('view.getUint32(at + 8, true);')).toEqual(['a.ts:1  getUint32(at + 8']);
    expect(planted('m.setUint16(base + 2 * slot, 1);')).toEqual([
      'a.ts:1  setUint16(base + 2 * slot',
    ]);
    expect(planted('v.getBigUint64(0x10);')).toEqual(['a.ts:1  getBigUint64(0x10']);
  });

  it('the rule allows names, the start, the high half and values', () => {
    const text =
      'v.getUint8(0); v.setUint32(at + addr + 4, 99); v.getUint16(at + MapRequest.offset.flags2);';
    expect(offsetLiterals({ path: 'a.ts', text })).toEqual([]);
  });
});
