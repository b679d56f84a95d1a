/** The host's side of a machine: the IOMMU, its endpoints, and what an endpoint may use. */

import type { Iommu, IommuObserver } from '@viommu/device';
import { IommuDevice } from '@viommu/device';
import { type GuestPhysical, IommuError } from '@viommu/common';
import type { GuestMemory } from '@viommu/ring';
import {
  type ControlPage,
  HostPort,
  MmioDevice,
  type RegisterDevice,
  type RegisterWindow,
} from '@viommu/transport';
import { GrantHypervisor } from '@viommu/iommu';
import { CopyDevice } from './copy-device.ts';
import { type ClosableBacking, GUEST_DOMID, makeDisk } from './disk/disk-endpoint.ts';
import { wrapFailure } from './failure.ts';
import { MemoryMap } from './memory-map.ts';
import type { Outbox } from './message.ts';
import { ObserverList } from './observer-list.ts';
import type { EndpointSettings, HostSettings } from './options.ts';
import { Recorder } from './recorder.ts';
import { HostCounter } from './statistics.ts';

/**
 * Something in the host that makes accesses. All of it is called in the host worker, between requests, and must not
 * block for long: nothing else happens meanwhile. What it throws ends the machine.
 */
export interface HostEndpoint extends Partial<RegisterDevice> {
  /** The machine ends. */
  close?(): void;
}

/** Makes an endpoint: the default function of an endpoint module. `data` is what the options gave. */
export type EndpointFactory<Data = unknown> = (
  host: HostContext,
  data: Data,
) => HostEndpoint | Promise<HostEndpoint>;

/** What an endpoint may use. */
export interface HostContext {
  /** The name of the endpoint in the options. */
  readonly name: string;
  /** Its number towards the IOMMU, if the options gave one. */
  readonly id: number | undefined;
  /** Translates every access; what it returns is to be used before the call of the endpoint returns. */
  readonly iommu: Iommu;
  /** Guest memory by guest-physical address. */
  readonly memory: GuestMemory;
  /** What the guest reads when it reads registers of this endpoint. */
  readonly registers: RegisterWindow;
  /** Wakes a guest that waits for an interrupt of this endpoint. */
  readonly interrupt: () => void;
  /** An access hit an MSI region: the machine's interrupt controller has it from here. */
  readonly interruptMessage: (endpoint: number, address: GuestPhysical, data: number) => void;
  /** Watches the device from now on. */
  readonly observe: (observer: IommuObserver) => void;
  /** Resets the IOMMU as a reset of the whole machine does. */
  readonly systemReset: () => void;
  /** A line for people. */
  readonly log: (text: string) => void;
  /** An object for the creator of the machine: anything that structured cloning takes. */
  readonly report: (event: Readonly<Record<string, unknown>>) => void;
}

/** Loads the module of an endpoint. */
export type ModuleLoader = (address: string) => Promise<{ readonly default?: unknown }>;

/** What the host needs of the platform it runs on. */
export interface HostPlatform {
  readonly load: ModuleLoader;
  /** Opens a file as a disk, made with `sizeBytes` if it is not there. @throws {IommuError} as `FileBacking`. */
  readonly openDisk: (file: string, sizeBytes: number | undefined) => ClosableBacking;
}

/** The longest sleep: should a wake-up ever be lost, this is what it costs. */
const SLEEP_MS = 1000;

/** Everything that runs in the host worker. */
export class Host {
  readonly #port: HostPort;
  readonly #endpoints: readonly HostEndpoint[];
  readonly #recorder: Recorder | undefined;

  private constructor(
    port: HostPort,
    endpoints: readonly HostEndpoint[],
    recorder: Recorder | undefined,
  ) {
    this.#port = port;
    this.#endpoints = endpoints;
    this.#recorder = recorder;
  }

