/** Every feature of rings and notifications, in every combination, from one end of the machine to the other. */

import { MapFlag, Status, VirtioFeature, featureMask, hasFeature, iova } from '@viommu/common';
import { DRIVER_FEATURES, NO_STATUS } from '@viommu/driver';
import { createMachine } from '@viommu/machine/node';
import type { SharedMemory } from '@viommu/ring';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  COMBINATIONS,
  type Combination,
  OFFER,
  acceptedFeatures,
  nameOf,
} from './ring-features/combination.ts';
import type { GuestArguments, GuestReport } from './ring-features/guest.ts';
import { OneThread } from './ring-features/one-thread.ts';
import { type Outcome, attachTo, map, perform, probeOf } from './ring-features/transcript.ts';

/** As large as a queue of that format can be, and no larger than a batch. */
const sizeOf = ({ packed }: Combination): number => (packed ? 7 : 8);
const device = (combination: Combination) =>
  ({ combination, features: OFFER, queueSize: sizeOf(combination) }) as const;
const [PLAIN] = COMBINATIONS as [Combination];
/** With IN_ORDER a device may give one used entry for each chain, or one for a batch. */
const CASES = COMBINATIONS.flatMap((combination) =>
  combination.inOrder
    ? [false, true].map((batchUsed) => ({ ...combination, batchUsed }))
    : [{ ...combination, batchUsed: false }],
);

describe('one transcript of requests', () => {
  let reference: Outcome;

  beforeAll(async () => {
    reference = await perform(device(PLAIN));
  });

  it('has the answers of the standard, and some of every kind', () => {
    const { answers, removed, used } = reference;
    expect(answers.filter((answer) => answer.includes(', and not '))).toEqual([]);
    const all = answers.join('\n');
    for (const status of ['OK', 'UNSUPP', 'INVAL', 'RANGE', 'NOENT', 'NOMEM', 'no status'])
      expect(all).toMatch(new RegExp(`^\\d+ .*: ${status}$`, 'm'));
    expect(answers.filter((answer) => answer.startsWith('  fault '))).toHaveLength(12);
    expect(removed.length).toBeGreaterThan(10);
    // A tail; PROBE with its properties; what the device does not know; a record.
    expect(new Set(used[0])).toEqual(
      new Set(['1 4', '2 4', '3 4', '4 4', '5 100', '99 0', '255 0', '0 0']),
    );
    expect(new Set(used[1])).toEqual(new Set(['event 24']));
  });

  it.each(
    CASES.map(
      (one) => [nameOf(one) + (one.batchUsed ? ', one entry for a batch' : ''), one] as const,
    ),
  )('is answered the same: %s', async (_, { batchUsed, ...combination }) => {
    const { machine, ...answers } = await perform({ ...device(combination), batchUsed });
    const { machine: first, ...expected } = reference;
    expect(answers).toEqual(expected);
    expect(first.combination).toEqual(PLAIN);
    // And not because a feature was not used.
    expect(machine.driver.features).toBe(
      machine.device.offeredFeatures & acceptedFeatures(combination),
    );
    expect(machine.largestBurst).toBe(roomOf(combination));
    expect(suppression(machine)).toEqual(sleeping(machine));
    expect(machine.driver.state).toBe('live');
  });
});

describe('two workers', { timeout: 60_000 }, () => {
  it.each([
    ['that poll', false, 2000],
    ['that sleep at once, and one used entry for a batch', true, 0],
  ])('%s do the same work in every combination', async (_, batchUsed, polls) => {
    const args: GuestArguments = { polls };
    const machine = createMachine({
      program: new URL('./ring-features/guest.ts', import.meta.url),
      args,
      driver: 'manual',
      device: { features: OFFER, queueSize: 100, batchUsed },
      endpoints: { first: { kind: 'copy', id: 8 } },
      hostPolls: polls,
      timeoutMs: 50_000,
    });
    const { value } = await machine.run();
    const reports = value as GuestReport[]; // What the program returns.
    expect(reports.map(({ combination }) => combination)).toEqual(COMBINATIONS);
    for (const { combination, features, answers } of reports) {
      const name = nameOf(combination);
      // All that is offered but the superseded BYPASS, which is not.
      expect(features, name).toBe(acceptedFeatures(combination));
      expect(answers, name).toEqual([
        'copy true 163840 ',
        'as sent: true',
        `MAP ${Status.OK}`,
        `MAP ${Status.INVAL}`,
        `MAP ${Status.RANGE}`,
        `MAP ${Status.INVAL}`,
        'unknown true',
        'fault 2 258 8 2179072',
        'copy false 65536 2179072',
        'stuck 0, failed 0',
        'after: false',
      ]);
    }
  });
});

