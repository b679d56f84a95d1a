/** What each choice can be, which open point it belongs to, and which values go against a SHOULD. */

import type { ChoiceName, Choices, Refusal } from './choice.ts';

/** One choice. */
export interface Choice<Value> {
  /** Its number in the list of open points; empty if a SHOULD alone says that a device can differ. */
  readonly point: string;
  /** All that conform; the first is what the standard asks for, or else the value we recommend. */
  readonly values: readonly Value[];
  /** Those that go against a SHOULD or a description: a suite warns. */
  readonly warns: readonly Value[];
  /** The clause that they go against. */
  readonly clause: string;
}

const REFUSALS: readonly Refusal[] = [
  'INVAL',
  'RANGE',
  'UNSUPP',
  'NOENT',
  'NOMEM',
  'DEVERR',
  'IOERR',
  'FAULT',
];

/** All choices. */
export const CHOICES: { readonly [Name in ChoiceName]: Choice<Choices[Name]> } = {
  rejectedLength: open('1.1', ['exact', 'full', 'none', 'zero'], ['zero']),
  shortRequest: open('1.4', [...first('INVAL'), 'untouched']),
  noHead: open('1.5', ['untouched', 'needsReset']),
  noTail: open('1.6', ['untouched', 'needsReset']),
  noTailEffect: open('1.7', ['none', 'done']),
  longRequest: open('1.8', ['served', 'INVAL']),
  longTail: open('1.9', ['start', 'end']),
  unknownType: open(
    '1.11',
    ['untouched', 'UNSUPP'],
    ['UNSUPP'],
    'iommu.dev.req.unknown-type-not-written',
  ),
  unnegotiatedType: open('1.12', ['untouched', 'served', ...first('UNSUPP')]),
  unofferedProbe: open(
    '',
    ['untouched', ...first('UNSUPP')],
    REFUSALS,
    'iommu.dev.probe.not-offered-untouched',
  ),
  resources: open('4.15', ['served', 'NOMEM']),

  attachAgain: open('2.1', ['nothing', 'renewed', 'UNSUPP']),
  refusedMove: open('2.2', ['stays', 'detached']),
  attachOutside: open('2.3', [...first('RANGE'), 'served']),
  attachBypassFlag: open('2.6', ['INVAL', 'served']),
  attachMismatch: should('INVAL', 'iommu.dev.attach.bypass-flag-mismatch'),
  attachMismatchAlone: open('2.7', [...first('INVAL'), 'served'], other('INVAL')),
  attachReserved: open('2.8', ['UNSUPP', 'served']),
  sharing: open('', ['served', 'UNSUPP']),
  moving: open('', ['served', 'UNSUPP']),

  detachWrong: open('3.1', ['INVAL', 'detached', 'nothing']),
  detachUnattached: open('3.2', ['INVAL', 'OK', 'NOENT'], ['NOENT']),
  detachShared: open('3.3', ['served', 'UNSUPP']),

  mapToEnd: open('4.1', ['served', 'RANGE', 'DEVERR', 'NOMEM']),
  mapInverted: open('4.2', [...first('INVAL'), 'OK']),
  mapByte: open('4.3', ['served', ...REFUSALS]),
  mapNoAccess: open('4.4', ['served', 'INVAL', 'UNSUPP']),
  mapWriteOnly: open('4.5', ['exact', 'readable', 'INVAL', 'UNSUPP']),
  mapMmioFlag: open('4.7', ['INVAL', 'served']),
  mapOutside: open('4.8', [...first('RANGE'), 'served'], ['served']),
  mapPhysOverflow: open('4.9', [...first('RANGE'), 'served']),
  mapReserved: open(
    '4.11',
    [...REFUSALS, 'served'],
    ['served'],
    'iommu.dev.resv.map-overlap-rejected',
  ),
  mapUnaligned: open(
    '',
    [...first('RANGE'), 'served'],
    [...other('RANGE'), 'served'],
    'iommu.dev.map.unaligned',
  ),
  mapOverlap: should('INVAL', 'iommu.dev.map.overlap'),
  mapNoDomain: should('NOENT', 'iommu.dev.map.domain-missing'),
  mapBypassDomain: should('INVAL', 'iommu.dev.map.bypass-domain'),

  unmapInverted: open('5.2', [...REFUSALS, 'OK']),
  unmapUnaligned: open('5.3', ['served', 'RANGE']),
  unmapOutside: open('5.4', ['served', 'RANGE']),
  unmapEverything: open('5.5', ['served', 'RANGE']),
  unmapCut: should('RANGE', 'iommu.dev.unmap.split-status'),
  unmapCutRemoves: open(
    '5.6',
    ['nothing', 'before'],
    ['before'],
    'iommu.dev.unmap.split-removes-nothing',
  ),
  unmapReserved: open('5.7', ['served', 'INVAL', 'unmappedAndINVAL']),
  unmapNoDomain: should('NOENT', 'iommu.dev.unmap.domain-missing'),
  unmapBypassDomain: should('INVAL', 'iommu.dev.unmap.bypass-domain'),

  probeShort: open(
    '6.1',
    ['end', 'start', 'untouched'],
    ['start', 'untouched'],
    'iommu.dev.probe.too-small-inval',
  ),
  probeShortStatus: should('INVAL', 'iommu.dev.probe.too-small-inval'),
  probeLong: open('6.2', ['structure', 'end']),
  probeRefusedArea: open('6.3', ['zeroed', 'untouched']),
  probeNoEndpoint: should('NOENT', 'iommu.dev.probe.endpoint-missing'),

  resetBypass: open(
    '7.1',
    ['kept', 'initial'],
    ['initial'],
    'iommu.dev.config.bypass-kept-on-device-reset',
  ),
  bypassUnaccepted: open('7.4', ['ignored', 'taken', 'needsReset']),
  bypassValue: open('7.5', ['ignored', 'lowBit', 'needsReset']),
  bypassWidth: open('7.7', ['ignored', 'taken']),
  resetState: open('7.10', ['dropped', 'kept'], ['kept'], 'fact.iommu.reset-unattached'),

  interruptWrite: open('6.12', ['interrupt', 'fault']),
  faultReport: open('8.1', ['always', 'never']),
  faultUnbuffered: open('8.2', ['dropped', 'waits']),
  shortBuffer: open('8.4', ['returned', 'lost', 'needsReset']),
  faultAccess: open('8.7', ['always', 'permission', 'never']),
  faultAddress: open('8.8', ['byte', 'access', 'absent']),
  faultPermission: open('8.9', ['MAPPING', 'UNKNOWN']),
  faultUnattached: open('8.10', ['DOMAIN', 'UNKNOWN']),
  faultReserved: open('8.9', ['MAPPING', 'UNKNOWN']),
};

/** Choices that change what a device knows, and may not show in the answer. */
export const SILENT: ReadonlySet<ChoiceName> = new Set<ChoiceName>([
  'noTailEffect',
  'attachAgain',
  'refusedMove',
  'detachWrong',
  'mapWriteOnly',
  'unmapCutRemoves',
  'unmapReserved',
  'resetBypass',
  'resetState',
]);

/** The first value of each choice: what the standard recommends, and our device does. */
export const RECOMMENDED: Choices = Object.fromEntries(
  Object.entries(CHOICES).map(([name, { values }]) => [name, values[0]]),
) as unknown as Choices; // Each name has one of its own values.

/** A point that the text leaves open. */
function open<Value>(
  point: string,
  values: readonly Value[],
  warns: readonly NoInfer<Value>[] = [],
  clause = '',
): Choice<Value> {
  return { point, values, warns, clause };
}

/** A status that the text only recommends. */
function should(status: Refusal, clause: string): Choice<Refusal> {
  return { point: '', values: first(status), warns: other(status), clause };
}

function first(status: Refusal): readonly Refusal[] {
  return [status, ...other(status)];
}

function other(status: Refusal): readonly Refusal[] {
  return REFUSALS.filter((refusal) => refusal !== status);
}
