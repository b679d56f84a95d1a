import { Status } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import type { IommuObserver } from '../src/index.ts';
import { A, ABSENT, B, READ, WRITE, createGuest } from './guest.ts';

/** An observer that writes down everything. */
function recorder(): { observer: IommuObserver; seen: unknown[][] } {
  const seen: unknown[][] = [];
  const note =
    (name: string) =>
    (...details: readonly unknown[]): void => {
      seen.push([name, ...details]);
    };
  return {
    seen,
    observer: {
      attached: note('attached'),
      detached: note('detached'),
      mapped: note('mapped'),
      unmapped: note('unmapped'),
      probed: note('probed'),
      refused: note('refused'),
      accessed: (endpoint, address, access, translation) =>
        seen.push(['accessed', endpoint, address, access, translation.address(0)]),
      faulted: note('faulted'),
      droppedFault: note('droppedFault'),
      bypassChanged: note('bypassChanged'),
      reset: note('reset'),
    },
  };
}

const msi = { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' as const };
const page = (first: bigint, last = first): { start: bigint; last: bigint } => ({
  start: first << 12n,
  last: ((last + 1n) << 12n) - 1n,
});

describe('an observer', () => {
  it('sees every request that succeeds, with what it did', () => {
    const { observer, seen } = recorder();
    const guest = createGuest({ observer, endpoints: [{ id: A, reserved: [msi] }, { id: B }] });
    guest.probe(A);
    guest.probe(B);
    guest.attach(1, A);
    guest.attach(2, A, 1);
    guest.attach(1, A);
    guest.map(1, 0x1000n, 0x2fffn, 0xa000n);
    guest.map(1, 0x5000n, 0x5fffn, 0xa000n, READ);
    guest.unmap(1, 0n, 0x5fffn);
    guest.unmap(1, 0n, 0x5fffn);
    guest.detach(1, A);
    expect(seen).toEqual([
      ['probed', A, [msi]],
      ['probed', B, []],
      ['attached', 1, A, 0],
      ['attached', 2, A, 1],
      ['attached', 1, A, 0],
      ['mapped', 1, page(1n, 2n), 0xa000n, READ | WRITE],
      ['mapped', 1, page(5n), 0xa000n, READ],
      ['unmapped', 1, page(0n, 5n), [page(1n, 2n), page(5n)]],
      ['unmapped', 1, page(0n, 5n), []],
      ['detached', 1, A],
    ]);
  });

  it('sees every request that is refused, with its status', () => {
    const { observer, seen } = recorder();
    const guest = createGuest({ observer });
    guest.probe(ABSENT);
    guest.attach(1, ABSENT);
    guest.detach(1, A);
    guest.map(1, 0x1000n, 0x0fffn, 0xa000n);
    guest.unmap(1, 0x1000n, 0x1fffn);
    const map = { virtStart: 0x1000n, virtLast: 0x0fffn, physStart: 0xa000n, flags: 3 };
    expect(seen).toEqual([
      ['refused', Status.NOENT, { kind: 'probe', endpoint: ABSENT }],
      ['refused', Status.NOENT, { kind: 'attach', domain: 1, endpoint: ABSENT, flags: 0 }],
      ['refused', Status.INVAL, { kind: 'detach', domain: 1, endpoint: A }],
      ['refused', Status.INVAL, { kind: 'map', domain: 1, ...map }],
      [
        'refused',
        Status.NOENT,
        { kind: 'unmap', domain: 1, virtStart: 0x1000n, virtLast: 0x1fffn },
      ],
    ]);
  });

  it('sees accesses, faults, drops, bypass and resets', () => {
    const { observer, seen } = recorder();
    const guest = createGuest({ observer });
    guest.attach(1, A);
    guest.map(1, 0x1000n, 0x1fffn, 0xa000n);
    seen.length = 0;
    guest.access(A, 0x1010n, 4, WRITE);
    guest.access(A, 0x1ff0n, 32, READ);
    guest.device.writeConfig(36, 1, 1);
    guest.device.writeConfig(36, 1, 2);
    guest.device.iommu.unplug(A);
    guest.device.reset();
    guest.device.systemReset();
    expect(seen).toEqual([
      ['accessed', A, 0x1010n, WRITE, 0xa010n],
      ['droppedFault'],
      ['faulted', A, 0x2000n, READ, 2],
      ['bypassChanged', true],
      ['detached', 1, A],
      ['reset', 'device'],
      ['reset', 'system'],
    ]);
  });

  it('need not have any hook', () => {
    const guest = createGuest({ observer: {} });
    expect(guest.attach(1, A)).toBe(Status.OK);
    expect(guest.map(1, 0x1000n, 0x1fffn, 0xa000n)).toBe(Status.OK);
    expect(guest.unmap(1, 0x1000n, 0x1fffn)).toBe(Status.OK);
    expect(guest.unmap(1, 0x1fffn, 0x1000n)).toBe(Status.INVAL);
    guest.access(A, 0n, 1);
    guest.probe(A);
    expect(guest.detach(1, A)).toBe(Status.OK);
  });
});
