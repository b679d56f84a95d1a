/** The lists of known divergences name cases that exist, and say nothing that would help an attacker. */

import { readdirSync } from 'node:fs';
import { casesOf } from '@viommu/conformance';
import { qemuManifest } from '@viommu/peers';
import { describe, expect, it } from 'vitest';

const FOLDER = new URL('../manifest/', import.meta.url);
const versions = readdirSync(FOLDER).map((name) => /^qemu-(\d+\.\d+)\.json$/.exec(name)?.[1] ?? '');
const cases = new Set(casesOf({}).map(({ id }) => id));

describe.each(versions)('the manifest of QEMU %s', (version) => {
  const { target, divergences = [] } = qemuManifest(`${version}.99`) ?? {};

  it('is found by any version of that name', () => {
    expect(target).toBe(`QEMU ${version}`);
    expect(divergences.length).toBeGreaterThan(0);
  });

  it('names each case once, and none that is gone', () => {
    const ids = divergences.map(({ id }) => id);
    expect(ids.filter((id) => !cases.has(id))).toEqual([]);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('says in a sentence what the peer does, and names no crash', () => {
    for (const { id, how, note } of divergences) {
      expect(note, id).toMatch(/^[A-Z].*\.$/);
      expect(how, id).toBeUndefined();
    }
  });
});

describe('versions without a manifest', () => {
  it('have none', () => {
    expect([qemuManifest('0.1.0'), qemuManifest('..')]).toEqual([undefined, undefined]);
  });
});
