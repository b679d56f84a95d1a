/**
 * A driver for IOMMUs that translate nothing, such as the node that stands for grants.
 *
 * Without it, devices that name such a node wait for its driver until the time limit. With it they learn at once that
 * they have no IOMMU, and are free to use grants.
 */

import {
  type IommuDomain,
  type IommuEndpoint,
  IommuError,
  type IommuInstance,
} from '@viommu/common';
import type { IommuCore } from './core.ts';
import type { FirmwareNode } from './device.ts';

/** An IOMMU of which nothing can be had. */
class StubIommu implements IommuInstance {
  readonly name: string;
  readonly capabilities = { deferredFlush: false, shadowOnFlush: false, cacheCoherency: false };
  readonly grouping = 'each';

  constructor(name: string) {
    this.name = name;
  }

  probeDevice(_ids: readonly number[], name: string): IommuEndpoint {
    throw new IommuError('ENODEV', `${this.name} takes no device on, and not ${name}.`);
  }

  allocPaging(): IommuDomain {
    throw new IommuError('ENODEV', `${this.name} has no domains.`);
  }

  allocIdentity(): IommuDomain {
    return this.allocPaging();
  }
}

/**
 * Registers a stub for each of the nodes that are in use; none if there are none. Returns what takes them away again.
 *
 * @throws {IommuError} as `IommuCore.registerInstance`.
 */
export function registerStubs(core: IommuCore, nodes: Iterable<FirmwareNode>): () => void {
  const stubs: StubIommu[] = [];
  for (const node of nodes) {
    if (!node.enabled) continue;
    // A name in a directory.
    const stub = new StubIommu(`stub of ${node.path.slice(1).replaceAll('/', '!')}`);
    core.registerInstance(stub, node);
    stubs.push(stub);
  }
  return () => {
    for (const stub of stubs.splice(0)) core.unregisterInstance(stub);
  };
}
