import {
  AttachFlag,
  ImageReader,
  ImageWriter,
  IommuFeature,
  Status,
  featureMask,
} from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { Iommu } from '../src/index.ts';

const IMAGE = { kind: 1, version: 1 };
const FEATURES = featureMask(IommuFeature.MAP_UNMAP) | featureMask(IommuFeature.BYPASS_CONFIG);

/** An IOMMU with endpoint 7 in domain 1, which maps pages 0x10 to 0x1f, and what a keeper is told from then on. */
function world() {
  const iommu = new Iommu({ endpoints: [{ id: 7 }, { id: 8 }], bypass: true });
  iommu.negotiate(FEATURES);
  iommu.attach(1, 7, 0);
  iommu.map(1, 0x10, 0, 0x1f, 0xfff, 0x100, 0, 3);
  const told: (string | readonly number[])[] = [];
  iommu.keep({
    invalidate: (startPage, lastPage) => told.push([startPage, lastPage]),
    invalidateAll: () => told.push('all'),
  });
  return { iommu, told };
}

describe('a keeper of translations', () => {
  it('S4.16 hears which pages an UNMAP takes away, and nothing of one that is refused', () => {
    const { iommu, told } = world();
    expect(iommu.unmap(1, 0x10, 0, 0x17, 0xfff)).toBe(Status.RANGE);
    expect(told).toEqual([]);
    expect(iommu.unmap(1, 0x10, 0, 0x1f, 0xfff)).toBe(Status.OK);
    expect(told).toEqual([[0x10, 0x1f]]);
  });

  it.each<[string, (iommu: Iommu) => unknown]>([
    ['a DETACH', (iommu) => iommu.detach(1, 7)],
    ['a move', (iommu) => iommu.attach(2, 7, AttachFlag.BYPASS)],
    ['the end of a bypass', (iommu) => iommu.attach(1, 8, 0)],
    ['a write to bypass', (iommu) => iommu.writeBypass(0)],
    ['an unplugged endpoint', (iommu) => iommu.unplug(7)],
    ['a device reset', (iommu) => iommu.reset()],
    ['a system reset', (iommu) => iommu.systemReset()],
  ])('S4.16 forgets everything with %s', (_, change) => {
    const { iommu, told } = world();
    change(iommu);
    expect(told).toContain('all');
  });

  it('S4.16 forgets everything when a state is restored, and stays', () => {
    const { iommu, told } = world();
    const image = new ImageWriter(IMAGE);
    iommu.save(image);
    iommu.restore(FEATURES, new ImageReader(image.finish(), IMAGE));
    expect(told).toEqual(['all']);
    iommu.unmap(1, 0x10, 0, 0x1f, 0xfff);
    expect(told).toEqual(['all', [0x10, 0x1f]]);
  });
});
