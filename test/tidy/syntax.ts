/** TypeScript files as syntax: what they import, and where each node stands. */

import { parseSync, Visitor, type Expression, type Program, type VisitorObject } from 'oxc-parser';
import type { TextFile } from './tree.ts';

/** One file that another one names, in whatever form. */
export interface Import {
  /** As written; a worker's `./name.${extension}` is given as `./name.ts`. */
  readonly specifier: string;
  readonly line: number;
  /** True if the file is named by its URL, to be started or loaded later, and not imported. */
  readonly byUrl: boolean;
}

/** A parsed file. */
export interface Module {
  readonly path: string;
  readonly text: string;
  readonly program: Program;
  readonly comments: readonly { readonly line: number; readonly text: string }[];
  /** `path:line` of a node. */
  at(node: { readonly start: number }): string;
  visit(visitor: VisitorObject): void;
}

/** Parses a file; a syntax error fails the test that asked. */
export function parse({ path, text }: TextFile): Module {
  const parsed = parseSync(path, text, { preserveParens: false });
  const [error] = parsed.errors;
  if (error !== undefined) throw new Error(`${path}: ${error.message}`);
  const { program } = parsed;
  return {
    path,
    text,
    program,
    comments: parsed.comments.map(({ start, value }) => ({
      line: lineOf(text, start),
      text: value,
    })),
    at: ({ start }) => `${path}:${lineOf(text, start)}`,
    visit: (visitor) => new Visitor(visitor).visit(program),
  };
}

/** Everything a module names: imports, re-exports, dynamic imports, import types, packages that are resolved, and files named beside it by URL. */
export function importsOf(module: Module): Import[] {
  const imports: Import[] = [];
  const add = (
    node: { readonly start: number },
    source: Expression | null | undefined,
    byUrl = false,
  ): void => {
    const specifier = textOf(source);
    if (specifier !== undefined)
      imports.push({ specifier, line: lineOf(module.text, node.start), byUrl });
  };
  module.visit({
    ImportDeclaration: (node) => add(node, node.source),
    ExportNamedDeclaration: (node) => add(node, node.source),
    ExportAllDeclaration: (node) => add(node, node.source),
    ImportExpression: (node) => add(node, node.source),
    TSImportType: (node) => add(node, node.source),
    CallExpression: ({ callee, arguments: [first], ...node }) => {
      if (callee.type !== 'MemberExpression' || callee.object.type !== 'MetaProperty') return;
      if (first?.type === 'Literal') add(node, first, true);
    },
    NewExpression: (node) => {
      const [first] = node.arguments;
      if (node.callee.type !== 'Identifier' || node.callee.name !== 'URL') return;
      if (first === undefined || first.type === 'SpreadElement') return;
      if (textOf(first)?.endsWith('.ts') === true) add(node, first, true);
    },
  });
  return imports;
}

function textOf(expression: Expression | null | undefined): string | undefined {
  if (expression?.type === 'Literal' && typeof expression.value === 'string')
    return expression.value;
  // A worker is named `./name.${extension}`, because it is `.ts` from source and `.js` when built.
  if (expression?.type === 'TemplateLiteral' && expression.quasis.length === 2)
    return `${expression.quasis[0]?.value.raw}ts`;
  return undefined;
}

function lineOf(text: string, position: number): number {
  let line = 1;
  for (let at = text.indexOf('\n'); at !== -1 && at < position; at = text.indexOf('\n', at + 1))
    line++;
  return line;
}
