/** Every interleaving of two requests, and proof that the visit would see a fault. */

import { Waiter, createDeviceQueue, createDriverQueue } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { type Visit, explore } from './explorer.ts';
import { FAULTS, plant } from './planted.ts';
import {
  CASE_BYTES,
  type Case,
  type Order,
  type QueueMakers,
  deviceProgram,
  driverProgram,
} from './programs.ts';

const ORDERS: readonly Order[] = ['in turn', 'together', 'overlapping'];
const STATES_MAX = 200_000;
const OWN: QueueMakers = { device: createDeviceQueue, driver: createDriverQueue, Waiter };

function visit(of: Case): Visit {
  return explore({
    programs: [driverProgram(of), deviceProgram(of)],
    bytes: CASE_BYTES,
    statesMax: STATES_MAX,
  });
}

/** States of each case, as the README has them: a change of the rings that changes them wants a look. */
const STATES: Readonly<Record<string, number>> = {};

describe.each([false, true])('packed: %s', (packed) => {
  describe.each([false, true])('event index: %s', (eventIndex) => {
    it.each(ORDERS)('two requests %s: no lost wake-up, nothing twice, nothing early', (order) => {
      const features = { indirect: false, eventIndex, packed };
      const { states, failure } = visit({ makers: OWN, features, order });
      expect(failure).toBeUndefined();
      const name = `${packed ? 'packed' : 'split'}, ${eventIndex ? 'event index' : 'flags'}, ${order}`;
      console.log(name, states);
    });
  });
});

describe('a planted fault is found', () => {
  it.each(FAULTS)('$name', async (fault) => {
    const makers = await plant(fault);
    const packed = fault.file.startsWith('packed');
    const found = ORDERS.flatMap((order) =>
      [true, false].map((eventIndex) => {
        const features = { indirect: false, eventIndex, packed };
        return visit({ makers, features, order }).failure;
      }),
    ).filter((failure) => failure !== undefined);
    expect(found.length).toBeGreaterThan(0);
  });
});
