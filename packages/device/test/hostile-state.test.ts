/**
 * Saved state from anywhere. An image is taken over as a whole, and then saves to the same bytes; or it is refused with
 * `EINVAL`, and the device is as it was.
 *
 * Here are images that are wrong in one point, by name; `hostile-registers.test.ts` has those of register windows, and
 * `hostile-image.test.ts` changes every byte.
 */

import { VirtioFeature, featureMask } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { IommuDevice, type IommuDeviceOptions } from '../src/index.ts';
import { OPTIONS } from './board.ts';
import {
  Bytes,
  type DeviceImage,
  type ImageDomain,
  type ImageMapping,
  deviceImage,
  hexOf,
  outcome,
  seal,
} from './image.ts';

/** RESV_MEM, 20 bytes, of no use for anything: as the standard has the property. */
const REGION = new Bytes().u16(1).u16(20).u32(0).u64(0x8000n, 0x8fffn).done();
const NOTHING = new Uint8Array();
const MMIO_FLAG = 4;

const { offeredFeatures: offered } = new IommuDevice(OPTIONS);
const TRUE_DEVICE: DeviceImage = {
  offered,
  features: offered,
  dropped: 3n,
  dropSeen: 1,
  endpoints: [
    [8, REGION],
    [9, NOTHING],
    [0x1_0028, NOTHING],
  ],
  bypass: 1,
  domains: [
    {
      id: 7,
      endpoints: [8, 9],
      mappings: [
        { start: 0x1000n, last: 0x2fffn, phys: 0x5000n },
        { start: 0x9000n, last: 0x9fffn, flags: 0 },
      ],
    },
    { id: 2, flags: 1, endpoints: [0x1_0028] },
  ],
};

/** Restores into a device that has a state of its own. */
function restoring(image: Uint8Array, options: IommuDeviceOptions = OPTIONS): string {
  const device = new IommuDevice(options);
  device.acceptFeatures(device.offeredFeatures);
  device.iommu.attach(5, device.iommu.endpoints[0] ?? 0, 0);
  const before = device.save();
  const result = outcome(() => device.restore(image));
  expect(hexOf(device.save())).toBe(hexOf(result === 'taken over' ? image : before));
  return result;
}

const changed = (change: Partial<DeviceImage>): string =>
  restoring(deviceImage({ ...TRUE_DEVICE, ...change }));
const withDomains = (...domains: readonly ImageDomain[]): string => changed({ domains });
const withMappings = (...mappings: readonly ImageMapping[]): string =>
  withDomains({ id: 1, mappings });
const PAGE = { start: 0x1000n, last: 0x1fffn };

