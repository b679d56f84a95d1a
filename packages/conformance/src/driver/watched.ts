/** Cases in which watchers look on at the life of a driver, and the clause is kept if they found nothing. */

import { VirtioFeature, featureMask } from '@viommu/common';
import { type DriverCase, defineDriverCase } from './case.ts';
import { life } from './life.ts';
import type { DeviceScript } from './scripted-device.ts';

const INDIRECT = featureMask(VirtioFeature.INDIRECT_DESC);
const EVENT_INDEX = featureMask(VirtioFeature.EVENT_IDX);
const IN_ORDER = featureMask(VirtioFeature.IN_ORDER);
const PACKED = featureMask(VirtioFeature.RING_PACKED);

/** The kinds of queues that a life is led on. */
const ORDINARY: DeviceScript = {};
const BARE: DeviceScript = { without: INDIRECT | EVENT_INDEX };
const ORDERED: DeviceScript = { with: IN_ORDER, without: INDIRECT };
const ORDERED_TABLES: DeviceScript = { with: IN_ORDER };
const PACKED_TABLES: DeviceScript = { with: PACKED };
const PACKED_BARE: DeviceScript = { with: PACKED, without: INDIRECT | EVENT_INDEX };
/** Little room: 8 is the least in which two requests fit beside each other. */
const SMALL: DeviceScript = { queueSizes: [8, 4], without: INDIRECT };
const PACKED_SMALL: DeviceScript = { with: PACKED, without: INDIRECT, queueSizes: [5, 3] };
const NOTIFICATION_DATA: DeviceScript = {
  with: PACKED | featureMask(VirtioFeature.NOTIFICATION_DATA),
};

/** By clause: what is watched, and on which kinds of queues. The first has the clause's own id. */
type Watch = readonly [id: string, title: string, ...devices: DeviceScript[]];

