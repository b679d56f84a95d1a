/** Wrong drivers on purpose: the plain one with one habit changed, and the clause that must notice. */

import { FaultFlag, FaultReason, ProbeProperty, RequestType, ReservedMemory } from '@viommu/common';
import type { TargetRegion } from '../../src/target.ts';
import { type Habits, KNOWN, RIGHT } from './habit.ts';

export interface DriverMutant {
  /** What it does wrong. */
  readonly name: string;
  /** The case that must not pass. */
  readonly caught: string;
  readonly habits: Partial<Habits>;
}

const { ATTACH, DETACH, MAP, UNMAP, PROBE } = RequestType;

/** Sets a byte in requests of one type, or in all. */
function setByte(at: number, type?: number): Partial<Habits> {
  return {
    bytes: (request) => {
      if (type === undefined || request[0] === type) request[at] = 1;
      return request;
    },
  };
}

interface Reader {
  /** Whether the type word stands for a region. */
  readonly isRegion?: (type: number) => boolean;
  readonly step?: (type: number, length: number) => number;
  /** Ends the list at a property that is none of ours. */
  readonly stops?: (type: number) => boolean;
  readonly takes?: (subtype: number, reserved: Uint8Array) => boolean;
}

/** A reader of properties that is wrong in one point. */
function reader({
  isRegion = (type) => type === 1,
  step = (_, length) => ProbeProperty.size + length,
  stops = () => false,
  takes = () => true,
}: Reader): Partial<Habits> {
  return {
    parse: (bytes) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      const regions: TargetRegion[] = [];
      for (let at = 0; at + ProbeProperty.size <= bytes.length;) {
        const { type, length } = ProbeProperty.read(view, at);
        if ((type & 0xfff) === 0 || stops(type)) break;
        if (isRegion(type) && at + ReservedMemory.size <= bytes.length) {
          const { start, end, subtype, reserved } = ReservedMemory.read(view, at);
          if (takes(subtype, reserved)) regions.push({ start, last: end, type: 'reserved' });
        }
        at += step(type, length);
      }
      return regions;
    },
  };
}

const mutant = (name: string, caught: string, habits: Partial<Habits>): DriverMutant => ({
  name,
  caught,
  habits,
});
const zero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