  /**
   * Builds the host of a machine.
   *
   * @throws {IommuError} `EINVAL` for options that no device can have, or an endpoint module without a function;
   * whatever an endpoint throws, with its name before the message.
   */
  static async create(
    settings: HostSettings,
    outbox: Outbox,
    platform: HostPlatform,
  ): Promise<Host> {
    const { buffer, endpoints } = settings;
    const map = new MemoryMap(settings.map);
    const control = map.controlPage(buffer);
    const memory = map.guardedRam(buffer);
    const states = map.pageStates(buffer);
    const hypervisor = new GrantHypervisor();
    hypervisor.addGranter(GUEST_DOMID, map.grantTable(buffer));
    const counters = map.bookkeeping(buffer).hostCounters;

    const observers = new ObserverList();
    const recorder = settings.record
      ? new Recorder((lines, version) => outbox.post({ type: 'record', lines, version }))
      : undefined;
    if (recorder !== undefined) observers.add(recorder);
    // An observer without hooks is cheap, and none at all is cheaper.
    const watched = recorder !== undefined || endpoints.some(({ kind }) => kind === 'module');
    const device = new IommuDevice({
      ...settings.device,
      ...(watched && { observer: observers.observer }),
    });
    recorder?.begin(device.iommu, device.offeredFeatures);
    const mmio = new MmioDevice({
      window: map.window(buffer, 0),
      interruptBell: control.interruptBell(0),
      memory,
      device,
    });

    const served: RegisterDevice[] = [mmio];
    const made: HostEndpoint[] = [];
    for (const endpoint of endpoints) {
      const bell = control.interruptBell(endpoint.device);
      const context: HostContext = {
        name: endpoint.name,
        id: endpoint.id,
        iommu: device.iommu,
        memory,
        registers: map.window(buffer, endpoint.device),
        interrupt: () => bell.ring(),
        interruptMessage(source, address, data) {
          counters[HostCounter.INTERRUPT_MESSAGES]! += 1; // The cell is there.
          outbox.post({ type: 'interrupt', endpoint: source, address, data });
        },
        observe: (observer) => observers.add(observer),
        systemReset: () => mmio.systemReset(),
        log: (text) => outbox.post({ type: 'log', from: endpoint.name, text }),
        report: (event) => outbox.post({ type: 'report', from: endpoint.name, event }),
      };
      const one =
        endpoint.disk === undefined
          ? await makeEndpoint(endpoint, context, counters, platform.load)
          : makeDisk({
              settings: endpoint.disk,
              host: context,
              bell,
              states,
              hypervisor,
              platform,
            });
      made.push(one);
      served.push(registerDevice(one));
    }
    return new Host(hostPort(control, served, settings.polls), made, recorder);
  }

  /** Serves everything until the stop word of the control page is set. */
  serve(): void {
    const port = this.#port;
    while (!port.stopped) port.wait(SLEEP_MS);
  }

  /** To be called at the end, whatever it was. */
  close(): void {
    this.#recorder?.flush();
    for (const endpoint of this.#endpoints) endpoint.close?.();
  }
}

function hostPort(
  control: ControlPage,
  devices: readonly RegisterDevice[],
  pollsMax: number | undefined,
): HostPort {
  return new HostPort({ control, devices, ...(pollsMax !== undefined && { pollsMax }) });
}

async function makeEndpoint(
  endpoint: EndpointSettings,
  context: HostContext,
  counters: Float64Array,
  load: ModuleLoader,
): Promise<HostEndpoint> {
  if (endpoint.module === undefined) return new CopyDevice(context, endpoint.id ?? 0, counters);
  const { name, module } = endpoint;
  let factory: unknown;
  try {
    factory = (await load(module)).default;
  } catch (error) {
    throw wrapFailure(`The module of the endpoint ${name} cannot be loaded`, error, 'EINVAL');
  }
  if (typeof factory !== 'function')
    throw new IommuError('EINVAL', `The module of the endpoint ${name} has no default function.`);
  try {
    return await (factory as EndpointFactory)(context, endpoint.data); // What such a module promises.
  } catch (error) {
    throw wrapFailure(`The endpoint ${name} cannot be made`, error, 'EINVAL');
  }
}

/** An endpoint with everything that it leaves out. */
function registerDevice(endpoint: HostEndpoint): RegisterDevice {
  return {
    write: (offset, width, value) => endpoint.write?.(offset, width, value),
    serve: () => endpoint.serve?.() ?? false,
    arm: () => endpoint.arm?.() ?? true,
    suppress: () => endpoint.suppress?.(),
  };
}
