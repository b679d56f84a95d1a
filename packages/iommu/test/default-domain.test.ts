import { describe, expect, it } from 'vitest';
import type { DeviceOptions } from '../src/device.ts';
import { codeOf } from './group-guest.ts';
import { CoreGuest, DRIVER, groupOf } from './kit/core-guest.ts';
import { ScriptedIommu } from './kit/scripted-iommu.ts';

const UNTRUSTED = { untrusted: true };
const LAZY = { requestNonStrict: true };

/** The type of a group of these devices. */
function typeOf(
  commandLine: string,
  devices: readonly Partial<DeviceOptions>[],
  prepare?: (iommu: ScriptedIommu) => void,
): string {
  const guest = new CoreGuest(commandLine);
  return guest.type(guest.group(devices, {}, prepare).group);
}

describe('the boot options', () => {
  it.each([
    ['', 'DMA'],
    ['iommu.strict=0', 'DMA-FQ'],
    ['iommu.strict=1', 'DMA'],
    ['iommu.passthrough=1', 'identity'],
    ['iommu.passthrough=1 iommu.strict=0', 'identity'],
    ['iommu.passthrough=0', 'DMA'],
    ['iommu.passthrough=0 iommu.strict=0', 'DMA-FQ'],
  ])('S4.1 "%s" choose %s [B10]', (commandLine, type) => {
    expect(typeOf(commandLine, [{}, {}])).toBe(type);
  });

  it('S4.1 are overruled by a platform that wants no lazy domains, while there is none', () => {
    const guest = new CoreGuest('iommu.strict=0');
    guest.core.setStrict();
    const { group } = guest.group([LAZY]);
    expect(guest.type(group)).toBe('DMA');
    expect(codeOf(() => guest.core.setStrict())).toBe('EBUSY');
    const silent = new CoreGuest();
    silent.core.setStrict();
    expect(silent.type(silent.group([LAZY]).group)).toBe('DMA');
  });
});

describe('an untrusted device', () => {
  it.each(['', 'iommu.strict=0', 'iommu.passthrough=1', 'iommu.strict=1'])(
    'S4.2 is strict and translated with "%s" [B11]',
    (commandLine) => {
      expect(typeOf(commandLine, [LAZY, { ...LAZY, ...UNTRUSTED }])).toBe('DMA');
    },
  );

  it('S4.2 leaves other groups as they are [B11]', () => {
    const guest = new CoreGuest('iommu.strict=0');
    const node = guest.node();
    const devices = [guest.add('a', node, UNTRUSTED), guest.add('b', node)];
    guest.register({}, node);
    expect(devices.map((device) => guest.type(groupOf(device)))).toEqual(['DMA', 'DMA-FQ']);
  });

  it('S4.2 has no domain at all, and no driver, if its IOMMU insists on identity', () => {
    const guest = new CoreGuest();
    const { group, devices } = guest.group([{}, UNTRUSTED], {}, (iommu) =>
      iommu.demands.set('dev0', 'identity'),
    );
    expect(guest.type(group)).toBe('unknown');
    for (const device of devices)
      expect(codeOf(() => guest.core.bind(device, DRIVER))).toBe('ENODEV');
  });

  it('S4.2 makes its group strict when it joins, unless drivers rely on the group', () => {
    for (const commandLine of ['iommu.strict=0', 'iommu.passthrough=1']) {
      const guest = new CoreGuest(commandLine);
      const { iommu, group, devices } = guest.group([{ name: 'a' }]);
      const [first] = devices;
      const node = first?.iommu?.fwspec?.node;
      const former = group.domain;
      guest.core.bind(first!, DRIVER); // The only one.
      const refused = guest.add('b', node, UNTRUSTED);
      expect([refused.group, guest.core.log.counters.probeFailed]).toEqual([undefined, 1]);
      expect([group.domain, [...group.devices.keys()]]).toEqual([former, devices]);
      expect(iommu.endpoints.has('b')).toBe(false);
      // It does not go on without its IOMMU either.
      expect(codeOf(() => guest.core.bind(refused, DRIVER))).toBe('EBUSY');
      guest.core.removeDevice(refused);
      guest.core.unbind(first!); // As above.
      const joined = guest.add('c', node, { forceStrict: true });
      expect([joined.group, guest.type(group)]).toEqual([group, 'DMA']);
      expect(group.domain).not.toBe(former);
      expect(iommu.domains.size).toBe(1);
      for (const device of group.devices.keys()) {
        expect(device.iommu?.endpoint?.domain).toBe(group.domain?.ops);
        expect(guest.dma.ops.get(device)).toBe('DMA');
      }
    }
  });

  it('S4.2 joins a strict group although drivers are bound', () => {
    const guest = new CoreGuest();
    const { group, devices } = guest.group([{ name: 'a' }]);
    guest.core.bind(devices[0]!, DRIVER); // The only one.
    const former = group.domain;
    const joined = guest.add('b', devices[0]?.iommu?.fwspec?.node, UNTRUSTED);
    expect([joined.group, group.domain]).toEqual([group, former]);
    expect(guest.dma.ops.get(joined)).toBe('DMA');
    expect(joined.iommu?.endpoint?.domain).toBe(former?.ops);
  });
});

