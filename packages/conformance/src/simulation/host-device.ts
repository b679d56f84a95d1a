/** The devices of the host. */

import { BlkDevice, type DiskBacking } from '@viommu/blk';
import type { Range } from '@viommu/common';
import { IommuDevice, type IommuDeviceOptions, type Translation } from '@viommu/device';
import { type GuestMemory, TranslatedMemory, Translated, type Translator } from '@viommu/ring';
import type { DevicePort, VirtioSession } from '@viommu/transport';
import type { Stage } from './stage.ts';

/** An IOMMU that can be told that it needs a reset, and tells what it does. */
export class FragileDevice extends IommuDevice {
  port: DevicePort | undefined = undefined;

  constructor(stage: Stage, options: IommuDeviceOptions) {
    const hex = ({ start, last }: Range): string =>
      `0x${start.toString(16)}..0x${last.toString(16)}`;
    super({
      ...options,
      observer: {
        attached: (domain, id) => stage.note(() => `device: ${id} is in domain ${domain}`),
        detached: (domain, id) => stage.note(() => `device: ${id} leaves domain ${domain}`),
        mapped: (domain, virt) => stage.note(() => `device: maps ${hex(virt)} in ${domain}`),
        unmapped: (domain, virt) => stage.note(() => `device: unmaps ${hex(virt)} in ${domain}`),
      },
    });
  }

  override start(session: VirtioSession): void {
    this.port = session.port;
    super.start(session);
  }
}

export interface DiskOptions {
  readonly memory: GuestMemory;
  readonly backing: DiskBacking;
  readonly packed: boolean;
  /** By the IOMMU that is there at the time. */
  readonly translate: (
    page: number,
    offset: number,
    bytes: number,
    access: number,
  ) => Translation | undefined;
}

/** A disk behind the IOMMU, and memory as it sees it. */
export function makeDisk({ memory: physical, backing, packed, translate }: DiskOptions): {
  readonly memory: TranslatedMemory;
  readonly device: BlkDevice;
} {
  const platform: Translator = {
    generation: 0,
    wholePages: true,
    translate(page, offset, bytes, access, into) {
      const found = translate(page, offset, bytes, access);
      if (found === undefined) return Translated.FAULT;
      for (let piece = 0; piece < found.count; piece += 1)
        into.add(found.physPage[piece]!, found.physOffset[piece]!, found.length[piece]!); // Below the count.
      return Translated.OK;
    },
  };
  const memory = new TranslatedMemory({ memory: physical, translator: platform });
  const access = { memory, platform, insists: true };
  const device = new BlkDevice({
    backing,
    access,
    queueSize: 16,
    chunkBytes: 2048,
    features: { packed },
  });
  return { memory, device };
}
