/** The `type` attribute of a group: which default domain it has, and changing that. */

import { IommuError } from '@viommu/common';
import type { IommuCore } from './core.ts';
import { type DefaultType, selectDefaultType, setDefaultDomain } from './default-domain.ts';
import type { Domain } from './domain.ts';
import type { Group } from './group.ts';

/** The text of the attribute. */
export function readType(group: Group): string {
  return `${group.defaultDomain?.type ?? 'unknown'}\n`;
}

/**
 * Changes the type; for administrators.
 *
 * @throws {IommuError} `EINVAL` for a group without default domain, text that is no type, or a type that a device does
 * not allow; `EPERM` while a driver is bound or the group is owned, unless a strict domain becomes lazy; `EOPNOTSUPP` if
 * the IOMMU cannot defer flushes; `ENOMEM`; what the IOMMU refused with. The group is as before, then.
 */
export function writeType(core: IommuCore, group: Group, text: string): void {
  group.mutex.hold(() => {
    const { defaultDomain } = group;
    if (defaultDomain === undefined)
      throw new IommuError('EINVAL', `Group ${group.id} has no default domain.`);
    const word = text.endsWith('\n') ? text.slice(0, -1) : text;
    const target = TARGETS.get(word);
    if (target === undefined)
      throw new IommuError('EINVAL', `The type is one of ${[...TARGETS.keys()].join(', ')}.`);
    if (target === 'DMA-FQ' && defaultDomain.type === 'DMA') goLazy(core, group, defaultDomain);
    else change(core, group, target);
  });
}

const TARGETS: ReadonlyMap<string, DefaultType | 'auto'> = new Map([
  ['identity', 'identity'],
  ['DMA', 'DMA'],
  ['DMA-FQ', 'DMA-FQ'],
  ['auto', 'auto'],
]);

/** A strict domain becomes a lazy one under its devices' drivers; its mappings stay. */
function goLazy(core: IommuCore, group: Group, domain: Domain): void {
  selectDefaultType(core, [...group.devices.keys()], 'DMA-FQ');
  if (!domain.instance.capabilities.deferredFlush)
    throw new IommuError('EOPNOTSUPP', `${domain.instance.name} cannot defer flushes.`);
  core.dma.buildQueue(domain);
  core.concurrency.at('type:beforePublish');
  core.dma.publishQueue(domain);
  domain.type = 'DMA-FQ';
}

function change(core: IommuCore, group: Group, target: DefaultType | 'auto'): void {
  if (group.devices.size === 0 || group.ownerCount > 0)
    throw new IommuError('EPERM', `Group ${group.id} is in use, or empty.`);
  setDefaultDomain(core, group, target === 'auto' ? undefined : target);
}
