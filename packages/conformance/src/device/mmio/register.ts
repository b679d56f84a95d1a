/** Section "Virtio Over MMIO / MMIO Device Register Layout", the device's side. */

import {
  InterruptBit,
  IOMMU_DEVICE_ID,
  IommuQueue,
  MMIO_MAGIC,
  MMIO_VERSION,
  MmioRegister,
} from '@viommu/common';
import { type CaseText, type DeviceCase, defineCase } from '../../case.ts';
import { SplitRing } from '../../ring/split-ring.ts';
import { settle } from '../place.ts';
import { unmapBytes } from '../request.ts';
import type { Session } from '../session.ts';
import { negotiate } from '../start.ts';
import { collect, notify, post, ringBytes } from '../virtqueue/burst.ts';

const R = MmioRegister;
const { USED_BUFFER } = InterruptBit;
const NO_REGION = 0xffff_ffff;
const ABSENT_QUEUES = [2, 3, 100, 0xffff_ffff] as const;
const BASE: Pick<CaseText, 'needs'> = { needs: ['mmio', 'map-unmap'] };

/** What registers read that nobody may read, or that do not exist. */
const ODD_OFFSETS = [
  0x014, 0x018, 0x01c, 0x020, 0x030, 0x038, 0x050, 0x064, 0x080, 0x0a4, 0x0d0,
] as const;

