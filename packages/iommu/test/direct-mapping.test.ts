import { Protection } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import {
  ApertureConflict,
  createDirectMappings,
  removeDirectMappings,
} from '../src/direct-mapping.ts';
import type { Device } from '../src/device.ts';
import { Domain, type DomainType } from '../src/domain.ts';
import { CoreLog } from '../src/log.ts';
import { mapRange } from '../src/map.ts';
import { claimOwner } from '../src/group-attach.ts';
import { codeOf } from './group-guest.ts';
import { CoreGuest, DRIVER, groupOf, region } from './kit/core-guest.ts';
import { ScriptedDomain, ScriptedIommu, type ScriptedOptions } from './kit/scripted-iommu.ts';

const { READ, WRITE } = Protection;

function createDomain(options: ScriptedOptions = {}, type: DomainType = 'DMA') {
  const iommu = new ScriptedIommu(options);
  const ops = new ScriptedDomain(iommu, 'd', type === 'identity' ? 'identity' : 'paging');
  const domain = new Domain(iommu, ops, type);
  const log = new CoreLog();
  const device = new CoreGuest().device('a');
  device.iommu = {
    fwspec: undefined,
    instance: iommu,
    endpoint: undefined,
    requireDirect: false,
  };
  const create = (...regions: ReturnType<typeof region>[]) =>
    createDirectMappings(domain, device, regions, log);
  return { iommu, ops, domain, log, device, create };
}

const pagesOf = (ops: ScriptedDomain) => ops.pages().map(({ page }) => page);

