/** All that a driver does with a device that behaves: what most watchers look on at. */

import { FaultFlag, FaultReason, InterruptBit } from '@viommu/common';
import { A, B, C, type DriverSession } from './session.ts';

/** More than the request queue holds, so that rings go round several times. */
const LAPS = 40;

/**
 * Takes the device over, attaches endpoints alone and together, maps and unmaps in every manner, hears of a fault, uses
 * a bypass domain, and lets the device go. What a driver has nothing of is left out.
 */
export function life(s: DriverSession): void {
  s.up();
  s.probe(A);
  s.setUp(s.attach(A, 'shared'));
  s.setUp(s.map(0));
  s.map(1, 1, A, { write: false });
  s.map(2, 1, A, { read: false });
  s.map(3, 4);
  s.unmap(0);
  // Two mappings by one request, where the driver can.
  s.unmap(1, 2);
  s.unmap(3, 4);
  s.attach(B, 'shared');
  s.map(8, 2, B);
  s.detach(B);
  s.unmap(8, 2);
  for (let lap = 0; lap < LAPS; lap += 1) {
    s.map(0x10 + lap);
    if (lap % 2 === 1) s.unmap(0x10 + lap - 1, 2);
  }
  const { READ, ADDRESS } = FaultFlag;
  s.device.inject({
    reason: FaultReason.MAPPING,
    flags: READ | ADDRESS,
    endpoint: A,
    address: 0x1000n,
  });
  s.handleInterrupt();
  s.device.interrupt(InterruptBit.CONFIG_CHANGE);
  s.handleInterrupt();
  s.perform({ kind: 'attach', endpoint: C, bypass: true });
  s.perform({ kind: 'attach', endpoint: B, bypass: true });
  s.map(0x30, 1, C);
  s.unmap(0x30, 1, C);
  s.detach(C);
  // Out of a translated domain into another one.
  s.attach(A);
  s.map(0x20);
  s.detach(A);
  s.perform({ kind: 'bypass', value: false });
  s.perform({ kind: 'remove' });
}
