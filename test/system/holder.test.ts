import { GrantFlag, GrantHypervisor } from '@viommu/iommu';
import { expect, it } from 'vitest';
import { BACKEND } from './kit/disks.ts';
import type { HolderArgs } from './program/holder.ts';
import { run } from './run.ts';

it('S0.8 a page that a thread of the back-end keeps breaks its device, and stays granted for good [E8]', async () => {
  const held = new SharedArrayBuffer(4);
  const hypervisor = new GrantHypervisor();
  const args: HolderArgs = { held };
  let ref = -1;
  const { value, machine } = await run(
    'holder',
    { args, endpoints: { grant: { kind: 'disk', backend: BACKEND } } },
    (report, { map, buffer }) => {
      hypervisor.addGranter(1, map.grantTable(buffer));
      ref = Number(report['ref']);
      expect(hypervisor.mapGrant(1, ref, BACKEND, false)).toBeGreaterThanOrEqual(0);
      Atomics.store(new Int32Array(held), 0, 1);
      Atomics.notify(new Int32Array(held), 0);
    },
  );
  expect(value).toEqual({ fine: undefined, broken: true, afterwards: 'ENOMEM', alerts: 1 });
  const flags = machine.map.grantTable(machine.buffer)[2 * ref] ?? 0;
  expect(flags & GrantFlag.PERMIT_ACCESS).toBe(GrantFlag.PERMIT_ACCESS);
});
