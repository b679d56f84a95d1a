/**
 * Two of the same, over two memories with the same bytes: in one of them, what was read is changed at once. If each byte
 * is read once, nothing that comes of it can differ.
 */

import type { Random } from '../random.ts';
import { RewrittenMemory } from './rewritten-memory.ts';
import { type Setting, clearRing, deviation } from './setting.ts';

export interface Twin<Subject> {
  readonly memory: RewrittenMemory;
  readonly subject: Subject;
  /** What came of the last call, but for its result. */
  readonly heard: unknown[];
}

export class Twins<Subject> {
  readonly setting: Setting;
  readonly views: readonly DataView[];
  readonly #random: Random;
  readonly #first: Twin<Subject>;
  readonly #second: Twin<Subject>;

  /** The rings of both memories are as before their first chain at the position of the setting. */
  constructor(
    setting: Setting,
    random: Random,
    make: (memory: RewrittenMemory, heard: unknown[]) => Subject,
  ) {
    const mapped = setting.memory.view !== undefined;
    const create = (): Twin<Subject> => {
      const memory = new RewrittenMemory(setting.memory.size, setting.memory.base, mapped);
      memory.bytes.set(setting.memory.bytes);
      clearRing(setting, memory.raw, setting.position);
      const heard: unknown[] = [];
      return { memory, heard, subject: make(memory, heard) };
    };
    this.setting = setting;
    this.#random = random;
    this.#first = create();
    this.#second = create();
    this.views = [this.#first.memory.raw, this.#second.memory.raw];
  }

  /** The bytes of each memory, for what both of them get. */
  get bytes(): readonly Uint8Array[] {
    return [this.#first.memory.bytes, this.#second.memory.bytes];
  }

  /** Both make a call, and it comes to the same. */
  both<Result>(call: string, act: (subject: Subject) => Result): Result {
    const { memory } = this.#first;
    memory.begin(this.#random.number(0x1_0000), this.#random.pick([1, 2, 4]));
    let rewritten: Result;
    try {
      rewritten = act(this.#first.subject);
    } finally {
      memory.end();
    }
    const still = act(this.#second.subject);
    const heard = JSON.stringify([rewritten, this.#first.heard], plain);
    const expected = JSON.stringify([still, this.#second.heard], plain);
    this.#first.heard.length = this.#second.heard.length = 0;
    if (heard !== expected)
      throw this.#wrong(call, 'comes to something else', `${heard} for ${expected}`);
    const at = Buffer.compare(memory.bytes, this.#second.memory.bytes);
    if (at !== 0) throw this.#wrong(call, 'writes something else', `at ${this.#differing()}`);
    return still;
  }

  #differing(): number {
    const { bytes } = this.#second.memory;
    return this.#first.memory.bytes.findIndex((byte, at) => byte !== bytes[at]);
  }

  #wrong(call: string, what: string, evidence: string): Error {
    return deviation(`rewrite: ${call} ${what} if what it read is changed`, this.setting, evidence);
  }
}

function plain(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `0x${value.toString(16)}` : value;
}
