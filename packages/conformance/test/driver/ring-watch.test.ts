/** What the device's half of a ring sees in a driver's: every rule broken once. */

import {
  DescriptorFlag,
  PackedDescriptor,
  PackedFlag,
  VirtioFeature,
  featureMask,
  guestPhysical,
} from '@viommu/common';
import { SharedMemory } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { Ledger } from '../../src/driver/ledger.ts';
import { PackedDeviceRing } from '../../src/driver/packed-device-ring.ts';
import { SplitDeviceRing } from '../../src/driver/split-device-ring.ts';
import { PackedRing } from '../../src/ring/packed-ring.ts';
import { SplitRing } from '../../src/ring/split-ring.ts';

const BASE = 0x4000_0000n;
const READ = { address: BASE + 0x8000n, length: 36, writable: false };
const WRITTEN = { address: BASE + 0x9000n, length: 4, writable: true };
const TABLE = BASE + 0xa000n;
const { NEXT, WRITE, INDIRECT } = DescriptorFlag;
const { AVAIL, USED } = PackedFlag;
const INDIRECT_DESC = featureMask(VirtioFeature.INDIRECT_DESC);
const IN_ORDER = featureMask(VirtioFeature.IN_ORDER);
const EVENT_IDX = featureMask(VirtioFeature.EVENT_IDX);
const PACKED = featureMask(VirtioFeature.RING_PACKED);

function memory(): SharedMemory {
  const buffer = new SharedArrayBuffer(0x1_0000);
  return new SharedMemory({ buffer, offset: 0, size: 0x1_0000, base: guestPhysical(BASE) });
}

/** The clauses that were broken. */
const broken = (ledger: Ledger): string[] => [
  ...new Set(ledger.findings.map(({ clause }) => clause)),
];

interface Split {
  readonly driver: SplitRing;
  readonly device: SplitDeviceRing;
  readonly memory: SharedMemory;
}

function split(
  features: bigint,
  act: (rig: Split) => void,
  prepare?: (driver: SplitRing, memory: SharedMemory) => void,
): string[] {
  const ledger = new Ledger();
  const ram = memory();
  const driver = new SplitRing(ram, BASE, 4);
  prepare?.(driver, ram);
  const device = new SplitDeviceRing({ memory: ram, layout: driver.layout, features, ledger });
  act({ driver, device, memory: ram });
  device.look();
  return broken(ledger);
}

/** Makes a chain that begins at descriptor 0 available. */
function offer(
  driver: SplitRing,
  ...entries: readonly Parameters<SplitRing['descriptor']>[1][]
): void {
  for (const [index, entry] of entries.entries()) driver.descriptor(index, entry);
  driver.entry(driver.availableIndex % driver.size, 0);
  driver.publish(driver.availableIndex + 1);
}

const buffer = (
  flags = 0,
  next = 0,
): { addr: bigint; len: number; flags: number; next: number } => ({
  addr: READ.address,
  len: 36,
  flags,
  next,
});

describe('a split ring that is right', () => {
  it.each([
    ['alone', 0n],
    ['with tables', INDIRECT_DESC],
    ['in order', IN_ORDER],
    ['with EVENT_IDX', EVENT_IDX],
  ])('%s is not blamed', (_, features) => {
    const found = split(features, ({ driver, device }) => {
      for (let turn = 0; turn < 20; turn += 1) {
        driver.offer(
          [READ, WRITTEN],
          features === INDIRECT_DESC ? { indirectFrom: 0, tableAt: TABLE } : {},
        );
        device.look();
        const chain = device.take();
        expect(chain?.elements).toEqual([READ, WRITTEN]);
        if (chain !== undefined) device.give(chain, 4);
        expect(driver.take()).toMatchObject({ id: chain?.id, length: 4 });
      }
    });
    expect(found).toEqual([]);
  });
});

