import { IommuError } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { DEFAULT_BOOT_OPTIONS, bootOptions } from '../src/boot-option.ts';

describe('the command line', () => {
  it('of no guest says nothing', () => {
    expect(bootOptions('')).toEqual(DEFAULT_BOOT_OPTIONS);
    expect(bootOptions(' root=/dev/vda  quiet iommufd.x=1 strict=0 iommu=pt constructor ')).toEqual(
      DEFAULT_BOOT_OPTIONS,
    );
    expect(DEFAULT_BOOT_OPTIONS).toEqual({
      forceDac: false,
      bounce: { force: 'auto' },
      forceGrant: false,
      deferredProbeMs: 10_000,
    });
  });

  it.each([
    ['iommu.passthrough=1', { passthrough: true }],
    ['iommu.passthrough=0', { passthrough: false }],
    ['iommu.passthrough', { passthrough: true }],
    ['iommu.strict=1', { strict: true }],
    ['iommu.strict=0', { strict: false }],
    ['iommu.strict=0 iommu.strict=1', { strict: true }],
    ['iommu.forcedac=1', { forceDac: true }],
    ['iommu.fq=percpu', { flushQueue: 'percpu' }],
    ['iommu.fq=single', { flushQueue: 'single' }],
    ['iommu.fqSize=256', { flushQueueSize: 256 }],
    ['iommu.fqTimeout=10', { flushQueueTimeoutMs: 10 }],
    ['swiotlb=32768', { bounce: { force: 'auto', slots: 32_768 } }],
    ['swiotlb=100', { bounce: { force: 'auto', slots: 128 } }],
    ['swiotlb=129,4', { bounce: { force: 'auto', slots: 256, areas: 4 } }],
    ['swiotlb=128,1,force', { bounce: { force: 'force', slots: 128, areas: 1 } }],
    ['swiotlb=128,noforce', { bounce: { force: 'noforce', slots: 128 } }],
    ['swiotlb=force', { bounce: { force: 'force' } }],
    ['xen.forceGrant', { forceGrant: true }],
    ['xen.forceGrant=0', { forceGrant: false }],
    ['viommu.bypass=0', { bypass: 0 }],
    ['viommu.bypass=1', { bypass: 1 }],
    ['deferred_probe_timeout=0', { deferredProbeMs: 0 }],
    ['deferred_probe_timeout=30', { deferredProbeMs: 30_000 }],
  ])('%s', (text, expected) => {
    expect(bootOptions(`quiet ${text} panic=1`)).toEqual({ ...DEFAULT_BOOT_OPTIONS, ...expected });
  });

  it.each([
    'iommu.passthrough=yes',
    'iommu.passthrough=',
    'iommu.strict=2',
    'iommu.strict=01',
    'iommu.strickt=0',
    'iommu.fq',
    'iommu.fq=perCpu',
    'iommu.fqSize',
    'iommu.fqSize=255',
    'iommu.fqSize=1',
    'iommu.fqSize=2097152',
    'iommu.fqSize=-256',
    'iommu.fqTimeout',
    'iommu.fqTimeout=0',
    'iommu.fqTimeout=1e3',
    'swiotlb',
    'swiotlb=',
    'swiotlb=0',
    'swiotlb=lots',
    'swiotlb=128,3',
    'swiotlb=128,0',
    'swiotlb=128,',
    'swiotlb=128,1,maybe',
    'swiotlb=128,1,1,force',
    'swiotlb=99999999999',
    'xen.forceGrant=2',
    'xen.force',
    'viommu.bypass=2',
    'viommu.x',
    'deferred_probe_timeout=-1',
    'deferred_probe_timeout',
  ])('%s is answered with one line that names it', (word) => {
    let error: unknown;
    try {
      bootOptions(`quiet ${word} iommu.strict=1`);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(IommuError);
    expect(error).toMatchObject({ code: 'EINVAL', message: expect.stringMatching(/^[^\n]+\.$/) });
    expect(String(error)).toContain(`${word}:`);
  });
});