describe('direct regions', () => {
  it('S1.18 are sorted, and mapped once where they overlap [B22]', () => {
    const { iommu, ops, create } = createDomain();
    create(region('DIRECT', 0x1_2000n, 0x1_3fffn), region('DIRECT', 0x1_0000n, 0x1_2fffn));
    expect(iommu.took('map')).toEqual(['map 10>10 1*4']);
    expect(ops.pages()).toEqual(
      [0x10, 0x11, 0x12, 0x13].map((page) => ({ page, phys: page, protection: READ | WRITE })),
    );
  });

  it('S1.18 allow in each page what any of them allows there', () => {
    const { ops, create } = createDomain();
    create(
      region('DIRECT', 0x1_0000n, 0x1_2fffn, READ),
      region('DIRECT', 0x1_2000n, 0x1_3fffn, WRITE),
      region('DIRECT', 0x1_3800n, 0x1_47ffn, WRITE),
    );
    expect(ops.pages().map(({ page, protection }) => [page, protection])).toEqual([
      [0x10, READ],
      [0x11, READ],
      [0x12, READ | WRITE],
      [0x13, WRITE],
      [0x14, WRITE],
    ]);
  });

  it('S1.18 are rounded to whole blocks, and touch nothing else', () => {
    const { ops, create } = createDomain();
    create(region('DIRECT', 0x1_0fffn, 0x1_1000n), region('RESERVED', 0x2_0000n, 0x2_0fffn));
    expect(pagesOf(ops)).toEqual([0x10, 0x11]);
    const large = createDomain({ pageSizes: 0x1_0000n });
    large.create(region('DIRECT', 0x1_1000n, 0x1_1fffn));
    expect(pagesOf(large.ops)).toEqual(Array.from({ length: 16 }, (_, at) => 16 + at));
    large.create(region('DIRECT', 0x1_1000n, 0x2_0000n));
    expect(pagesOf(large.ops)).toEqual(Array.from({ length: 32 }, (_, at) => 16 + at));
  });

  it('S1.18 at address 0 are mapped once, not twice [B24]', () => {
    const { iommu, create } = createDomain();
    expect(create(region('DIRECT', 0n, 0xfffn))).toHaveLength(1);
    expect(create(region('DIRECT', 0n, 0xfffn))).toEqual([]);
    expect(iommu.took('map')).toEqual(['map 0>0 1*1']);
  });

  it('S1.18 leave the pages that another device of the group has mapped', () => {
    const { iommu, create } = createDomain();
    create(region('DIRECT', 0x1_1000n, 0x1_1fffn), region('DIRECT', 0x1_3000n, 0x1_3fffn));
    iommu.calls.length = 0;
    const added = create(region('DIRECT_RELAXABLE', 0x1_0000n, 0x1_4fffn));
    expect(iommu.took('map')).toEqual(['map 10>10 1*1', 'map 12>12 1*1', 'map 14>14 1*1']);
    expect(added.map(({ startPage }) => startPage)).toEqual([0x10, 0x12, 0x14]);
  });

  it('S1.18 are refused where another address is mapped, without a trace', () => {
    const { ops, domain, create } = createDomain();
    mapRange(domain, 0x14, 0x99, 1, READ);
    expect(
      codeOf(() =>
        create(region('DIRECT', 0x1_0000n, 0x1_0fffn), region('DIRECT', 0x1_2000n, 0x1_4fffn)),
      ),
    ).toBe('EINVAL');
    expect(pagesOf(ops)).toEqual([0x14]);
    expect(codeOf(() => create(region('DIRECT', 0x1_4000n, 0x1_4fffn)))).toBe('EINVAL');
  });

  it('S1.18 leave nothing when one of them fails, and can be removed', () => {
    const { iommu, ops, domain, create } = createDomain();
    const regions = [region('DIRECT', 0n, 0xfffn), region('DIRECT', 0x4000n, 0x4fffn)] as const;
    for (const operation of ['map', 'syncMap'] as const) {
      iommu.failures.plan(operation, 'ENOSPC', 1);
      expect(codeOf(() => create(...regions))).toBe('ENOSPC');
      expect(pagesOf(ops)).toEqual([]);
    }
    const added = create(...regions);
    expect(pagesOf(ops)).toEqual([0, 4]);
    removeDirectMappings(domain, added);
    expect(pagesOf(ops)).toEqual([]);
  });

  it('S1.19 reach to the very end of the aperture, and not beyond it [B23]', () => {
    const aperture = { start: 0x1000n, last: 0xf_ffffn };
    const { ops, create, device } = createDomain({ aperture });
    create(region('DIRECT', 0xf_f000n, 0xf_ffffn), region('DIRECT', 0x1000n, 0x1fffn));
    expect(pagesOf(ops)).toEqual([1, 0xff]);
    expect(device.iommu?.requireDirect).toBe(true);
    for (const [start, last] of [
      [0xf_f000n, 0x10_0000n],
      [0x10_0000n, 0x10_0fffn],
      [0xfffn, 0x1000n],
    ] as const) {
      const call = () => create(region('DIRECT', start, last));
      expect(call).toThrow(ApertureConflict);
      expect(codeOf(call)).toBe('EINVAL');
    }
    const whole = createDomain();
    whole.create(region('DIRECT', 0xffff_ffff_ffff_f000n, 0xffff_ffff_ffff_ffffn));
    expect(pagesOf(whole.ops)).toEqual([0xf_ffff_ffff_ffff]);
  });

  it('S1.19 that are not required are left out with a warning', () => {
    const { ops, log, create, device } = createDomain({ aperture: { start: 0n, last: 0xffffn } });
    create(region('DIRECT_RELAXABLE', 0x1_0000n, 0x1_0fffn), region('DIRECT_RELAXABLE', 0n, 1n));
    expect([pagesOf(ops), log.counters.directSkipped]).toEqual([[0], 1]);
    expect(device.iommu?.requireDirect).toBe(false);
  });

  it('are mapped by the identity domain as it is, and still required', () => {
    const { iommu, device, create } = createDomain({}, 'identity');
    create(region('DIRECT', 0n, 0xfffn));
    expect([iommu.calls, device.iommu?.requireDirect]).toEqual([[], true]);
  });

  it('wait until a domain is finalised', () => {
    const { ops, create } = createDomain();
    ops.aperture = undefined;
    expect(codeOf(() => create(region('DIRECT', 0n, 0xfffn)))).toBe('ENODEV');
    expect(create(region('MSI', 0n, 0xfffn))).toEqual([]);
  });
});

