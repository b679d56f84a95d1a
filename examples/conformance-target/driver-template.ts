/**
 * To be copied: a driver with nothing in it, for `viommu conform --side driver --target ./driver.ts`.
 * `packages/conformance/src/driver-target.ts` says what each member has to do.
 */

import {
  type DriverAction,
  type DriverEnvironment,
  type DriverOutcome,
  type DriverTarget,
  type DriverTargetFactory,
  TargetFailure,
} from '@viommu/conformance';

export const driver: DriverTargetFactory = {
  name: 'mine 1.0',
  open: () => new Template(),
};

/** One driver for each case; what it says `unsupported` to is skipped. */
class Template implements DriverTarget {
  /**
   * The device lies behind `registers`, a window of virtio-mmio, and in `memory`, of which `window` is yours for rings
   * and buffers. Wherever your driver waits it calls `work`, and gives up when that has been false for its usual time on
   * the clock `now`. A driver with an interrupt handler looks at `interrupted` after each `work`.
   */
  start(_environment: DriverEnvironment): DriverOutcome {
    // Take the device over: { result: 'ok' }, or { result: 'refused', reason: 'why' }.
    throw new TargetFailure('crash', 'the template has no driver');
  }

  /** What an operating system asks of an IOMMU driver; what the driver will not do is refused, not sent. */
  perform(action: DriverAction): DriverOutcome {
    switch (action.kind) {
      case 'probe': // with `reserved`, the regions that the driver found
      case 'attach': // probes first, as your system would
      case 'detach':
      case 'map': // and waits for the answer
      case 'unmap': // likewise
      case 'interrupt': // faults go to `takeFaults`
      case 'bypass':
      case 'reset-queue':
      case 'remove':
        return { result: 'unsupported' };
    }
  }

  /** Faults since the last call. Leave it out where nobody hears of them. */
  takeFaults: NonNullable<DriverTarget['takeFaults']> = () => [];

  dispose(): void {}
}