describe('notification data', () => {
  it.each(['split', 'packed'])(
    'packed.drv.desc.notify-offset-wrap: says where the next request will be, over many laps (%s)',
    async (format) => {
      const combination = { ...PLAIN, packed: format === 'packed', notificationData: true };
      const { machine } = await perform(device(combination));
      expect(machine.heard.length).toBeGreaterThan(50);
      for (const [data, position] of machine.heard) expect(data).toBe(position * 0x1_0000);
      // More than there are slots: with both values of the wrap counter.
      const positions = new Set(machine.heard.map(([, position]) => position));
      expect(positions.size).toBeGreaterThan(combination.packed ? 7 : 50);
      expect([...positions].some((position) => position >= 0x8000)).toBe(combination.packed);
    },
  );

  it('is left out where it was not negotiated', async () => {
    const { machine } = await perform(device(PLAIN));
    expect(machine.rung.length).toBeGreaterThan(50);
    for (const [queue, data] of machine.rung) expect(data).toBe(queue);
  });

  it.each(['split', 'packed'])(
    'packed.drv.desc.repeat-notify: again and again, or forged, changes nothing (%s)',
    (format) => {
      const combination = { ...PLAIN, packed: format === 'packed', notificationData: true };
      const machine = new OneThread({ ...device(combination), endpoints: [{ id: 8 }] });
      const { requests } = machine.driver;
      expect(requests.sendReqSync(attachTo(1, 8))).toBeUndefined();
      const before = machine.bytes();
      for (let round = 0; round < 1000; round += 1) {
        machine.ring(0, (round * 0x9e37_79b9) >>> 0);
        machine.work();
      }
      expect(machine.bytes()).toEqual(before);
      expect(requests.sendReqSync(map(1, 0n, 0xfffn, 0n))).toBeUndefined();
      expect(machine.mmio.fault).toBeUndefined();
    },
  );
});

describe('IN_ORDER', () => {
  /** What is worth doing early, late, and not at all. */
  const mixed = (machine: OneThread): void => {
    const { requests } = machine.driver;
    for (const bytes of [
      probeOf(8),
      attachTo(1, 8),
      map(1, 0n, 0xfffn, 0n),
      Uint8Array.of(0x63, 0, 0, 0),
      map(1, 0n, 0xfffn, 0n),
      map(1, 0x1000n, 0x1fffn, 0n),
    ])
      requests.addReq(bytes);
    requests.syncReq();
  };
  const inOrder = (options: Partial<Combination>, batchUsed: boolean): OneThread => {
    const combination = { ...PLAIN, indirect: true, inOrder: true, ...options };
    const machine = new OneThread({
      combination,
      features: OFFER,
      queueSize: 8,
      endpoints: [{ id: 8 }],
      probeSize: 16,
      batchUsed,
    });
    mixed(machine);
    return machine;
  };

  it('basic.dev.reserved.in-order: requests are given back as they came, split', () => {
    const { memory, parts } = inOrder({}, false);
    const available = Array.from({ length: 6 }, (_, n) =>
      memory.getUint16(parts.driver + 4 + 2 * n),
    );
    expect(usedElements(memory, parts.device)).toEqual(
      available.map((id, n) => [id, [20, 4, 4, 0, 4, 4][n]]),
    );
    expect(memory.getUint16(parts.device + 2)).toBe(6);
  });

  it('basic.dev.reserved.in-order: requests are given back as they came, packed', () => {
    const { memory, parts, requests } = inOrder({ packed: true }, false);
    expect(requests.used.map(({ id }) => id)).toEqual(requests.taken);
    // One slot for each: AVAIL and USED as the first lap has them, and WRITE where something was written.
    expect(usedSlots(memory, parts.descriptors)).toEqual(
      requests.taken.map((id, n) => [id, [20, 4, 4, 0, 4, 4][n], n === 3 ? 0x8080 : 0x8082]),
    );
  });

  it('fact.split.in-order-offset: (9.3) a batch has one entry, with the last id in the first slot', () => {
    const { memory, parts, requests } = inOrder({}, true);
    const ids = requests.taken;
    // (9.4) The request that was not written ends its batch, with its own length.
    expect(usedElements(memory, parts.device)).toEqual([
      [ids[3], 0],
      [0, 0],
      [0, 0],
      [0, 0],
      [ids[5], 4],
      [0, 0],
    ]);
    expect(memory.getUint16(parts.device + 2)).toBe(6);
  });

  it('(9.3) a batch on a packed ring has one used descriptor, in its first slot', () => {
    const { memory, parts, requests } = inOrder({ packed: true }, true);
    const ids = requests.taken;
    const slots = usedSlots(memory, parts.descriptors);
    expect([slots[0], slots[4]]).toEqual([
      [ids[3], 0, 0x8080],
      [ids[5], 4, 0x8082],
    ]);
    // The others are as the driver left them: available, with a table.
    for (const slot of [1, 2, 3, 5]) expect(slots[slot]?.[2]).toBe(0x84);
  });

  it('a device without it does not batch', () => {
    const { memory, parts } = inOrder({ inOrder: false }, true);
    expect(usedElements(memory, parts.device).map(([, length]) => length)).toEqual([
      20, 4, 4, 0, 4, 4,
    ]);
  });
});

