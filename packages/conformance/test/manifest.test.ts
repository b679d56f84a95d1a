import {
  type CaseResult,
  type DeviceCase,
  type Manifest,
  defineCase,
  readManifest,
  runConformance,
} from '@viommu/conformance';
import { coreTarget } from '@viommu/conformance';
import { describe, expect, it } from 'vitest';

const one = (id: string, run: DeviceCase['run']): DeviceCase => defineCase({ id, title: '', run });
const FAILS = one('iommu.dev.map.flags-unknown', (s) => s.check(false, 'no'));
const WARNS = one('iommu.dev.map.overlap', (s) => s.check(false, 'no'));
const PASSES = one('iommu.dev.map.unaligned', () => undefined);
const SKIPS = one('iommu.dev.unmap.split-status', (s) => s.skip('why'));
const cases = [FAILS, WARNS, PASSES, SKIPS];

async function run(divergences: Manifest['divergences'] | undefined): Promise<{
  readonly marks: readonly (true | undefined)[];
  readonly vanished: readonly string[];
  readonly conforms: boolean;
}> {
  const manifest = divergences === undefined ? undefined : { target: 'x', divergences };
  const { results, vanished, conforms } = await runConformance(coreTarget, { cases, manifest });
  return { marks: results.map(({ expected }: CaseResult) => expected), vanished, conforms };
}

describe('without a manifest', () => {
  it('a failure falls short, and a warning does not', async () => {
    expect((await run(undefined)).conforms).toBe(false);
    const warned = await runConformance(coreTarget, { cases: [WARNS, PASSES, SKIPS] });
    expect(warned.conforms).toBe(true);
    expect(warned.summary).toMatchObject({ pass: 1, fail: 0, warn: 1, skip: 1, expected: 0 });
  });
});

describe('with a manifest', () => {
  it('what it lists keeps its verdict, is marked, and does not fall short', async () => {
    const both = await run([
      { id: FAILS.id, result: 'fail' },
      { id: WARNS.id, result: 'warn' },
    ]);
    expect(both).toEqual({
      marks: [true, true, undefined, undefined],
      vanished: [],
      conforms: true,
    });
  });

  it('a new divergence falls short, a warning as well', async () => {
    expect((await run([{ id: FAILS.id, result: 'fail' }])).conforms).toBe(false);
    expect((await run([{ id: WARNS.id, result: 'warn' }])).conforms).toBe(false);
  });

  it('one that comes in another way is new, and the listed one has vanished', async () => {
    const other = await run([
      { id: FAILS.id, result: 'fail', how: 'crash' },
      { id: WARNS.id, result: 'fail' },
    ]);
    expect(other).toMatchObject({ vanished: [FAILS.id, WARNS.id], conforms: false });
  });

  it('one that is gone is reported and does not fall short; one that was skipped is not gone', async () => {
    const gone = await run([
      { id: FAILS.id, result: 'fail' },
      { id: WARNS.id, result: 'warn' },
      { id: PASSES.id, result: 'warn' },
      { id: SKIPS.id, result: 'warn' },
      { id: 'iommu.dev.attach.endpoint-missing', result: 'fail' },
    ]);
    expect(gone).toMatchObject({ vanished: [PASSES.id], conforms: true });
  });

  it('a target brings its own, unless the caller has one', async () => {
    const target = {
      ...coreTarget,
      manifest: { target: '', divergences: [{ id: FAILS.id, result: 'fail' as const }] },
    };
    expect((await runConformance(target, { cases: [FAILS] })).conforms).toBe(true);
    const empty = { target: '', divergences: [] };
    expect((await runConformance(target, { cases: [FAILS], manifest: empty })).conforms).toBe(
      false,
    );
  });
});

describe('a manifest', () => {
  it('is read from JSON', () => {
    const text =
      '{"target":"qemu 7.2","divergences":[{"id":"a","result":"fail","how":"hang","note":"It stops."}]}';
    expect(readManifest(text).divergences).toEqual([
      { id: 'a', result: 'fail', how: 'hang', note: 'It stops.' },
    ]);
  });

  it.each([
    '',
    'null',
    '[]',
    '{"target":"x"}',
    '{"target":"x","divergences":[null]}',
    '{"target":"x","divergences":[{"id":"a"}]}',
    '{"target":"x","divergences":[{"id":"a","result":"pass"}]}',
    '{"target":"x","divergences":[{"id":"a","result":"fail","how":"dies"}]}',
  ])('is not: %s', (text) => {
    expect(() => readManifest(text)).toThrowError(expect.objectContaining({ code: 'EINVAL' }));
  });
});
