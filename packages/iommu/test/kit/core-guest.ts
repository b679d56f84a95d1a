/** A guest for tests of the core: firmware and a DMA layer that do as they are told, and a clock that stands still. */

import { type DeviceRegion, IommuError, RegionKind } from '@viommu/common';
import { bootOptions } from '../../src/boot-option.ts';
import { type DmaLayer, IommuCore } from '../../src/core.ts';
import {
  Device,
  type DeviceDriver,
  type DeviceOptions,
  type FirmwareNode,
} from '../../src/device.ts';
import type { Domain } from '../../src/domain.ts';
import type { Group } from '../../src/group.ts';
import { GroupEvent } from '../../src/group-listener.ts';
import type { Firmware, FirmwareHost } from '../../src/probe.ts';
import { ManualClock } from '../manual-clock.ts';
import { Failures, ScriptedIommu, type ScriptedOptions } from './scripted-iommu.ts';

export const ADMINISTRATOR = { administrator: true };

/** Names IOMMUs for devices by their names. */
export class ScriptedFirmware implements Firmware {
  readonly specs = new Map<string, readonly (readonly [FirmwareNode, number])[]>();
  readonly regions = new Map<string, DeviceRegion[]>();
  readonly calls: string[] = [];
  /** Runs in each description. */
  during: ((device: Device) => void) | undefined = undefined;

  describe(device: Device, host: FirmwareHost): void {
    this.calls.push(device.name);
    this.during?.(device);
    const specs = this.specs.get(device.name);
    if (specs === undefined) throw new IommuError('ENODEV', 'No IOMMU is named.');
    for (const [node, id] of specs) {
      if (!node.enabled) throw new IommuError('ENODEV', 'The IOMMU is disabled.');
      host.fwspecInit(device, node);
      host.addCells(device, [id]);
    }
  }

  regionsOf(device: Device): DeviceRegion[] {
    return [...(this.regions.get(device.name) ?? [])];
  }
}

/** Writes down which device works how. */
export class ScriptedDma implements DmaLayer {
  /** What each device uses: the type of its domain, or `direct`. */
  readonly ops = new Map<Device, string>();
  readonly calls: string[] = [];
  readonly failures = new Failures<'init' | 'build'>();
  /** Domains whose unmaps are queued. */
  readonly queued = new Set<Domain>();
  readonly ready = new Set<Domain>();
  /** There is no memory for queues. */
  queueless = false;

  initDomain(domain: Domain, device: Device): void {
    this.calls.push(`init ${device.name} ${domain.type}`);
    this.failures.meet('init');
    if (this.queueless && domain.type === 'DMA-FQ') domain.type = 'DMA';
    this.ready.add(domain);
  }

  setupOps(device: Device, domain: Domain | undefined): void {
    this.calls.push(`ops ${device.name}`);
    this.ops.set(device, domain?.dmaApi === true ? domain.type : 'direct');
  }

  buildQueue(domain: Domain): void {
    this.calls.push(`build ${domain.type}`);
    this.failures.meet('build');
  }

  publishQueue(domain: Domain): void {
    this.calls.push(`publish ${domain.type}`);
    this.queued.add(domain);
  }

  endDomain(domain: Domain): void {
    this.calls.push(`end ${domain.type}`);
    this.ready.delete(domain);
  }
}

export class CoreGuest {
  readonly clock = new ManualClock();
  readonly firmware = new ScriptedFirmware();
  readonly dma = new ScriptedDma();
  readonly lines: string[] = [];
  readonly core: IommuCore;
  #nodes = 0;

  /** Without a `layer` it has the scripted one. */
  constructor(commandLine = '', layer?: (core: IommuCore) => DmaLayer) {
    this.core = new IommuCore({
      clock: this.clock,
      firmware: this.firmware,
      boot: bootOptions(commandLine),
      logger: { warn: (line) => this.lines.push(line) },
      dma: layer ?? (() => this.dma),
    });
  }

  node(enabled = true): FirmwareNode {
    return { path: `/iommu@${this.#nodes++}`, enabled };
  }

  /** A device behind the IOMMU of a node, if there is a node; it is not on its bus yet. */
  device(name: string, node?: FirmwareNode, options: Partial<DeviceOptions> = {}): Device {
    const device = new Device({ bus: 'platform', ...options, name });
    if (node !== undefined) this.firmware.specs.set(name, [[node, this.firmware.specs.size + 1]]);
    return device;
  }

  add(name: string, node?: FirmwareNode, options: Partial<DeviceOptions> = {}): Device {
    const device = this.device(name, node, options);
    this.core.addDevice(device);
    return device;
  }

  register(options: ScriptedOptions = {}, node = this.node()): ScriptedIommu {
    const iommu = new ScriptedIommu(options);
    this.core.registerInstance(iommu, node);
    return iommu;
  }

  /** One group of all these devices behind one IOMMU that was there before them or, with `late`, came after. */
  group(
    devices: readonly Partial<DeviceOptions>[],
    options: ScriptedOptions = {},
    prepare?: (iommu: ScriptedIommu) => void,
  ): { iommu: ScriptedIommu; group: Group; devices: Device[] } {
    const node = this.node();
    const iommu = new ScriptedIommu({ grouping: 'all', ...options });
    prepare?.(iommu);
    const all = devices.map((one, at) => this.add(one.name ?? `dev${at}`, node, one));
    this.core.registerInstance(iommu, node);
    return { iommu, devices: all, group: groupOf(all[0]) };
  }

  read(group: Group, name: string): string {
    return this.core.directory.read(`${group.path}/${name}`);
  }

  /** The `type` attribute without its newline. */
  type(group: Group): string {
    return this.read(group, 'type').trimEnd();
  }

  write(group: Group, text: string, caller = ADMINISTRATOR): number {
    return this.core.directory.write(`${group.path}/type`, text, caller);
  }

  /** Runs `work` as another context at the first race point of a name. */
  at(name: string, work: () => void): void {
    let done = false;
    this.core.concurrency.hook = (point) => {
      if (point !== name || done) return;
      done = true;
      this.core.concurrency.run(work);
    };
  }

  /** The names of what listeners of a group hear from now on. */
  listen(group: Group): string[] {
    const heard: string[] = [];
    const names = Object.entries(GroupEvent);
    this.core.groups.registerListener(group, (event, device) =>
      heard.push(`${names.find(([, value]) => value === event)?.[0]} ${device.name}`),
    );
    return heard;
  }
}

export const DRIVER: DeviceDriver = { name: 'driver' };

export function groupOf(device: Device | undefined): Group {
  if (device?.group === undefined) throw new Error(`${device?.name} is in no group`);
  return device.group;
}

/** A region of memory, for anybody. */
export function region(
  kind: keyof typeof RegionKind,
  start: bigint,
  last: bigint,
  protection = 3,
): DeviceRegion {
  return { kind: RegionKind[kind], start, last, protection };
}