export const REGISTER_CASES: readonly DeviceCase[] = [
  ...(
    [
      ['mmio.dev.reg.magic', 'MagicValue', R.MagicValue, MMIO_MAGIC],
      ['mmio.dev.reg.version', 'Version', R.Version, MMIO_VERSION],
    ] as const
  ).map(([id, name, register, value]) =>
    defineCase({
      id,
      title: `${name} reads 0x${value.toString(16)}`,
      needs: ['mmio'],
      start: false,
      run: (s) => {
        const found = read(s, register);
        s.check(found === value, `it reads 0x${found.toString(16)}`);
        s.should(read(s, R.DeviceID) === IOMMU_DEVICE_ID, 'DeviceID is that of another device');
      },
    }),
  ),
  defineCase({
    ...BASE,
    id: 'mmio.dev.reg.interrupt-status-until-ack',
    title: 'the bit for used buffers is set from the event on until it is acknowledged',
    run: (s) => {
      acknowledge(s);
      for (let turn = 0; turn < 3; turn += 1) {
        use(s);
        s.check(awaitStatus(s, USED_BUFFER), 'it is not set');
        s.check((read(s, R.InterruptStatus) & USED_BUFFER) !== 0, 'a read clears it');
        use(s);
        s.check((read(s, R.InterruptStatus) & USED_BUFFER) !== 0, 'a second event clears it');
        write(s, R.InterruptACK, InterruptBit.CONFIG_CHANGE);
        s.check(
          (read(s, R.InterruptStatus) & USED_BUFFER) !== 0,
          'another acknowledgement clears it',
        );
        acknowledge(s);
        s.check(read(s, R.InterruptStatus) === 0, 'it stays when it is acknowledged');
      }
    },
  }),
  defineCase({
    ...BASE,
    id: 'mmio.dev.reg.interrupt-status-no-extra',
    title: 'bits without an event read 0',
    run: (s) => {
      settle(s);
      s.check(read(s, R.InterruptStatus) === 0, 'a bit is set before anything has happened');
      use(s);
      settle(s);
      const status = read(s, R.InterruptStatus);
      s.check((status & ~USED_BUFFER) === 0, `it reads ${status} after a used buffer`);
    },
  }),
  defineCase({
    ...BASE,
    id: 'mmio.dev.reg.reset-clears',
    title: 'a reset clears InterruptStatus and QueueReady of all queues',
    run: (s) => {
      use(s);
      awaitStatus(s, USED_BUFFER);
      write(s, R.Status, 0);
      s.check(read(s, R.InterruptStatus) === 0, 'InterruptStatus is not 0');
      for (const queue of [IommuQueue.REQUEST, IommuQueue.EVENT]) {
        write(s, R.QueueSel, queue);
        s.check(read(s, R.QueueReady) === 0, `queue ${queue} is still ready`);
      }
    },
  }),
  defineCase({
    ...BASE,
    id: 'mmio.dev.reg.config-generation',
    title: 'ConfigGeneration stays while the configuration does',
    run: (s) => {
      const before = read(s, R.ConfigGeneration);
      const mask = s.config.pageSizeMask;
      use(s);
      s.check(
        read(s, R.ConfigGeneration) === before || s.config.pageSizeMask !== mask,
        'it changes although nothing else has',
      );
    },
  }),
  defineCase({
    ...BASE,
    id: 'mmio.dev.reg.no-access-when-not-ready',
    title: 'a queue that is not ready is not accessed',
    start: false,
    run: (s) => {
      const features = s.offered & ((1n << 32n) | (1n << 33n) | 4n);
      if (!negotiate(s.target, features)) s.skip('the features are refused');
      const ring = new SplitRing(s.target.memory, s.arena.allocate(4096, 4096n), 16);
      s.target.enableQueue(IommuQueue.REQUEST, ring.layout);
      write(s, R.QueueSel, IommuQueue.REQUEST);
      write(s, R.QueueReady, 0);
      settle(s);
      if (read(s, R.QueueReady) !== 0) s.skip('QueueReady cannot be taken back');
      write(s, R.Status, 15);
      post(s, ring, requests(s, 2));
      const before = ringBytes(s, ring).join();
      notify(s, ring);
      settle(s);
      s.check(ringBytes(s, ring).join() === before, 'the ring was written');
    },
  }),
  defineCase({
    id: 'fact.mmio.features-sel',
    title: 'DeviceFeaturesSel chooses between words of 32 bits, and there are two',
    needs: ['mmio'],
    start: false,
    run: (s) => {
      const words = [0, 1, 0, 2, 3, 0xffff_ffff].map((word) => {
        write(s, R.DeviceFeaturesSel, word);
        return read(s, R.DeviceFeatures);
      });
      s.check(words[0] === words[2], 'the first word changes');
      s.check(words[1] === Number(s.offered >> 32n), 'the second word is another');
      s.check(
        words.slice(3).every((word) => word === 0),
        'there are bits in other words',
      );
    },
  }),
  ...[2, 100].map((queue) =>
    defineCase({
      id: `fact.mmio.queue-absent#${queue}`,
      title: `QueueSizeMax of queue ${queue}, which is not there, is 0`,
      needs: ['mmio'],
      start: false,
      run: (s) => {
        const size = s.target.queueSizeMax(queue);
        s.check(size === 0, `it is ${size}`);
      },
    }),
  ),
  defineCase({
    id: 'open.11.14',
    title: 'QueueSizeMax of queues that are not there is 0, and theirs of others stays',
    needs: ['mmio'],
    run: (s) => {
      const before = s.target.queueSizeMax(IommuQueue.REQUEST);
      for (const queue of ABSENT_QUEUES)
        s.check(s.target.queueSizeMax(queue) === 0, `queue ${queue}`);
      s.check(s.target.queueSizeMax(IommuQueue.REQUEST) === before, 'that of queue 0 has changed');
    },
  }),
  defineCase({
    id: 'open.11.3',
    title: 'notifications of queues that are not there have no effect',
    needs: ['mmio', 'map-unmap'],
    run: (s) => {
      for (const queue of [2, 7, 100, 0xffff]) s.target.notify(queue);
      settle(s);
      s.check(!s.running.requests.ready(), 'something was used');
    },
  }),
  defineCase({
    id: 'open.11.8',
    title: 'words of features behind the second are 0',
    needs: ['mmio'],
    start: false,
    run: (s) => {
      for (const word of [2, 3, 4, 7]) {
        write(s, R.DeviceFeaturesSel, word);
        s.check(read(s, R.DeviceFeatures) === 0, `word ${word} is not`);
      }
    },
  }),
  defineCase({
    id: 'open.11.13',
    title: 'reads of registers that are not for reading do no harm',
    needs: ['mmio', 'map-unmap'],
    run: (s) => {
      for (const offset of ODD_OFFSETS) read(s, offset);
      for (const offset of [R.MagicValue, R.DeviceID, R.QueueSizeMax, R.ConfigGeneration])
        write(s, offset, 0x5a5a_5a5a);
      s.check(read(s, R.MagicValue) === MMIO_MAGIC, 'MagicValue has changed');
      s.check(read(s, R.Status) === 15, 'the status has changed');
    },
  }),
  ...[0, 1, 3, 11, 15].map((status) =>
    defineCase({
      id: `fact.mmio.status-zero-resets#${status}`,
      title: `writing 0 to Status resets from ${status}`,
      needs: ['mmio'],
      start: status === 15 ? {} : false,
      run: (s) => {
        if (status === 11) negotiate(s.target, s.offered & (1n << 32n));
        else if (status !== 15) write(s, R.Status, status);
        s.target.writeStatus(0);
        s.check(read(s, R.Status) === 0, 'it does not read 0');
        write(s, R.QueueSel, IommuQueue.REQUEST);
        s.check(read(s, R.QueueReady) === 0, 'queue 0 is still ready');
      },
    }),
  ),
  defineCase({
    id: 'fact.mmio.irq-level',
    title: 'InterruptStatus keeps each event until that one is acknowledged',
    needs: ['mmio', 'map-unmap'],
    run: (s) => {
      acknowledge(s);
      use(s);
      if (!awaitStatus(s, USED_BUFFER)) s.skip('used buffers are not announced');
      write(s, R.InterruptACK, 0);
      s.check(
        (read(s, R.InterruptStatus) & USED_BUFFER) !== 0,
        'an empty acknowledgement clears it',
      );
      acknowledge(s);
      s.check(read(s, R.InterruptStatus) === 0, 'it stays');
    },
  }),
  defineCase({
    id: 'fact.mmio.shm-absent',
    title: 'regions of shared memory that are not there have length and base of all ones',
    needs: ['mmio'],
    start: false,
    run: (s) => {
      for (const region of [0, 1, 255]) {
        write(s, R.SHMSel, region);
        for (const register of [R.SHMLenLow, R.SHMLenHigh, R.SHMBaseLow, R.SHMBaseHigh])
          s.check(read(s, register) === NO_REGION, `region ${region}: 0x${register.toString(16)}`);
      }
    },
  }),
];

function read({ target }: Session, register: number): number {
  return (target.registers?.read(register, 4) ?? 0) >>> 0;
}

function write({ target }: Session, register: number, value: number): void {
  target.registers?.write(register, 4, value);
}

function acknowledge(s: Session): void {
  write(s, R.InterruptACK, read(s, R.InterruptStatus));
}

function requests(s: Session, count: number): Uint8Array[] {
  return Array.from({ length: count }, () => unmapBytes(s.config.domainRange.last, 0n, 0n));
}

/** Has a buffer used. */
function use(s: Session): void {
  const ring = s.running.requests;
  const posted = post(s, ring, requests(s, 1));
  notify(s, ring);
  collect(s, ring, posted);
}

function awaitStatus(s: Session, bit: number): boolean {
  return s.target.wait(() => (read(s, R.InterruptStatus) & bit) !== 0, 1000);
}