describe('a wish for lazy domains', () => {
  it.each([
    ['', [LAZY, {}], 'DMA'],
    ['', [LAZY, LAZY], 'DMA-FQ'],
    ['iommu.passthrough=0', [LAZY, LAZY], 'DMA-FQ'],
    ['iommu.strict=1', [LAZY, LAZY], 'DMA'],
    ['iommu.strict=0', [{}, {}], 'DMA-FQ'],
    ['iommu.passthrough=1', [LAZY, LAZY], 'identity'],
    ['', [LAZY, { ...LAZY, forceStrict: true }], 'DMA'],
  ])(
    'S4.3 counts if the whole group has it and nothing was said: "%s" %j is %s [B12]',
    (...row) => {
      const [commandLine, devices, type] = row;
      expect(typeOf(commandLine, devices)).toBe(type);
    },
  );

  it('S4.10 is the group’s, in whatever order devices and drivers come [B12]', () => {
    const orders = [
      ['a', 'b', 'c'],
      ['c', 'b', 'a'],
      ['b', 'c', 'a'],
    ];
    const options = { a: LAZY, b: UNTRUSTED, c: {} };
    for (const order of orders) {
      for (const bound of orders) {
        const guest = new CoreGuest('iommu.strict=0');
        const node = guest.node();
        const devices = new Map(
          order.map((name) => [name, guest.add(name, node, options[name as 'a'])]), // One of three.
        );
        for (const name of bound) guest.core.bind(devices.get(name)!, DRIVER); // One of three.
        guest.register({ grouping: 'all' }, node);
        expect(guest.type(groupOf(devices.get('a')))).toBe('DMA');
        expect([...devices.values()].every(({ driver }) => driver === DRIVER)).toBe(true);
      }
    }
  });
});

describe('what the core looks at', () => {
  it('S4.4 is what the bus said of a device, and never where the device is', () => {
    const pci = {
      segment: 0,
      bus: 1,
      devfn: 8,
      multifunction: false,
      isolated: false,
      aliases: [],
      upstream: undefined,
      acs: undefined,
    };
    for (const place of [{}, { bus: 'pci', pci }]) {
      expect(typeOf('iommu.strict=0', [{ ...place, forceStrict: true }])).toBe('DMA');
      expect(typeOf('iommu.strict=0', [{ ...place, untrusted: true }])).toBe('DMA');
      expect(typeOf('iommu.strict=0', [place])).toBe('DMA-FQ');
      expect(typeOf('', [{ ...place, requestNonStrict: true }])).toBe('DMA-FQ');
    }
  });
});

describe('what an IOMMU demands', () => {
  const demand =
    (...demands: ('identity' | 'dma' | undefined)[]) =>
    (iommu: ScriptedIommu): void => {
      for (const [at, one] of demands.entries())
        if (one !== undefined) iommu.demands.set(`dev${at}`, one);
    };

  it.each([
    ['', ['identity', undefined], 'identity'],
    ['iommu.passthrough=1', [undefined, 'dma'], 'DMA'],
    ['iommu.strict=0', ['dma', 'dma'], 'DMA'],
  ] as const)('S4.1 beats "%s": %j is %s', (commandLine, demands, type) => {
    expect(typeOf(commandLine, [{}, {}], demand(...demands))).toBe(type);
  });

  it('S4.1 is identity if it demands both, with a warning', () => {
    const guest = new CoreGuest();
    const { group } = guest.group([{}, {}], {}, demand('dma', 'identity'));
    expect([guest.type(group), guest.core.log.counters.demandConflict > 0]).toEqual([
      'identity',
      true,
    ]);
  });
});

