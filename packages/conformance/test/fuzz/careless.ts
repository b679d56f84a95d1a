/** A device that says yes to every UNMAP from 2^53 on and removes nothing. */

import { Status } from '@viommu/common';
import { createCore } from '../../src/targets/core.ts';
import { virtioDeviceTarget } from '../../src/targets/virtio-device-target.ts';
import type { DeviceTargetFactory } from '../../src/target.ts';

const FROM = 2 ** 53 / 4096;

export const careless: DeviceTargetFactory = {
  ...virtioDeviceTarget('careless', (wish) => {
    const parts = createCore(wish);
    const { iommu } = parts.device;
    const unmap = iommu.unmap.bind(iommu);
    iommu.unmap = (domain, page, ...rest) =>
      page >= FROM && page < 2 * FROM ? Status.OK : unmap(domain, page, ...rest);
    return parts;
  }),
  choices: {},
};
