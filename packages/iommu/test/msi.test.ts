import { Protection, RegionKind } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { Domain } from '../src/domain.ts';
import { type WorldOptions, cpu0, cpu1, createWorld, isIdle } from './dma-world.ts';
import { scriptedInstance } from './scripted-domain.ts';

const DOORBELL = 0xfee0_0040n;
const DOORBELL_PAGE = 0xfee00;
const protection = Protection.WRITE | Protection.NOEXEC | Protection.MMIO;
const code = (expected: string) => expect.objectContaining({ code: expected });

function create(options: WorldOptions = {}) {
  const world = createWorld(options);
  const prepare = (doorbell = DOORBELL, context = cpu0): bigint =>
    world.layer.prepareMsi(context, world.device, world.domain, doorbell);
  return { ...world, prepare };
}

describe('doorbells', () => {
  it('S1.23 without a window of the hardware, the guest maps them itself [A13]', () => {
    const { prepare, iommu } = create();
    const address = prepare();
    const start = iommu.sent[0]?.start ?? 0;
    expect(address).toBe(BigInt(start) * 4096n + 0x40n);
    expect(iommu.sent).toEqual([{ start, phys: DOORBELL_PAGE, pages: 1, protection }]);
    expect(iommu.traffic.notifications).toBe(1);
  });

  it('S1.23 each page is mapped once, for the life of the domain', () => {
    const { prepare, iommu, cookie, user } = create();
    const address = prepare();
    expect(prepare(DOORBELL + 0x10n)).toBe(address + 0x10n);
    expect(prepare(DOORBELL + 0x1000n)).not.toBe(address + 0x1000n);
    expect(iommu.traffic.maps).toBe(2);
    cookie.space.flushCaches();
    for (let n = 0; n < 10; n += 1)
      expect(BigInt(user.mapped(0x40000, 0, 4096).page)).not.toBe(address / 4096n);
  });

  it('S1.22 in a window of the hardware they are what they are, and no buffer lies there', () => {
    const start = BigInt(DOORBELL_PAGE) * 4096n;
    const msi = { start, last: start + 0xf_ffffn, kind: RegionKind.MSI, protection };
    const firmware = { describe: () => undefined, regionsOf: () => [msi] };
    const { prepare, iommu, cookie } = create({ setup: { firmware } });
    expect([prepare(), prepare(msi.last)]).toEqual([DOORBELL, msi.last]);
    expect(iommu.traffic.maps).toBe(0);
    expect(prepare(msi.last + 1n)).not.toBe(msi.last + 1n);
    expect(iommu.traffic.maps).toBe(1);
    expect(cookie.doorbellWindows).toHaveLength(1);
  });

  it('S1.23 if the IOMMU cannot map registers, or no address is left, there is no doorbell and no trace', () => {
    const { prepare, iommu, device, cookie } = create();
    iommu.script.queueMap = () => 'EINVAL';
    expect(() => prepare()).toThrow(code('EINVAL'));
    iommu.script = { map: () => 'ENOMEM' };
    expect(() => prepare()).toThrow(code('ENOMEM'));
    iommu.script = {};
    device.busLastPage = 0;
    expect(() => prepare()).toThrow(code('ENOMEM'));
    expect([iommu.tree.size, isIdle(cookie)]).toEqual([0, true]);
  });

  it('S1.23 without translation they are what they are; in a domain of its own, the owner maps them', () => {
    const { layer, device, iommu } = create();
    const of = (domain: Domain | undefined) => layer.prepareMsi(cpu0, device, domain, DOORBELL);
    expect(of(undefined)).toBe(DOORBELL);
    expect(of(new Domain(scriptedInstance(), iommu, 'identity'))).toBe(DOORBELL);
    expect(() => of(new Domain(scriptedInstance(), iommu, 'unmanaged'))).toThrow(code('EINVAL'));
  });

  it('S1.23 two contexts that need one at the same time get the same', () => {
    const { prepare, iommu, concurrency, cookie } = create();
    const got: bigint[] = [];
    concurrency.hook = (point) => {
      if (point === 'msi:afterIova') concurrency.run(() => void got.push(prepare(DOORBELL, cpu1)));
    };
    got.push(prepare());
    expect(got[0]).toBe(got[1]);
    expect([iommu.table.size, cookie.doorbells.size]).toEqual([1, 1]);
  });
});
