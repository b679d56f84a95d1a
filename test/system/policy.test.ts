/** Disks in a host worker, driven by a guest worker, with their bytes in files that are read afterwards. */

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GrantHypervisor, GrantStatus } from '@viommu/iommu';
import type { EndpointOptions } from '@viommu/machine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BACKEND, ENDPOINT } from './kit/disks.ts';
import { blockBytes } from './kit/traffic.ts';
import type { PolicyArgs, PolicyResult, Way } from './program/policy.ts';
import { type Run, run } from './run.ts';

const BLOCKS = 64;
/** Some behind the blocks, which stay empty. */
const SIZE_BYTES = (BLOCKS + 16) * 4096;
const SEED = 3;
const WAYS: readonly Way[] = [
  { disk: 'plain', system: { iommu: false } },
  { disk: 'iommu', system: { commandLine: 'iommu.strict=1' }, strays: true },
  { disk: 'iommu', system: { commandLine: 'iommu.strict=0' } },
  { disk: 'iommu', system: { commandLine: 'iommu.strict=0 iommu.fq=single' } },
  { disk: 'iommu', system: { commandLine: 'iommu.strict=1' }, goesLazy: true },
  { disk: 'iommu', system: { commandLine: 'iommu.passthrough=1' } },
  { disk: 'plain', system: { commandLine: 'swiotlb=1024,force' } },
  { disk: 'grant', system: { xen: true } },
  // Last, since a guest that protects itself does so for good.
  { disk: 'plain', system: { protected: true }, strays: true },
  { disk: 'iommu', system: { protected: true } },
];

describe('a disk in another thread', { timeout: 60_000 }, () => {
  let folder = '';
  let ran: Run;
  let results: readonly PolicyResult[];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'viommu-policy-'));
    const disk = (name: string, more: object = {}): EndpointOptions => ({
      kind: 'disk',
      file: join(folder, name),
      sizeBytes: SIZE_BYTES,
      ...more,
    });
    const args: PolicyArgs = { ways: WAYS };
    const endpoints = {
      plain: disk('plain'),
      iommu: disk('iommu', { id: ENDPOINT }),
      grant: disk('grant', { backend: BACKEND }),
    };
    ran = await run('policy', { args, endpoints });
    results = ran.value as PolicyResult[]; // What the program returns.
  });

  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('S4.1, S3.2 brings every byte there and back in each of ten ways [B10]', () => {
    expect(
      results.map(({ kind, type, errors, wrong }) => [kind, type, errors, wrong].join(' ').trim()),
    ).toEqual([
      'direct  0 0',
      'iommu DMA 0 0',
      'iommu DMA-FQ 0 0',
      'iommu DMA-FQ 0 0',
      'iommu DMA-FQ 0 0',
      'direct identity 0 0',
      'direct  0 0',
      'grant  0 0',
      'direct  0 0',
      'iommu DMA 0 0',
    ]);
    const { requests } = results[0] ?? {};
    expect(requests).toBe(3 * BLOCKS + 300);
  });

  it('S4.1, S3.6 leaves in its file what was written last, and nothing else', async () => {
    for (const name of ['plain', 'iommu', 'grant']) {
      const bytes = await readFile(join(folder, name));
      const { generations = [] } = results.findLast((_, index) => WAYS[index]?.disk === name) ?? {};
      const expected = new Int32Array(1024);
      const wrong = generations.filter((times, block) => {
        blockBytes(expected, SEED, block, times);
        return !bytes
          .subarray(block * 4096, (block + 1) * 4096)
          .equals(new Uint8Array(expected.buffer));
      });
      expect([name, generations.length, wrong]).toEqual([name, BLOCKS, []]);
      expect(bytes.subarray(BLOCKS * 4096).every((byte) => byte === 0)).toBe(true);
    }
  });

  it('S4.13, S4.11 goes on while its domain becomes lazy under it [B15]', () => {
    expect(results[WAYS.findIndex(({ goesLazy }) => goesLazy)]).toMatchObject({
      type: 'DMA-FQ',
      errors: 0,
      wrong: 0,
    });
  });

  it('S3.13 is stopped by the IOMMU at a wrong address, which arrives as a fault [A22]', () => {
    const { stray } = results[1] ?? {};
    expect(stray).toMatchObject({ error: 'EIO', lost: undefined, changed: 0 });
    expect(stray?.faults).toEqual([{ endpoint: ENDPOINT, address: stray?.address }]);
  });

  it('S3.7 loses nothing to a raw address of a protected guest, and lives on [D12]', () => {
    const { stray, wrong } = results[8] ?? {};
    expect(stray).toMatchObject({ error: 'EIO', changed: 0, faults: [] });
    expect(stray?.lost).toContain('reset');
    expect(wrong).toBe(0);
  });

  it('S0.7 has no grant left that a third party, or its own back-end, could map', () => {
    const { machine } = ran;
    const words = machine.map.grantTable(machine.buffer);
    const hypervisor = new GrantHypervisor();
    hypervisor.addGranter(1, words);
    expect(words.some((word) => word !== 0)).toBe(true);
    for (let ref = 0; ref < words.length / 2; ref += 1)
      expect(hypervisor.mapGrant(1, ref, BACKEND, true)).toBe(GrantStatus.GENERAL_ERROR);
  });
});
