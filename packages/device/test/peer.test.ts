/**
 * Habits of other devices, each as its description says. That they leave everything else alone is shown against the
 * reference model, in the conformance suite.
 */

import { describe, expect, it } from 'vitest';
import { AttachFlag, FaultFlag, IommuFeature, Status, featureMask } from '@viommu/common';
import { type Habits, IommuDevice, PEERS, PeerDevice } from '../src/index.ts';
import {
  A,
  ABSENT,
  B,
  FILL,
  type Guest,
  READ,
  WRITE,
  attachBytes,
  createGuest,
  detachBytes,
  mapBytes,
  probeBytes,
  unmapBytes,
} from './guest.ts';

const { OK, UNSUPP, INVAL, RANGE, NOENT } = Status;
const FILLED = [FILL, FILL, FILL, FILL];
const PAGE = 0x1000n;
const LAST = 0xffff_ffff_ffff_ffffn;

/** A guest of a device with these habits, endpoint A in domain 1. */
function attached(habits: Habits, features?: bigint): Guest {
  const guest = createGuest({ habits, ...(features !== undefined && { accept: features }) });
  expect(guest.attach(1, A)).toBe(OK);
  return guest;
}

/** The used length and the writable part that come back. */
function send(guest: Guest, bytes: Uint8Array, room: number): readonly [number, number[]] {
  const { length, bytes: answer } = guest.send(bytes, room);
  return [length, [...answer]];
}

describe('a peer', () => {
  it('without habits is our device', () => {
    const guest = attached({});
    expect(guest.map(1, 0n, PAGE - 1n, 0n)).toBe(OK);
    expect(guest.map(1, 0n, PAGE - 1n, 0n)).toBe(INVAL);
    expect(guest.device.config).toEqual(new IommuDevice().config);
  });

  it.each(Object.keys(PEERS))('%s serves a driver that does nothing unusual', (name) => {
    const habits = PEERS[name as keyof typeof PEERS]; // A key of it.
    const guest = attached(habits);
    expect(guest.map(1, PAGE, 2n * PAGE - 1n, 0xa000n)).toBe(OK);
    expect(guest.access(A, PAGE + 1n, 4, READ)).toBe('a001+4');
    expect(guest.unmap(1, 0n, 4n * PAGE - 1n)).toBe(OK);
    expect(guest.detach(1, A)).toBe(OK);
    expect(guest.probe(A).length).toBe(516);
  });

  it('that nobody asked for does not exist', () => {
    expect(createGuest().device).not.toBeInstanceOf(PeerDevice);
  });
});

describe('habits of completion', () => {
  it('rejectedLength: a refusal has the full length, none, or nothing written', () => {
    const refused = attachBytes(1, ABSENT);
    expect(send(attached({ rejectedLength: 'full' }), refused, 8)[0]).toBe(8);
    expect(send(attached({ rejectedLength: 'zero' }), refused, 4)).toEqual([0, [NOENT, 0, 0, 0]]);
    expect(send(attached({ rejectedLength: 'none' }), refused, 4)).toEqual([0, FILLED]);
    expect(send(attached({ rejectedLength: 'none' }), detachBytes(1, A), 4)[0]).toBe(4);
  });

  it('longTail: the tail is in the last four bytes', () => {
    const guest = createGuest({ habits: { longTail: 'end' } });
    expect(send(guest, attachBytes(1, A), 8)).toEqual([8, [...FILLED, OK, 0, 0, 0]]);
    expect(send(guest, detachBytes(1, A), 4)).toEqual([4, [OK, 0, 0, 0]]);
  });

  it('unknownType: an answer for types that nobody knows', () => {
    const guest = createGuest({ habits: { unknownType: 'UNSUPP' } });
    expect(send(guest, Uint8Array.of(99, 0, 0, 0), 4)).toEqual([4, [UNSUPP, 0, 0, 0]]);
  });

  it('unnegotiatedType: MAP without its feature', () => {
    const guest = attached({ unnegotiatedType: 'served' }, featureMask(32));
    expect(guest.map(1, 0n, PAGE - 1n, 0n)).toBe(OK);
  });

  it('shortRequest, longRequest: no answer, INVAL', () => {
    const map = mapBytes(1, 0n, PAGE - 1n, 0n);
    expect(send(attached({ shortRequest: 'untouched' }), map.subarray(0, 35), 4)[0]).toBe(0);
    const long = new Uint8Array(37);
    long.set(map);
    expect(attached({ longRequest: 'INVAL' }).status(long)).toBe(INVAL);
  });

  it('probeShort, probeLong, probeRefusedArea: where the tail of a PROBE is', () => {
    const short = createGuest({ habits: { probeShort: 'start' } });
    expect(send(short, probeBytes(A), 8)).toEqual([4, [INVAL, 0, 0, 0, ...FILLED]]);
    const silent = createGuest({ habits: { probeShort: 'untouched' } });
    expect(send(silent, probeBytes(A), 8)).toEqual([0, [...FILLED, ...FILLED]]);
    const long = createGuest({ probeSize: 4, habits: { probeLong: 'end' } });
    expect(send(long, probeBytes(A), 12)).toEqual([12, [...Array(8).fill(0), OK, 0, 0, 0]]);
    const kept = createGuest({ probeSize: 4, habits: { probeRefusedArea: 'untouched' } });
    expect(send(kept, probeBytes(ABSENT), 8)).toEqual([8, [...FILLED, NOENT, 0, 0, 0]]);
  });
});

