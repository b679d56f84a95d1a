/** Instrumented modules: they do what they did, and tell what they went through. */

import { readFileSync, readdirSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { ComparisonLog } from '../../src/fuzz/feedback/comparison-log.ts';
import { Feedback } from '../../src/fuzz/feedback/feedback.ts';
import { instrument } from '../../src/fuzz/feedback/instrument.ts';
import { FIRST_EDGE, PROBE_KEY, Probe, setProbe } from '../../src/fuzz/feedback/probe.ts';

afterEach(() => void Reflect.deleteProperty(globalThis, Symbol.for(PROBE_KEY)));

const FIRST = { edge: FIRST_EDGE, comparison: 0 };

/** The default export of a module with probes, and what counts for it. */
async function load(
  source: string,
): Promise<{ run: (...values: never[]) => unknown; probe: Probe }> {
  const probe = new Probe();
  setProbe(probe);
  const { code, edges, comparisons } = instrument(source, FIRST);
  probe.edges += edges;
  probe.comparisons += comparisons;
  return { run: (await importText(code)) as (...values: never[]) => unknown, probe }; // a function
}

async function importText(text: string): Promise<unknown> {
  const url = `data:text/javascript,${encodeURIComponent(text)}`;
  return ((await import(url)) as { default: unknown }).default; // has one
}

/** Each with arguments to call it with. */
const PROGRAMS: readonly (readonly [string, string, readonly unknown[]])[] = [
  [
    'else of the inner if',
    '(a) => { if (a > 1) if (a > 5) return 1; else return 2; return 3; }',
    [0, 2, 9],
  ],
  [
    'if without braces',
    '(a) => { let x = 0; if (a) x = 1; else if (a === 0) x = 2; return x; }',
    [0, 1, null],
  ],
  ['objects out of arrows', '(a) => [1, 2].map((b) => ({ a, b }))', [1]],
  ['conditionals', '(a) => a > 3 ? a < 5 ? "x" : "y" : (a, "z")', [1, 4, 7]],
  ['logic', '(a) => [a && a.b, a || 7, a ?? 8, a?.b?.c, (a && 3) || 4]', [null, 0, { b: 5 }]],
  [
    'loops',
    '(a) => { let s = 0; for (let i = 0; i < a; i += 1) if (i % 2 === 1) continue; else s += i; do s += 1; while (s < 10); for (const b of [1, 2]) s += b; for (const k in { x: 1 }) s += k; while (s.length < 9) s += "!"; return s; }',
    [0, 5, 30],
  ],
  [
    'labels',
    '(a) => { outer: for (;;) { for (;;) { if (a > 3) break outer; a += 1; continue outer; } } return a; }',
    [0, 9],
  ],
  [
    'switches',
    '(a) => { switch (a + 1) { case 1: case 2: return "a"; case 3: { const a = 5; return a; } default: return "c"; } }',
    [0, 1, 2, 3],
  ],
  [
    'classes',
    '(a) => { class A { #x = a; static n = 2; constructor() { this.y = 1; } get x() { return this.#x; } has(o) { return #x in o; } is(b) { return this.#x === b.x; } } class B extends A { constructor() { super(); } } const b = new B(); return [b.x, b.has(b), b.has({}), b.is(b), A.n]; }',
    [1, NaN],
  ],
  [
    'generators',
    '(a) => [...(function* () { yield a > 2 ? 1 : 2; const x = yield* [3]; if (x === undefined) yield 4; })()]',
    [1, 5],
  ],
  [
    'errors',
    '(a) => { try { if (a === 7) throw new TypeError("x"); return "no"; } catch (e) { return e.name; } finally { a += 1; } }',
    [7, 8],
  ],
  [
    'operands that do something',
    '(a) => { let n = 0; const f = () => { n += 1; return n; }; return [f() < f(), f() === 3, (f() & 6) !== a, n, (a | 0) >= f(), n]; }',
    [4, 5],
  ],
  ['comments about operators', '(a) => a /* === */ !== /* < */ 5', [5, 6]],
  [
    'defaults and names',
    '(a, b = a > 1 ? 2 : 3) => { const f = () => 1; const g = function () {}; return [b, f.name, g.name]; }',
    [1, 2],
  ],
  ['big numbers', '(a) => [a === 5n, 5n < a, a >= 2n ** 64n - 1n]', [5n, 6n]],
];

describe('an instrumented module', () => {
  it.each(PROGRAMS)('does the same: %s', async (_, text, values) => {
    const source = `export default ${text};`;
    const plain = (await importText(source)) as (value: unknown) => unknown; // a function
    const { run, probe } = await load(source);
    for (const listener of [undefined, () => undefined]) {
      probe.listen(listener);
      for (const value of values) expect(run(value as never)).toEqual(plain(value));
    }
  });

  it('keeps its lines', async () => {
    const source = 'export default () => {\n  if (1)\n    throw new Error("here");\n};\n';
    const { run } = await load(source);
    expect(instrument(source, FIRST).code.split('\n')).toHaveLength(source.split('\n').length);
    expect(run).toThrow('here');
  });

  it('counts functions, branches and turns', async () => {
    const { run, probe } = await load(
      'export default (n) => { for (let i = 0; i < n; i += 1) if (i === 2) n; }',
    );
    run(5 as never);
    // The function, the loop, and both ways of the condition.
    const counts = probe.counts.slice(FIRST_EDGE, probe.edges).toSorted();
    expect([...counts]).toEqual([1, 1, 4, 5]);
  });

  it('shows the operands of comparisons, and of switches, while somebody looks', async () => {
    const { run, probe } = await load(
      'export default (a) => { const x = a * 2; switch (x) { case 8: return 1; case 0x777: return 2; } return x === 0xcafe || (x & 0xff) < 0x1234n; }',
    );
    const equal: number[] = [];
    const log = new ComparisonLog((comparison) => equal.push(comparison));
    run(3 as never);
    probe.listen(log.listener);
    run(4 as never);
    run(5 as never);
    probe.listen(undefined);
    run(6 as never);
    const seen = log.operands.map(({ left, right }) => `${left}/${right}`);
    expect(seen.toSorted()).toEqual(['10/1911', '10/4660', '10/51966', '10/8', '8/1911']);
    expect(equal).toHaveLength(1);
  });

  it('can be any file of the packages that are tested', () => {
    const packages = join(import.meta.dirname, '..', '..', '..');
    for (const name of ['device', 'ring', 'transport', 'driver', 'common']) {
      const folder = join(packages, name, 'src');
      for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
        if (!file.endsWith('.ts')) continue;
        const { code, edges } = instrument(
          stripTypeScriptTypes(readFileSync(join(folder, file), 'utf8')),
          FIRST,
        );
        // What came out is a module again.
        expect(instrument(code, FIRST).edges, file).toBeGreaterThanOrEqual(edges);
      }
    }
  });
});

