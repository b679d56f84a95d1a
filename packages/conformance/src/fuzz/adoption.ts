/**
 * What a device must have become by an answer that a conforming one does not give: the model becomes the same, so that
 * one deviation does not show as many.
 */

import { AttachFlag, RequestTail, Status } from '@viommu/common';
import { type Completion, NEEDS_RESET } from '../model/answer.ts';
import type { ChoiceName } from '../model/choice.ts';
import type { Model } from '../model/model.ts';
import { kindOf, readRequest } from '../model/request.ts';
import type { Change } from '../model/state.ts';

/** Rules whose breach is a request carried out as if they were not there. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set<string>([
  'iommu.dev.attach.endpoint-missing',
  'iommu.dev.attach.flags-unknown',
  'iommu.dev.attach.reserved-nonzero',
  'iommu.dev.req.status-ok',
  'iommu.dev.map.flags-unknown',
  ...([
    'attachBypassFlag',
    'attachOutside',
    'attachReserved',
    'mapByte',
    'mapMmioFlag',
    'mapNoAccess',
    'mapOutside',
    'mapPhysOverflow',
    'mapReserved',
    'mapToEnd',
    'mapUnaligned',
    'mapWriteOnly',
    'moving',
    'probeNoEndpoint',
    'resources',
    'sharing',
    'unmapEverything',
    'unmapNoDomain',
    'unmapOutside',
    'unmapReserved',
    'unmapUnaligned',
  ] satisfies ChoiceName[]),
]);

/** Bytes up to the last one that was written. */
export function endOf({ before, after }: Completion): number {
  let end = after.length;
  while (end > 0 && after[end - 1] === before[end - 1]) end -= 1;
  return end;
}

/** The status in what came back, wherever it stands; undefined if nothing was written. */
export function statusOf(completion: Completion): number | undefined {
  return completion.after[endOf(completion) - RequestTail.size];
}

/** The device needs a reset, for whatever reason. */
export function breakDown(model: Model): void {
  model.commit({ answer: NEEDS_RESET, changes: [], rule: '', rules: [], asked: [] });
}

/** Brings a model to where the device is after `completion`; false if that cannot be told, and nothing is changed. */
export function adopt(
  model: Model,
  readable: Uint8Array,
  room: number,
  completion: Completion | undefined,
): boolean {
  if (completion === undefined) {
    breakDown(model);
    return true;
  }
  const known = kindOf(readable);
  if (known === undefined || readable.length < known[1]) return true; // It means nothing to anybody.
  const { answer, rules } = model.predict(readable, room);
  const status = statusOf(completion);
  if (status === undefined) return answer.status !== Status.OK;
  const request = readRequest(known[0], readable);
  if (status !== Status.OK) {
    // A refusal changes nothing, but what is refused here may have happened by halves.
    return answer.status !== Status.OK || request.kind === 'map' || request.kind === 'probe';
  }
  if (!rules.every((rule) => WITHOUT_EFFECT.has(rule))) return false;
  const changes: Change[] = [];
  switch (request.kind) {
    case 'attach': {
      const { endpoint, domain, flags } = request;
      if (rules.includes('iommu.dev.attach.endpoint-missing')) model.plug({ id: endpoint });
      const from = model.domainOf(endpoint);
      if (from === domain) break;
      if (from !== undefined) changes.push({ kind: 'leave', endpoint });
      changes.push({ kind: 'enter', endpoint, domain, bypass: (flags & AttachFlag.BYPASS) !== 0 });
      break;
    }
    case 'map': {
      const { domain, start, last, phys, flags } = request;
      changes.push({ kind: 'map', domain, mapping: { start, last, phys, flags } });
      break;
    }
    case 'unmap': {
      const { domain, start, last } = request;
      if (start <= last) changes.push({ kind: 'unmap', domain, start, last });
      break;
    }
    case 'probe':
      if (rules.includes('probeNoEndpoint')) model.plug({ id: request.endpoint });
      break;
    case 'detach':
      return false;
  }
  model.commit({
    ...model.predict(readable, room),
    answer: { ...answer, completed: true },
    changes,
  });
  return true;
}
