/** A guest for tests of groups: a registry, devices, and an IOMMU that writes down what it is asked. */

import {
  Concurrency,
  type ErrorCode,
  type IommuDomain,
  type IommuEndpoint,
  IommuError,
  type IommuInstance,
} from '@viommu/common';
import { Device, type DeviceOptions } from '../src/device.ts';
import { Domain, type DomainType } from '../src/domain.ts';
import type { Group } from '../src/group.ts';
import { Directory } from '../src/group-directory.ts';
import { type GroupEvent, type GroupListener } from '../src/group-listener.ts';
import { GroupRegistry } from '../src/group-registry.ts';
import { CoreLog } from '../src/log.ts';

export const EVENT_NAMES: Readonly<Record<GroupEvent, string>> = {
  1: 'ADD',
  2: 'DEL',
  3: 'BIND',
  4: 'BOUND',
  5: 'UNBIND',
  6: 'UNBOUND',
};

export class GroupGuest {
  readonly concurrency = new Concurrency();
  readonly log = new CoreLog();
  readonly directory: Directory;
  readonly groups: GroupRegistry;

  constructor(directory: Directory = new Directory()) {
    this.directory = directory;
    this.groups = new GroupRegistry(this);
  }

  /** A group with these devices, and nobody but them to keep it. */
  groupOf(...devices: Device[]): Group {
    const group = this.groups.allocate();
    for (const device of devices) this.groups.addDevice(group, device);
    this.groups.put(group);
    return group;
  }

  /** Runs `work` as another context at the next race point of this name; `error` is the code it ended with. */
  atRacePoint(name: string, work: () => void): { error: ErrorCode | undefined; done: boolean } {
    const outcome: { error: ErrorCode | undefined; done: boolean } = {
      error: undefined,
      done: false,
    };
    let started = false;
    this.concurrency.hook = (point) => {
      if (point !== name || started) return;
      started = true;
      this.concurrency.run(() => {
        try {
          work();
        } catch (error) {
          if (!(error instanceof IommuError)) throw error;
          outcome.error = error.code;
        }
        outcome.done = true;
      });
    };
    return outcome;
  }
}

let nextBus = 0;

/** A device on a bus of its own, so that names can be equal. */
export function createDevice(name: string, options: Partial<DeviceOptions> = {}): Device {
  return new Device({ bus: `bus${nextBus++}`, ...options, name });
}

/** A listener that writes down what it hears. */
export function recorder(into: string[], prefix = ''): GroupListener {
  return (event, device) => into.push(`${prefix}${EVENT_NAMES[event]} ${device.name}`);
}

/** The code of the {@link IommuError} that a call ends with. */
export function codeOf(call: () => unknown): ErrorCode | undefined {
  try {
    call();
  } catch (error) {
    if (error instanceof IommuError) return error.code;
    throw error;
  }
  return undefined;
}

/** What an endpoint answers to the next attach to a domain. */
interface Refusal {
  readonly endpoint: string;
  readonly domain: string;
  readonly code: ErrorCode;
}

/** An IOMMU whose endpoints do as they are told. */
export class ScriptedIommu implements IommuInstance {
  readonly name: string;
  readonly capabilities = { deferredFlush: true, shadowOnFlush: false, cacheCoherency: true };
  readonly grouping: 'each' | 'all' | 'pci';
  /** `endpoint>domain` for each attach that worked, `endpoint>` for each detach. */
  readonly moves: string[] = [];
  readonly refusals: Refusal[] = [];
  readonly allocBlocking?: () => IommuDomain;
  allocations = 0;
  /** Runs in each attach before it is answered. */
  beforeAttach: (() => void) | undefined;

  constructor({
    name = 'iommu0',
    grouping = 'each' as 'each' | 'all' | 'pci',
    blocking = true,
  } = {}) {
    this.name = name;
    this.grouping = grouping;
    if (blocking) this.allocBlocking = () => this.#domain('blocked', 'blocked');
  }

  /** Gives a device an endpoint. */
  adopt(device: Device): Device {
    device.iommu = {
      fwspec: undefined,
      instance: this,
      endpoint: this.probeDevice([], device.name),
      requireDirect: false,
    };
    return device;
  }

  /** A domain under a name of the test's choice. */
  domain(name: string, type: DomainType = 'unmanaged'): Domain {
    return new Domain(this, this.#domain(name, 'paging'), type);
  }

  /** Puts a group into a default domain, as the core does before anybody else. */
  setUp(group: Group): Domain {
    const domain = this.domain('default', 'DMA');
    for (const device of group.devices.keys()) device.iommu?.endpoint?.attach(domain.ops);
    group.domain = group.defaultDomain = domain;
    this.moves.length = 0;
    return domain;
  }

  refuse(endpoint: string, domain: string, code: ErrorCode): void {
    this.refusals.push({ endpoint, domain, code });
  }

  probeDevice(_ids: readonly number[], name: string): IommuEndpoint {
    let current: (IommuDomain & { readonly label: string }) | null = null;
    return {
      name,
      get domain() {
        return current;
      },
      reservedRegions: () => [],
      attach: (domain) => {
        const { label } = domain as ScriptedDomain; // All domains are made below.
        this.beforeAttach?.();
        const at = this.refusals.findIndex(
          (refusal) => refusal.endpoint === name && refusal.domain === label,
        );
        if (at >= 0) throw new IommuError(this.refusals.splice(at, 1)[0]!.code, 'As told.'); // Found.
        current = domain as ScriptedDomain; // As above.
        this.moves.push(`${name}>${label}`);
      },
      detach: () => {
        current = null;
        this.moves.push(`${name}>`);
      },
      release: () => {},
    };
  }

  allocPaging(): IommuDomain {
    return this.#domain('empty', 'paging');
  }

  allocIdentity(): IommuDomain {
    return this.#domain('identity', 'identity');
  }

  #domain(label: string, type: IommuDomain['type']): ScriptedDomain {
    this.allocations += 1;
    return {
      label,
      type,
      pageSizeBitmap: 4096n,
      aperture: { start: 0n, last: 0xffff_ffffn },
      mapPages: () => 0,
      unmapPages: () => 0,
      translate: () => -1,
      syncMap: () => {},
      sync: () => {},
      flushAll: () => {},
      isStuck: () => false,
      setFaultHandler: () => {},
      free: () => {},
    };
  }
}

interface ScriptedDomain extends IommuDomain {
  readonly label: string;
}