describe('a group with direct regions', () => {
  const TWO = [{ name: 'a' }, { name: 'b' }];

  it('S1.17 has them in its domain before any device is attached [B22]', () => {
    const guest = new CoreGuest();
    guest.firmware.regions.set('a', [
      region('DIRECT', 0x1_0000n, 0x1_2fffn),
      region('DIRECT', 0x1_2000n, 0x1_3fffn),
    ]);
    guest.firmware.regions.set('b', [region('DIRECT', 0x1_3000n, 0x1_4fffn)]);
    const { iommu } = guest.group(TWO);
    expect(iommu.calls.filter((call) => /^(?:map|attach)/.test(call))).toEqual([
      'map 10>10 1*4',
      'map 14>14 1*1',
      'attach a d0 with 5',
      'attach b d0 with 5',
    ]);
  });

  it('S1.17 gets those of a newcomer before that is attached', () => {
    const guest = new CoreGuest();
    const { iommu, group } = guest.group(TWO);
    iommu.calls.length = 0;
    iommu.regions.set('c', [region('DIRECT', 0x1_0000n, 0x1_0fffn)]);
    const [first] = group.devices.keys();
    guest.add('c', first?.iommu?.fwspec?.node);
    expect(iommu.calls.slice(1)).toEqual(['map 10>10 1*1', 'syncMap 10+1', 'attach c d0 with 1']);
  });

  it('S1.17 gets those of a newcomer after all, or not at all', () => {
    const guest = new CoreGuest();
    const { iommu, group, devices } = guest.group(TWO);
    const node = devices[0]?.iommu?.fwspec?.node;
    const pages = () => [...iommu.domains].flatMap((domain) => domain.pages());
    iommu.regions.set('c', [region('DIRECT', 0x1_0000n, 0x1_0fffn)]);
    iommu.failures.plan('map', 'ENODEV');
    const c = guest.add('c', node);
    expect([c.group, pages(), guest.dma.ops.get(c)]).toEqual([
      group,
      [{ page: 0x10, phys: 0x10, protection: READ | WRITE }],
      'DMA',
    ]);
    iommu.regions.set('d', [region('DIRECT', 0x2_0000n, 0x2_0fffn)]);
    iommu.failures.plan('attach', 'EIO');
    const d = guest.add('d', node);
    expect([d.group, pages().map(({ page }) => page), guest.dma.ops.get(d)]).toEqual([
      undefined,
      [0x10],
      'direct',
    ]);
    iommu.regions.set('e', [region('DIRECT', 0x1_0000n, 0x1_0fffn, WRITE)]);
    iommu.failures.plan('attach', 'EIO');
    expect(guest.add('e', node).group).toBeUndefined();
    // Those of the others stay.
    expect(pages().map(({ page }) => page)).toEqual([0x10]);
  });

  it('S1.19 outside of the aperture has no default domain and no drivers; others do [B23]', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    const [a, b] = [guest.add('a', node), guest.add('b', node)];
    const iommu = new ScriptedIommu({ aperture: { start: 0n, last: 0xf_ffffn } });
    iommu.regions.set('a', [region('DIRECT', 0x10_0000n, 0x10_0fffn)]);
    guest.core.registerInstance(iommu, node);
    expect([guest.type(groupOf(a)), guest.type(groupOf(b))]).toEqual(['unknown', 'DMA']);
    // Not once: that it cannot be mapped is no matter of time.
    expect(iommu.took('attach a')).toEqual([]);
    expect(codeOf(() => guest.core.bind(a, DRIVER))).toBe('ENODEV');
    expect([guest.core.bind(b, DRIVER), a.driver]).toEqual([true, undefined]);
    expect([iommu.domains.size, guest.core.log.counters.domainRefused]).toEqual([1, 1]);
    expect(codeOf(() => guest.write(groupOf(a), 'auto'))).toBe('EINVAL');
    // It can have drivers as soon as it is set up again without that region.
    iommu.regions.clear();
    guest.core.removeDevice(a);
    guest.core.addDevice(a);
    expect([guest.type(groupOf(a)), guest.core.bind(a, DRIVER)]).toEqual(['DMA', true]);
  });

  it('S1.19 outside of the aperture is looked at again when a device joins the group', () => {
    const guest = new CoreGuest();
    const { iommu, group, devices } = guest.group(
      TWO,
      { aperture: { start: 0n, last: 0xf_ffffn } },
      (made) => made.regions.set('a', [region('DIRECT', 0x10_0000n, 0x10_0fffn)]),
    );
    const node = devices[0]?.iommu?.fwspec?.node;
    const c = guest.add('c', node);
    expect([c.group, guest.type(group), group.defaultRefused === undefined]).toEqual([
      group,
      'unknown',
      false,
    ]);
    iommu.regions.clear();
    guest.add('d', node);
    expect([guest.type(group), group.defaultRefused]).toEqual(['DMA', undefined]);
    for (const device of group.devices.keys())
      expect(device.iommu?.endpoint?.domain).toBe(group.domain?.ops);
  });

  it('S1.20 of an IOMMU that maps only what is attached are mapped then', () => {
    const guest = new CoreGuest();
    guest.firmware.regions.set('b', [region('DIRECT', 0x1_0000n, 0x1_0fffn)]);
    const { iommu, group } = guest.group(TWO, { mapsUnattached: false });
    expect(iommu.calls.filter((call) => /^(?:map|attach)/.test(call))).toEqual([
      'attach a d0 with 0',
      'attach b d0 with 0',
      'map 10>10 1*1',
    ]);
    expect(guest.type(group)).toBe('DMA');
  });

  it('S1.20 that fail then too leave the former domain [B22]', () => {
    const guest = new CoreGuest('iommu.passthrough=1');
    guest.firmware.regions.set('b', [region('DIRECT', 0x1_0000n, 0x1_0fffn)]);
    const { iommu, group, devices } = guest.group(TWO, { mapsUnattached: false });
    const former = group.domain;
    iommu.calls.length = 0;
    iommu.failures.plan('map', 'EIO', 1);
    expect(codeOf(() => guest.write(group, 'DMA'))).toBe('EIO');
    expect(iommu.took('attach')).toEqual([
      'attach a d1 with 0',
      'attach b d1 with 0',
      'attach a d0 with 0',
      'attach b d0 with 0',
    ]);
    expect([group.domain, group.defaultDomain, guest.type(group)]).toEqual([
      former,
      former,
      'identity',
    ]);
    expect(iommu.domains.size).toBe(1);
    expectAllIn(devices, former);
    expect(guest.write(group, 'DMA')).toBe(3);
  });

  it('S1.20 that fail at the first set-up leave the devices in no domain', () => {
    const guest = new CoreGuest();
    guest.firmware.regions.set('a', [region('DIRECT', 0x1_0000n, 0x1_0fffn)]);
    const node = guest.node();
    const device = guest.add('a', node);
    const iommu = new ScriptedIommu({ mapsUnattached: false });
    iommu.failures.plan('map', 'EINVAL', 1);
    guest.core.registerInstance(iommu, node);
    expect([guest.type(groupOf(device)), iommu.domains.size]).toEqual(['unknown', 0]);
    expect(iommu.endpoints.get('a')?.domain).toBeNull();
  });

  it('S1.21 can never be blocked [B25]', () => {
    const guest = new CoreGuest();
    guest.firmware.regions.set('b', [region('DIRECT', 0x1_0000n, 0x1_0fffn)]);
    const { group, devices } = guest.group(TWO);
    expect(codeOf(() => claimOwner(group, {}))).toBe('EINVAL');
    expectAllIn(devices, group.defaultDomain);
  });
});

function expectAllIn(devices: readonly Device[], domain: Domain | undefined): void {
  for (const { iommu } of devices) expect(iommu?.endpoint?.domain).toBe(domain?.ops);
}
