/** What a case may need of its target, and the sentence that says why it was skipped. */

import { IommuFeature, VirtioFeature, hasFeature } from '@viommu/common';
import type { Session } from './device/session.ts';

/** What a target may lack. */
export type Need =
  | 'dma'
  | 'two-dma'
  | 'endpoint'
  | 'two-endpoints'
  | 'absent'
  | 'reserved'
  | 'map-unmap'
  | 'probe'
  | 'no-probe'
  | 'mmio-flag'
  | 'no-mmio-flag'
  | 'bypass-config'
  | 'no-bypass-config'
  | 'input-range'
  | 'domain-range'
  | 'no-domain-range'
  | 'indirect'
  | 'event-index'
  | 'in-order'
  | 'packed'
  | 'notification-data'
  | 'ring-reset'
  | 'system-reset'
  | 'interrupts'
  | 'generation'
  | 'mmio'
  | 'pci'
  | 'granule-1'
  | 'split-format'
  | 'packed-format';

/** Says what is missing, or nothing if the target has it. */
type Check = (session: Session) => string | undefined;

const offers =
  (bit: number, name: string): Check =>
  (session) =>
    hasFeature(session.offered, bit) ? undefined : `the device does not offer ${name}`;

const lacks =
  (bit: number, name: string): Check =>
  (session) =>
    hasFeature(session.offered, bit) ? `the device offers ${name}` : undefined;

const NEEDS: Readonly<Record<Need, Check>> = {
  dma: (session) =>
    session.dma.endpoints.length > 0
      ? undefined
      : 'no endpoint of the target can be made to access memory',
  'two-dma': (session) =>
    session.dma.endpoints.length > 1
      ? undefined
      : 'the target has no two endpoints that can be made to access memory',
  endpoint: (session) => (session.present.length > 0 ? undefined : 'the target has no endpoint'),
  'two-endpoints': (session) =>
    session.present.length > 1 ? undefined : 'the target has only one endpoint',
  absent: (session) =>
    session.target.endpoints.some(({ role }) => role === 'absent')
      ? undefined
      : 'the target names no endpoint that is absent',
  reserved: (session) =>
    session.present.some(({ reserved = [] }) => reserved.length > 0)
      ? undefined
      : 'no endpoint of the target has a reserved region',
  'map-unmap': offers(IommuFeature.MAP_UNMAP, 'MAP_UNMAP'),
  probe: offers(IommuFeature.PROBE, 'PROBE'),
  'no-probe': lacks(IommuFeature.PROBE, 'PROBE'),
  'mmio-flag': offers(IommuFeature.MMIO, 'MMIO'),
  'no-mmio-flag': lacks(IommuFeature.MMIO, 'MMIO'),
  'bypass-config': offers(IommuFeature.BYPASS_CONFIG, 'BYPASS_CONFIG'),
  'no-bypass-config': lacks(IommuFeature.BYPASS_CONFIG, 'BYPASS_CONFIG'),
  'input-range': offers(IommuFeature.INPUT_RANGE, 'INPUT_RANGE'),
  'domain-range': offers(IommuFeature.DOMAIN_RANGE, 'DOMAIN_RANGE'),
  'no-domain-range': lacks(IommuFeature.DOMAIN_RANGE, 'DOMAIN_RANGE'),
  indirect: offers(VirtioFeature.INDIRECT_DESC, 'INDIRECT_DESC'),
  'event-index': offers(VirtioFeature.EVENT_IDX, 'EVENT_IDX'),
  'in-order': offers(VirtioFeature.IN_ORDER, 'IN_ORDER'),
  packed: offers(VirtioFeature.RING_PACKED, 'RING_PACKED'),
  'notification-data': offers(VirtioFeature.NOTIFICATION_DATA, 'NOTIFICATION_DATA'),
  'ring-reset': (session) =>
    offers(VirtioFeature.RING_RESET, 'RING_RESET')(session) ??
    (session.target.resetQueue === undefined ? 'the target cannot reset a queue' : undefined),
  'system-reset': (session) =>
    session.target.resets.includes('system') ? undefined : 'the target has no system reset',
  interrupts: (session) =>
    session.target.takeInterrupts === undefined
      ? 'interrupts of the target cannot be seen'
      : undefined,
  generation: (session) =>
    session.target.readGeneration === undefined
      ? 'the target shows no configuration generation'
      : undefined,
  mmio: (session) =>
    session.target.registers === undefined
      ? 'the transport of the target is not virtio-mmio'
      : undefined,
  pci: (session) =>
    session.target.transport === 'pci' ? undefined : 'the transport of the target is not PCI',
  'granule-1': (session) =>
    session.granule === 1n ? undefined : `the granule of the device is ${session.granule} bytes`,
  'split-format': (session) =>
    session.format === 'split' ? undefined : 'the suite runs with packed rings',
  'packed-format': (session) =>
    session.format === 'packed' ? undefined : 'the suite runs with split rings',
};

/** Why a case cannot run, if it cannot. */
export function missing(needs: readonly Need[], session: Session): string | undefined {
  for (const need of needs) {
    const reason = NEEDS[need](session);
    if (reason !== undefined) return reason;
  }
  return undefined;
}