describe('a domain that cannot be had', () => {
  it('S4.14 is strict if flushes cannot be deferred, and the type says so [B13]', () => {
    const guest = new CoreGuest('iommu.strict=0');
    const { group, iommu } = guest.group([{}], { deferredFlush: false });
    expect([guest.type(group), iommu.domains.size]).toEqual(['DMA', 1]);
    expect(guest.dma.calls).toContain('init dev0 DMA');
  });

  it('S4.14 is strict if there is no memory for a queue', () => {
    const guest = new CoreGuest('iommu.strict=0');
    guest.dma.queueless = true;
    const { group } = guest.group([{}, {}]);
    expect(guest.type(group)).toBe('DMA');
  });

  it.each([
    ['iommu.passthrough=1', 'identity'],
    ['iommu.strict=0', 'paging'],
  ] as const)('S4.1 is a strict one instead, with a warning: "%s"', (commandLine, operation) => {
    const guest = new CoreGuest(commandLine);
    const { group, iommu } = guest.group([{}], {}, (made) =>
      made.failures.plan(operation, 'ENOSPC'),
    );
    expect([guest.type(group), guest.core.log.counters.domainFallback]).toEqual(['DMA', 1]);
    // The same again is no change.
    const { domain } = group;
    iommu.failures.plan(operation, 'ENOSPC');
    guest.write(group, 'auto');
    expect([group.domain === domain, iommu.domains.size]).toEqual([true, 1]);
    guest.write(group, 'auto');
    expect([group.domain === domain, iommu.domains.size]).toEqual([false, 1]);
  });

  it('S4.1 ends the registration if it is the strict one, or was demanded', () => {
    for (const [operation, prepare] of [
      ['paging', undefined],
      ['identity', (iommu: ScriptedIommu) => iommu.demands.set('a', 'identity')],
    ] as const) {
      const guest = new CoreGuest();
      const node = guest.node();
      const device = guest.add('a', node);
      const iommu = new ScriptedIommu();
      prepare?.(iommu);
      iommu.failures.plan(operation, 'ENOSPC');
      expect(codeOf(() => guest.core.registerInstance(iommu, node))).toBe('ENOSPC');
      expect([device.group, iommu.domains.size, iommu.endpoints.size]).toEqual([undefined, 0, 0]);
      expect([guest.core.groups.all(), guest.core.registrations.size]).toEqual([[], 0]);
      guest.core.registerInstance(iommu, node);
      expect(guest.type(groupOf(device))).not.toBe('unknown');
    }
  });

  it('is not given to a device that cannot use its addresses: it keeps its operations', () => {
    const guest = new CoreGuest();
    guest.dma.failures.plan('init', 'EFAULT', 1);
    const { group, devices } = guest.group([{}, {}, {}]);
    expect(guest.type(group)).toBe('DMA');
    expect(devices.map((device) => guest.dma.ops.get(device))).toEqual(['DMA', undefined, 'DMA']);
    expect(guest.core.log.counters.dmaSetupFailed).toBe(1);
  });

  it('is not joined by a device with a region that is in use', () => {
    const guest = new CoreGuest();
    const { iommu, group, devices } = guest.group([{ name: 'a' }]);
    const heard = guest.listen(group);
    guest.dma.failures.plan('init', 'EBUSY');
    const refused = guest.add('b', devices[0]?.iommu?.fwspec?.node);
    expect([refused.group, [...iommu.endpoints.keys()], heard]).toEqual([undefined, ['a'], []]);
    guest.core.removeDevice(refused);
    expect(guest.add('c', devices[0]?.iommu?.fwspec?.node).group).toBe(group);
    expect(heard).toEqual(['ADD_DEVICE c']);
  });
});
