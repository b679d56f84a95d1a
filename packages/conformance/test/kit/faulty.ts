/** Our device with one thing wrong, at the moment when it has answered. */

import {
  type DeviceTarget,
  type DeviceTargetFactory,
  coreTarget,
  overrideTarget,
} from '@viommu/conformance';

/** Runs `spoil` after each round of work of the device, before the suite looks. */
export function spoiled(spoil: (target: DeviceTarget) => void): DeviceTargetFactory {
  return changed((target) => ({
    wait: (done, timeoutMs) => {
      // The device has done its work once this is over, whatever the answer.
      target.wait(() => false, timeoutMs);
      spoil(target);
      return done();
    },
  }));
}

/** Our device with some members of the target replaced. */
export function changed(
  members: (target: DeviceTarget) => Partial<DeviceTarget>,
): DeviceTargetFactory {
  return {
    name: 'changed',
    async open(wish) {
      const target = await coreTarget.open(wish);
      return overrideTarget(target, members(target));
    },
  };
}
