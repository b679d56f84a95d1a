/**
 * Puts counters into a module: one for every function, branch and loop, and a look at the operands of every comparison.
 *
 * All is put into the lines that are there, so that stacks still name the right ones, and between the probes the program
 * does what it did. What a probe calls is in `probe.ts`.
 */

import { type AnyNode, type BinaryExpression, type Expression, type Statement, parse } from 'acorn';
import { PROBE_KEY } from './probe.ts';

/** How many probes a module has. */
export interface Instrumented {
  readonly code: string;
  readonly edges: number;
  readonly comparisons: number;
}

// What a module calls the members of the probe; no name of ours begins with this sign.
const COUNTS = '$counts';
const PAIR = '$pair';
const COMPARE = '$compare';
const CHOOSE = '$choose';
const PREFIX = `const{counts:${COUNTS},pair:${PAIR},compare:${COMPARE},choose:${CHOOSE}}=globalThis[Symbol.for(${JSON.stringify(PROBE_KEY)})];`;

/** The operators that are looked at. */
const OPERATORS: ReadonlySet<string> = new Set(['===', '!==', '<', '<=', '>', '>=']);

/**
 * The same module with probes, numbered from `first` on; `source` is JavaScript.
 *
 * @throws {SyntaxError} for what is none.
 */
export function instrument(
  source: string,
  first: { readonly edge: number; readonly comparison: number },
): Instrumented {
  const program = parse(source, { ecmaVersion: 'latest', sourceType: 'module' });
  const probes = new Probes(source, first.edge, first.comparison);
  probes.visit(program);
  return {
    code: PREFIX + probes.apply(),
    edges: probes.edge - first.edge,
    comparisons: probes.comparison - first.comparison,
  };
}

/** The texts that are put into one source. Outer nodes are visited before inner ones. */
class Probes {
  /** The next numbers. */
  edge: number;
  comparison: number;
  readonly #source: string;
  /** What comes before a position: ends of what ends there, then beginnings of what begins there. */
  readonly #ends = new Map<number, string>();
  readonly #starts = new Map<number, string>();
  /** Up to where the source is left out from a position on. */
  readonly #dropped = new Map<number, number>();

  constructor(source: string, edge: number, comparison: number) {
    this.#source = source;
    this.edge = edge;
    this.comparison = comparison;
  }

  visit(node: AnyNode): void {
    this.#place(node);
    for (const value of Object.values(node) as unknown[])
      if (Array.isArray(value)) {
        for (const each of value) if (isNode(each)) this.visit(each);
      } else if (isNode(value)) this.visit(value);
  }

