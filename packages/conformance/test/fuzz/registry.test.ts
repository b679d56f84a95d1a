/** All fuzzers: fixed seeds against our own code find nothing, and against something wrong they find it. */

import { describe, expect, it } from 'vitest';
import type {
  DriverEnvironment,
  DriverTarget,
  DriverTargetFactory,
} from '../../src/driver-target.ts';
import { signatureOf } from '../../src/fuzz/deviation.ts';
import { decodeFinding, encodeFinding } from '../../src/fuzz/finding-file.ts';
import { replayTape, tapeOf, tryFuzzer } from '../../src/fuzz/fuzzer.ts';
import { runHostile } from '../../src/fuzz/hostile-device.ts';
import { CANARY, FUZZERS } from '../../src/fuzz/registry.ts';
import { runSeed } from '../../src/fuzz/run-stream.ts';
import { shrink } from '../../src/fuzz/shrink.ts';
import { coreTarget } from '../../src/targets/core.ts';
import { coreDriver } from '../../src/targets/driver-core.ts';

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

/** A driver that, once its device is lost, does this about an action. */
function drivers(lost: (environment: DriverEnvironment) => void): DriverTargetFactory {
  return {
    name: 'wrong',
    async open(): Promise<DriverTarget> {
      const inner = await coreDriver.open();
      let environment: DriverEnvironment | undefined;
      return {
        start: (given) => inner.start((environment = given)),
        perform(action) {
          const outcome = inner.perform(action);
          const gone = outcome.result === 'refused' && /is lost/.test(outcome.reason);
          if (gone && environment !== undefined) lost(environment);
          return outcome;
        },
        dispose: () => inner.dispose(),
      };
    },
  };
}

async function found(driver: DriverTargetFactory): Promise<string | undefined> {
  for (let seed = 1; seed <= 50; seed += 1) {
    const { finding } = await tryFuzzer(
      {
        name: 'hostile',
        about: '',
        smokeSeeds: 1,
        run: (random, journal) => runHostile(driver, coreTarget, random, journal),
      },
      seed,
    );
    if (finding !== undefined) return signatureOf(finding);
  }
  return undefined;
}

describe('canary: of drivers with a hostile device is found', () => {
  it('one that falls over', async () => {
    const falling = drivers(() => {
      throw new TypeError('no slot 7');
    });
    expect(await found(falling)).toBe('crash: TypeError: no slot #');
  });

  it('one that waits for ever', async () => {
    const waiting = drivers((environment) => {
      while (environment.work());
    });
    expect(await found(waiting)).toBe('driver: it waits for ever');
  });
});
