import type { ErrorCode } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import type { Device } from '../src/device.ts';
import type { Group } from '../src/group.ts';
import { claimOwner } from '../src/group-attach.ts';
import { mapRange } from '../src/map.ts';
import { codeOf } from './group-guest.ts';
import { CoreGuest, DRIVER, region } from './kit/core-guest.ts';
import type { ScriptedIommu } from './kit/scripted-iommu.ts';

const TWO = [{ name: 'a' }, { name: 'b' }];

function expectAllIn(group: Group, devices: readonly Device[]): void {
  expect(group.domain).toBe(group.defaultDomain);
  for (const { iommu } of devices) expect(iommu?.endpoint?.domain).toBe(group.domain?.ops);
}

describe('the type of a group', () => {
  it('S4.11 is shown, and changed by writing to it [B14]', () => {
    const guest = new CoreGuest();
    const { iommu, group, devices } = guest.group(TWO);
    expect(guest.read(group, 'type')).toBe('DMA\n');
    for (const [text, type] of [
      ['identity', 'identity'],
      ['DMA-FQ\n', 'DMA-FQ'],
      ['DMA\n', 'DMA'],
      ['identity\n', 'identity'],
      ['auto', 'DMA'],
    ] as const) {
      expect(guest.write(group, text)).toBe(text.length);
      expect(guest.type(group)).toBe(type);
      expectAllIn(group, devices);
      expect(iommu.domains.size).toBe(1);
      const ops = type === 'identity' ? 'direct' : type;
      expect(devices.map((device) => guest.dma.ops.get(device))).toEqual([ops, ops]);
    }
    expect([...guest.dma.ready]).toEqual([group.domain]);
  });

  it('S4.11 has one domain until the devices are in the next one', () => {
    const guest = new CoreGuest();
    guest.firmware.regions.set('a', [region('DIRECT', 0x1000n, 0x1fffn)]);
    const { iommu, group } = guest.group(TWO, {}, () => {});
    guest.write(group, 'identity');
    iommu.calls.length = 0;
    guest.dma.calls.length = 0;
    const alive: number[] = [];
    iommu.beforeAttach = () => alive.push(iommu.domains.size);
    guest.write(group, 'DMA');
    expect(iommu.calls).toEqual([
      'map 1>1 1*1',
      'syncMap 1+1',
      'attach a d2 with 1',
      'attach b d2 with 1',
    ]);
    expect([alive, iommu.domains.size]).toEqual([[2, 2], 1]);
    expect(guest.dma.calls).toEqual(['init a DMA', 'init b DMA', 'ops a', 'ops b']);
  });

  it('S4.11 stays, without a change, if it is the same', () => {
    const guest = new CoreGuest('iommu.strict=0');
    const { iommu, group } = guest.group(TWO);
    const { domain } = group;
    iommu.calls.length = 0;
    guest.dma.calls.length = 0;
    expect([guest.write(group, 'DMA-FQ'), guest.write(group, 'auto\n')]).toEqual([6, 5]);
    expect([group.domain, iommu.calls, guest.dma.calls]).toEqual([domain, [], []]);
  });

  it.each([
    ['', 'DMA'],
    ['iommu.strict=0', 'DMA-FQ'],
    ['iommu.passthrough=1', 'identity'],
  ])('S4.11 is automatically what it was after boot: "%s"', (commandLine, type) => {
    const guest = new CoreGuest(commandLine);
    const { group } = guest.group(TWO);
    guest.write(group, type === 'DMA' ? 'identity' : 'DMA');
    guest.write(group, 'auto');
    expect(guest.type(group)).toBe(type);
  });

  it('S4.14 is DMA after writing DMA-FQ if flushes cannot be deferred [B13]', () => {
    const guest = new CoreGuest('iommu.passthrough=1');
    const { group } = guest.group(TWO, { deferredFlush: false });
    guest.write(group, 'DMA-FQ');
    expect(guest.type(group)).toBe('DMA');
    expect(codeOf(() => guest.write(group, 'DMA-FQ'))).toBe('EOPNOTSUPP');
    const { domain } = group;
    guest.write(group, 'auto');
    guest.write(group, 'DMA');
    expect([guest.type(group), group.domain === domain]).toEqual(['DMA', false]);
    const strict = new CoreGuest('iommu.strict=0');
    const place = strict.group(TWO, { deferredFlush: false });
    const before = place.group.domain;
    strict.write(place.group, 'auto');
    expect(place.group.domain).toBe(before);
  });
});