export const DRIVER_MUTANTS: readonly DriverMutant[] = [
  mutant('sets a reserved byte of the head', 'iommu.drv.req.head-reserved-zero', setByte(2)),
  mutant('sets a reserved byte of ATTACH', 'iommu.drv.attach.reserved-zero', setByte(19, ATTACH)),
  mutant('sets a reserved byte of DETACH', 'iommu.drv.detach.reserved-zero', setByte(12, DETACH)),
  mutant('sets a reserved byte of UNMAP', 'iommu.drv.unmap.reserved-zero', setByte(27, UNMAP)),
  mutant('sets a reserved byte of PROBE', 'iommu.drv.probe.reserved-zero', setByte(71, PROBE)),
  mutant('sets an undefined flag of MAP', 'iommu.drv.map.flags-undefined-zero', setByte(33, MAP)),
  mutant('leaves PROBE no room for the tail', 'iommu.drv.probe.properties-size', { probeRoom: 0 }),
  mutant('does not probe', 'iommu.drv.init.probe-before-attach', { probeFirst: false }),
  mutant('forgets BYPASS for the second endpoint', 'iommu.drv.attach.bypass-flag-existing-bypass', {
    attachFlags: (bypass, others) => (bypass && others === 0 ? 1 : 0),
  }),
  mutant('says BYPASS for the second endpoint', 'iommu.drv.attach.no-bypass-flag-existing-normal', {
    attachFlags: (bypass, others) => (bypass || others > 0 ? 1 : 0),
  }),
  mutant('maps in a bypass domain', 'iommu.drv.map.not-on-bypass-domain', { mapBypass: true }),
  mutant('unmaps in a bypass domain', 'iommu.drv.unmap.not-on-bypass-domain', { mapBypass: true }),
  mutant('maps one byte', 'iommu.drv.map.end-after-start', { mapEnd: (start) => start }),
  mutant('takes READ for granted', 'iommu.drv.map.read-flag-for-readable', {
    mapFlags: (flags) => flags & ~1,
  }),
  mutant('takes WRITE for READ', 'iommu.drv.map.read-flag-for-readable#write', {
    mapFlags: (flags) => ((flags & 2) === 0 ? flags : flags & ~1),
  }),
  mutant('uses the MMIO flag without the feature', 'iommu.drv.map.mmio-flag-needs-feature', {
    checkMmio: false,
  }),
  mutant('has no MMIO flag', 'iommu.drv.map.mmio-flag-for-registers', {
    mapFlags: (flags) => flags & 3,
  }),
  mutant('unmaps from the second page on', 'iommu.drv.unmap.start-on-boundary', {
    unmapRange: (start, last, granule) => [last - start > granule ? start + granule : start, last],
  }),
  mutant('unmaps one page too few', 'iommu.drv.unmap.end-on-boundary', {
    unmapRange: (start, last, granule) => [start, last - start > granule ? last - granule : last],
  }),
  mutant('unmaps elsewhere', 'iommu.drv.unmap.covers-contiguous-mappings', {
    unmapRange: (start, last) => [start + 0x4000_0000n, last + 0x4000_0000n],
  }),
  mutant('numbers domains from 0', 'iommu.drv.req.domain-range', { firstDomain: () => 0 }),
  mutant('does not look at the input range', 'iommu.drv.req.input-range#edges', {
    checkRange: false,
  }),
  mutant('wants reserved bytes of the tail to be zero', 'iommu.drv.req.tail-reserved-ignored', {
    success: (status, reserved) => status === 0 && zero(reserved),
  }),
  mutant('does not look at the used length', 'iommu.drv.req.used-len-zero-is-failure', {
    checkLength: false,
    prefill: 0,
  }),
  mutant('trusts bytes behind the used length', 'split.drv.used.no-trust-past-len', {
    checkLength: false,
  }),
  mutant('takes any status for success', 'open.1.14#map-4', { success: () => true }),
  mutant('takes unknown statuses for success', 'open.1.14#attach-9', {
    success: (status) => status === 0 || status > 8,
  }),
  mutant(
    'stops at unknown properties',
    'iommu.drv.probe.unknown-type-ignored',
    reader({ stops: (type) => type !== 1 }),
  ),
  mutant(
    'knows how long a region is',
    'iommu.drv.probe.length-from-header',
    reader({ step: (type, length) => (type === 1 ? 24 : 4 + length) }),
  ),
  mutant(
    'masks reserved bits of the type',
    'iommu.drv.probe.reserved-nonzero-ignored',
    reader({ isRegion: (type) => (type & 0xfff) === 1 }),
  ),
  mutant(
    'stops at what it overlooks',
    'iommu.drv.probe.continue-after-ignored',
    reader({ stops: (type) => type > 0xfff }),
  ),
  mutant(
    'does not keep off MSI regions',
    'iommu.drv.resv.no-map-in-region#msi',
    reader({ takes: (subtype) => subtype !== 1 }),
  ),
  mutant(
    'wants reserved bytes of a region to be zero',
    'iommu.drv.resv.reserved-ignored',
    reader({ takes: (_, reserved) => zero(reserved) }),
  ),
  mutant(
    'overlooks regions of unknown type',
    'iommu.drv.resv.unknown-subtype',
    reader({ takes: (subtype) => subtype <= 1 }),
  ),
  mutant('reads behind the end of the list', 'fact.iommu.probe-end', {
    parse: (bytes) => RIGHT.parse(bytes[0] === 0 ? bytes.subarray(4) : bytes),
  }),
  mutant('tells of records with reserved bytes set', 'iommu.drv.fault.reserved-nonzero-ignored', {
    fault: (record) => RIGHT.fault({ ...record, reserved: new Uint8Array(3) }),
  }),
  mutant('wants bytes 12 to 15 of a record to be zero', 'iommu.drv.fault.reserved1-ignored', {
    fault: (record) => (zero(record.reserved1) ? RIGHT.fault(record) : undefined),
  }),
  mutant(
    'wants undefined flags of a record to be zero',
    'iommu.drv.fault.flags-undefined-ignored',
    {
      fault: (record) =>
        (record.flags & ~(3 | FaultFlag.ADDRESS)) === 0 ? RIGHT.fault(record) : undefined,
    },
  ),
  mutant('overlooks faults of unknown reason', 'iommu.drv.fault.reason-unknown', {
    fault: (record) => (record.reason <= FaultReason.MAPPING ? RIGHT.fault(record) : undefined),
  }),
  mutant('trusts records that were not written', 'open.8.13', { checkEventLength: false }),
  mutant('keeps event buffers', 'fact.iommu.event-repost', { repost: false }),
  mutant('accepts whatever is offered', 'basic.drv.features.not-accept-unknown', {
    accept: (offered) => offered,
  }),
  mutant('accepts what is not offered', 'basic.drv.features.subset-of-offer', {
    accept: () => KNOWN,
  }),
  mutant('does not care for PROBE', 'iommu.drv.features.accept-ranges-and-probe', {
    accept: (offered) => offered & KNOWN & ~16n,
  }),
  mutant('accepts MAP_UNMAP and cannot map', 'iommu.drv.init.map-unmap-capable', { canMap: false }),
  mutant('writes bypass with 32 bits', 'iommu.drv.config.write-only-bypass', { bypassWidth: 4 }),
  mutant('writes 0xff for true', 'iommu.drv.config.bypass-write-value', {
    bypass: (value) => (value ? 0xff : 0),
  }),
  mutant('writes bypass without the feature', 'iommu.drv.config.bypass-writable#withheld', {
    bypassAlways: true,
  }),
  mutant('does not read FEATURES_OK back', 'basic.drv.init.stop-on-error', { readBack: false }),
  mutant('does not write FAILED', 'basic.drv.init.failed-on-error', { giveUp: false }),
  mutant('leaves ACKNOWLEDGE out', 'basic.drv.status.stepwise', { steps: [3] }),
  mutant('clears ACKNOWLEDGE', 'basic.drv.status.no-clear-bit', { steps: [1, 2, 3] }),
  mutant('does not reset first', 'basic.drv.init.sequence', { resetFirst: false }),
  mutant('does not wait for the reset', 'basic.drv.reset.wait-status-zero', { awaitReset: false }),
  mutant('notifies before DRIVER_OK', 'basic.drv.init.no-notify-before-driver-ok', {
    earlyNotify: true,
  }),
  mutant('reads fields that are not there', 'basic.drv.config.check-feature-first', {
    readAll: true,
  }),
  mutant('does not look at the generation', 'basic.drv.config.no-atomic-wide-read', {
    generation: false,
  }),
  mutant('leaves without a reset', 'basic.drv.cleanup.quiesce-before-removal', {
    resetAtEnd: false,
  }),
  mutant('acknowledges everything', 'mmio.drv.reg.ack-defined-only#undefined', {
    acknowledge: () => 0xffff_ffff,
  }),
  mutant('acknowledges nothing', 'mmio.drv.irq.acknowledge', { acknowledge: () => 0 }),
  mutant('takes 128 descriptors whatever there is', 'mmio.drv.reg.queue-size-limit', {
    queueSize: () => 128,
  }),
  mutant('puts rings anywhere', 'split.drv.layout.part-alignment', { ringOffset: 8n }),
  mutant('puts what is written first', 'split.drv.framing.writable-last', {
    order: (buffers) => buffers.toReversed(),
  }),
  mutant('puts what is written first in packed rings', 'packed.drv.sg.writable-last', {
    order: (buffers) => buffers.toReversed(),
  }),
  mutant('does not notify', 'split.drv.avail-notify.flags-zero-notify', { notify: false }),
  mutant('takes any used id for its own', 'open.10.2#id-idle', { checkId: false }),
  mutant('waits forever', 'open.11.22#silence', { patience: false }),
];
