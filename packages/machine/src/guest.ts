/** The guest's side of a machine: what a guest program gets. */

import { type Clock, type GuestPhysical, IommuError } from '@viommu/common';
import type { PageStates } from '@viommu/iommu';
import type { Bell } from '@viommu/ring';
import {
  type DriverTransport,
  MailboxPort,
  MmioTransport,
  type RegisterPort,
} from '@viommu/transport';
import { IommuDriver, type IommuDriverOptions, type RequestQueue } from '@viommu/driver';
import { CopyEngine } from './copy-engine.ts';
import type { GuestRam } from './guest-ram.ts';
import { MemoryMap } from './memory-map.ts';
import type { Outbox } from './message.ts';
import type { EndpointSettings, GuestSettings } from './options.ts';
import { GuestCounter } from './statistics.ts';

/** A guest program: the default function of its module. What it returns is the result of the run. */
export type GuestProgram = (context: GuestContext) => unknown;

/** One endpoint, as the guest reaches it. */
export interface GuestEndpoint {
  readonly name: string;
  /** Its number towards the IOMMU, if the options gave one. */
  readonly id: number | undefined;
  readonly kind: EndpointSettings['kind'];
  /** The number of the domain that a disk runs in, if it has one of its own. */
  readonly backend: number | undefined;
  /** Where its registers are. */
  readonly address: GuestPhysical;
  /** Its registers. */
  readonly port: RegisterPort;
  /** Rings with each of its interrupts. */
  readonly interruptBell: Bell;
  /** Its registers and doorbells, for the driver of an endpoint that is a virtio device. */
  readonly transport: () => DriverTransport;
}

/** What a guest program works with. All calls block until they are done. */
export interface GuestContext {
  /**
   * The driver of the virtio-iommu, live.
   *
   * @throws {IommuError} `ENODEV` in a machine whose driver is `manual`, before {@link startDriver}.
   */
  readonly driver: IommuDriver;
  /** The driver's queue, for requests of a program's own. @throws {IommuError} as {@link driver}. */
  readonly requestQueue: RequestQueue;
  /** RAM, with an allocator for its pages. */
  readonly memory: GuestRam;
  /** The registers of the virtio-iommu, for programs that bring it up themselves. */
  readonly transport: DriverTransport;
  /** The endpoints by name. */
  readonly endpoints: ReadonlyMap<string, GuestEndpoint>;
  /** The guest's grant table, for the hypervisor to see. */
  readonly grantTable: Int32Array;
  /** What of RAM the host may touch. */
  readonly pageStates: PageStates;
  /** What the options gave. */
  readonly args: unknown;
  /** Milliseconds since some fixed moment. */
  readonly clock: Clock;
  /**
   * Brings the device up, once more if need be: what was there before is gone then.
   *
   * @throws {IommuError} as `IommuDriver.probe`.
   */
  readonly startDriver: (options?: Partial<IommuDriverOptions>) => IommuDriver;
  /** The endpoint with this name, or number towards the IOMMU. @throws {IommuError} `ENOENT` */
  readonly endpoint: (nameOrId: string | number) => GuestEndpoint;
  /** The same, if it is a copy engine. @throws {IommuError} `ENOENT`, or `ENODEV` if it is something else. */
  readonly copyEngine: (nameOrId: string | number) => CopyEngine;
  /** A line for people. */
  readonly log: (text: string) => void;
  /** An object for the creator of the machine: anything that structured cloning takes. */
  readonly report: (event: Readonly<Record<string, unknown>>) => void;
  /** True once the program is asked to end. One that does not is ended soon after. */
  readonly stopped: () => boolean;
}

/** A guest, and what its shell does with it besides running the program. */
export interface Guest {
  readonly context: GuestContext;
  /** Writes down what was counted. */
  count(): void;
}

/** Builds what a guest program gets. The host has announced itself. @throws {IommuError} as `IommuDriver.probe`. */
export function createGuest(settings: GuestSettings, outbox: Outbox, clock: Clock): Guest {
  const { buffer } = settings;
  const map = new MemoryMap(settings.map);
  const control = map.controlPage(buffer);
  const bookkeeping = map.bookkeeping(buffer);
  const memory = map.guestRam(buffer);
  const port = (device: number): RegisterPort =>
    new MailboxPort({ control, block: device, window: map.window(buffer, device) });

  const transport = new MmioTransport({
    port: port(0),
    doorbells: control.doorbells(0),
    interruptBell: control.interruptBell(0),
  });
  const endpoints = new Map<string, GuestEndpoint>();
  for (const { name, id, device, kind, disk } of settings.endpoints) {
    const interruptBell = control.interruptBell(device);
    const registers = port(device);
    endpoints.set(name, {
      name,
      id,
      kind,
      backend: disk?.backend,
      address: map.windowAddress(device),
      port: registers,
      interruptBell,
      transport: () =>
        new MmioTransport({ port: registers, doorbells: control.doorbells(device), interruptBell }),
    });
  }

  let driver: IommuDriver | undefined;
  const context: GuestContext = {
    get driver() {
      if (driver !== undefined) return driver;
      throw new IommuError('ENODEV', 'The driver of this machine is not started.');
    },
    get requestQueue() {
      return this.driver.requests;
    },
    memory,
    transport,
    endpoints,
    grantTable: map.grantTable(buffer),
    pageStates: map.pageStates(buffer),
    args: settings.args,
    clock,
    startDriver(options = {}) {
      driver = undefined;
      const logger = { warn: (text: string) => context.log(text) };
      driver = IommuDriver.probe({ transport, memory, pages: memory, clock, logger, ...options });
      return driver;
    },
    endpoint(nameOrId) {
      const found =
        typeof nameOrId === 'string'
          ? endpoints.get(nameOrId)
          : [...endpoints.values()].find(({ id }) => id === nameOrId);
      if (found !== undefined) return found;
      throw new IommuError('ENOENT', `The machine has no endpoint ${nameOrId}.`);
    },
    copyEngine: (nameOrId) => new CopyEngine(context.endpoint(nameOrId).port),
    log: (text) => outbox.post({ type: 'log', from: 'guest', text }),
    report: (event) => outbox.post({ type: 'report', from: 'guest', event }),
    stopped: () => bookkeeping.endWanted,
  };
  if (settings.driver === 'automatic') context.startDriver();
  return {
    context,
    count() {
      bookkeeping.guestCounters[GuestCounter.NOTIFICATIONS] = transport.notifications;
    },
  };
}
