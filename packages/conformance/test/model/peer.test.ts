/** The habits of other devices: the model, told of the same choices, agrees with our device that has taken them on. */

import { describe, expect, it } from 'vitest';
import { type Habits, PEERS, PeerDevice } from '@viommu/device';
import { CHOICES } from '../../src/model/choice-table.ts';
import type { ChoiceName, Choices } from '../../src/model/choice.ts';
import { Random } from './random.ts';
import { runStream } from './stream.ts';

const SEEDS = 12;
const STEPS = 150;

describe('peer profiles', () => {
  it.each(Object.entries(PEERS))('%s is as the model with its choices', (_, habits) => {
    for (let seed = 1; seed <= 4 * SEEDS; seed += 1) expectAgreement(seed, habits);
  });

  it('names nothing that does not conform, or that warns without being known to', () => {
    for (const habits of Object.values(PEERS))
      for (const [name, value] of Object.entries(habits))
        expect(CHOICES[name as ChoiceName].values).toContain(value); // The names are those of the choices.
  });
});

describe('each habit alone', () => {
  it.each(habits())('%s: %s is as the model with that choice', (name, value) => {
    for (let seed = 1; seed <= SEEDS; seed += 1) expectAgreement(seed, { [name]: value });
  });
});

function expectAgreement(seed: number, choices: Habits & Partial<Choices>): void {
  try {
    const make = (options: object): PeerDevice => new PeerDevice({ ...options, habits: choices });
    expect(runStream(new Random(seed), STEPS, choices, make).steps).toBe(STEPS);
  } catch (error) {
    throw new Error(`seed ${seed}`, { cause: error });
  }
}

/** Every value that a habit can have. */
function habits(): readonly (readonly [name: string, value: string])[] {
  const all: { readonly [Name in keyof Required<Habits>]: readonly Habits[Name][] } = {
    rejectedLength: ['full', 'none', 'zero'],
    shortRequest: ['untouched'],
    longRequest: ['INVAL'],
    longTail: ['end'],
    unknownType: ['UNSUPP'],
    unnegotiatedType: ['served'],
    attachAgain: ['renewed', 'UNSUPP'],
    refusedMove: ['detached'],
    attachMismatchAlone: ['served'],
    attachOutside: ['served'],
    sharing: ['UNSUPP'],
    moving: ['UNSUPP'],
    detachWrong: ['detached', 'nothing'],
    detachUnattached: ['OK', 'NOENT'],
    detachShared: ['UNSUPP'],
    mapUnaligned: ['served'],
    mapOutside: ['served'],
    mapInverted: ['RANGE'],
    mapToEnd: ['RANGE', 'DEVERR', 'NOMEM'],
    mapNoAccess: ['INVAL', 'UNSUPP'],
    mapWriteOnly: ['readable', 'INVAL', 'UNSUPP'],
    unmapInverted: ['RANGE', 'OK'],
    unmapEverything: ['RANGE'],
    unmapOutside: ['RANGE'],
    unmapCutRemoves: ['before'],
    unmapReserved: ['INVAL', 'unmappedAndINVAL'],
    probeShort: ['start', 'untouched'],
    probeLong: ['end'],
    probeRefusedArea: ['untouched'],
    resetState: ['kept'],
    resetBypass: ['initial'],
    bypassValue: ['lowBit'],
    faultReport: ['never'],
    faultAccess: ['permission', 'never'],
    faultAddress: ['absent'],
    faultUnattached: ['UNKNOWN'],
    faultPermission: ['UNKNOWN'],
  };
  return Object.entries(all).flatMap(([name, values]) =>
    values.map((value) => [name, String(value)] as const),
  );
}
