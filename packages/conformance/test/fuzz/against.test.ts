/** Two devices side by side: differences with a name are counted, and hide no other. */

import { describe, expect, it } from 'vitest';
import { PEERS, PeerDevice } from '@viommu/device';
import { type AgainstOutcome, runAgainst } from '../../src/fuzz/against.ts';
import {
  type Difference,
  type NamedDeviation,
  formatDifference,
  nameOfDifference,
  parseDeviations,
} from '../../src/fuzz/against-deviation.ts';
import { KNOWN_DIFFERENCES } from '../../src/fuzz/against-list.ts';
import { signatureOf } from '../../src/fuzz/deviation.ts';
import { shrink } from '../../src/fuzz/shrink.ts';
import { coreOptions, targetEndpoints } from '../../src/targets/core-options.ts';
import { coreTarget } from '../../src/targets/core.ts';
import { translatedAccess } from '../../src/targets/translated-access.ts';
import { virtioDeviceTarget } from '../../src/targets/virtio-device-target.ts';
import type { DeviceTargetFactory } from '../../src/target.ts';
import { careless } from './careless.ts';

/** One is asked every 32 steps: long streams need not come to their ends. */
const QUESTIONS = 20;

type Peer = keyof typeof PEERS;

/** Our device with the habits of another one. */
function peer(name: Peer): DeviceTargetFactory {
  return virtioDeviceTarget(name, (wish) => {
    const options = coreOptions(wish);
    const device = new PeerDevice({ ...options, habits: PEERS[name] });
    return {
      device,
      endpoints: targetEndpoints(options.endpoints),
      dma: (endpoint, direction, iova, bytes, memory) =>
        translatedAccess(device.iommu, memory, { endpoint, direction, iova, bytes }),
    };
  });
}

async function run(
  second: DeviceTargetFactory,
  seeds: number,
  deviations: readonly NamedDeviation[] = KNOWN_DIFFERENCES,
): Promise<AgainstOutcome[]> {
  const outcomes: AgainstOutcome[] = [];
  for (let seed = 1; seed <= seeds; seed += 1) {
    let left = QUESTIONS;
    const over = (): boolean => left-- === 0;
    outcomes.push(await runAgainst(coreTarget, second, seed, { deviations, over }));
  }
  return outcomes;
}

function findingsOf(outcomes: readonly AgainstOutcome[]): string[] {
  return outcomes.flatMap(({ finding }) => (finding === undefined ? [] : [signatureOf(finding)]));
}

describe('our device', () => {
  it('does what our device does', async () => {
    const outcomes = await run(coreTarget, 5, []);
    expect(findingsOf(outcomes)).toEqual([]);
    expect(outcomes.every(({ deviations }) => Object.keys(deviations).length === 0)).toBe(true);
    const total = (what: 'requests' | 'accesses'): number =>
      outcomes.reduce((sum, { tally }) => sum + tally[what], 0);
    expect([total('requests') > 500, total('accesses') > 20]).toEqual([true, true]);
  });

  it.each(Object.keys(PEERS) as Peer[])('differs from %s in what has a name', async (name) => {
    const outcomes = await run(peer(name), 3);
    expect(findingsOf(outcomes)).toEqual([]);
    expect(outcomes.some(({ deviations }) => (deviations['open-choice'] ?? 0) > 0)).toBe(true);
  });

  it('differs where names are few, and is said to conform as the other does', async () => {
    const found = findingsOf(await run(peer('crosvm'), 4, []));
    expect(found.length).toBeGreaterThan(0);
    expect(found.every((signature) => signature.includes('both conform'))).toBe(true);
  });
});

describe('a wrong device', () => {
  it('is found out in spite of names, by few steps that show it again', async () => {
    const wrong = { ...careless };
    for (let seed = 1; seed < 60; seed += 1) {
      const { finding } = await runAgainst(coreTarget, wrong, seed);
      if (finding === undefined) continue;
      const small = await shrink(finding, async (input) => {
        if (input.kind !== 'stream') return undefined;
        return (await runAgainst(coreTarget, wrong, input.stream)).finding;
      });
      expect(signatureOf(small)).toContain('only the first conforms');
      if (small.input.kind !== 'stream') return expect.unreachable('it is a stream');
      expect(small.input.stream.steps.length).toBeLessThan(6);
      const again = await runAgainst(coreTarget, wrong, small.input.stream);
      expect(again.finding && signatureOf(again.finding)).toBe(signatureOf(finding));
      const tolerated = [signatureOf(finding)];
      const { stream } = small.input;
      const known = await runAgainst(coreTarget, wrong, stream, { tolerated });
      expect(known.finding).toBeUndefined();
      return;
    }
    expect.unreachable('it was not found');
  });
});

describe('a named deviation', () => {
  const difference: Difference = {
    kind: 'answer',
    about: 'detach',
    first: 'INVAL',
    second: 'NOENT',
    verdict: 'first',
    rules: ['detachUnattached'],
  };
  const named = (where: NamedDeviation['where']): string | undefined =>
    nameOfDifference(difference, [{ name: 'it', about: '', where }]);

  it('covers what agrees with all that it says', () => {
    expect(named({})).toBe('it');
    expect(named({ kind: 'answer', about: ['attach', 'detach'], verdict: 'first' })).toBe('it');
    expect(named({ does: ['NOENT', ['OK', 'INVAL']], rule: 'detachUnattached' })).toBe('it');
  });

  it('covers nothing else', () => {
    expect(named({ kind: 'access' })).toBeUndefined();
    expect(named({ verdict: ['both', 'second'] })).toBeUndefined();
    expect(named({ does: ['NOENT', 'OK'] })).toBeUndefined();
    expect(named({ about: 'detach', rule: 'detachWrong' })).toBeUndefined();
  });

  it('is told in a line', () => {
    expect(formatDifference(difference)).toBe(
      'detach: INVAL and NOENT; only the first conforms (detachUnattached)',
    );
  });

  it('comes from a file', () => {
    expect(parseDeviations(JSON.stringify(KNOWN_DIFFERENCES))).toEqual(KNOWN_DIFFERENCES);
    expect(new Set(KNOWN_DIFFERENCES.map(({ name }) => name)).size).toBe(KNOWN_DIFFERENCES.length);
    for (const text of [
      '',
      '{}',
      '[{}]',
      '[{"name":"a","about":"b"}]',
      '[{"name":"a","about":"b","where":{"does":["OK"]}}]',
      '[{"name":"a","about":"b","where":{"colour":"red"}}]',
      '[{"name":"a","about":"b","where":{"rule":7}}]',
    ])
      expect(() => parseDeviations(text)).toThrow(/deviation/i);
  });
});