const WATCHES: readonly Watch[] = [
  [
    'iommu.drv.config.write-only-bypass',
    'nothing but bypass is written in the configuration',
    ORDINARY,
  ],
  [
    'iommu.drv.init.probe-before-attach',
    'every endpoint is probed before its first ATTACH',
    ORDINARY,
  ],
  ['iommu.drv.req.head-reserved-zero', 'reserved bytes of the head are zero', ORDINARY, BARE],
  ['iommu.drv.req.input-range', 'requests stay in the input range', ORDINARY],
  ['iommu.drv.req.domain-range', 'domains are of the domain range', ORDINARY],
  ['iommu.drv.attach.reserved-zero', 'reserved bytes of ATTACH are zero', ORDINARY],
  [
    'iommu.drv.attach.bypass-flag-existing-bypass',
    'who joins a bypass domain says BYPASS',
    ORDINARY,
  ],
  [
    'iommu.drv.attach.no-bypass-flag-existing-normal',
    'who joins a translated domain does not say BYPASS',
    ORDINARY,
  ],
  ['iommu.drv.detach.reserved-zero', 'reserved bytes of DETACH are zero', ORDINARY],
  ['iommu.drv.map.flags-undefined-zero', 'MAP has no undefined flags', ORDINARY],
  ['iommu.drv.map.not-on-bypass-domain', 'no MAP in a bypass domain', ORDINARY],
  ['iommu.drv.map.end-after-start', 'MAP ends behind its start', ORDINARY],
  ['iommu.drv.unmap.reserved-zero', 'reserved bytes of UNMAP are zero', ORDINARY],
  ['iommu.drv.unmap.covers-contiguous-mappings', 'UNMAP covers mappings without a hole', ORDINARY],
  ['iommu.drv.unmap.may-spill', 'UNMAP beyond mappings is taken as it comes', ORDINARY],
  ['iommu.drv.unmap.start-on-boundary', 'UNMAP starts at a mapping', ORDINARY],
  ['iommu.drv.unmap.end-on-boundary', 'UNMAP ends with a mapping', ORDINARY],
  ['iommu.drv.unmap.not-on-bypass-domain', 'no UNMAP in a bypass domain', ORDINARY],
  ['iommu.drv.probe.reserved-zero', 'reserved bytes of PROBE are zero', ORDINARY],
  ['split.drv.layout.part-alignment', 'the parts of the ring are aligned', ORDINARY],
  ['split.drv.framing.writable-last', 'writable buffers come last', ORDINARY, BARE],
  ['split.drv.framing.few-descriptors', 'few descriptors a request', ORDINARY, BARE],
  ['split.drv.desc.chain-total-length', 'chains end, and are short enough', ORDINARY, BARE],
  ['split.drv.desc.in-order-next', 'descriptors follow each other with IN_ORDER', ORDERED],
  ['split.drv.indirect.needs-feature', 'no table without the feature', BARE],
  ['split.drv.indirect.no-nesting', 'no table in a table', ORDINARY],
  ['split.drv.indirect.chain-max-queue-size', 'no chain longer than the queue', ORDINARY, SMALL],
  ['split.drv.indirect.not-with-next', 'no table with a next', ORDINARY],
  ['split.drv.indirect.in-order-sequential', 'tables in order with IN_ORDER', ORDERED_TABLES],
  [
    'split.drv.avail.idx-never-back',
    'avail.idx only goes on, and not beyond what is free',
    ORDINARY,
    SMALL,
  ],
  ['split.drv.used-notify.flags-range', 'avail.flags is 0 or 1', BARE],
  ['split.drv.used-notify.flags-zero-with-event-idx', 'avail.flags is 0 with EVENT_IDX', ORDINARY],
  ['split.drv.avail-notify.used-flags-initial-zero', 'used.flags begins as 0', ORDINARY],
  ['packed.drv.layout.part-alignment', 'the parts of the ring are aligned', PACKED_TABLES],
  [
    'packed.drv.desc.reuse-only-used',
    'no slot is used again before the device gave it back',
    PACKED_SMALL,
  ],
  [
    'packed.drv.desc.no-change-after-avail',
    'slots stay as they are while the device has them',
    PACKED_BARE,
  ],
  [
    'packed.drv.desc.notify-offset-wrap',
    'notifications say where the driver is',
    NOTIFICATION_DATA,
  ],
  ['packed.drv.sg.list-within-queue-size', 'no list longer than the queue', PACKED_SMALL],
  [
    'packed.drv.sg.list-within-device-limit',
    'no list longer than a device must take',
    PACKED_SMALL,
  ],
  ['packed.drv.indirect.list-within-device-limit', 'no table longer than the queue', PACKED_TABLES],
  ['packed.drv.sg.writable-last', 'writable buffers come last', PACKED_BARE, PACKED_TABLES],
  [
    'packed.drv.sg.space-before-first',
    'a list begins only when there is room for all of it',
    PACKED_SMALL,
  ],
  ['packed.drv.sg.first-last', 'the first slot of a list becomes available last', PACKED_BARE],
  ['packed.drv.indirect.needs-feature', 'no table without the feature', PACKED_BARE],
  ['packed.drv.indirect.table-flags-write-only', 'tables have no flag but WRITE', PACKED_TABLES],
  ['packed.drv.indirect.no-indirect-in-chain', 'a table is a list by itself', PACKED_TABLES],
  ['basic.drv.status.stepwise', 'the status goes up step by step', ORDINARY],
  ['basic.drv.status.no-clear-bit', 'no status bit is cleared', ORDINARY],
  ['basic.drv.features.subset-of-offer', 'nothing is accepted that is not offered', ORDINARY, BARE],
  [
    'basic.drv.config.generation-loop',
    'configuration is read between two reads of the generation',
    ORDINARY,
  ],
  ['basic.drv.init.sequence', 'initialisation takes its steps in order', ORDINARY],
  ['basic.drv.init.no-new-features-late', 'no feature is accepted after FEATURES_OK', ORDINARY],
  ['basic.drv.init.no-notify-before-driver-ok', 'no notification before DRIVER_OK', ORDINARY],
  [
    'basic.drv.cleanup.no-alter-exposed',
    'what the device has is not altered',
    ORDINARY,
    PACKED_BARE,
  ],
  ['basic.drv.suspend.only-when-allowed', 'no SUSPEND that is not negotiated', ORDINARY],
  [
    'basic.drv.reserved.no-access-platform-physical',
    'buffers lie in memory',
    ORDINARY,
    PACKED_TABLES,
  ],
  ['mmio.drv.reg.known-offsets-only', 'no register but those of the table', ORDINARY],
  ['mmio.drv.reg.no-write-read-only', 'no write where one can only read', ORDINARY],
  ['mmio.drv.reg.no-read-write-only', 'no read where one can only write', ORDINARY],
  ['mmio.drv.reg.width-control', 'registers are accessed by 32 bits', ORDINARY],
  ['mmio.drv.reg.width-config', 'configuration fields are accessed by their width', ORDINARY],
  [
    'mmio.drv.reg.features-sel-before-read',
    'a word is selected before offered features are read',
    ORDINARY,
  ],
  [
    'mmio.drv.reg.features-sel-before-write',
    'a word is selected before features are accepted',
    ORDINARY,
  ],
  [
    'mmio.drv.reg.queue-size-limit',
    'queues are no larger than the device takes',
    ORDINARY,
    SMALL,
    PACKED_SMALL,
  ],
  ['mmio.drv.reg.no-queue-access-when-ready', 'a live queue is not programmed', ORDINARY],
  ['mmio.drv.reg.ack-defined-only', 'only defined bits are acknowledged', ORDINARY],
  ['mmio.drv.init.check-magic-version', 'magic and version are read first', ORDINARY],
  ['mmio.drv.init.read-device-id', 'DeviceID is read before anything is written', ORDINARY],
  ['mmio.drv.init.no-shm-registers', 'no register of shared memory', ORDINARY],
  ['mmio.drv.init.common-procedure', 'initialisation is the common one', ORDINARY],
  ['mmio.drv.irq.read-status', 'InterruptStatus is read before it is acknowledged', ORDINARY],
  ['fact.split.size', 'the size of a split ring is a power of two', ORDINARY, SMALL],
  ['fact.split.idx-start', 'indices begin at zero', ORDINARY],
  ['fact.packed.zero-start', 'the ring begins as zeros', PACKED_TABLES],
  ['fact.packed.no-mixing', 'a list is all direct or one table', PACKED_TABLES],
];

const NAMES: ReadonlyMap<DeviceScript, string> = new Map([
  [BARE, 'bare'],
  [SMALL, 'small'],
  [PACKED_BARE, 'packed'],
  [PACKED_TABLES, 'packed-tables'],
  [PACKED_SMALL, 'packed-small'],
]);

export const WATCHED_CASES: readonly DriverCase[] = WATCHES.flatMap(([id, title, ...devices]) =>
  devices.map((device, turn) =>
    defineDriverCase({
      id: turn === 0 ? id : `${id}#${NAMES.get(device) ?? turn}`,
      title,
      device,
      run: (s) => {
        life(s);
        s.judge();
      },
    }),
  ),
);