describe('RING_RESET', () => {
  it.each([false, true])(
    'basic.dev.queue-reset.state-default, basic.dev.queue-reset.reenable-new-config: packed %s',
    (packed) => {
      const machine = new OneThread({
        ...device({ ...PLAIN, packed }),
        endpoints: [{ id: 8 }],
        requestQueueSize: 4,
      });
      const { requests } = machine.driver;
      expect(requests.sendReqSync(attachTo(1, 8))).toBeUndefined();
      expect(requests.sendReqSync(map(1, 0n, 0xfffn, 0n))).toBeUndefined();
      expect(requests.sendReqSync(map(1, 0x1000n, 0x1fffn, 0n))).toBeUndefined();
      const old = machine.parts;
      machine.driver.resetRequestQueue(8);
      const { memory, parts } = machine;
      expect(parts.descriptors).not.toBe(old.descriptors);
      const before = machine.bytes();
      // Domains and mappings are not the queue's.
      expect(requests.sendReqSync(map(1, 0n, 0xfffn, 0n))).toBe('EINVAL');
      if (packed) expect(usedSlots(memory, parts.descriptors)[0]).toEqual([0, 4, 0x8082]);
      else {
        expect(usedElements(memory, parts.device)[0]).toEqual([0, 4]);
        expect(memory.getUint16(parts.device + 2)).toBe(1);
      }
      // The old rings lie where they were, 64 bytes each at least, and nobody touched them.
      for (const at of Object.values(old))
        expect(machine.bytes().subarray(at, at + 64)).toEqual(before.subarray(at, at + 64));
    },
  );

  it('basic.dev.queue-reset.quiet-after: what was shown and not served is never served, nor told twice', async () => {
    for (const packed of [false, true]) {
      const machine = new OneThread({ ...device({ ...PLAIN, packed }), endpoints: [{ id: 8 }] });
      const { driver } = machine;
      const ends: number[] = [];
      silentAfterReset(packed);
      const requestDone = (_: number, status: number): void => void ends.push(status);
      machine.asleep = true;
      driver.requests.addReq(attachTo(1, 8), { requestDone });
      const synced = driver.requests.syncReqAsync();
      driver.resetRequestQueue();
      expect(ends).toEqual([NO_STATUS]);
      machine.asleep = false;
      machine.work();
      await synced;
      expect(machine.device.iommu.domains).toEqual([]);
      const interrupts = machine.interrupts;
      machine.work();
      expect(machine.interrupts).toBe(interrupts);
      driver.requests.addReq(attachTo(1, 8), { requestDone });
      driver.requests.syncReq();
      expect(ends).toEqual([NO_STATUS, Status.OK]);
      // The event queue is another one: it lived all the time.
      machine.device.iommu.translateRange(8, iova(0n), 1, MapFlag.READ);
      expect(driver.serveEvents()).toBe(1);
      expect(machine.faults).toHaveLength(1);
    }
  });

  /** With a request in the ring, as a guest without our driver might leave it. */
  function silentAfterReset(packed: boolean): void {
    const machine = new OneThread({ ...device({ ...PLAIN, packed }), endpoints: [{ id: 8 }] });
    machine.asleep = true;
    machine.driver.requests.addReq(attachTo(1, 8));
    void machine.driver.requests.syncReqAsync();
    machine.transport.resetQueue(0);
    machine.asleep = false;
    const before = machine.bytes();
    const { interrupts } = machine;
    machine.ring(0, 0);
    machine.work();
    expect(machine.bytes()).toEqual(before);
    expect(machine.interrupts).toBe(interrupts);
    expect(machine.device.iommu.domains).toEqual([]);
    machine.driver.requests.giveUp('the test is over');
  }

  it('of the event queue: faults meanwhile are dropped and counted, and reports go on', () => {
    for (const packed of [false, true]) {
      const machine = new OneThread({ ...device({ ...PLAIN, packed }), endpoints: [{ id: 8 }] });
      const { driver, faults, transport } = machine;
      const fault = (page: bigint): void =>
        void machine.device.iommu.translateRange(8, iova(page << 12n), 1, MapFlag.READ);
      fault(1n);
      transport.resetQueue(1);
      fault(2n);
      expect(machine.device.droppedFaults).toBe(1);
      driver.resetEventQueue();
      fault(3n);
      expect(driver.serveEvents()).toBe(1);
      expect(faults.map(({ address }) => address)).toEqual([0x1000n, 0x3000n]);
    }
  });

  it('is not there for a driver that refuses it', () => {
    const features = DRIVER_FEATURES & ~featureMask(VirtioFeature.RING_RESET);
    const machine = new OneThread({ ...device(PLAIN), acceptOnly: features });
    expect(hasFeature(machine.driver.features, VirtioFeature.RING_RESET)).toBe(false);
    expect(() => machine.driver.resetRequestQueue()).toThrow('cannot reset a single queue');
  });
});

