/** A device that says it is a disk and does what a test tells it. */

import { BLK_DEVICE_ID, BlkConfig, BlkFeature } from '@viommu/blk';
import { VirtioFeature, featureMask } from '@viommu/common';
import { Chain, Popped } from '@viommu/ring';
import type { VirtioDevice, VirtioSession } from '@viommu/transport';

const FEATURES = [
  BlkFeature.SEG_MAX,
  BlkFeature.FLUSH,
  BlkFeature.DISCARD,
  VirtioFeature.VERSION_1,
  VirtioFeature.ACCESS_PLATFORM,
  VirtioFeature.INDIRECT_DESC,
];

export type Config = Parameters<typeof BlkConfig.encode>[0];

/** A configuration that makes sense. */
export const CONFIG: Config = {
  capacity: 64n,
  sizeMax: 65_536,
  segMax: 16,
  cylinders: 0,
  heads: 0,
  sectors: 0,
  blkSize: 512,
  physicalBlockExp: 0,
  alignmentOffset: 0,
  minIoSize: 0,
  optIoSize: 0,
  writeback: 0,
  numQueues: 1,
  maxDiscardSectors: 64,
  maxDiscardSeg: 1,
  discardSectorAlignment: 0,
  maxWriteZeroesSectors: 64,
  maxWriteZeroesSeg: 1,
  writeZeroesMayUnmap: 0,
  maxSecureEraseSectors: 0,
  maxSecureEraseSeg: 0,
  secureEraseSectorAlignment: 0,
};

export class ScriptedDisk implements VirtioDevice {
  readonly deviceId: number;
  readonly offeredFeatures: bigint;
  readonly queueSizesMax: readonly number[] = [64];
  readonly config: Uint8Array;
  /** Decides what happens to a chain: how many bytes it is given back with, -1 for not at all. */
  answer: (chain: Chain, session: VirtioSession) => number = () => -1;
  session: VirtioSession | undefined;
  chain: Chain | undefined;
  /** Resets seen. */
  resets = 0;

  constructor(
    config: Partial<Config> = {},
    more: readonly number[] = [],
    deviceId = BLK_DEVICE_ID,
  ) {
    this.config = BlkConfig.encode({ ...CONFIG, ...config });
    this.deviceId = deviceId;
    this.offeredFeatures = [...FEATURES, ...more].reduce(
      (bits, bit) => bits | featureMask(bit),
      0n,
    );
  }

  writeConfig(): boolean {
    return false;
  }
  acceptFeatures(): boolean {
    return true;
  }
  start(session: VirtioSession): void {
    this.session = session;
    this.chain = new Chain(session.memory, 64);
  }
  queueStarted(): void {}
  queueStopped(): void {}
  reset(): void {
    this.session = undefined;
    this.resets += 1;
  }
  arm(): boolean {
    return true;
  }
  suppress(): void {}

  serve(): boolean {
    const { session, chain } = this;
    const queue = session?.queues[0];
    if (session === undefined || chain === undefined || queue === undefined) return false;
    if (queue.pop(chain) !== Popped.CHAIN) return false;
    const written = this.answer(chain, session);
    if (written < 0) return true;
    queue.push(chain, written);
    if (queue.publish()) session.port.interrupt(0);
    return true;
  }
}

/** Puts a status into the last byte of a chain, and gives it back with this many bytes more than were written. */
export function complete(chain: Chain, status = 0, more = 0): number {
  if (!chain.reachable || chain.writableBytes === 0) return 0;
  chain.write(chain.writableBytes - 1, Uint8Array.of(status), 0, 1);
  return chain.writableBytes + more;
}