describe('feedback', () => {
  it('tells features once, and counts in classes', async () => {
    const { run, probe } = await load('export default (n) => { for (let i = 0; i < n; i += 1); }');
    const feedback = new Feedback(probe);
    const news = (turns: number): number => {
      feedback.clear();
      run(turns as never);
      return feedback.take().length;
    };
    // The function and the loop; then only other classes of turns.
    expect([1, 1, 2, 3, 4, 7, 8, 200].map(news)).toEqual([2, 0, 1, 1, 1, 0, 1, 1]);
    const { edges, edgesThere } = feedback.takeReached();
    expect(edges).toHaveLength(2);
    expect(edgesThere).toBe(0); // no module has told its name
  });

  it('says what is missing of a set of features', async () => {
    const { run, probe } = await load('export default (n) => n > 5 ? 1 : 2');
    const feedback = new Feedback(probe);
    feedback.clear();
    run(9 as never);
    const found = feedback.take();
    expect(found).toHaveLength(2);
    feedback.clear();
    run(1 as never);
    expect(feedback.without(found)).toHaveLength(1);
  });

  it('has pairs of rules where nothing is instrumented', () => {
    const feedback = new Feedback();
    const news = (...rules: string[]): number => {
      feedback.begin();
      for (const rule of rules) feedback.rules.add(rule);
      return feedback.take().length;
    };
    expect(news('a', 'b', 'a')).toBe(3);
    expect(news('a', 'b')).toBe(0);
    expect(news('b')).toBe(1);
    expect(feedback.takeReached().pairs).toEqual([' → a', 'a → b', 'b → a', ' → b']);
  });
});
