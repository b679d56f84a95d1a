/** The choices of the model: each has an effect, and a model can follow a device that chose otherwise. */

import { describe, expect, it } from 'vitest';
import { IommuFeature, VirtioFeature, featureMask } from '@viommu/common';
import type { Completion } from '../../src/model/answer.ts';
import { CHOICES, RECOMMENDED } from '../../src/model/choice-table.ts';
import type { ChoiceName, Choices } from '../../src/model/choice.ts';
import { Follower } from '../../src/model/follower.ts';
import { Model, type ModelOptions } from '../../src/model/model.ts';
import { Generator } from './generator.ts';
import { randomDevice } from './platform.ts';
import { Random } from './random.ts';

const NAMES = Object.keys(CHOICES) as ChoiceName[]; // The table has these keys and no others.
const ALL = Object.values({ ...IommuFeature, VERSION_1: VirtioFeature.VERSION_1 }).reduce(
  (bits, bit) => bits | featureMask(bit),
  0n,
);

describe('the table of choices', () => {
  it('recommends the first value of each', () => {
    expect(Object.keys(RECOMMENDED)).toEqual(NAMES);
    expect(RECOMMENDED).toMatchObject({
      rejectedLength: 'exact',
      shortRequest: 'INVAL',
      unknownType: 'untouched',
      attachAgain: 'nothing',
      mapUnaligned: 'RANGE',
      unmapCutRemoves: 'nothing',
      resetState: 'dropped',
    });
  });

  it('never warns of what it recommends, and names each value once', () => {
    for (const name of NAMES) {
      const { values, warns }: { values: readonly unknown[]; warns: readonly unknown[] } =
        CHOICES[name];
      expect(warns).not.toContain(values[0]);
      expect(new Set(values).size).toBe(values.length);
      expect(values.length).toBeGreaterThan(1);
      expect(values).toEqual(expect.arrayContaining([...warns]));
    }
  });
});

describe('a model', () => {
  // What a choice cannot show in answers to requests is shown by the tests of configuration and faults.
  it.each(NAMES)('does something else if %s is chosen otherwise', (name) => {
    for (const value of CHOICES[name].values.slice(1))
      expect(differs({ [name]: value }), String(value)).toBe(true);
  });

  it('follows any conforming device', () => {
    for (let seed = 1; seed <= 25; seed += 1) expectFollowed(seed);
  });
});

/** True if some stream has another outcome with these choices. */
function differs(choices: Partial<Choices>): boolean {
  for (let seed = 1; seed <= 400; seed += 1)
    if (recommended(seed) !== transcript(seed, choices)) return true;
  return false;
}

const transcripts = new Map<number, string>();

function recommended(seed: number): string {
  const text = transcripts.get(seed) ?? transcript(seed, {});
  transcripts.set(seed, text);
  return text;
}

/** All that happens in a stream, as text. */
function transcript(seed: number, choices: Partial<Choices>): string {
  const random = new Random(seed);
  const { plain, model, options } = pair(random, choices);
  const generator = new Generator(random, plain, options.pageSizeMask ?? 1n);
  const lines: unknown[] = [];
  for (let step = 0; step < 60; step += 1) {
    const { readable, room } = generator.chain(options.probeSize ?? 0);
    const address = generator.address();
    const endpoint = random.pick([8, 0x1_0028, 0]);
    const kind = random.pick([1, 2, 3]);
    const odd = random.number(20);
    plain.request(readable, room);
    lines.push(model.request(readable, room), model.needsReset);
    lines.push(model.access(endpoint, address, 16, kind));
    lines.push(model.postEvent(random.pick([24, 8])));
    if (odd === 0) model.writeConfig(0x24, random.pick([1, 2]), random.pick([0, 1, 2, 255]));
    if (odd === 1) model.reset();
    if (odd <= 1) model.negotiate(random.once(3) ? 0n : ALL);
    lines.push(
      model.config(),
      model.domains,
      model.domains.map((id) => model.mappings(id)),
    );
  }
  return inspect(lines);
}

function inspect(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? `${each}` : each));
}

/** Lets a model follow another one whose choices are random. */
function expectFollowed(seed: number): void {
  const random = new Random(seed);
  const choices: Partial<Record<ChoiceName, unknown>> = {};
  for (const name of NAMES) if (random.once(4)) choices[name] = random.pick(CHOICES[name].values);
  const { plain, model: target, options } = pair(random, choices as Partial<Choices>); // By the table.
  const generator = new Generator(random, target, options.pageSizeMask ?? 1n);
  const follower = new Follower(plain);
  for (let step = 0; step < 100 && !target.needsReset; step += 1) {
    const { readable, room } = generator.chain(options.probeSize ?? 0);
    const completion = complete(target, readable, room);
    const followed = follower.request(readable, room, completion);
    expect(followed, `seed ${seed} step ${step} ${JSON.stringify(choices)}`).toBeDefined();
    if (random.once(20)) {
      for (const each of [target, follower]) each.reset();
      const features = random.once(2) ? 0n : ALL;
      target.negotiate(features);
      follower.each((model) => model.negotiate(features));
    }
  }
  const known = (model: Model): string =>
    inspect(model.domains.map((id) => [id, model.mappings(id)]));
  expect(follower.models.map(known)).toContain(known(target));
}

/** What a model does with a request, as a device would show it. */
function complete(model: Model, readable: Uint8Array, room: number): Completion | undefined {
  const { completed, usedLength, written } = model.request(readable, room);
  if (!completed) return undefined;
  const before = new Uint8Array(room).fill(0xa5);
  const after = before.slice();
  for (const { at, bytes } of written) after.set(bytes, at);
  return { usedLength, before, after };
}

function pair(
  random: Random,
  choices: Partial<Choices>,
): { readonly plain: Model; readonly model: Model; readonly options: ModelOptions } {
  const { inputRange, domainRange, limits: _limits, ...rest } = randomDevice(random);
  const options: ModelOptions = {
    ...rest,
    offered: random.once(4) ? featureMask(IommuFeature.MAP_UNMAP) : ALL,
    ...(inputRange !== undefined && { inputRange }),
    ...(domainRange !== undefined && { domainRange }),
  };
  const accepted = random.once(4) ? featureMask(IommuFeature.MAP_UNMAP) : ALL;
  const plain = new Model(options);
  const model = new Model({ ...options, choices });
  for (const each of [plain, model]) each.negotiate(accepted);
  return { plain, model, options };
}