describe('who may change the type', () => {
  it('S4.12 is an administrator, whatever the text [B16]', () => {
    const guest = new CoreGuest();
    const { group } = guest.group(TWO);
    for (const text of ['identity', 'DMA-FQ', 'fast'])
      expect(codeOf(() => guest.write(group, text, { administrator: false }))).toBe('EACCES');
    for (const text of ['fast', '', '\n', 'DMA ', 'DMA\n\n', 'dma', 'unmanaged', 'toString'])
      expect(codeOf(() => guest.write(group, text))).toBe('EINVAL');
    expect(guest.type(group)).toBe('DMA');
  });

  it.each([
    ['', 'identity'],
    ['', 'DMA'],
    ['', 'auto'],
    ['iommu.strict=0', 'DMA'],
    ['iommu.strict=0', 'DMA-FQ'],
    ['iommu.passthrough=1', 'DMA-FQ'],
  ])('S4.12 is nobody while a driver is bound: "%s", %s [B14] [B17]', (commandLine, text) => {
    const guest = new CoreGuest(commandLine);
    const { group, devices } = guest.group(TWO);
    const before = guest.type(group);
    guest.core.bind(devices[1]!, DRIVER); // There are two.
    expect(codeOf(() => guest.write(group, text))).toBe('EPERM');
    expect(guest.type(group)).toBe(before);
    guest.core.unbind(devices[1]!); // As above.
    expect(guest.write(group, text)).toBe(text.length);
  });

  it('S4.12 is not asked about drivers that manage their DMA themselves, but about owners', () => {
    const guest = new CoreGuest();
    const { group, devices } = guest.group(TWO);
    guest.core.bind(devices[0]!, { name: 'manager', managesDma: true }); // There are two.
    expect(guest.write(group, 'identity')).toBe(8);
    claimOwner(group, {});
    expect(codeOf(() => guest.write(group, 'DMA'))).toBe('EPERM');
  });

  it('S4.12 cannot change that of a group without devices or default domain', () => {
    const guest = new CoreGuest();
    const { group, devices } = guest.group(TWO);
    guest.core.groups.reference(group);
    for (const device of devices) guest.core.removeDevice(device);
    expect(guest.type(group)).toBe('unknown');
    expect(codeOf(() => guest.write(group, 'DMA'))).toBe('EINVAL');
    expect(codeOf(() => guest.write(group, 'fast', { administrator: false }))).toBe('EACCES');
  });
});

describe('from strict to lazy', () => {
  it('S4.13 is a change under running drivers, of the same domain [B15]', () => {
    const guest = new CoreGuest();
    const { iommu, group, devices } = guest.group(TWO);
    const { domain } = group;
    for (const device of devices) guest.core.bind(device, DRIVER);
    for (let page = 0; page < 100; page += 1) mapRange(domain!, 1000 + page, 2 * page, 1, 3); // Set up.
    iommu.calls.length = 0;
    guest.dma.calls.length = 0;
    // The queue takes over while the type is still the old one, and nothing is sent.
    expect(guest.write(group, 'DMA-FQ\n')).toBe(7);
    expect(guest.dma.calls).toEqual(['build DMA', 'publish DMA']);
    expect([iommu.calls, guest.type(group)]).toEqual([[], 'DMA-FQ']);
    expect([group.domain, group.defaultDomain]).toEqual([domain, domain]);
    expectAllIn(group, devices);
    for (let page = 0; page < 100; page += 1)
      expect(domain?.ops.translate(1000 + page)).toBe(2 * page);
    expect(devices.map(({ driver }) => driver)).toEqual([DRIVER, DRIVER]);
  });

  it('S4.13 is not to be seen before it is complete', () => {
    const guest = new CoreGuest();
    const { group } = guest.group(TWO);
    let seen: unknown;
    guest.at('type:beforePublish', () => {
      seen = [guest.type(group), guest.dma.queued.size];
    });
    guest.write(group, 'DMA-FQ');
    expect([seen, guest.dma.queued.size]).toEqual([['DMA', 0], 1]);
  });

  it('S4.13 keeps a second writer waiting until it is over', () => {
    const guest = new CoreGuest();
    const { group } = guest.group(TWO);
    guest.at('type:beforePublish', () => guest.write(group, 'identity'));
    guest.write(group, 'DMA-FQ');
    expect([guest.type(group), guest.core.concurrency.parked]).toEqual(['identity', 1]);
    expect(guest.dma.calls.filter((call) => /^(?:publish|end)/.test(call))).toEqual([
      'publish DMA',
      'end DMA-FQ',
    ]);
  });

  it('S4.2 is refused for untrusted devices, whatever is written [B16]', () => {
    const guest = new CoreGuest('iommu.strict=0');
    const { group, devices } = guest.group([{ untrusted: true }, {}]);
    for (const text of ['DMA-FQ', 'identity']) {
      expect(codeOf(() => guest.write(group, text))).toBe('EINVAL');
      expect(guest.type(group)).toBe('DMA');
    }
    expect([guest.dma.queued.size, guest.write(group, 'auto'), guest.type(group)]).toEqual([
      0,
      4,
      'DMA',
    ]);
    expectAllIn(group, devices);
  });

  it('S4.13 is refused without a trace if there is no queue for it', () => {
    const guest = new CoreGuest();
    const { group } = guest.group(TWO);
    guest.dma.failures.plan('build', 'ENOMEM');
    expect(codeOf(() => guest.write(group, 'DMA-FQ'))).toBe('ENOMEM');
    expect([guest.type(group), guest.dma.queued.size]).toEqual(['DMA', 0]);
    guest.write(group, 'DMA-FQ');
    expect(guest.type(group)).toBe('DMA-FQ');
    const eager = new CoreGuest();
    const place = eager.group(TWO, { deferredFlush: false });
    expect(codeOf(() => eager.write(place.group, 'DMA-FQ'))).toBe('EOPNOTSUPP');
    expect([eager.type(place.group), eager.dma.queued.size]).toEqual(['DMA', 0]);
  });
});

