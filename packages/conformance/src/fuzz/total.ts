/** What all threads of a run did, added up. */

import { signatureOf } from './deviation.ts';
import type { Finding } from './finding.ts';
import type { Part, Progress } from './result-file.ts';
import type { ShardResult } from './shard.ts';

interface Work {
  runs: number;
  requests: number;
  /** Of all threads together. */
  timeMs: number;
}

export class Total {
  readonly #findings: Map<string, Finding> = new Map();
  readonly #covered: Set<string> = new Set();
  readonly #deviations: Map<string, number> = new Map();
  readonly #work: Map<string, Work>;
  readonly #threads: number;
  readonly #hear: (finding: Finding) => void;
  readonly #now: () => number;
  #begun: number;
  #accesses = 0;
  #edgesThere = 0;
  #inputs = 0;

  /** `hear` is told each finding once; `now` is in milliseconds. */
  constructor(
    fuzzers: readonly string[],
    threads: number,
    hear: (finding: Finding) => void,
    now: () => number,
  ) {
    this.#work = new Map(fuzzers.map((fuzzer) => [fuzzer, { runs: 0, requests: 0, timeMs: 0 }]));
    this.#threads = threads;
    this.#hear = hear;
    this.#now = now;
    this.#begun = now();
  }

  /** Time counts from now on. */
  begin(): void {
    this.#begun = this.#now();
  }

  get findings(): readonly Finding[] {
    return [...this.#findings.values()];
  }

  /** Signatures of findings. */
  get known(): readonly string[] {
    return [...this.#findings.keys()];
  }

  get covered(): readonly string[] {
    return [...this.#covered];
  }

  add(fuzzer: string, result: ShardResult): void {
    const { runs, requests, accesses, timeMs, coverage, edgesThere, deviations } = result;
    const work = this.#work.get(fuzzer);
    if (work !== undefined) {
      work.runs += runs;
      work.requests += requests;
      work.timeMs += timeMs;
    }
    this.#accesses += accesses;
    this.#inputs += result.entries.length;
    this.#edgesThere = Math.max(this.#edgesThere, edgesThere);
    for (const name of coverage) this.#covered.add(name);
    for (const [name, count] of Object.entries(deviations))
      this.#deviations.set(name, (this.#deviations.get(name) ?? 0) + count);
    for (const finding of result.findings) this.find(finding);
  }

  find(finding: Finding): void {
    const signature = signatureOf(finding);
    if (this.#findings.has(signature)) return;
    this.#findings.set(signature, finding);
    this.#hear(finding);
  }

  get progress(): Progress {
    const parts: Part[] = [...this.#work].map(([fuzzer, { runs, requests, timeMs }]) => {
      const perSecond = timeMs > 0 ? (requests / timeMs) * 1000 * this.#threads : 0;
      return { fuzzer, runs, requests, perSecond };
    });
    return {
      runs: parts.reduce((sum, part) => sum + part.runs, 0),
      requests: parts.reduce((sum, part) => sum + part.requests, 0),
      accesses: this.#accesses,
      findings: this.#findings.size,
      coverage: this.#covered.size,
      edgesThere: this.#edgesThere,
      inputs: this.#inputs,
      seconds: (this.#now() - this.#begun) / 1000,
      parts,
      deviations: Object.fromEntries(this.#deviations),
    };
  }
}