describe('a split ring', () => {
  it.each<[string, string, bigint, (rig: Split) => void]>([
    [
      'a table without the feature',
      'split.drv.indirect.needs-feature',
      0n,
      ({ driver }) => void driver.offer([READ, WRITTEN], { indirectFrom: 0, tableAt: TABLE }),
    ],
    [
      'a table with a next',
      'split.drv.indirect.not-with-next',
      INDIRECT_DESC,
      ({ driver }) =>
        offer(driver, { addr: TABLE, len: 16, flags: INDIRECT | NEXT, next: 1 }, buffer(WRITE)),
    ],
    [
      'a table in a table',
      'split.drv.indirect.no-nesting',
      INDIRECT_DESC,
      ({ driver }) => {
        driver.tableEntry(TABLE, 0, { addr: TABLE, len: 16, flags: INDIRECT });
        offer(driver, { addr: TABLE, len: 16, flags: INDIRECT });
      },
    ],
    [
      'a table of more than the queue',
      'split.drv.indirect.chain-max-queue-size',
      INDIRECT_DESC,
      ({ driver }) =>
        void driver.offer(
          Array.from({ length: 5 }, () => READ),
          { indirectFrom: 0, tableAt: TABLE },
        ),
    ],
    [
      'a loop',
      'split.drv.desc.chain-total-length',
      0n,
      ({ driver }) => offer(driver, buffer(NEXT, 1), buffer(NEXT, 0)),
    ],
    [
      'more than 4 GiB',
      'split.drv.desc.chain-total-length',
      0n,
      ({ driver }) =>
        offer(driver, { ...buffer(NEXT, 1), len: 0xffff_ffff }, { ...buffer(), len: 2 }),
    ],
    [
      'a readable buffer behind a writable one',
      'split.drv.framing.writable-last',
      0n,
      ({ driver }) => void driver.offer([WRITTEN, READ]),
    ],
    [
      'a descriptor out of order',
      'split.drv.desc.in-order-next',
      IN_ORDER,
      ({ driver }) => {
        driver.descriptor(2, buffer(WRITE));
        offer(driver, buffer(NEXT, 2));
      },
    ],
    [
      'a table out of order',
      'split.drv.indirect.in-order-sequential',
      IN_ORDER | INDIRECT_DESC,
      ({ driver }) => {
        driver.tableEntry(TABLE, 0, buffer(NEXT, 2));
        driver.tableEntry(TABLE, 2, buffer(WRITE));
        offer(driver, { addr: TABLE, len: 48, flags: INDIRECT });
      },
    ],
    [
      'an index that runs ahead',
      'split.drv.avail.idx-never-back',
      0n,
      ({ driver }) => driver.publish(5),
    ],
    [
      'an index that goes back',
      'split.drv.avail.idx-never-back',
      0n,
      ({ driver, device }) => {
        driver.offer([READ]);
        device.look();
        driver.publish(0);
      },
    ],
    ['flags of 2', 'split.drv.used-notify.flags-range', 0n, ({ driver }) => driver.flags(2)],
    [
      'flags with EVENT_IDX',
      'split.drv.used-notify.flags-zero-with-event-idx',
      EVENT_IDX,
      ({ driver }) => driver.flags(1),
    ],
    [
      'a buffer outside memory',
      'basic.drv.reserved.no-access-platform-physical',
      0n,
      ({ driver }) => void driver.offer([{ ...READ, address: 0x1000n }]),
    ],
    [
      'nine buffers',
      'split.drv.framing.few-descriptors',
      INDIRECT_DESC,
      ({ driver }) =>
        void driver.offer(
          Array.from({ length: 9 }, () => READ),
          { indirectFrom: 0, tableAt: TABLE },
        ),
    ],
    [
      'a descriptor that changes',
      'basic.drv.cleanup.no-alter-exposed',
      0n,
      ({ driver, device }) => {
        driver.offer([READ, WRITTEN]);
        device.look();
        const chain = device.take();
        driver.descriptor(1, buffer(WRITE));
        if (chain !== undefined) device.give(chain, 4);
      },
    ],
  ])('with %s: %s', (_, clause, features, act) => {
    expect(split(features, act)).toContain(clause);
  });

  it('with used.flags that are set at first: split.drv.avail-notify.used-flags-initial-zero', () => {
    const found = split(
      0n,
      () => undefined,
      (driver, ram) => {
        ram.setUint16(Number(driver.layout.deviceArea - BASE), 1);
      },
    );
    expect(found).toEqual(['split.drv.avail-notify.used-flags-initial-zero']);
  });
});

interface Packed {
  readonly driver: PackedRing;
  readonly device: PackedDeviceRing;
}

function packed(features: bigint, act: (rig: Packed) => void, dirty = false): string[] {
  const ledger = new Ledger();
  const ram = memory();
  const driver = new PackedRing(ram, BASE, 4);
  if (dirty) driver.slotEntry(3, { len: 1 });
  const device = new PackedDeviceRing({
    memory: ram,
    layout: driver.layout,
    features: features | PACKED,
    ledger,
  });
  act({ driver, device });
  device.look();
  return broken(ledger);
}