describe('habits of ATTACH and DETACH', () => {
  it('attachAgain: mappings are forgotten, or the request is refused', () => {
    const renewing = attached({ attachAgain: 'renewed' });
    renewing.map(1, 0n, PAGE - 1n, 0n);
    expect(renewing.attach(1, A)).toBe(OK);
    expect([...renewing.device.iommu.mappings(1)]).toEqual([]);
    const sharing = attached({ attachAgain: 'renewed' });
    sharing.attach(1, B);
    sharing.map(1, 0n, PAGE - 1n, 0n);
    sharing.attach(1, A);
    expect([...sharing.device.iommu.mappings(1)]).toHaveLength(1);
    expect(attached({ attachAgain: 'UNSUPP' }).attach(1, A)).toBe(UNSUPP);
  });

  it('refusedMove, attachMismatchAlone: the other kind of domain', () => {
    const losing = attached({ refusedMove: 'detached' });
    losing.attach(2, B, AttachFlag.BYPASS);
    expect(losing.attach(2, A)).toBe(INVAL);
    expect(losing.device.iommu.domainOf(A)).toBeUndefined();
    expect(losing.attach(1, A)).toBe(OK);
    expect(losing.attach(1, A, 2)).toBe(INVAL);
    expect(losing.device.iommu.domainOf(A)).toBe(1);
    const changing = attached({ attachMismatchAlone: 'served' });
    expect(changing.attach(1, A, AttachFlag.BYPASS)).toBe(OK);
    expect(changing.access(A, 5n, 1)).toBe('=5+1');
  });

  it('sharing, moving: refused', () => {
    expect(attached({ sharing: 'UNSUPP' }).attach(1, B)).toBe(UNSUPP);
    expect(attached({ sharing: 'UNSUPP' }).attach(2, B)).toBe(OK);
    expect(attached({ moving: 'UNSUPP' }).attach(2, A)).toBe(UNSUPP);
    expect(attached({ moving: 'UNSUPP' }).attach(1, B)).toBe(OK);
  });

  it('detachWrong, detachUnattached, detachShared: who looks at the domain', () => {
    const careless = attached({ detachWrong: 'detached' });
    expect(careless.detach(9, A)).toBe(OK);
    expect(careless.device.iommu.domainOf(A)).toBeUndefined();
    const idle = attached({ detachWrong: 'nothing' });
    expect(idle.detach(9, A)).toBe(OK);
    expect(idle.device.iommu.domainOf(A)).toBe(1);
    expect(attached({ detachUnattached: 'OK' }).detach(1, B)).toBe(OK);
    expect(attached({ detachUnattached: 'NOENT' }).detach(1, B)).toBe(NOENT);
    const shared = attached({ detachShared: 'UNSUPP' });
    shared.attach(1, B);
    expect(shared.detach(1, A)).toBe(UNSUPP);
  });

  it('attachOutside: the range of domains is shown, and not enforced', () => {
    const domainRange = { first: 1, last: 2 };
    const guest = createGuest({ domainRange, habits: { attachOutside: 'served' } });
    expect(guest.attach(3, A)).toBe(OK);
    expect(guest.device.config).toEqual(new IommuDevice({ domainRange }).config);
  });
});

