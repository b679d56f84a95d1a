/** Fault reports: section "Fault reporting". */

import { FaultFlag, FaultReason, FaultRecord, VirtioFeature, featureMask } from '@viommu/common';
import { type DriverCase, defineDriverCase } from './case.ts';
import type { FaultInput } from './scripted-device.ts';
import { A, type DriverSession, page } from './session.ts';

const { WRITE, ADDRESS } = FaultFlag;
const ADDRESS_OF_FAULT = page(3) + 0x18n;
const GOOD: FaultInput = {
  reason: FaultReason.MAPPING,
  flags: WRITE | ADDRESS,
  endpoint: A,
  address: ADDRESS_OF_FAULT,
};

type Fault = ReturnType<DriverSession['faults']>[number];

/** A fault is reported, and the driver tells of it or not. */
function told(
  s: DriverSession,
  record: Uint8Array | FaultInput,
  usedBytes?: number,
): readonly Fault[] {
  if (!s.device.inject(record, usedBytes))
    s.skip('the driver gives the device no buffer for a fault');
  s.supported(s.handleInterrupt());
  return s.faults();
}

/** A record that counts, differing from a good one: the same report. */
function sameReport(s: DriverSession, changes: Partial<FaultInput>): void {
  s.attached();
  const [good] = told(s, GOOD);
  if (good === undefined) s.skip('the driver tells nobody of a fault');
  const faults = told(s, { ...GOOD, ...changes });
  s.check(faults.length === 1, `the driver tells of ${faults.length} faults where there is one`);
  s.check(
    faults[0]?.endpoint === good.endpoint && faults[0]?.address === good.address,
    'the driver tells of another fault than the one of the same record without these bits',
  );
}

/** A record that must not count, and then a good one that must. */
function noReport(s: DriverSession, record: Uint8Array | FaultInput, usedBytes?: number): void {
  s.attached();
  if (told(s, GOOD).length === 0) s.skip('the driver tells nobody of a fault');
  s.check(told(s, record, usedBytes).length === 0, 'the driver tells of a fault');
  s.must(told(s, GOOD).length === 1, 'the driver tells nobody of the good record that follows');
}

export const FAULT_CASES: readonly DriverCase[] = [
  ...[1, 2, 3].map((at) =>
    defineDriverCase({
      id: `iommu.drv.fault.reserved-nonzero-ignored${at === 1 ? '' : `#byte-${at}`}`,
      title: `a record whose byte ${at} is set is no fault`,
      run: (s) => {
        const record = FaultRecord.encode(GOOD);
        record[at] = at === 3 ? 0x80 : 1;
        noReport(s, record);
      },
    }),
  ),
  defineDriverCase({
    id: 'iommu.drv.fault.reserved1-ignored',
    title: 'bytes 12 to 15 of a record mean nothing',
    run: (s) => sameReport(s, { reserved1: Uint8Array.of(0xff, 0xff, 0xff, 0xff) }),
  }),
  defineDriverCase({
    id: 'iommu.drv.fault.flags-undefined-ignored',
    title: 'undefined flags of a record mean nothing',
    run: (s) => sameReport(s, { flags: 0xffff_fffe }),
  }),
  ...[3, 0x7f, 0xff].map((reason) =>
    defineDriverCase({
      id: `iommu.drv.fault.reason-unknown${reason === 3 ? '' : `#${reason}`}`,
      title: `a record of the unknown reason ${reason} is a fault of unknown reason`,
      run: (s) => sameReport(s, { reason }),
    }),
  ),
  ...[0, 1, 16, 23].map((bytes, turn) =>
    defineDriverCase({
      id: `open.8.13${turn === 0 ? '' : `#${bytes}`}`,
      title: `of a record with used length ${bytes} nothing is used`,
      run: (s) => {
        s.attached();
        if (told(s, GOOD).length === 0) s.skip('the driver tells nobody of a fault');
        s.must(
          told(s, GOOD, bytes).length === 0,
          'the driver tells of a fault that was not written',
        );
        s.must(
          told(s, GOOD).length === 1,
          'the driver tells nobody of the good record that follows',
        );
      },
    }),
  ),
  ...[25, 64, 0xffff_ffff].map((bytes, turn) =>
    defineDriverCase({
      id: `open.8.12${turn === 0 ? '' : `#${bytes}`}`,
      title: `a record with used length ${bytes}`,
      run: (s) => {
        s.attached();
        s.note(`the driver tells of ${told(s, GOOD, bytes).length} faults`);
        s.must(
          told(s, GOOD).length === 1,
          'the driver tells nobody of the good record that follows',
        );
      },
    }),
  ),
  defineDriverCase({
    id: 'fact.iommu.event-repost',
    title: 'every event buffer comes back, whatever was in it',
    run: (s) => {
      s.attached();
      const before = s.device.events?.inFlight ?? 0;
      if (before === 0) s.skip('the driver gives the device no buffer for a fault');
      const bad = FaultRecord.encode({ ...GOOD, reserved: Uint8Array.of(0, 0xff, 0) });
      for (let turn = 0; turn < 3 * before; turn += 1) {
        s.check(
          s.device.inject(turn % 3 === 0 ? bad : GOOD, turn % 3 === 1 ? 8 : undefined),
          'the driver has no buffer left',
        );
        s.supported(s.handleInterrupt());
      }
      s.device.events?.look();
      const after = s.device.events?.inFlight ?? 0;
      s.check(after === before, `of ${before} event buffers ${after} are there`);
    },
  }),
  ...(['split', 'packed'] as const).map((format) =>
    defineDriverCase({
      id: `${format}.drv.receive.disable-while-draining`,
      title: 'records that come in a burst are all told',
      device: format === 'split' ? {} : { with: featureMask(VirtioFeature.RING_PACKED) },
      run: (s) => {
        s.attached();
        s.faults();
        const count = Math.min(4, s.device.events?.inFlight ?? 0);
        for (let turn = 0; turn < count; turn += 1) s.device.inject(GOOD);
        s.supported(s.handleInterrupt());
        s.must(s.faults().length === count, 'some records of a burst are lost');
      },
    }),
  ),
];
