/** Inputs on disk. */

import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { INPUT_SUFFIX, loadCorpus, saveEntry } from '../../src/fuzz/corpus.ts';
import { decodeInput, encodeInput, entryOf } from '../../src/fuzz/corpus-file.ts';
import { mergeCorpora, minimise } from '../../src/fuzz/corpus-minimise.ts';
import { recordedStreams } from '../../src/fuzz/corpus-recording.ts';
import { runStream, streamOf } from '../../src/fuzz/run-stream.ts';
import type { Stream } from '../../src/fuzz/stream.ts';
import { coreTarget } from '../../src/targets/core.ts';

let folder = '';
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'viommu-corpus-'))));
afterEach(() => rmSync(folder, { recursive: true }));

/** A stream of event buffers, whose sizes are its features below. */
function posts(...bytes: number[]): Stream {
  return {
    setup: { wish: {}, format: 'split', refuse: 0n, queueSize: 16, indirect: false },
    steps: bytes.map((each) => ({ kind: 'post', bytes: each })),
  };
}

const featuresOf = async ({ steps }: Stream): Promise<ReadonlySet<number>> =>
  new Set(steps.flatMap((step) => (step.kind === 'post' ? step.bytes : [])));

describe('a file of an input', () => {
  it('holds any stream', async () => {
    for (let seed = 1; seed <= 10; seed += 1) {
      const stream = await streamOf(coreTarget, seed, 100, []);
      expect(decodeInput(encodeInput(stream))).toEqual(stream);
    }
  });

  it('is refused with one line if a byte of it is another', async () => {
    const bytes = encodeInput(await streamOf(coreTarget, 1, 20, []));
    for (let at = 0; at < bytes.length; at += 1) {
      const damaged = bytes.slice();
      damaged[at]! ^= 0x10; // below the length
      expect(() => decodeInput(damaged)).toThrow(/^The file holds no input: [^\n]*\.$/);
    }
    for (const length of [1, 20, bytes.length - 1])
      expect(() => decodeInput(bytes.subarray(0, length))).toThrow(/holds no input/);
    expect(() => decodeInput(new Uint8Array(0))).toThrow(/holds no input/);
  });
});

describe('a folder of inputs', () => {
  it('gives back what was put into it, each once', () => {
    const entries = [posts(1, 2), posts(3)].map(entryOf);
    for (const entry of [...entries, ...entries]) saveEntry(join(folder, 'new'), entry);
    const { entries: loaded, problems } = loadCorpus(join(folder, 'new'));
    expect(problems).toEqual([]);
    expect(new Set(loaded)).toEqual(new Set(entries));
    expect(readdirSync(join(folder, 'new'))).toHaveLength(2);
  });

  it('is empty if it is not there, and says what is wrong with each file', () => {
    expect(loadCorpus(join(folder, 'none'))).toEqual({ entries: [], problems: [] });
    saveEntry(folder, entryOf(posts(1)));
    writeFileSync(join(folder, `bad${INPUT_SUFFIX}`), 'no records');
    writeFileSync(join(folder, 'bad.stream'), 'viommu-stream 1\nnonsense');
    writeFileSync(join(folder, 'README.md'), 'about this folder');
    const { entries, problems } = loadCorpus(folder);
    expect(entries).toHaveLength(1);
    expect(problems).toHaveLength(2);
    for (const problem of problems)
      expect(problem).toMatch(/bad\.(?:input|stream): The file holds no /);
    expect(() => loadCorpus(join(folder, 'README.md'))).toThrow(/cannot be read/);
  });

  it('takes recordings, on endpoints that there are', async () => {
    const path = join(import.meta.dirname, '../../../../recordings/linux-6.12-lazy.stream.gz');
    const streams = recordedStreams(readFileSync(path));
    expect(streams.length).toBeGreaterThan(10);
    for (const stream of [streams[0]!, streams[9]!]) {
      // There are so many.
      const { tally, finding } = await runStream(coreTarget, stream);
      expect(finding).toBeUndefined();
      expect(tally.requests).toBeGreaterThan(50);
      expect(tally.faults).toBeLessThan(tally.accesses);
    }
  });
});

describe('minimise', () => {
  it('keeps few inputs that reach everything, whatever their order', async () => {
    const entries = [posts(1, 2, 3), posts(1, 2), posts(3), posts(1), posts(4, 1), posts()].map(
      entryOf,
    );
    const kept = await minimise(entries, featuresOf);
    const all = new Set<number>();
    for (const { stream } of kept) for (const each of await featuresOf(stream)) all.add(each);
    expect(all).toEqual(new Set([1, 2, 3, 4]));
    expect(kept.length).toBe(3);
    expect(await minimise(entries.toReversed(), featuresOf)).toEqual(kept);
  });

  it('merges folders into one', async () => {
    const [one, two, into] = ['one', 'two', 'into'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    saveEntry(one, entryOf(posts(1)));
    saveEntry(two, entryOf(posts(2)));
    saveEntry(two, entryOf(posts(1)));
    saveEntry(into, entryOf(posts(1, 2, 2)));
    writeFileSync(join(two, `bad${INPUT_SUFFIX}`), '');
    const report = await mergeCorpora([one, two], into, (entries) => minimise(entries, featuresOf));
    expect(report).toMatchObject({ read: 3, kept: 2 });
    expect(report.problems).toHaveLength(1);
    const { entries } = loadCorpus(into);
    expect(new Set(entries)).toEqual(new Set([posts(1), posts(2)].map(entryOf)));
  });
});
