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

describe.each([false, true])('packed: %s', (packed) => {
  describe.each([false, true])('event index: %s', (eventIndex) => {
    it.each(ORDERS)('two requests %s: no lost wake-up, nothing twice, nothing early', (order) => {
      const features = { indirect: false, eventIndex, packed };
      const { states, failure } = visit({ makers: OWN, features, order });
      expect(failure).toBeUndefined();
      expect(states).toBeGreaterThan(1000);
    });
  });
});

describe('a planted fault is found', () => {
  it.each(FAULTS)('$name', async (fault) => {
    const makers = await plant(fault);
    const packed = fault.file.startsWith('packed');
    const found = ORDERS.some((order) =>
      [true, false].some((eventIndex) => {
        const features = { indirect: false, eventIndex, packed };
        return visit({ makers, features, order }).failure !== undefined;
      }),
    );
    expect(found).toBe(true);
  });
});
