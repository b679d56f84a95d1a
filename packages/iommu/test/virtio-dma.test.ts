import { VirtioFeature, featureMask } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { Device } from '../src/device.ts';
import type { DmaOps } from '../src/dma-ops.ts';
import { VirtioDma, type VirtioPlatform } from '../src/virtio-dma.ts';

const ACCESS_PLATFORM = featureMask(VirtioFeature.ACCESS_PLATFORM);
const VERSION_1 = featureMask(VirtioFeature.VERSION_1);

/** Operations that are only compared. */
const opsOf = (kind: DmaOps['kind']): DmaOps => ({ kind }) as DmaOps; // Nothing calls them here.

const physical = opsOf('physical');
const direct = opsOf('direct');
const iommu = opsOf('iommu');
const grant = opsOf('grant');

function chosen(features: bigint, installed: DmaOps | undefined, platform: VirtioPlatform = {}) {
  const transport = new Device({ name: 'virtio0', bus: 'platform' });
  transport.dmaOps = installed;
  return new VirtioDma({ platform, physical, direct }).choose(transport, features).ops.kind;
}

describe('the choice of DMA operations', () => {
  it('S3.1 without ACCESS_PLATFORM addresses are physical, whatever IOMMU the device is behind [D1]', () => {
    for (const installed of [undefined, direct, iommu, grant])
      expect(chosen(VERSION_1, installed)).toBe('physical');
  });

  it('S3.2 with ACCESS_PLATFORM what the core has installed is used, else direct operations [D2] [D3]', () => {
    expect(chosen(ACCESS_PLATFORM, iommu)).toBe('iommu');
    expect(chosen(ACCESS_PLATFORM, grant)).toBe('grant');
    expect(chosen(ACCESS_PLATFORM, direct)).toBe('direct');
    expect(chosen(ACCESS_PLATFORM, undefined)).toBe('direct');
  });

  it('S3.4 one hook forces the DMA API, and may exempt single devices; it never leads into the IOMMU [D5]', () => {
    const platform = { forcesDmaApi: ({ name }: Device) => name !== 'balloon0' };
    expect(chosen(VERSION_1, iommu, platform)).toBe('direct');
    const balloon = new Device({ name: 'balloon0', bus: 'platform' });
    const { ops } = new VirtioDma({ platform, physical, direct }).choose(balloon, VERSION_1);
    expect(ops.kind).toBe('physical');
    expect(chosen(VERSION_1, iommu, { xen: true })).toBe('direct');
  });

  it('S3.3 is made once for each initialisation, and later answers of the platform change nothing [D4]', () => {
    let forced = false;
    const dma = new VirtioDma({ platform: { forcesDmaApi: () => forced }, physical, direct });
    const choice = dma.choose(new Device({ name: 'virtio0', bus: 'platform' }), VERSION_1);
    choice.seal();
    forced = true;
    for (let io = 0; io < 10_000; io += 1) if (choice.ops !== physical) throw new Error('changed');
    expect([choice.ops.kind, dma.decisions]).toEqual(['physical', 1]);
  });

  it('S3.3 operations of a live device cannot be replaced [D14]', () => {
    const dma = new VirtioDma({ physical, direct });
    const choice = dma.choose(new Device({ name: 'virtio0', bus: 'platform' }), VERSION_1);
    choice.seal();
    expect(() => choice.replace(direct)).toThrow(expect.objectContaining({ code: 'EBUSY' }));
    expect(choice.ops.kind).toBe('physical');
    choice.unseal();
    choice.replace(direct);
    expect(choice.ops.kind).toBe('direct');
  });

  it('S3.11 restricted access takes VERSION_1 and ACCESS_PLATFORM, asked for each device [D6] [E12]', () => {
    const platform = { requiresRestricted: ({ name }: Device) => name === 'disk' };
    const dma = new VirtioDma({ platform, physical, direct });
    const required = (name: string) => dma.requiredFeatures(new Device({ name, bus: 'platform' }));
    expect(required('disk')).toBe(VERSION_1 | ACCESS_PLATFORM);
    expect(required('other')).toBe(0n);
  });
});
