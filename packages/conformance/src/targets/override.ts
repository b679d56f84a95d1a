/** A target that does some things in its own way and leaves all others to another one: for wrong devices and wrappers. */

import type { DeviceTarget } from '../target.ts';

/** `target` with some members replaced. */
export function overrideTarget(target: DeviceTarget, members: Partial<DeviceTarget>): DeviceTarget {
  return new Proxy(target, {
    get(_, key) {
      if (Object.hasOwn(members, key)) return Reflect.get(members, key) as unknown;
      const value: unknown = Reflect.get(target, key, target);
      // Methods of a class reach its private fields only on the object itself.
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
