/** Wrong devices. */

import { AttachFlag, Status } from '@viommu/common';
import { createCore } from '../../src/targets/core.ts';
import { virtioDeviceTarget } from '../../src/targets/virtio-device-target.ts';
import type { DeviceTargetFactory } from '../../src/target.ts';

const FROM = 2 ** 53 / 4096;

/** Says yes to every UNMAP from 2^53 on and removes nothing. */
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

/** Says 0 bytes whatever it wrote, but where nothing is written. */
export const long: DeviceTargetFactory = {
  ...virtioDeviceTarget('long', (wish) => {
    const parts = createCore(wish);
    const { device } = parts;
    const pair = device.handlePair.bind(device);
    const chain = device.handleChain.bind(device);
    device.handlePair = (...request) => Math.min(pair(...request), 0);
    device.handleChain = (request) => Math.min(chain(request), 0);
    return parts;
  }),
  choices: {},
};

/** Never answers an ATTACH with BYPASS, nor does anything else from then on. */
export const endless: DeviceTargetFactory = onBypass(() => {
  for (;;);
});

/** Takes its thread with it at an ATTACH with BYPASS. */
export const deadly: DeviceTargetFactory = onBypass(() => process.exit(3));

function onBypass(does: () => never): DeviceTargetFactory {
  return {
    ...virtioDeviceTarget('wrong', (wish) => {
      const parts = createCore(wish);
      const { iommu } = parts.device;
      const attach = iommu.attach.bind(iommu);
      iommu.attach = (domain, endpoint, flags, ...rest) =>
        (flags & AttachFlag.BYPASS) === 0 ? attach(domain, endpoint, flags, ...rest) : does();
      return parts;
    }),
    choices: {},
  };
}
