/** QEMU as a target of the suite: against the stand-in, which is our own device, it must say what `core` says. */

import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import {
  type CaseResult,
  type DeviceTarget,
  type DeviceTargetFactory,
  casesOf,
  coreTarget,
  runConformance,
} from '@viommu/conformance';
import {
  DeviceStatus,
  IommuConfig,
  IommuFeature,
  VirtioFeature,
  featureMask,
} from '@viommu/common';
import { runSeed, signatureOf } from '@viommu/conformance/fuzz';
import { qemuTarget } from '@viommu/peers';
import { FakeQemus, realQemus } from './kit/install.ts';

const { ACKNOWLEDGE, DRIVER, FEATURES_OK } = DeviceStatus;

const fakes = new FakeQemus();
afterAll(() => fakes.dispose());

const standIn = (): DeviceTargetFactory => qemuTarget(`qemu:${fakes.path('well')}`);

async function withTarget(
  factory: DeviceTargetFactory,
  use: (target: DeviceTarget) => void,
): Promise<void> {
  const target = await factory.open({ bypass: false });
  try {
    use(target);
  } finally {
    target.dispose();
  }
}

const BYPASS = IommuConfig.offset.bypass;

/** Only then can `bypass` be written. */
function negotiate(target: DeviceTarget): void {
  for (const status of [0, ACKNOWLEDGE, ACKNOWLEDGE | DRIVER]) target.writeStatus(status);
  const features = [IommuFeature.BYPASS_CONFIG, VirtioFeature.VERSION_1].map(featureMask);
  target.writeFeatures(features.reduce((set, bit) => set | bit));
  target.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
}

async function verdicts(factory: DeviceTargetFactory, only: string): Promise<object> {
  // One: each starts a process.
  const cases = casesOf({ only }).slice(0, 1);
  const { results } = await runConformance(factory, { cases });
  const entries = results.map(({ id, result }: CaseResult) => [id, result] as const);
  return Object.fromEntries(entries.filter(([, result]) => result !== 'skip'));
}

describe('the suite', () => {
  it.each(['iommu.dev.map.write-needs-flag', 'iommu.dev.attach.endpoint-missing'])(
    'finds of %s on the stand-in what it finds on our device',
    async (only) => {
      const found = await verdicts(standIn(), only);
      expect(Object.keys(found).length).toBeGreaterThan(0);
      expect(await verdicts(coreTarget, only)).toMatchObject(found);
    },
  );

  // Says of a run whether it had one.
  it.skipIf(realQemus().length === 0)('has a QEMU here', () => {
    expect(qemuTarget('qemu', fileURLToPath(new URL('../../', import.meta.url))).name).toMatch(
      /^qemu \d+\.\d+/,
    );
  });

  it.each([...realQemus()])('runs on %s', async (command) => {
    const found = await verdicts(qemuTarget(`qemu:${command}`), 'iommu.dev.map.flags-unknown');
    expect(Object.keys(found).length).toBeGreaterThan(0);
  });
});

const kept: DeviceTargetFactory[] = [];
afterAll(() => {
  for (const factory of kept) factory.close?.();
});

/** The same with processes that are kept. */
function keep(factory: DeviceTargetFactory): DeviceTargetFactory {
  const keeping = factory.kept?.() ?? factory;
  kept.push(keeping);
  return keeping;
}