describe('habits of MAP and UNMAP', () => {
  it('mapUnaligned, mapOutside: what is shown is not enforced', () => {
    const inputRange = { start: 0n, last: 0xffffn };
    const habits = { mapUnaligned: 'served', mapOutside: 'served' } as const;
    const guest = createGuest({ inputRange, habits });
    guest.attach(1, A);
    expect(guest.map(1, 0x10n, 0x1fn, 0x20n)).toBe(OK);
    expect(guest.map(1, 0x10000n, 0x10fffn, 0n)).toBe(OK);
    expect(guest.device.config).toEqual(new IommuDevice({ inputRange }).config);
  });

  it('mapInverted, mapToEnd, mapNoAccess, mapWriteOnly: other answers', () => {
    expect(attached({ mapInverted: 'RANGE' }).map(1, PAGE, 0n, 0n)).toBe(RANGE);
    const page = LAST - PAGE + 1n;
    expect(attached({ mapToEnd: 'DEVERR' }).map(1, page, LAST, 0n)).toBe(Status.DEVERR);
    expect(attached({ mapNoAccess: 'UNSUPP' }).map(1, 0n, PAGE - 1n, 0n, 0)).toBe(UNSUPP);
    expect(attached({ mapWriteOnly: 'INVAL' }).map(1, 0n, PAGE - 1n, 0n, WRITE)).toBe(INVAL);
    const readable = attached({ mapWriteOnly: 'readable' });
    expect(readable.map(1, 0n, PAGE - 1n, 0n, WRITE)).toBe(OK);
    expect(readable.access(A, 0n, 1, READ)).toBe('0+1');
  });

  it('unmapCutRemoves: what lies before the cut is gone', () => {
    const guest = attached({ unmapCutRemoves: 'before' });
    guest.map(1, 0n, PAGE - 1n, 0n);
    guest.map(1, PAGE, 3n * PAGE - 1n, 0n);
    expect(guest.unmap(1, 0n, 2n * PAGE - 1n)).toBe(RANGE);
    expect([...guest.device.iommu.mappings(1)].map(({ virt }) => virt.start)).toEqual([PAGE]);
  });

  it('unmapReserved, unmapInverted, unmapEverything, unmapOutside: other answers', () => {
    const odd = unmapBytes(1, 0n, PAGE - 1n);
    odd[27] = 1;
    for (const [unmapReserved, left] of [
      ['INVAL', 1],
      ['unmappedAndINVAL', 0],
    ] as const) {
      const guest = attached({ unmapReserved });
      guest.map(1, 0n, PAGE - 1n, 0n);
      expect(guest.status(odd)).toBe(INVAL);
      expect(guest.device.iommu.usage.mappings).toBe(left);
    }
    expect(attached({ unmapInverted: 'OK' }).unmap(1, PAGE, 0n)).toBe(OK);
    expect(attached({ unmapEverything: 'RANGE' }).unmap(1, 0n, LAST)).toBe(RANGE);
    const inputRange = { start: 0n, last: 0xffffn };
    const small = createGuest({ inputRange, habits: { unmapOutside: 'RANGE' } });
    small.attach(1, A);
    expect(small.unmap(1, 0n, 0x10fffn)).toBe(RANGE);
  });
});

describe('habits of resets and faults', () => {
  it('resetState: domains and mappings are still there after a device reset', () => {
    const guest = attached({ resetState: 'kept' });
    guest.map(1, 0n, PAGE - 1n, 0xa000n);
    guest.device.reset();
    guest.start();
    expect(guest.device.iommu.domainOf(A)).toBe(1);
    expect(guest.access(A, 1n, 1)).toBe('a001+1');
    guest.device.systemReset();
    expect(guest.device.iommu.domainOf(A)).toBeUndefined();
  });

  it('resetBypass, bypassValue: bypass is set back, and its lowest bit counts', () => {
    const guest = createGuest({ habits: { resetBypass: 'initial', bypassValue: 'lowBit' } });
    expect(guest.device.writeConfig(0x24, 1, 3)).toBe(true);
    expect(guest.device.config[0x24]).toBe(1);
    guest.device.reset();
    expect(guest.device.config[0x24]).toBe(0);
    expect(guest.device.iommu.bypass).toBe(false);
  });

  it('faultReport: no record is ever sent', () => {
    const guest = attached({ faultReport: 'never' });
    guest.postEvents(24);
    expect(guest.access(A, 0n, 1)).toBe('mapping fault at 0');
    expect(guest.takeEvents()).toEqual([]);
  });

  it('faultAccess, faultAddress, faultUnattached, faultPermission: records say less', () => {
    const record = (habits: Habits, endpoint: number, access: number) => {
      const guest = attached(habits);
      guest.map(1, 0n, PAGE - 1n, 0n, READ);
      guest.postEvents(24);
      guest.access(endpoint, 0n, 1, access);
      guest.access(endpoint, PAGE, 1, access);
      return guest.takeFaults().map(({ reason, flags }) => [reason, flags]);
    };
    const { ADDRESS } = FaultFlag;
    expect(record({ faultAccess: 'permission' }, A, WRITE)).toEqual([[2, WRITE | ADDRESS]]);
    expect(record({ faultAccess: 'permission' }, A, READ)).toEqual([[2, ADDRESS]]);
    expect(record({ faultAccess: 'never' }, A, WRITE)).toEqual([[2, ADDRESS]]);
    expect(record({ faultAddress: 'absent' }, A, WRITE)).toEqual([[2, WRITE]]);
    expect(record({ faultUnattached: 'UNKNOWN' }, B, READ)).toEqual([[0, READ | ADDRESS]]);
    expect(record({ faultPermission: 'UNKNOWN' }, A, WRITE)).toEqual([[0, WRITE | ADDRESS]]);
  });

  it('are offered to nobody who did not accept the feature', () => {
    const accept = featureMask(32) | featureMask(IommuFeature.MAP_UNMAP);
    const guest = createGuest({ accept, habits: { bypassValue: 'lowBit' } });
    expect(guest.device.writeConfig(0x24, 1, 3)).toBe(false);
  });
});
