/** Our device, which for ATTACH of an endpoint that is not there never returns, and for an unknown domain ends its thread. */

import { type DeviceTargetFactory, createCore, virtioDeviceTarget } from '@viommu/conformance';
import type { VirtioDevice } from '@viommu/transport';

export function target(how = 'hang'): DeviceTargetFactory {
  return {
    ...virtioDeviceTarget(`one that may ${how}`, (wish) => {
      const parts = createCore(wish);
      return { ...parts, device: stumbling(parts.device, how) };
    }),
    caseTimeoutMs: 1500,
  };
}

/** The third time it is served, something happens. */
function stumbling(device: VirtioDevice, how: string): VirtioDevice {
  let rounds = 0;
  return new Proxy(device, {
    get(_, key) {
      const value: unknown = Reflect.get(device, key, device);
      if (key === 'serve')
        return () => {
          rounds += 1;
          if (rounds > 2 && how === 'hang') for (;;);
          // eslint-disable-next-line node/no-process-exit -- a device that takes its thread along
          if (rounds > 2 && how === 'exit') process.exit(3);
          return device.serve();
        };
      return typeof value === 'function' ? (value.bind(device) as unknown) : value;
    },
  });
}
