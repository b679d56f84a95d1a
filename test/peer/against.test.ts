/** Our device beside a QEMU: the stand-in, which is our own device once more, and every real one of this machine. */

import { afterAll, describe, expect, it } from 'vitest';
import { type DeviceTargetFactory, coreTarget } from '@viommu/conformance';
import { qemuTarget } from '@viommu/peers';
import { runAgainst } from '../../packages/conformance/src/fuzz/against.ts';
import { FakeQemus, realQemus } from './kit/install.ts';

const fakes = new FakeQemus();
const kept: DeviceTargetFactory[] = [];
afterAll(() => {
  for (const factory of kept) factory.close?.();
  fakes.dispose();
});

function keep(command: string): DeviceTargetFactory {
  const factory = qemuTarget(`qemu:${command}`);
  const keeping = factory.kept?.() ?? factory;
  kept.push(keeping);
  return keeping;
}

describe('our device', () => {
  it.each([1, 2])('does what the stand-in does in the stream of seed %s', async (seed) => {
    const { finding, tally } = await runAgainst(coreTarget, keep(fakes.path('well')), seed);
    expect(finding?.matter).toBeUndefined();
    expect(tally.requests).toBeGreaterThan(10);
  });

  // What is wrong with a QEMU is no concern of a test of ours, and counting it is all there is to see.
  it.each([...realQemus()])('is compared with %s', async (command) => {
    const factory = keep(command);
    const names = new Set<string>();
    let requests = 0;
    for (let seed = 1; seed <= 4; seed += 1) {
      let left = 10;
      const over = (): boolean => left-- === 0;
      const { tally, deviations } = await runAgainst(coreTarget, factory, seed, { over });
      for (const name of Object.keys(deviations)) names.add(name);
      requests += tally.requests;
    }
    expect([requests > 50, names.size > 0]).toEqual([true, true]);
  });
});