describe('a packed ring', () => {
  it.each([
    ['alone', 0n],
    ['with tables', INDIRECT_DESC],
  ])('that is right is not blamed, %s', (_, features) => {
    const found = packed(features, ({ driver, device }) => {
      for (let turn = 0; turn < 20; turn += 1) {
        driver.offer(
          [READ, READ, WRITTEN],
          features === 0n ? {} : { indirectFrom: 0, tableAt: TABLE },
        );
        device.look();
        const chain = device.take();
        expect(chain?.elements).toEqual([READ, READ, WRITTEN]);
        if (chain !== undefined) device.give(chain, 4);
        expect(driver.take()).toMatchObject({ id: chain?.id, length: 4, writeFlag: true });
      }
    });
    expect(found).toEqual([]);
  });

  it.each<[string, string, bigint, (rig: Packed) => void]>([
    [
      'a table without the feature',
      'packed.drv.indirect.needs-feature',
      0n,
      ({ driver }) => void driver.offer([READ], { indirectFrom: 0, tableAt: TABLE }),
    ],
    [
      'a readable buffer behind a writable one',
      'packed.drv.sg.writable-last',
      0n,
      ({ driver }) => void driver.offer([WRITTEN, READ]),
    ],
    [
      'a first slot before the others',
      'packed.drv.sg.first-last',
      0n,
      ({ driver }) => {
        driver.slotEntry(1, { addr: WRITTEN.address, len: 4, flags: WRITE });
        driver.slotEntry(0, { addr: READ.address, len: 36, flags: NEXT | AVAIL });
      },
    ],
    [
      'a table with NEXT',
      'packed.drv.indirect.table-flags-write-only',
      INDIRECT_DESC,
      ({ driver }) => {
        driver.tableEntry(TABLE, 0, { addr: READ.address, len: 36, flags: NEXT });
        driver.place([{ addr: TABLE, len: PackedDescriptor.size, flags: INDIRECT }]);
      },
    ],
    [
      'a table in a list',
      'packed.drv.indirect.no-indirect-in-chain',
      INDIRECT_DESC,
      ({ driver }) => {
        driver.tableEntry(TABLE, 0, { addr: READ.address, len: 36 });
        driver.place([
          { addr: READ.address, len: 36, flags: NEXT },
          { addr: TABLE, len: PackedDescriptor.size, flags: INDIRECT },
        ]);
      },
    ],
    [
      'a table of more than the queue',
      'packed.drv.indirect.list-within-device-limit',
      INDIRECT_DESC,
      ({ driver }) =>
        void driver.offer(
          Array.from({ length: 5 }, () => READ),
          { indirectFrom: 0, tableAt: TABLE },
        ),
    ],
    [
      'a list of more than the queue',
      'packed.drv.sg.list-within-queue-size',
      0n,
      ({ driver }) => {
        for (let slot = 0; slot < 4; slot += 1)
          driver.slotEntry(slot, { addr: READ.address, len: 36, flags: NEXT | AVAIL });
      },
    ],
    [
      'a slot that changes',
      'packed.drv.desc.no-change-after-avail',
      0n,
      ({ driver, device }) => {
        driver.offer([READ, WRITTEN]);
        device.look();
        const chain = device.take();
        driver.slotEntry(1, { addr: READ.address, len: 4, flags: WRITE | AVAIL });
        if (chain !== undefined) device.give(chain, 4);
      },
    ],
    [
      'a list over one that the device has',
      'packed.drv.sg.space-before-first',
      0n,
      ({ driver, device }) => {
        driver.offer([READ, READ, WRITTEN]);
        device.look();
        driver.offer([READ, WRITTEN]);
      },
    ],
  ])('with %s: %s', (_, clause, features, act) => {
    expect(packed(features, act)).toContain(clause);
  });

  it('that is not zero at first: fact.packed.zero-start', () => {
    expect(packed(0n, () => undefined, true)).toEqual(['fact.packed.zero-start']);
  });

  it('whose driver goes round without waiting is looked at for one lap', () => {
    expect(
      packed(0n, ({ driver, device }) => {
        // Available in both laps at once, as far as flags can say it.
        for (let slot = 0; slot < 4; slot += 1)
          driver.slotEntry(slot, { len: 1, addr: READ.address, flags: AVAIL });
        device.look();
        for (let slot = 0; slot < 4; slot += 1)
          driver.slotEntry(slot, { len: 1, addr: READ.address, flags: USED });
      }),
    ).toContain('packed.drv.sg.space-before-first');
  });
});
