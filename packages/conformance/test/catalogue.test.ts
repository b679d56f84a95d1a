import {
  CLAUSES,
  DEVICE_CASES,
  DRIVER_CASES,
  FACTS,
  OPEN_POINTS,
  UNCOVERED,
  clauseOf,
  entryOf,
} from '@viommu/conformance';
import { describe, expect, it } from 'vitest';

const sentence = /^\S.*[.?]$/s;

describe('the catalogue', () => {
  it('has the open points and the facts, each once, as sentences', () => {
    expect(OPEN_POINTS).toHaveLength(135);
    expect(FACTS).toHaveLength(32);
    const ids = [...CLAUSES, ...OPEN_POINTS, ...FACTS].map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { id, section, summary, accepts } of OPEN_POINTS) {
      expect(id).toMatch(/^open\.\d+\.\d+$/);
      expect(section, id).not.toBe('');
      expect(summary, id).toMatch(sentence);
      expect(accepts, id).toMatch(sentence);
    }
    for (const { id, summary, test } of FACTS) {
      expect(id).toMatch(/^fact\.[a-z]+\.[a-z-]+$/);
      expect(summary, id).toMatch(sentence);
      expect(test, id).toMatch(sentence);
    }
  });

  it('knows the clauses of the IOMMU chapter', () => {
    const count = (side: string, observable: string): number =>
      CLAUSES.filter(
        (one) => one.area === 'iommu' && one.side === side && one.observable === observable,
      ).length;
    expect(['device', 'driver'].map((side) => count(side, 'black-box'))).toEqual([60, 38]);
    expect(count('device', 'white-box') + count('driver', 'white-box')).toBe(11);
  });

  it('finds what an id stands for, with or without a name of its own', () => {
    expect(entryOf('iommu.dev.map.overlap#exact')?.level).toBe('SHOULD');
    expect(entryOf('open.4.1')?.level).toBe('open');
    expect(entryOf('fact.iommu.translate')?.level).toBe('fact');
    expect(entryOf('iommu.dev.map')).toBeUndefined();
  });
});

describe.each([
  ['device', DEVICE_CASES],
  ['driver', DRIVER_CASES],
] as const)('the cases on the side of the %s', (side, cases) => {
  const covered = new Set(cases.map(({ id }) => clauseOf(id)));
  const open = (entries: readonly { readonly id: string }[]): string[] =>
    entries.map(({ id }) => id).filter((id) => !covered.has(id) && !(id in UNCOVERED));

  it('have an id of their own, and a title', () => {
    const ids = cases.map(({ id }) => id);
    expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([]);
    for (const { id, title } of cases) {
      expect(id).toMatch(/^[a-z]+\.[\w.-]+(?:#[\w.-]+)?$/);
      expect(title, id).not.toBe('');
      // What is stated as fact may show on both sides.
      if (!id.startsWith('fact.')) expect(entryOf(id)?.side ?? side, id).toBe(side);
    }
  });

  it('cover each clause of the IOMMU chapter, or there is a reason', () => {
    expect(open(CLAUSES.filter((one) => one.area === 'iommu' && one.side === side))).toEqual([]);
  });

  it('cover each fact, or there is a reason', () => {
    expect(open(FACTS.filter((one) => one.side === side))).toEqual([]);
  });
});

describe('reasons to have no case', () => {
  it('are for clauses and facts, one sentence each, and no case refutes them', () => {
    const covered = new Set([...DEVICE_CASES, ...DRIVER_CASES].map(({ id }) => clauseOf(id)));
    for (const [id, reason] of Object.entries(UNCOVERED)) {
      expect(entryOf(id), id).toBeDefined();
      expect(covered.has(id), id).toBe(false);
      expect(reason, id).toMatch(/^[A-Z](?:[^.]|\.(?! ))+\.$/);
    }
  });
});
