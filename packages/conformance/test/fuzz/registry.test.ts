/** All fuzzers: fixed seeds against our own code find nothing, and against something wrong they find it. */

import { describe, expect, it } from 'vitest';
import type {
  DriverEnvironment,
  DriverTarget,
  DriverTargetFactory,
} from '../../src/driver-target.ts';
import { signatureOf } from '../../src/fuzz/deviation.ts';
import { runHostile } from '../../src/fuzz/hostile-device.ts';
import { FUZZERS } from '../../src/fuzz/registry.ts';
import { coreTarget } from '../../src/targets/core.ts';
import { coreDriver } from '../../src/targets/driver-core.ts';

describe('smoke', () => {
  it.each(FUZZERS)('$name: $about', async (fuzzer) => {
    for (let seed = 1; seed <= fuzzer.smokeSeeds; seed += 1) {
      const { finding } = await fuzzer.run(seed);
      const text = finding && `${signatureOf(finding)}: ${finding.evidence}`;
      expect(text, `seed ${seed}`).toBeUndefined();
    }
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
    const { finding } = await runHostile(driver, coreTarget, seed);
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