describe.each([
  ['the stand-in', standIn],
  ['the stand-in, kept', () => keep(standIn())],
  ...realQemus().flatMap((command) => [
    [command, () => qemuTarget(`qemu:${command}`)] as const,
    [`${command}, kept`, () => keep(qemuTarget(`qemu:${command}`))] as const,
  ]),
] as const)('a target on %s', (_, factoryOf) => {
  it('is powered up and left alone, in a window of zeros', () =>
    withTarget(factoryOf(), (target) => {
      const { start, bytes } = target.window;
      const content = new Uint8Array(bytes);
      const position = target.memory.locate(Number(start), 0, bytes);
      target.memory.read(position, content, 0, bytes);
      expect([target.readStatus(), content.every((byte) => byte === 0)]).toEqual([0, true]);
      expect(target.queueSizeMax(0)).toBeGreaterThan(0);
      expect(target.queueSizeMax(2)).toBe(0);
      expect(target.endpoints.filter(({ role }) => role === 'present')).toHaveLength(3);
      expect(target.wait(() => false, 1000)).toBe(false);
    }));

  it('grants the wish for bypass, which a system reset brings back', () =>
    withTarget(factoryOf(), (target) => {
      const bypass = (): number => target.readConfig(BYPASS, 1);
      expect(bypass()).toBe(0);
      negotiate(target);
      target.writeConfig(BYPASS, 1, 1);
      target.writeStatus(0);
      expect(bypass()).toBe(1);
      target.reset?.('system');
      expect(bypass()).toBe(0);
    }));

  it('lets no endpoint access memory that is neither attached nor let by', () =>
    withTarget(factoryOf(), (target) => {
      const { start } = target.window;
      const position = target.memory.locate(Number(start), 0, 16);
      target.memory.write(position, Uint8Array.of(1, 2, 3, 4), 0, 4);
      const got = new Uint8Array(4).fill(9);
      target.dma?.(0x28, 'read', start, got);
      target.dma?.(0x30, 'write', start + 8n, Uint8Array.of(5, 6));
      expect([[...got], target.memory.getUint16(position + 8)]).toEqual([[0, 0, 0, 0], 0]);
      negotiate(target);
      target.writeConfig(BYPASS, 1, 1);
      target.dma?.(0x28, 'read', start, got);
      target.dma?.(0x30, 'write', start + 8n, Uint8Array.of(5, 6));
      expect([[...got], target.memory.getUint16(position + 8)]).toEqual([[1, 2, 3, 4], 0x0605]);
    }));

  it('starts anew as another process, with nothing in memory', () =>
    withTarget(factoryOf(), (target) => {
      target.memory.setUint32(0, 7);
      target.writeStatus(1);
      target.reset?.('process');
      expect([target.readStatus(), target.memory.getUint32(0)]).toEqual([0, 0]);
    }));
});

describe('a target that is kept', () => {
  it('is the same process, and knows nothing of the last user', async () => {
    const factory = keep(standIn());
    const { start } = (await factory.open({ bypass: false })).window;
    let position = 0;
    await withTarget(factory, (target) => {
      negotiate(target);
      position = target.memory.locate(Number(start), 0, 4);
      target.memory.setUint32(position, 7);
      target.writeConfig(BYPASS, 1, 1);
    });
    const begun = performance.now();
    await withTarget(factory, (target) => {
      expect([target.readStatus(), target.readConfig(BYPASS, 1)]).toEqual([0, 0]);
      expect(target.memory.getUint32(position)).toBe(0);
    });
    // A start of the stand-in takes ten times this long.
    expect(performance.now() - begun).toBeLessThan(100);
  });

  it.each([2, 5, 8])(
    'goes through the stream of seed %s with our device behind it',
    async (seed) => {
      const { tally, finding } = await runSeed(keep(standIn()), seed);
      expect(finding && signatureOf(finding)).toBeUndefined();
      expect(tally.requests).toBeGreaterThan(10);
    },
  );
});

describe('a name', () => {
  it('may be a version, a path or a command line', () => {
    const path = fakes.path('well');
    expect(qemuTarget(`qemu:${path}`).name).toBe('qemu 7.2.99');
    expect(qemuTarget(`qemu:sh ${path}`).name).toBe('qemu 7.2.99');
    expect(() => qemuTarget('qemu:/nowhere/qemu')).toThrow('is no QEMU');
    expect(() => qemuTarget('qemu:0.1')).toThrow('There is no such QEMU');
  });
});