describe('the driver', () => {
  it('basic.drv.reserved.packed-accept: takes every feature of rings that is offered', () => {
    const all = COMBINATIONS.at(-1) ?? PLAIN;
    const machine = new OneThread(device(all));
    for (const bit of [28, 29, 34, 35, 38, 40])
      expect(hasFeature(machine.driver.features, bit), `bit ${bit}`).toBe(true);
  });
});

/** Requests of two buffers that the ring holds. */
function roomOf(combination: Combination): number {
  const size = sizeOf(combination);
  return combination.indirect ? size : Math.floor(size / 2);
}

/** What the device wrote for the driver: two words, of flags and of the event. */
function suppression({ combination, memory, parts, requests }: OneThread): Record<string, number> {
  const { device: at } = parts;
  return combination.packed
    ? { event: memory.getUint16(at), flags: memory.getUint16(at + 2) }
    : { flags: memory.getUint16(at), event: memory.getUint16(at + 4 + 8 * requests.size) };
}

/** What a device that sleeps writes there: with EVENT_IDX it names the next request, else it asks for every one. */
function sleeping({
  combination: { packed, eventIndex },
  position,
}: OneThread): Record<string, number> {
  if (!eventIndex) return { event: 0, flags: 0 };
  return { event: position, flags: packed ? 2 : 0 };
}

/** The first elements of a split used ring: id and length. */
function usedElements(memory: SharedMemory, ring: number): [id: number, length: number][] {
  return Array.from({ length: 6 }, (_, n) => [
    memory.getUint32(ring + 4 + 8 * n),
    memory.getUint32(ring + 8 + 8 * n),
  ]);
}

/** The first slots of a packed ring: id, length and flags. */
function usedSlots(
  memory: SharedMemory,
  ring: number,
): [id: number, length: number, flags: number][] {
  return Array.from({ length: 6 }, (_, n) => [
    memory.getUint16(ring + 16 * n + 12),
    memory.getUint32(ring + 16 * n + 8),
    memory.getUint16(ring + 16 * n + 14),
  ]);
}