describe('a change that fails', () => {
  type Fail = (guest: CoreGuest, iommu: ScriptedIommu) => void;

  /** From DMA to identity, and back. */
  const STEPS: readonly (readonly [string, 'identity' | 'DMA', ErrorCode, Fail])[] = [
    ['selecting', 'identity', 'EINVAL', (_, iommu) => iommu.demands.set('b', 'dma')],
    ['selecting', 'DMA', 'EINVAL', (_, iommu) => iommu.demands.set('b', 'identity')],
    ['allocating', 'identity', 'ENOSPC', (_, iommu) => iommu.failures.plan('identity', 'ENOSPC')],
    ['allocating', 'DMA', 'ENOSPC', (_, iommu) => iommu.failures.plan('paging', 'ENOSPC')],
    ['the first device’s addresses', 'DMA', 'ENOMEM', (g) => g.dma.failures.plan('init', 'ENOMEM')],
    ['the last one’s', 'DMA', 'EFAULT', (g) => g.dma.failures.plan('init', 'EFAULT', 2)],
    [
      'mapping direct regions',
      'DMA',
      'EINVAL',
      (guest) => guest.firmware.regions.set('b', [region('DIRECT', 0x2000_0000n, 0x2000_0fffn)]),
    ],
    ...(['identity', 'DMA'] as const).flatMap((to) =>
      [0, 1, 2].map(
        (after) =>
          [
            `attaching device ${after}`,
            to,
            'EIO',
            (_: CoreGuest, iommu: ScriptedIommu) => iommu.failures.plan('attach', 'EIO', after),
          ] as const,
      ),
    ),
  ];

  it.each(STEPS)('S4.15 while %s leaves the former domain at work: to %s', (_, to, code, fail) => {
    const guest = new CoreGuest(to === 'DMA' ? 'iommu.passthrough=1' : '');
    const { iommu, group, devices } = guest.group([...TWO, { name: 'c' }], {
      aperture: { start: 0n, last: 0x1fff_ffffn },
    });
    const { domain } = group;
    const before = guest.type(group);
    const ops = [...guest.dma.ops];
    if (before === 'DMA') mapRange(domain!, 1000, 1, 1, 3); // Set up.
    fail(guest, iommu);
    expect(codeOf(() => guest.write(group, to))).toBe(code);

    expect([group.domain, group.defaultDomain, guest.type(group)]).toEqual([
      domain,
      domain,
      before,
    ]);
    expectAllIn(group, devices);
    // The new domain is gone, with its addresses, and nobody's operations have changed.
    expect([...iommu.domains]).toEqual([domain?.ops]);
    expect([...guest.dma.ready]).toEqual(before === 'DMA' ? [domain] : []);
    expect([...guest.dma.ops]).toEqual(ops);
    expect(guest.core.log.counters.undoFailed).toBe(0);
    if (before === 'DMA') {
      expect(domain?.ops.translate(1000)).toBe(1);
      mapRange(domain!, 1001, 2, 1, 3); // As above.
    }
    // Drivers can be bound as before, and the change works once its obstacle is gone.
    expect(guest.core.bind(devices[0]!, DRIVER)).toBe(true); // There are three.
    guest.core.unbind(devices[0]!); // As above.
    iommu.demands.clear();
    guest.firmware.regions.clear();
    guest.write(group, to);
    expect(guest.type(group)).toBe(to);
  });
});
