/** Section "Virtqueue Reset", the device's side, and what the registers of virtio-mmio say about it. */

import { IommuQueue, MmioRegister, VirtioFeature, featureMask } from '@viommu/common';
import { type CaseText, type DeviceCase, defineCase } from '../../case.ts';
import type { TestRing } from '../../ring/test-ring.ts';
import { CAUSES, caused } from '../iommu/cause.ts';
import { settle } from '../place.ts';
import { unmapBytes } from '../request.ts';
import type { Session } from '../session.ts';
import { collect, notify, post, ringBytes } from '../virtqueue/burst.ts';

const { QueueSel, QueueReady, QueueReset } = MmioRegister;
const READS = 1000;
const QUEUES = [IommuQueue.REQUEST, IommuQueue.EVENT] as const;

const BASE: Pick<CaseText, 'needs' | 'start'> = {
  needs: ['ring-reset', 'map-unmap'],
  start: { with: featureMask(VirtioFeature.RING_RESET) },
};
const MMIO: Pick<CaseText, 'needs' | 'start'> = {
  ...BASE,
  needs: ['ring-reset', 'map-unmap', 'mmio'],
};

export const QUEUE_RESET_CASES: readonly DeviceCase[] = [
  defineCase({
    ...BASE,
    id: 'basic.dev.queue-reset.quiet-after',
    title: 'a queue that was reset is neither used nor announced',
    run: (s) => {
      const ring = s.running.requests;
      s.checkServes();
      s.target.resetQueue?.(IommuQueue.REQUEST);
      s.target.takeInterrupts?.();
      post(s, ring, requests(s, 4));
      const before = ringBytes(s, ring).join();
      notify(s, ring);
      settle(s);
      s.check(ringBytes(s, ring).join() === before, 'the ring was written');
      s.check((s.target.takeInterrupts?.().used ?? 0) === 0, 'something was announced');
      serveIn(s, s.reopenRequests());
    },
  }),
  defineCase({
    ...BASE,
    id: 'basic.dev.queue-reset.quiet-after#fault',
    title: 'an event queue that was reset is not used for faults',
    needs: ['ring-reset', 'dma', 'map-unmap'],
    run: (s) => {
      s.target.resetQueue?.(IommuQueue.EVENT);
      const before = ringBytes(s, s.events.ring).join();
      caused(s, CAUSES['unmapped-write']);
      settle(s);
      s.check(ringBytes(s, s.events.ring).join() === before, 'the ring was written');
    },
  }),
  defineCase({
    ...BASE,
    id: 'basic.dev.queue-reset.state-default',
    title: 'a queue that was reset begins anew, at the start of its rings',
    run: (s) => {
      for (let turn = 0; turn < 5; turn += 1) s.checkServes();
      s.target.resetQueue?.(IommuQueue.REQUEST);
      const ring = s.reopenRequests();
      settle(s);
      s.check(!ring.ready(), 'something is used before anything is available');
      serveIn(s, ring);
    },
  }),
  ...[16, 32].map((size) =>
    defineCase({
      ...BASE,
      id: `basic.dev.queue-reset.reenable-new-config#${size}`,
      title: `a queue that was reset works in other rings, with ${size} descriptors`,
      run: (s) => {
        const old = s.running.requests;
        serveIn(s, old);
        s.target.resetQueue?.(IommuQueue.REQUEST);
        const before = ringBytes(s, old).join();
        const ring = s.reopenRequests(size);
        if (ring.size !== size) s.skip(`the queue has ${ring.size} descriptors at most`);
        for (let turn = 0; turn < size; turn += 1) serveIn(s, ring);
        s.check(ringBytes(s, old).join() === before, 'the old rings were written');
      },
    }),
  ),
  defineCase({
    ...BASE,
    id: 'basic.dev.queue-reset.state-default#domains',
    title: 'what requests have set up stays when their queue is reset',
    needs: ['ring-reset', 'map-unmap', 'endpoint', 'dma'],
    run: (s) => {
      const endpoint = s.dma.endpoint();
      const domain = s.attached(endpoint);
      const phys = s.dma.pages();
      s.mapped(domain, 0, 1, { physStart: phys });
      if (!s.dma.write(endpoint, s.page(0), phys).reached) s.skip('the mapping is not used');
      s.target.resetQueue?.(IommuQueue.REQUEST);
      const { reached } = s.dma.write(endpoint, s.page(0), phys);
      s.should(reached, 'a mapping is gone');
      serveIn(s, s.reopenRequests());
    },
  }),
  defineCase({
    ...MMIO,
    id: 'mmio.dev.reg.queue-reset-performs',
    title: 'writing 1 to QueueReset resets the selected queue',
    run: (s) => {
      serveIn(s, s.running.requests);
      reset(s, IommuQueue.REQUEST);
      s.check(poll(s) === 0, 'QueueReset never reads 0');
      s.check(read(s, QueueReady) === 0, 'the queue is still ready');
      s.target.registers?.write(QueueSel, 4, IommuQueue.EVENT);
      s.check(read(s, QueueReady) === 1, 'the other queue is not ready any more');
      serveIn(s, s.reopenRequests());
    },
  }),
  defineCase({
    ...MMIO,
    id: 'mmio.dev.reg.queue-reset-busy-one',
    title: 'QueueReset reads 1 until the reset is over, and never again',
    run: (s) => {
      reset(s, IommuQueue.REQUEST);
      s.check(poll(s) === 0, 'it never reads 0');
      for (let reads = 0; reads < 10; reads += 1)
        s.check(read(s, QueueReset) === 0, 'it reads 1 after it has read 0');
      s.reopenRequests();
    },
  }),
  defineCase({
    ...MMIO,
    id: 'mmio.dev.reg.queue-reset-done-zero',
    title: 'after the reset of a queue QueueReset and QueueReady read 0',
    run: (s) => {
      for (const queue of QUEUES) {
        reset(s, queue);
        s.check(poll(s) === 0, `QueueReset of queue ${queue} never reads 0`);
        s.check(read(s, QueueReady) === 0, `QueueReady of queue ${queue} reads 1`);
      }
      s.reopenRequests();
    },
  }),
  defineCase({
    ...MMIO,
    id: 'mmio.dev.reg.queue-reset-zero-on-reset',
    title: 'QueueReset reads 0 after a reset of the device',
    run: (s) => {
      for (const queue of QUEUES) reset(s, queue);
      s.target.writeStatus(0);
      for (const queue of QUEUES) {
        s.target.registers?.write(QueueSel, 4, queue);
        s.check(read(s, QueueReset) === 0, `that of queue ${queue} reads 1`);
      }
    },
  }),
  defineCase({
    ...MMIO,
    id: 'mmio.dev.reg.queue-reset-zero-on-enable',
    title: 'QueueReset reads 0 after the queue was enabled again',
    run: (s) => {
      reset(s, IommuQueue.REQUEST);
      s.check(poll(s) === 0, 'it never reads 0');
      const ring = s.reopenRequests();
      s.target.registers?.write(QueueSel, 4, IommuQueue.REQUEST);
      s.check(read(s, QueueReset) === 0, 'it reads 1');
      s.check(read(s, QueueReady) === 1, 'the queue is not ready');
      serveIn(s, ring);
    },
  }),
  defineCase({
    id: 'open.11.11',
    title: 'QueueReset without RING_RESET does no harm',
    needs: ['mmio', 'map-unmap'],
    run: (s) => {
      reset(s, IommuQueue.REQUEST);
      settle(s);
      s.note(`QueueReset reads ${read(s, QueueReset)}, QueueReady ${read(s, QueueReady)}`);
      s.start();
    },
  }),
  defineCase({
    ...MMIO,
    id: 'open.11.12',
    title: 'QueueReset of a queue that is not ready ends',
    run: (s) => {
      reset(s, IommuQueue.REQUEST);
      s.check(poll(s) === 0, 'the first never ends');
      reset(s, IommuQueue.REQUEST);
      s.check(poll(s) === 0, 'it never ends');
      serveIn(s, s.reopenRequests());
    },
  }),
];

function requests(s: Session, count: number): Uint8Array[] {
  return Array.from({ length: count }, () => unmapBytes(s.config.domainRange.last, 0n, 0n));
}

function serveIn(s: Session, ring: TestRing): void {
  const posted = post(s, ring, requests(s, 2));
  notify(s, ring);
  collect(s, ring, posted);
}

function read({ target }: Session, register: number): number {
  return target.registers?.read(register, 4) ?? 0;
}

function reset({ target: { registers } }: Session, queue: number): void {
  registers?.write(QueueSel, 4, queue);
  registers?.write(QueueReset, 4, 1);
}

/** Reads QueueReset until it is 0. */
function poll(s: Session): number {
  let value = 1;
  for (let reads = 0; reads < READS && value !== 0; reads += 1) {
    value = read(s, QueueReset);
    if (value !== 0) settle(s);
  }
  return value;
}
