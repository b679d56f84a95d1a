/** All fuzzers: fixed seeds against our own code find nothing, and against something wrong they find it. */

import { describe, expect, it } from 'vitest';
import { signatureOf } from '../../src/fuzz/deviation.ts';
import { decodeFinding, encodeFinding } from '../../src/fuzz/finding-file.ts';
import { replayTape, tapeOf, tryFuzzer } from '../../src/fuzz/fuzzer.ts';
import { CANARY, FUZZERS } from '../../src/fuzz/registry.ts';
import { runSeed } from '../../src/fuzz/run-stream.ts';
import { shrink } from '../../src/fuzz/shrink.ts';
import { coreTarget } from '../../src/targets/core.ts';

describe('smoke', () => {
  it.each(FUZZERS)('$name: $about', async (fuzzer) => {
    for (let seed = 1; seed <= fuzzer.smokeSeeds; seed += 1) {
      const { finding } = await tryFuzzer(fuzzer, seed);
      const text = finding && `${signatureOf(finding)}: ${finding.evidence}`;
      expect(text, `seed ${seed}`).toBeUndefined();
    }
  });

  it('stream: streams of a guest in lock-step with the model, and rings with something wrong', async () => {
    for (let seed = 1; seed <= 12; seed += 1) {
      const { finding } = await runSeed(coreTarget, seed);
      const text = finding && `${signatureOf(finding)}: ${finding.evidence}`;
      expect(text, `seed ${seed}`).toBeUndefined();
    }
  });
});

describe('canary', () => {
  it('is found, as a tape that is cut to what it takes and shows it again', async () => {
    const { finding } = await tryFuzzer(CANARY, 1);
    expect(finding && signatureOf(finding)).toBe('canary: three sevens');
    if (finding === undefined) return;
    const small = await shrink(finding, async (input) =>
      input.kind === 'tape' ? (await replayTape(CANARY, input.tape, 1)).finding : undefined,
    );
    expect(small.input).toEqual({
      kind: 'tape',
      tape: [7, 7, 7],
      notes: ['draws 7', 'draws 7', 'draws 7'],
    });
    const saved = { finding: small, target: 'core', versions: {} };
    expect(decodeFinding(encodeFinding(saved))).toEqual(saved);
  });

  it('has a tape that its seed makes again', async () => {
    const { finding } = await tryFuzzer(CANARY, 5);
    if (finding?.input.kind !== 'tape') throw new Error('There is no tape.');
    const again = await replayTape(CANARY, tapeOf(5, finding.input.tape.length), 5);
    expect(again.finding).toEqual(finding);
  });
});
