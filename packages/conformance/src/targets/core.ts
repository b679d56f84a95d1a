/** Our device, in this thread: `viommu conform --target core`. */

import { type Iommu, IommuDevice, type IommuDeviceOptions } from '@viommu/device';
import type { DeviceTargetFactory, TargetBooks, TargetWish } from '../target.ts';
import { coreOptions, targetEndpoints } from './core-options.ts';
import { translatedAccess } from './translated-access.ts';
import { type VirtioDeviceParts, virtioDeviceTarget } from './virtio-device-target.ts';

export const coreTarget: DeviceTargetFactory = {
  ...virtioDeviceTarget('core', (wish) => createCore(wish)),
  choices: {},
};

/** A device as a case wishes it; `more` are options of the device that come before the wish. */
export function createCore(
  wish: TargetWish,
  more: IommuDeviceOptions = {},
): VirtioDeviceParts & { readonly device: IommuDevice } {
  const options = { ...coreOptions(wish), ...more };
  const device = new IommuDevice(options);
  return {
    device,
    endpoints: targetEndpoints(options.endpoints ?? []),
    books: booksOf(device.iommu),
    ...(wish.limits !== undefined && { limits: wish.limits }),
    dma: (endpoint, direction, iova, bytes, memory) =>
      translatedAccess(device.iommu, memory, { endpoint, direction, iova, bytes }),
  };
}

function booksOf(iommu: Iommu): TargetBooks {
  return {
    get domains() {
      return iommu.domains;
    },
    domainOf: (endpoint) => iommu.domainOf(endpoint),
    *mappings(domain) {
      for (const { virt, physStart, flags } of iommu.mappings(domain))
        yield { start: virt.start, last: virt.last, phys: physStart, flags };
    },
  };
}