  /** The source with all that was put in. */
  apply(): string {
    const positions = new Set([...this.#starts.keys(), ...this.#ends.keys()]);
    let text = '';
    let from = 0;
    for (const at of [...positions].toSorted((one, other) => one - other)) {
      text += this.#source.slice(from, at);
      text += (this.#ends.get(at) ?? '') + (this.#starts.get(at) ?? '');
      from = this.#dropped.get(at) ?? at;
    }
    return text + this.#source.slice(from);
  }

  #place(node: AnyNode): void {
    switch (node.type) {
      case 'FunctionDeclaration':
      case 'FunctionExpression':
        return this.#count(node.body.start + 1);
      case 'ArrowFunctionExpression':
        if (node.body.type === 'BlockStatement') return this.#count(node.body.start + 1);
        return this.#countExpression(node.body);
      case 'IfStatement':
        if (node.alternate) this.#countStatement(node.alternate);
        // What ends here ends after the consequent, so it comes first.
        else this.#around(node.end, node.end, '', ` else ${this.#step()};`);
        return this.#countStatement(node.consequent);
      case 'ForStatement':
      case 'ForInStatement':
      case 'ForOfStatement':
      case 'WhileStatement':
      case 'DoWhileStatement':
        return this.#countStatement(node.body);
      case 'SwitchCase':
        return node.consequent[0] && this.#count(node.consequent[0].start);
      case 'CatchClause':
        return this.#count(node.body.start + 1);
      case 'ConditionalExpression':
        this.#countExpression(node.consequent);
        return this.#countExpression(node.alternate);
      case 'LogicalExpression':
        return this.#countExpression(node.right);
      case 'BinaryExpression':
        return this.#compare(node);
      case 'SwitchStatement': {
        const tests = node.cases.flatMap(({ test }) => (test && isPlain(test) ? [test] : []));
        if (tests.length === 0) return;
        const values = tests.map((test) => this.#text(test)).join(',');
        const { start, end } = node.discriminant;
        const after = `),${COUNTS}[0]!==0&&[${values}])`;
        const number = this.#compared(tests.length);
        return this.#around(start, end, `${CHOOSE}(${number},(`, after);
      }
      default:
    }
  }

  #compare({ start, end, left, right, operator }: BinaryExpression): void {
    if (!OPERATORS.has(operator) || left.type === 'PrivateIdentifier') return;
    if (isTold(left) || isTold(right)) return;
    if (isPlain(left) && isPlain(right)) {
      const pair = `${PAIR}(${this.#compared()},${this.#text(left)},${this.#text(right)})`;
      return this.#around(start, end, `(${COUNTS}[0]!==0&&${pair},`, ')');
    }
    // Worked out once each, as arguments of a function in the operator's place.
    const between = this.#source.slice(left.end, right.start);
    const at = left.end + between.indexOf(operator);
    if (between.includes('/')) return; // a comment, which may hold anything
    const number = this.#compared();
    this.#around(start, end, `${COMPARE}[${JSON.stringify(operator)}](${number},`, ')');
    this.#around(at, at, '', ',');
    this.#dropped.set(at, at + operator.length);
  }

  /** The number of a comparison, or of the first of several. */
  #compared(count = 1): number {
    this.comparison += count;
    return this.comparison - count;
  }

  #step(): string {
    this.edge += 1;
    return `${COUNTS}[${this.edge - 1}]++`;
  }

  /** Counts at a position between statements. */
  #count(at: number): void {
    this.#around(at, at, `${this.#step()};`, '');
  }

  #countExpression({ start, end }: Expression): void {
    this.#around(start, end, `(${this.#step()},`, ')');
  }

  #countStatement({ type, start, end }: Statement): void {
    if (type === 'BlockStatement') this.#count(start + 1);
    else this.#around(start, end, `{${this.#step()};`, '}');
  }

  #around(start: number, end: number, before: string, after: string): void {
    this.#starts.set(start, (this.#starts.get(start) ?? '') + before);
    this.#ends.set(end, after + (this.#ends.get(end) ?? ''));
  }

  #text({ start, end }: Expression): string {
    return this.#source.slice(start, end);
  }
}

/** True for what can be worked out twice: nothing of ours does anything when its name is read. */
function isPlain(node: Expression): boolean {
  switch (node.type) {
    case 'Identifier':
    case 'Literal':
      return true;
    case 'UnaryExpression':
      return node.operator === '-' && isPlain(node.argument);
    case 'MemberExpression': {
      const { type } = node.object;
      return (
        !node.computed && !node.optional && (type === 'ThisExpression' || type === 'Identifier')
      );
    }
    default:
      return false;
  }
}

/** True for operands that tell nothing of what the other should be: texts, truth, nothing, 0 and 1. */
function isTold(node: Expression): boolean {
  if (node.type === 'Literal')
    return typeof node.value === 'number' ? node.value <= 1 : typeof node.value !== 'bigint';
  if (node.type === 'Identifier') return node.name === 'undefined';
  return node.type === 'UnaryExpression' && node.operator === 'typeof';
}

function isNode(value: unknown): value is AnyNode {
  return typeof value === 'object' && value !== null && 'type' in value && 'start' in value;
}
