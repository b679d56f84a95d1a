/** To be copied: a target with nothing in it. `packages/conformance/src/target.ts` says what each member has to do. */

import { SharedMemory } from '@viommu/ring';
import { guestPhysical } from '@viommu/common';
import { type DeviceTarget, type DeviceTargetFactory, TargetFailure } from '@viommu/conformance';

export const target: DeviceTargetFactory = {
  name: 'mine 1.0',
  open: () => {
    // Start your device here, fresh for each case. A wish (the argument) may be granted or ignored.
    throw new TargetFailure('crash', 'the template has no device');
  },
};

/** The members that you write, in the order in which the suite needs them; the first eleven make most cases run. */
export class Template implements DeviceTarget {
  // 1. Memory that both sides reach. Where your device has it elsewhere, write a `GuestMemory` of your own.
  readonly window = { start: 0x4000_0000n, bytes: 0x10_0000 };
  readonly memory: DeviceTarget['memory'] = new SharedMemory({
    buffer: new SharedArrayBuffer(this.window.bytes),
    offset: 0,
    size: this.window.bytes,
    base: guestPhysical(this.window.start),
  });
  readonly transport = 'other';

  // 2. The device status register; 0 resets.
  readStatus = (): number => missing('readStatus');
  writeStatus = (_value: number): void => missing('writeStatus');

  // 3. Features, all words at once.
  readFeatures = (): bigint => missing('readFeatures');
  writeFeatures = (_features: bigint): void => missing('writeFeatures');

  // 4. Configuration space.
  readConfig = (_offset: number, _width: number): number => missing('readConfig');
  writeConfig = (_offset: number, _width: number, _value: number): void => missing('writeConfig');

  // 5. Queues, and waiting for what they bring. `wait` throws a `TargetFailure` when the device is gone.
  queueSizeMax = (_queue: number): number => missing('queueSizeMax');
  enableQueue: DeviceTarget['enableQueue'] = () => missing('enableQueue');
  notify = (_queue: number, _data?: number): void => missing('notify');
  wait = (_done: () => boolean, _timeoutMs: number): boolean => missing('wait');
  readonly quietMs = 50;

  // 6. Endpoints: numbers that the device manages, and one that it does not.
  readonly endpoints: DeviceTarget['endpoints'] = [
    { id: 8, role: 'present' },
    { id: 9, role: 'present' },
    { id: 77, role: 'absent' },
  ];

  // 7. Then, one by one: `dma` (and `dma: {}` on the endpoints), `reset`, `takeInterrupts`, `resetQueue`,
  //    `readGeneration`, `registers`. Cases that need what is not there are skipped, and say so.
  readonly resets = ['device'] as const;

  dispose(): void {}
}

function missing(what: string): never {
  throw new TargetFailure('crash', `${what} is not written yet`);
}
