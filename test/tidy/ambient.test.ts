import { describe, expect, it } from 'vitest';
import { parse } from './syntax.ts';
import { NEUTRAL_PACKAGES, readText, sourceFiles, packageOf, type TextFile } from './tree.ts';

/**
 * What belongs to a platform or is different on every run. A neutral package gets these as arguments, so that a test
 * can be repeated and a browser can run the same code. Most of the names do not even compile there; `declare`, which
 * would smuggle one in, is found as well.
 */
const CLOCKS = ['Date', 'performance', 'setTimeout', 'setInterval', 'setImmediate'];
const PLATFORM = ['console', 'process', 'Buffer', 'globalThis', 'crypto', 'fetch'];
const AMBIENT = new Set(CLOCKS.concat(PLATFORM, 'queueMicrotask'));

function ambientUses(file: TextFile): string[] {
  const module = parse(file);
  const found: string[] = [];
  const names = new Set<object>();
  module.visit({
    // Names of properties are no uses: `options.clock.performance` is somebody else's.
    MemberExpression: (node) => {
      if (!node.computed) names.add(node.property);
      const { object, property } = node;
      if (object.type !== 'Identifier' || object.name !== 'Math') return;
      if (property.type === 'Identifier' && property.name === 'random')
        found.push(`${module.at(node)}  Math.random`);
    },
    Property: (node) => void (node.computed || names.add(node.key)),
    PropertyDefinition: (node) => void (node.computed || names.add(node.key)),
    MethodDefinition: (node) => void (node.computed || names.add(node.key)),
    TSPropertySignature: (node) => void (node.computed || names.add(node.key)),
    TSMethodSignature: (node) => void (node.computed || names.add(node.key)),
    VariableDeclaration: (node) => {
      if (node.declare !== true) return;
      for (const { id } of node.declarations) {
        const type = id.typeAnnotation?.typeAnnotation;
        // A brand: it has a type and never a value.
        if (type?.type === 'TSTypeOperator' && type.operator === 'unique') continue;
        found.push(`${module.at(node)}  declare ${node.kind}`);
      }
    },
    TSModuleDeclaration: (node) => void found.push(`${module.at(node)}  declare ${node.kind}`),
    Identifier: (node) => {
      if (AMBIENT.has(node.name) && !names.has(node))
        found.push(`${module.at(node)}  ${node.name}`);
    },
  });
  return found;
}

const isNeutral = (name: string | undefined): boolean =>
  (NEUTRAL_PACKAGES as readonly (string | undefined)[]).includes(name); // wider than the tuple

describe('neutral packages', () => {
  it('use no console, clock, timer, random source or other part of a platform', () => {
    const files = sourceFiles().filter(({ path }) => isNeutral(packageOf(path)));
    expect(files.length).toBeGreaterThan(0);
    expect(files.flatMap(ambientUses)).toEqual([]);
  });

  it.each(NEUTRAL_PACKAGES)('%s is compiled without the types of any platform', (name) => {
    const { compilerOptions } = JSON.parse(readText(`packages/${name}/tsconfig.json`)) as {
      compilerOptions: { types?: string[]; lib?: string[] };
    }; // the few keys that the rule reads
    expect(compilerOptions.types ?? []).toEqual([]);
    expect(compilerOptions.lib ?? []).not.toContain('dom');
  });

  it('the rule finds planted uses', () => {
    const planted = (text: string) => ambientUses({ path: 'a.ts', text });
    expect(planted('export const now = (): number =>\n  Date.now();')).toEqual(['a.ts:2  Date']);
    expect(planted('const x = Math.random();')).toEqual(['a.ts:1  Math.random']);
    expect(planted('setTimeout(f, 1);')).toEqual(['a.ts:1  setTimeout']);
    expect(planted('const t = performance.now();')).toEqual(['a.ts:1  performance']);
    expect(planted('const log = { console };')).toEqual(['a.ts:1  console']);
    expect(planted('class A { clock = globalThis; }')).toEqual(['a.ts:1  globalThis']);
    expect(planted('declare const window: unknown;')).toEqual(['a.ts:1  declare const']);
    expect(planted('declare global {}')).toEqual(['a.ts:1  declare global']);
  });

  it('the rule leaves alone comments, strings and properties of the same name', () => {
    const text = `// Date.now() and setTimeout
      const o = { console: 'Math.random', process() {} };
      class A { fetch = 1; performance(): void {} }
      interface B { Date: number; crypto(): void }
      declare const brand: unique symbol;
      o.process(); Math.min(1, 2);`;
    expect(ambientUses({ path: 'a.ts', text })).toEqual([]);
  });
});
