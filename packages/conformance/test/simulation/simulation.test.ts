import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Random } from '../../src/fuzz/random.ts';
import { simulation } from '../../src/simulation/simulation.ts';

/** What happens in a run: every line of its story. */
async function storyOf(random: Random): Promise<readonly string[]> {
  const story: string[] = [];
  await simulation.run(random, { requests: 0, note: (line) => void story.push(line()) });
  return story;
}

function hashOf(story: readonly string[]): string {
  return createHash('sha256').update(story.join('\n')).digest('hex');
}

describe('the simulation', () => {
  it('runs a seed the same way each time, whatever ran before', async () => {
    const hashes: string[] = [];
    for (const seed of [3, 4, 5]) hashes.push(hashOf(await storyOf(new Random(seed))));
    const again: string[] = [];
    for (const seed of [5, 4, 3]) again.unshift(hashOf(await storyOf(new Random(seed))));
    expect(again).toEqual(hashes);
    expect(new Set(hashes).size).toBe(3);
  });

  it('takes all its decisions from the values that are drawn', async () => {
    const random = new Random(11).keep();
    const story = await storyOf(random);
    expect(hashOf(await storyOf(Random.of(random.drawn)))).toBe(hashOf(story));
  });

  it('ends whatever the values are', async () => {
    expect(await storyOf(Random.of([]))).not.toEqual([]);
    const random = new Random(7).keep();
    await storyOf(random);
    for (const part of [10, 200]) await storyOf(Random.of(random.drawn.slice(0, part)));
  });

  it('lets much go wrong, lets the guest start anew, and finds nothing in our own code', async () => {
    const seen = new Set<string>();
    for (let seed = 1; seed <= 40; seed += 1)
      for (const line of await storyOf(new Random(seed))) {
        const [, strike] = /host: (.*)/.exec(line) ?? [];
        if (strike !== undefined) seen.add(strike);
        if (line.includes('guest: starts anew')) seen.add('recovery');
      }
    for (const kind of ['pause', 'migration', 'DEVICE_NEEDS_RESET', 'recovery'])
      expect([...seen]).toContain(kind);
  });
});
