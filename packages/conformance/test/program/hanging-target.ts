/** Our device, which at the third look never returns (`hang`), does so once (`once:FILE`), or ends its thread (`exit`). */

import { existsSync, writeFileSync } from 'node:fs';
import { type DeviceTargetFactory, createCore, virtioDeviceTarget } from '@viommu/conformance';
import type { VirtioDevice } from '@viommu/transport';

export function target(how = 'hang'): DeviceTargetFactory {
  return {
    ...virtioDeviceTarget(`one that may ${how}`, (wish) => {
      const parts = createCore(wish);
      return { ...parts, device: stumbling(parts.device, how) };
    }),
    caseTimeoutMs: 1000,
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
          if (rounds > 2 && (how === 'hang' || firstTime(how))) for (;;);
          // eslint-disable-next-line node/no-process-exit -- a device that takes its thread along
          if (rounds > 2 && how === 'exit') process.exit(3);
          return device.serve();
        };
      return typeof value === 'function' ? (value.bind(device) as unknown) : value;
    },
  });
}

/** True until the file of `once:FILE` is there, which it is then. */
function firstTime(how: string): boolean {
  if (!how.startsWith('once:')) return false;
  const file = how.slice('once:'.length);
  if (existsSync(file)) return false;
  writeFileSync(file, '');
  return true;
}
