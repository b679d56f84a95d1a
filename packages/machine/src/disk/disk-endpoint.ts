/** A disk in the host: a virtio-blk device behind registers, and what stands between it and guest memory. */

import { BlkDevice, type DiskBacking, MemoryBacking } from '@viommu/blk';
import { type GrantHypervisor, type PageStates } from '@viommu/iommu';
import { type Bell, TranslatedMemory, type Translator } from '@viommu/ring';
import { MmioDevice } from '@viommu/transport';
import type { HostContext, HostEndpoint, HostPlatform } from '../host.ts';
import type { DiskEndpointOptions } from '../options.ts';
import { GrantTranslator } from './grant-translator.ts';
import { IommuTranslator } from './iommu-translator.ts';
import { PhysicalTranslator } from './physical-translator.ts';

/** A backing that holds on to something outside of the machine. */
export interface ClosableBacking extends DiskBacking {
  close(): void;
}

/** The number of the guest, as a domain that grants pages. */
export const GUEST_DOMID = 1;

const SIZE_BYTES = 16 << 20;

export interface DiskSetup {
  readonly settings: DiskEndpointOptions;
  readonly host: HostContext;
  /** Rings with its interrupts. */
  readonly bell: Bell;
  readonly states: PageStates;
  readonly hypervisor: GrantHypervisor;
  readonly platform: HostPlatform;
}

/** Makes a disk. @throws {IommuError} as its backing, or `EINVAL` for settings that make no disk. */
export function makeDisk(setup: DiskSetup): HostEndpoint {
  const { settings, host, bell, states, platform } = setup;
  const { file, sizeBytes, insists, name, readOnly, queues, chunkBytes, features } = settings;
  const physical = new PhysicalTranslator(states);
  const translator = platformTranslator(setup) ?? physical;
  const memory = new TranslatedMemory({ memory: host.memory, translator: physical });
  host.iommu.keep(memory);
  const opened = file === undefined ? undefined : platform.openDisk(file, sizeBytes);
  const device = new BlkDevice({
    backing: opened ?? new MemoryBacking(new Uint8Array(sizeBytes ?? SIZE_BYTES)),
    access: { memory, platform: translator, physical, insists: insists ?? false },
    name: name ?? host.name,
    ...(readOnly !== undefined && { readOnly }),
    ...(queues !== undefined && { queues }),
    ...(chunkBytes !== undefined && { chunkBytes }),
    ...(features !== undefined && { features }),
  });
  const mmio = new MmioDevice({ window: host.registers, interruptBell: bell, memory, device });
  return {
    write: (offset, width, value) => mmio.write(offset, width, value),
    serve: () => mmio.serve(),
    arm: () => mmio.arm(),
    suppress: () => mmio.suppress(),
    close: () => opened?.close(),
  };
}

/** How a driver that accepts ACCESS_PLATFORM is reached; `undefined` for a disk with nothing before it. */
function platformTranslator({
  settings,
  host,
  states,
  hypervisor,
}: DiskSetup): Translator | undefined {
  if (settings.backend !== undefined)
    return new GrantTranslator(hypervisor, GUEST_DOMID, settings.backend);
  return settings.id === undefined
    ? undefined
    : new IommuTranslator(host.iommu, settings.id, states);
}
