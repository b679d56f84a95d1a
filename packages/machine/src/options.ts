/** What a machine is made of. Everything here can be sent to a worker. */

import { IommuError, endpointId, isUint32 } from '@viommu/common';
import type { BlkFeatureOffer } from '@viommu/blk';
import type { EndpointOptions as DeviceEndpointOptions, IommuDeviceOptions } from '@viommu/device';
import { DEVICES_MAX, type MemoryMapOptions } from './memory-map.ts';

/** A copy engine: an endpoint that moves memory from one IOVA to another. */
export interface CopyEndpointOptions {
  readonly kind: 'copy';
  /** The endpoint's number towards the IOMMU; declared there if `device.endpoints` does not. */
  readonly id: number;
}

/** An endpoint of somebody else's. */
export interface ModuleEndpointOptions {
  readonly kind: 'module';
  /** A module for the host worker; its default function makes the endpoint: an `EndpointFactory`. */
  readonly module: URL | string;
  /** Passed to that function: anything that structured cloning takes. */
  readonly data?: unknown;
  /** A number towards the IOMMU, if the endpoint has one of its own; declared as that of a copy engine is. */
  readonly id?: number;
}

/** A disk: a virtio-blk device with registers and queues of its own. */
export interface DiskEndpointOptions {
  readonly kind: 'disk';
  /** The number towards the IOMMU of its accesses; declared as that of a copy engine is. Without it, it has none. */
  readonly id?: number;
  /** It runs in a domain of its own with this number, and reaches only pages that are granted to it. */
  readonly backend?: number;
  /** Drivers have to accept ACCESS_PLATFORM. */
  readonly insists?: boolean;
  /** A file to keep the content in; in the host's memory if absent. */
  readonly file?: string;
  /** Bytes, a multiple of 512; those of the file if absent, or 16 MiB. */
  readonly sizeBytes?: number;
  readonly name?: string;
  readonly readOnly?: boolean;
  /** Queues, 1 to 8. */
  readonly queues?: number;
  /** The most bytes it moves before the IOMMU gets its turn: as in `BlkDeviceOptions`. */
  readonly chunkBytes?: number;
  /** Which ring features and commands it offers. */
  readonly features?: BlkFeatureOffer;
}

export type EndpointOptions = CopyEndpointOptions | ModuleEndpointOptions | DiskEndpointOptions;

export interface MachineOptions {
  /** RAM, in bytes: a multiple of 4096 up to 1 GiB; 64 MiB if not given. */
  readonly memoryBytes?: number | undefined;
  /** The virtio-iommu. */
  readonly device?: Omit<IommuDeviceOptions, 'observer'> | undefined;
  /** By name: what makes accesses. At most {@link DEVICES_MAX} - 1; none if not given. */
  readonly endpoints?: Readonly<Record<string, EndpointOptions>> | undefined;
  /** `manual`: the guest program brings up the device itself. */
  readonly driver?: 'automatic' | 'manual' | undefined;
  /** Passed to the guest program: anything that structured cloning takes. */
  readonly args?: unknown;
  /** Sends everything that the IOMMU does as `record` events. */
  readonly record?: boolean | undefined;
  /** Rounds without work before the host sleeps; 0 sleeps at once. */
  readonly hostPolls?: number | undefined;
}

/** One endpoint as the workers know it. */
export interface EndpointSettings {
  readonly name: string;
  /** Its place in the memory map; the IOMMU has place 0. */
  readonly device: number;
  readonly kind: EndpointOptions['kind'];
  readonly id: number | undefined;
  /** The address of the module. */
  readonly module: string | undefined;
  readonly data: unknown;
  /** What a disk is like. */
  readonly disk: DiskEndpointOptions | undefined;
}

/** The options of a machine, checked and complete, as both workers get them. */
export interface MachineSettings {
  readonly map: MemoryMapOptions;
  readonly endpoints: readonly EndpointSettings[];
}

export interface HostSettings extends MachineSettings {
  readonly buffer: SharedArrayBuffer;
  readonly device: Omit<IommuDeviceOptions, 'observer'>;
  readonly record: boolean;
  readonly polls: number | undefined;
}

export interface GuestSettings extends MachineSettings {
  readonly buffer: SharedArrayBuffer;
  /** The address of the guest program. */
  readonly program: string;
  readonly driver: 'automatic' | 'manual';
  readonly args: unknown;
}

const MEMORY_BYTES = 64 << 20;

/**
 * Checks the parts of the options that concern more than one place.
 *
 * @throws {IommuError} `EINVAL` for endpoints that cannot all be in one machine.
 */
export function settingsOf({ memoryBytes, endpoints = {} }: MachineOptions): MachineSettings {
  const entries = Object.entries(endpoints);
  if (entries.length >= DEVICES_MAX)
    throw new IommuError('EINVAL', `A machine has ${DEVICES_MAX - 1} endpoints at most.`);
  const ids = new Set<number>();
  const settings = entries.map(([name, options], index) => {
    const { id } = options;
    if (id !== undefined && !isUint32(id))
      throw new IommuError('EINVAL', `The endpoint ${name} cannot have the number ${id}.`);
    if (id !== undefined && ids.has(id))
      throw new IommuError('EINVAL', `The endpoint ${name} has the number ${id} of another one.`);
    if (id !== undefined) ids.add(endpointId(id));
    const module = options.kind === 'module' ? String(options.module) : undefined;
    const data = options.kind === 'module' ? options.data : undefined;
    const disk = options.kind === 'disk' ? options : undefined;
    return { name, device: index + 1, kind: options.kind, id, module, data, disk };
  });
  return {
    map: { devices: entries.length + 1, ramBytes: memoryBytes ?? MEMORY_BYTES },
    endpoints: settings,
  };
}

/** The device's options with the endpoints of the machine among them. */
export function deviceOptions(
  device: Omit<IommuDeviceOptions, 'observer'> = {},
  endpoints: readonly EndpointSettings[],
): Omit<IommuDeviceOptions, 'observer'> {
  const declared: DeviceEndpointOptions[] = [...(device.endpoints ?? [])];
  for (const { id } of endpoints)
    if (id !== undefined && !declared.some((endpoint) => endpoint.id === id)) declared.push({ id });
  return { ...device, endpoints: declared };
}
