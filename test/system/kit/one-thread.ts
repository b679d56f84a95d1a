/**
 * A whole machine in one thread: the host's devices, and a guest's kernel that lets them work whenever it waits. Time
 * stands still unless somebody waits for nothing, so that everything that is counted is exact.
 */

import { MemoryBacking } from '@viommu/blk';
import { MmioRegister, type Range, addressAt, guestPhysical } from '@viommu/common';
import { IommuDevice, type IommuDeviceOptions, type IommuObserver } from '@viommu/device';
import { IommuDriver } from '@viommu/driver';
import { GrantHypervisor, type DeviceOptions } from '@viommu/iommu';
import {
  CopyEngine,
  type DiskOptions,
  type EndpointOptions,
  type GuestContext,
  type GuestEndpoint,
  type GuestRam,
  GuestSystem,
  type HostContext,
  type HostEndpoint,
  MemoryMap,
  type SystemDisk,
  type SystemOptions,
} from '@viommu/machine';
import {
  DirectPort,
  MmioDevice,
  MmioTransport,
  type RegisterDevice,
  type RegisterPort,
} from '@viommu/transport';
import { CopyDevice } from '../../../packages/machine/src/copy-device.ts';
import {
  type ClosableBacking,
  GUEST_DOMID,
  makeDisk,
} from '../../../packages/machine/src/disk/disk-endpoint.ts';
import { deviceOptions, settingsOf } from '../../../packages/machine/src/options.ts';

export interface OneThreadOptions {
  /** Disks and copy engines by name. */
  readonly endpoints: Readonly<Record<string, EndpointOptions>>;
  readonly device?: Omit<IommuDeviceOptions, 'observer'>;
  readonly memoryBytes?: number;
}

/** Something that the IOMMU did. */
export type Deed =
  | { readonly kind: 'attach' | 'detach'; readonly domain: number; readonly endpoint: number }
  | { readonly kind: 'map' | 'unmap'; readonly domain: number; readonly virt: Range };

/** The bytes of a disk, and what a test makes of accesses to them. */
export class TestBacking extends MemoryBacking implements ClosableBacking {
  /** Accesses from now on that fail. */
  failures = 0;
  /** Of a read that fails, so many bytes arrive all the same. */
  partBytes = 0;

  constructor(sizeBytes: number) {
    super(new Uint8Array(sizeBytes));
  }

  override read(offset: number, pieces: readonly Uint8Array[]): boolean {
    if (!this.#fails()) return super.read(offset, pieces);
    const first = pieces[0]?.subarray(0, this.partBytes);
    first?.set(this.bytes.subarray(offset, offset + first.length));
    return false;
  }

  override write(offset: number, pieces: readonly Uint8Array[]): boolean {
    return !this.#fails() && super.write(offset, pieces);
  }

  close(): void {
    // It is gone with the test.
  }

  #fails(): boolean {
    if (this.failures === 0) return false;
    this.failures -= 1;
    return true;
  }
}

const ROUNDS_MAX = 100_000;

export class OneThread {
  readonly device: IommuDevice;
  readonly memory: GuestRam;
  readonly hypervisor: GrantHypervisor = new GrantHypervisor();
  readonly grantTable: Int32Array;
  /** What the guest's programs get; its clock is {@link nowMs}. */
  readonly context: GuestContext;
  readonly backings: Map<string, TestBacking> = new Map();
  /** What the IOMMU did, and what the guest logged. */
  readonly deeds: Deed[] = [];
  readonly lines: string[] = [];
  /** Pages of RAM that the host located, for whatever access. */
  readonly touched: Set<number> = new Set();
  /** By endpoint: what was written to its status register. */
  readonly statuses: Map<string, number[]> = new Map();
  /** By endpoint: features that it seems not to offer. */
  readonly hidden: Map<string, bigint> = new Map();
  nowMs = 0;
  /** Endpoints that do nothing by themselves just now. */
  readonly resting: Set<string> = new Set();
  /** Called before the host works. */
  onStep: (() => void) | undefined = undefined;
  #driver: IommuDriver | undefined = undefined;
  readonly #served: RegisterDevice[] = [];