describe('a saved device', () => {
  it('has the bytes that decision 0012 says', () => {
    const device = new IommuDevice({ ...OPTIONS, bypass: true });
    device.acceptFeatures(offered);
    for (const page of [0n, 0x1000n, 0x2000n]) device.iommu.translateRange(9, page as never, 1, 1); // An Iova.
    for (const endpoint of [9, 8]) device.iommu.attach(7, endpoint, 0);
    device.iommu.attach(2, 0x1_0028, 1);
    const map = (start: bigint, last: bigint, phys: bigint, flags: number) =>
      device.iommu.mapRange(7, { start, last } as never, phys as never, flags); // Addresses.
    expect([map(0x9000n, 0x9fffn, 0n, 0), map(0x1000n, 0x2fffn, 0x5000n, 3)]).toEqual([0, 0]);
    const image = { ...TRUE_DEVICE, dropped: 0n, dropSeen: 0 };
    expect(hexOf(device.save())).toBe(hexOf(deviceImage(image)));
    const fresh = new IommuDevice();
    expect(hexOf(fresh.save())).toBe(hexOf(deviceImage({ offered, features: 0n })));
  });

  it('comes back with everything', () => {
    expect(changed({})).toBe('taken over');
    const device = new IommuDevice(OPTIONS);
    device.restore(deviceImage(TRUE_DEVICE));
    expect(device.iommu.domains).toEqual([7, 2]);
    expect([8, 9, 0x1_0028].map((id) => device.iommu.domainOf(id))).toEqual([7, 7, 2]);
    expect([device.iommu.bypass, device.config[36], device.droppedFaults]).toEqual([true, 1, 3]);
    expect(device.iommu.recognises(3)).toBe(true);
    expect(device.iommu.usage.mappings).toBe(2);
    expect(device.iommu.unmapRange(7, { start: 0n, last: 0xffff_ffffn } as never)).toBe(0); // Iovas.
  });

  it('tells an observer as much as it needs to follow', () => {
    const log: string[] = [];
    const device = new IommuDevice({
      ...OPTIONS,
      observer: {
        reset: (kind) => log.push(`${kind} reset`),
        bypassChanged: (bypass) => log.push(`bypass ${bypass}`),
        attached: (domain, endpoint, flags) => log.push(`attach ${domain} ${endpoint} ${flags}`),
        mapped: (domain, { start, last }, phys, flags) =>
          log.push(`map ${domain} ${start} ${last} ${phys} ${flags}`),
        droppedFault: () => log.push('dropped'),
      },
    });
    device.restore(deviceImage({ ...TRUE_DEVICE }));
    expect(log).toEqual([
      'device reset',
      'bypass true',
      'attach 7 8 0',
      'attach 7 9 0',
      'map 7 4096 12287 20480 3',
      'map 7 36864 40959 0 0',
      'attach 2 65576 1',
    ]);
    // Of dropped faults it was told before.
    device.iommu.translateRange(8, 0n as never, 1, 1); // An Iova.
    expect(log.at(-1)).not.toBe('dropped');
    expect(device.droppedFaults).toBe(4);
    log.length = 0;
    device.restore(deviceImage({ ...TRUE_DEVICE, domains: [] }));
    expect(log).toEqual(['device reset']);
  });

  it('is refused by a device of other options, endpoints or regions', () => {
    const image = deviceImage(TRUE_DEVICE);
    const [plain, reserved, other] = OPTIONS.endpoints ?? [];
    if (plain === undefined || reserved === undefined || other === undefined)
      throw new Error('three endpoints');
    for (const options of [
      { endpoints: [plain, reserved] },
      { endpoints: [plain, reserved, { id: 10 }] },
      { endpoints: [plain, reserved, other, { id: 10 }] },
      { endpoints: [plain, { id: 8 }, other] },
      {
        endpoints: [
          plain,
          { id: 8, reserved: [{ start: 0x8000n, last: 0x8fffn, type: 'msi' as const }] },
          other,
        ],
      },
      {
        endpoints: [
          plain,
          { id: 8, reserved: [{ start: 0x8000n, last: 0x8ffen, type: 'reserved' as const }] },
          other,
        ],
      },
      { ...OPTIONS, pageSizeMask: 0x1000n },
      { ...OPTIONS, inputRange: { start: 0n, last: 0xffff_ffffn } },
      { ...OPTIONS, domainRange: { first: 0, last: 100 } },
      { ...OPTIONS, probeSize: 256 },
      { ...OPTIONS, features: { mmio: false } },
      { ...OPTIONS, features: { legacyBypass: true } },
    ])
      expect(restoring(image, options), Object.keys(options).join()).toBe('EINVAL');
    // The order of endpoints, limits and the first value of `bypass` are no matter of a state.
    for (const options of [
      { endpoints: [other, reserved, plain] },
      { ...OPTIONS, limits: { domains: 2, mappings: 2, mappingsPerDomain: 2 } },
      { ...OPTIONS, bypass: true },
    ])
      expect(restoring(image, options), Object.keys(options).join()).toBe('taken over');
  });

  it('is refused over the limits of the device', () => {
    const image = deviceImage(TRUE_DEVICE);
    for (const limits of [{ domains: 1 }, { mappings: 1 }, { mappingsPerDomain: 1 }])
      expect(restoring(image, { ...OPTIONS, limits })).toBe('EINVAL');
  });

  it('is refused with features that were not negotiated', () => {
    for (const features of [
      offered | (1n << 63n),
      offered & ~featureMask(VirtioFeature.VERSION_1),
      1n,
    ])
      expect(changed({ features })).toBe('EINVAL');
    expect(changed({ features: offered & ~(1n << 29n) })).toBe('taken over');
    // What the driver then did needs the features that it has.
    expect(changed({ features: offered & ~featureMask(6) })).toBe('EINVAL');
    const { domains = [] } = TRUE_DEVICE;
    const mmio = [{ ...domains[0]!, mappings: [{ ...PAGE, flags: MMIO_FLAG }] }]; // There are two.
    expect(changed({ domains: mmio })).toBe('taken over');
    expect(changed({ domains: mmio, features: offered & ~featureMask(5) })).toBe('EINVAL');
  });

  it('is refused with an impossible bypass or number of faults', () => {
    expect(changed({ bypass: 2 })).toBe('EINVAL');
    expect(changed({ dropped: 0n })).toBe('EINVAL');
    expect(changed({ dropSeen: 2 })).toBe('EINVAL');
    expect(changed({ dropped: 1n << 53n })).toBe('EINVAL');
    const legacy = { ...OPTIONS, features: { legacyBypass: true } };
    const { offeredFeatures } = new IommuDevice(legacy);
    for (const bypass of [0, 1]) {
      const image = {
        ...TRUE_DEVICE,
        offered: offeredFeatures,
        features: offeredFeatures,
        domains: [],
        bypass,
      };
      expect(restoring(deviceImage(image), legacy)).toBe(bypass === 0 ? 'taken over' : 'EINVAL');
    }
  });

  it('is refused with domains that cannot be', () => {
    expect(withDomains({ id: 1 }, { id: 2, endpoints: [9] })).toBe('taken over');
    expect(withDomains({ id: 1 }, { id: 1, endpoints: [9] })).toBe('EINVAL');
    expect(withDomains({ id: 1, endpoints: [] })).toBe('EINVAL');
    expect(withDomains({ id: 1, flags: 2 })).toBe('EINVAL');
    const range = { ...OPTIONS, domainRange: { first: 3, last: 4 } };
    for (const id of [2, 3, 4, 5]) {
      const image = deviceImage({ ...TRUE_DEVICE, domainRange: [3, 4], domains: [{ id }] });
      expect(restoring(image, range)).toBe(id === 3 || id === 4 ? 'taken over' : 'EINVAL');
    }
  });

  it('is refused with attachments that cannot be', () => {
    expect(withDomains({ id: 1, endpoints: [8, 9, 0x1_0028] })).toBe('taken over');
    for (const endpoints of [[10], [8, 8], [9, 8], [8, 10], [0xffff_ffff]])
      expect(withDomains({ id: 1, endpoints }), String(endpoints)).toBe('EINVAL');
    expect(withDomains({ id: 1 }, { id: 2 })).toBe('EINVAL');
    expect(withDomains({ id: 1, endpoints: [8, 9] }, { id: 2, endpoints: [9, 0x1_0028] })).toBe(
      'EINVAL',
    );
  });

  it('is refused with mappings that overlap, or are out of their order', () => {
    const behind = { start: 0x2000n, last: 0x2fffn };
    expect(withMappings(PAGE, behind)).toBe('taken over');
    expect(withMappings(behind, PAGE)).toBe('EINVAL');
    expect(withMappings(PAGE, PAGE)).toBe('EINVAL');
    expect(withMappings({ start: 0x1000n, last: 0x3fffn }, behind)).toBe('EINVAL');
    expect(withMappings({ start: 0x1000n, last: 0x2fffn }, { start: 0x2000n, last: 0x3fffn })).toBe(
      'EINVAL',
    );
    // Two domains do not share addresses.
    expect(
      withDomains({ id: 1, mappings: [PAGE] }, { id: 2, endpoints: [9], mappings: [PAGE] }),
    ).toBe('taken over');
  });

  it('is refused with mappings that no request makes', () => {
    const whole = { start: 0n, last: 0xffff_ffff_ffff_ffffn };
    const alone = (mapping: ImageMapping) =>
      withDomains({ id: 1, endpoints: [9], mappings: [mapping] });
    expect(alone(whole)).toBe('taken over');
    expect(alone({ ...whole, phys: 0x1000n })).toBe('EINVAL');
    expect(alone({ start: 0x1000n, last: 0xfffn })).toBe('EINVAL');
    expect(alone({ start: 0x1000n, last: 0x1ffen })).toBe('EINVAL');
    expect(alone({ start: 0x1001n, last: 0x1fffn })).toBe('EINVAL');
    expect(alone({ ...PAGE, phys: 1n })).toBe('EINVAL');
    expect(alone({ ...PAGE, flags: 8 })).toBe('EINVAL');
    // Endpoint 8 has a reserved region there, endpoint 9 has not.
    const touching = { start: 0x7000n, last: 0x8fffn };
    expect([alone(touching), withMappings(touching)]).toEqual(['taken over', 'EINVAL']);
    expect(withDomains({ id: 1, flags: 1, mappings: [PAGE] })).toBe('EINVAL');
    const input = [0x1000n, 0x2fffn] as const;
    for (const last of [0x2fffn, 0x3fffn]) {
      const image = deviceImage({
        ...TRUE_DEVICE,
        input,
        domains: [{ id: 1, mappings: [{ start: 0x1000n, last }] }],
      });
      const options = { ...OPTIONS, inputRange: { start: input[0], last: input[1] } };
      expect(restoring(image, options)).toBe(last === 0x2fffn ? 'taken over' : 'EINVAL');
    }
  });

  it('is refused with counts that do not fit, at once', () => {
    const [domain] = TRUE_DEVICE.domains ?? [];
    for (const count of [0, 1, 3, 0x7fff_ffff, 0xffff_ffff]) {
      expect(changed({ domainCount: count })).toBe('EINVAL');
      expect(withDomains({ ...domain!, endpointCount: count })).toBe('EINVAL'); // It is there.
      expect(withDomains({ ...domain!, mappingCount: count })).toBe('EINVAL'); // Likewise.
    }
  });

  it('is refused if it is cut off, goes on, or is something else', () => {
    const image = deviceImage(TRUE_DEVICE);
    expect(changed({ more: Uint8Array.of(0) })).toBe('EINVAL');
    expect(restoring(seal(1, image.subarray(16)))).toBe('EINVAL');
    expect(restoring(seal(2, image.subarray(16), 2))).toBe('EINVAL');
    expect(restoring(seal(2, NOTHING))).toBe('EINVAL');
    expect(restoring(NOTHING)).toBe('EINVAL');
    expect(restoring(new Uint8Array(new SharedArrayBuffer(64)))).toBe('EINVAL');
    const shared = new Uint8Array(new SharedArrayBuffer(image.length));
    shared.set(image);
    expect(restoring(shared)).toBe('taken over');
  });
});
