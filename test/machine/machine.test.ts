import { FaultReason } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { run } from './run.ts';

const { MAPPING } = FaultReason;

describe('a machine of two workers and one memory', { timeout: 60_000 }, () => {
  it('fact.iommu.translate copies bytes of any length at any offset, both ways', async () => {
    const { value, statistics } = await run('copy');
    expect(value).toEqual({
      copies: 60,
      wrong: 0,
      last: { ok: true, copied: 1 },
      lastByte: true,
    });
    expect(statistics).toMatchObject({ copies: 61 });
  });

  it('copies more than one request to the engine can take', async () => {
    const { value, statistics } = await run('large');
    expect(value).toEqual({ result: { ok: true, copied: 3 << 20 }, equal: true });
    expect(statistics).toMatchObject({ copies: 3, copiedBytes: 3 << 20 });
  });

  it('refuses what is not mapped or not permitted, and tells the driver', async () => {
    const { reports } = await run('fault');
    const refused = (access: 'read' | 'write', address: bigint): object => ({
      result: { ok: false, reason: 'fault', access, address, copied: 0 },
      faults: [
        {
          reason: MAPPING,
          read: access === 'read',
          write: access === 'write',
          endpointId: 8,
          address,
          domain: true,
        },
      ],
    });
    const fine = { result: { ok: true, copied: 16 }, faults: [] };
    expect(reports).toEqual([
      { name: 'fine', ...fine },
      { name: 'write to read-only', ...refused('write', 0x20_0000n) },
      { name: 'read from read-only', ...fine },
      { name: 'read from write-only', ...refused('read', 0x30_0000n) },
      { name: 'write to write-only', ...fine },
      { name: 'read from a hole', ...refused('read', 0x40_0000n) },
      // (8.8) The first byte that could not be translated.
      { name: 'write past the end', ...refused('write', 0x10_4000n) },
      { name: 'after unmap', ...refused('read', 0x10_0000n) },
      {
        name: 'read where no memory is',
        result: { ok: false, reason: 'unbacked', access: 'read', address: undefined, copied: 0 },
        faults: [],
      },
      { untouched: true },
    ]);
  });

  it('fact.iommu.isolation keeps two endpoints in two domains apart', async () => {
    const { value } = await run('isolation');
    expect(value).toEqual({
      allowed: [true, true],
      arrived: [true, true, true],
      crossed: [false, false, false, false],
      afterUnmap: [false, true],
      afterDetach: [false],
      together: [true],
    });
  });

  it('fact.iommu.reset-unattached forgets everything with a reset, and can be brought up again', async () => {
    const { value } = await run('reset');
    expect(value).toMatchObject({ outcomes: [true, false, false, true, false], status: 0 });
  });
});