  constructor({ endpoints, device = {}, memoryBytes = 16 << 20 }: OneThreadOptions) {
    const settings = settingsOf({ endpoints, memoryBytes });
    const map = new MemoryMap(settings.map);
    const buffer = map.createBuffer();
    const control = map.controlPage(buffer);
    const states = map.pageStates(buffer);
    const hostMemory = map.guardedRam(buffer);
    this.memory = map.guestRam(buffer);
    this.grantTable = map.grantTable(buffer);
    this.hypervisor.addGranter(GUEST_DOMID, this.grantTable);
    const locate = hostMemory.locate.bind(hostMemory);
    hostMemory.locate = (low, high, length) => {
      const position = locate(low, high, length);
      const first = Math.floor((high * 2 ** 32 + low) / 4096);
      const last = Math.floor((high * 2 ** 32 + low + Math.max(length, 1) - 1) / 4096);
      if (position >= 0) for (let page = first; page <= last; page += 1) this.touched.add(page);
      return position;
    };

    const observer = this.#observer();
    this.device = new IommuDevice({ ...deviceOptions(device, settings.endpoints), observer });
    const mmio = new MmioDevice({
      window: map.window(buffer, 0),
      interruptBell: control.interruptBell(0),
      memory: hostMemory,
      device: this.device,
    });
    this.#served.push(mmio);
    const transport = new MmioTransport({
      port: new DirectPort(map.window(buffer, 0), mmio),
      doorbells: control.doorbells(0),
      interruptBell: control.interruptBell(0),
    });
    const guests = new Map<string, GuestEndpoint>();
    for (const { name, id, device: place, kind, disk } of settings.endpoints) {
      const bell = control.interruptBell(place);
      const host: HostContext = {
        name,
        id,
        iommu: this.device.iommu,
        memory: hostMemory,
        registers: map.window(buffer, place),
        interrupt: () => bell.ring(),
        interruptMessage: () => undefined,
        observe: () => undefined,
        systemReset: () => mmio.systemReset(),
        log: (text) => void this.lines.push(text),
        report: () => undefined,
      };
      const platform = {
        load: () => Promise.reject(new Error('There are no modules in one thread.')),
        openDisk: (_: string, sizeBytes = 1 << 20) => {
          const backing = new TestBacking(sizeBytes);
          this.backings.set(name, backing);
          return backing;
        },
      };
      const made =
        disk === undefined
          ? new CopyDevice(host, id ?? 0, new Float64Array(8))
          : makeDisk({
              settings: { file: name, ...disk },
              host,
              bell,
              states,
              hypervisor: this.hypervisor,
              platform,
            });
      const registers = registerDevice(made, () => this.resting.has(name));
      this.#served.push(registers);
      const port = this.#watched(name, new DirectPort(map.window(buffer, place), registers));
      guests.set(name, {
        name,
        id,
        kind,
        backend: disk?.backend,
        address: map.windowAddress(place),
        port,
        interruptBell: bell,
        transport: () =>
          new MmioTransport({ port, doorbells: control.doorbells(place), interruptBell: bell }),
      });
    }
    this.context = this.#makeContext(guests, transport, map, buffer);
  }

  /** Boots the guest's kernel. */
  system(options: SystemOptions = {}): GuestSystem {
    return new GuestSystem(this.context, options);
  }

  /** Plugs a disk in, driven in this thread. */
  plug(
    system: GuestSystem,
    name: string,
    options: DiskOptions = {},
    more: Partial<DeviceOptions> = {},
  ): SystemDisk {
    return system.plugDisk(name, { idle: () => this.step(), ...options }, more);
  }

  /** The bytes of some pages. */
  bytes(page: number, pages: number): Uint8Array {
    return this.memory.bytes(guestPhysical(addressAt(page, 0)), pages * 4096);
  }

  /** The host does what there is to do; if there is nothing, a millisecond passes. */
  step(): void {
    this.onStep?.();
    if (!this.work()) this.nowMs += 1;
  }

  /** The host does what there is to do. False if there was nothing. */
  work(): boolean {
    let worked = false;
    for (const device of this.#served) device.suppress();
    for (let rounds = 0; rounds < ROUNDS_MAX; rounds += 1) {
      let more = false;
      for (const device of this.#served) more = device.serve() || more;
      if (!more && this.#arm()) break;
      worked = worked || more;
    }
    return worked;
  }

  /** Time passes, and what is due in the guest is done. */
  pass(system: GuestSystem, milliseconds: number): void {
    this.nowMs += milliseconds;
    system.poll();
  }

  /** How often the IOMMU did something. */
  count(kind: Deed['kind']): number {
    return this.deeds.filter((deed) => deed.kind === kind).length;
  }

  /** The page states of a protected guest. */
  shared(page: number): boolean {
    return this.context.pageStates.shared(page, 1);
  }

  /** All of them, so that none is left out of the count. */
  #arm(): boolean {
    return this.#served.reduce((asleep, device) => device.arm() && asleep, true);
  }

  #watched(name: string, port: DirectPort): RegisterPort {
    const statuses: number[] = [];
    this.statuses.set(name, statuses);
    let word = 0;
    const write = (offset: number, width: number, value: number): void => {
      if (offset === MmioRegister.Status) statuses.push(value);
      if (offset === MmioRegister.DeviceFeaturesSel) word = value;
      port.write(offset, width, value);
    };
    const read = (offset: number, width: number): number => {
      const value = port.read(offset, width);
      if (offset !== MmioRegister.DeviceFeatures) return value;
      const hidden = (this.hidden.get(name) ?? 0n) >> BigInt(32 * word);
      return value & ~Number(hidden & 0xffff_ffffn);
    };
    return { read, write, post: write };
  }

  #observer(): IommuObserver {
    const { deeds } = this;
    return {
      attached: (domain, endpoint) => void deeds.push({ kind: 'attach', domain, endpoint }),
      detached: (domain, endpoint) => void deeds.push({ kind: 'detach', domain, endpoint }),
      mapped: (domain, virt) => void deeds.push({ kind: 'map', domain, virt }),
      unmapped: (domain, virt) => void deeds.push({ kind: 'unmap', domain, virt }),
    };
  }

  #makeContext(
    endpoints: ReadonlyMap<string, GuestEndpoint>,
    transport: MmioTransport,
    map: MemoryMap,
    buffer: SharedArrayBuffer,
  ): GuestContext {
    const { memory, grantTable } = this;
    const clock = { now: () => this.nowMs };
    const driver = (): IommuDriver => {
      if (this.#driver === undefined) throw new Error('The driver is not started.');
      return this.#driver;
    };
    const context: GuestContext = {
      get driver() {
        return driver();
      },
      get requestQueue() {
        return driver().requests;
      },
      memory,
      transport,
      endpoints,
      grantTable,
      pageStates: map.pageStates(buffer),
      args: undefined,
      clock,
      startDriver: (options = {}) => {
        const logger = { warn: (text: string) => context.log(text) };
        const idle = (): void => this.step();
        const own = { transport, memory, pages: memory, clock, logger, idle };
        this.#driver = IommuDriver.probe({ ...own, ...options });
        return this.#driver;
      },
      endpoint: (name) => {
        const found = endpoints.get(String(name));
        if (found === undefined) throw new Error(`There is no endpoint ${name}.`);
        return found;
      },
      copyEngine: (name) => new CopyEngine(context.endpoint(name).port),
      log: (text) => void this.lines.push(text),
      report: () => undefined,
      stopped: () => false,
    };
    return context;
  }
}

function registerDevice(endpoint: HostEndpoint, rests: () => boolean): RegisterDevice {
  return {
    write: (offset, width, value) => endpoint.write?.(offset, width, value),
    serve: () => !rests() && (endpoint.serve?.() ?? false),
    arm: () => rests() || (endpoint.arm?.() ?? true),
    suppress: () => {
      if (!rests()) endpoint.suppress?.();
    },
  };
}
