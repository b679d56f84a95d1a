import { IommuError } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import type { Device } from '../src/device.ts';
import { claimOwner, releaseOwner } from '../src/group-attach.ts';
import { mapRange } from '../src/map.ts';
import { codeOf } from './group-guest.ts';
import { CoreGuest, DRIVER, groupOf } from './kit/core-guest.ts';
import { ScriptedIommu } from './kit/scripted-iommu.ts';

const NAMES = ['a', 'b', 'c'];

describe('which devices are probed', () => {
  it('S4.5 all that are there when their IOMMU comes, and each that comes later [B18]', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    const [a, b, c] = NAMES.map((name) => guest.add(name, node)) as [Device, Device, Device]; // Three names.
    expect([a.iommuState, a.group]).toEqual(['deferred', undefined]);
    const iommu = guest.register({}, node);
    expect(iommu.took('probe')).toEqual(['probe a 1', 'probe b 2', 'probe c 3']);
    const d = guest.add('d', node);
    expect(iommu.took('probe')).toEqual(['probe d 4']);
    for (const device of [a, b, c, d]) {
      expect(device.iommuState).toBe('grouped');
      expect(guest.type(groupOf(device))).toBe('DMA');
      expect(device.iommu?.endpoint?.domain).toBe(device.group?.domain?.ops);
      expect(guest.dma.ops.get(device)).toBe('DMA');
    }
    expect(guest.core.directory.list('/sys/class/iommu/iommu0/devices')).toEqual([...NAMES, 'd']);
    for (let turn = 0; turn < 3; turn += 1) {
      for (const device of [a, b, c, d]) expect(guest.core.bind(device, DRIVER)).toBe(true);
      for (const device of [d, c, b, a]) guest.core.unbind(device);
    }
    expect([iommu.took('probe'), guest.core.log.counters.lateProbe]).toEqual([[], 0]);
    expect(guest.firmware.calls).toEqual([...NAMES, ...NAMES, 'd']);
  });

  it('S4.7 none when drivers come and go, but their listeners are told [B18]', () => {
    const guest = new CoreGuest();
    const { iommu, group, devices } = guest.group([{ name: 'a' }]);
    const heard = guest.listen(group);
    const order: string[] = [];
    const driver = {
      name: 'first',
      probe: ({ name }: Device) => order.push(`probe ${name} ${group.ownerCount}`),
      remove: ({ name }: Device) => order.push(`remove ${name} ${group.ownerCount}`),
    };
    const [device] = devices as [Device]; // There is one.
    guest.core.bind(device, driver);
    guest.core.unbind(device);
    guest.core.bind(device, { ...driver, name: 'second' });
    guest.core.unbind(device);
    guest.core.unbind(device);
    expect(order).toEqual(['probe a 1', 'remove a 1', 'probe a 1', 'remove a 1']);
    const turn = ['BIND_DRIVER a', 'BOUND_DRIVER a', 'UNBIND_DRIVER a', 'UNBOUND_DRIVER a'];
    expect(heard).toEqual([...turn, ...turn]);
    expect([iommu.took('probe').length, group.ownerCount]).toEqual([1, 0]);
  });

  it('S4.7 late only if their driver was first, which is counted [B19]', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    const device = guest.device('a');
    // The platform itself knows the IOMMU, and nobody makes the driver wait.
    device.iommu = {
      fwspec: { node, ids: [7] },
      instance: undefined,
      endpoint: undefined,
      requireDirect: false,
    };
    guest.core.addDevice(device);
    expect(guest.core.bind(device, DRIVER)).toBe(true);
    expect(guest.dma.ops.get(device)).toBeUndefined();
    const iommu = guest.register({}, node);
    expect(iommu.took('probe')).toEqual(['probe a 7']);
    expect([guest.core.log.counters.lateProbe, guest.type(groupOf(device))]).toEqual([1, 'DMA']);
    // It counts as the driver of the group from now on.
    expect(codeOf(() => guest.write(groupOf(device), 'identity'))).toBe('EPERM');
    guest.core.unbind(device);
    expect(groupOf(device).ownerCount).toBe(0);
    guest.write(groupOf(device), 'identity');
  });

  it('S4.7 late if only the driver’s coming finds them, which is counted', () => {
    const guest = new CoreGuest('deferred_probe_timeout=0');
    guest.core.finishBoot();
    const node = guest.node();
    const device = guest.add('a', node);
    guest.core.bind(device, DRIVER);
    const iommu = guest.register({}, node);
    expect([device.group, iommu.took('probe')]).toEqual([undefined, []]);
    guest.core.unbind(device);
    guest.core.bind(device, DRIVER);
    expect([guest.type(groupOf(device)), guest.core.log.counters.lateProbe]).toEqual(['DMA', 1]);
    expect(groupOf(device).ownerCount).toBe(1);
  });

  it('S4.8 only its own by each of several IOMMUs [B20]', () => {
    const guest = new CoreGuest();
    const [first, second] = [guest.node(), guest.node()];
    const own = [guest.add('a', first), guest.add('b', second), guest.add('c', first)];
    const none = guest.add('d');
    const grouped = () => [...own, none].map((device) => device.group !== undefined);
    const one = guest.register({ name: 'iommu1' }, first);
    expect(one.took('probe')).toEqual(['probe a 1', 'probe c 3']);
    expect(grouped()).toEqual([true, false, true, false]);
    expect(own.map(({ iommuState }) => iommuState)).toEqual(['grouped', 'deferred', 'grouped']);
    const domain = groupOf(own[0]).domain;
    const two = guest.register({ name: 'iommu2' }, second);
    expect([one.took('probe'), two.took('probe')]).toEqual([[], ['probe b 2']]);
    expect(grouped()).toEqual([true, true, true, false]);
    expect(groupOf(own[0]).domain).toBe(domain);
    expect(none.iommuState).toBe('none');
    guest.core.unregisterInstance(two);
    expect(grouped()).toEqual([true, false, true, false]);
    expect(guest.core.directory.list('/sys/class/iommu')).toEqual(['iommu1']);
  });

  it('S4.8 only once by an IOMMU that does not know them, whoever comes next', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    const device = guest.add('a', node);
    const iommu = new ScriptedIommu();
    iommu.failures.plan('probe', 'ENODEV');
    guest.core.registerInstance(iommu, node);
    guest.register({ name: 'other' });
    expect([iommu.took('probe'), device.group]).toEqual([['probe a 1'], undefined]);
  });

  it('S1.27 in domains that suit their IOMMUs [B20]', () => {
    const guest = new CoreGuest();
    const [first, second] = [guest.node(), guest.node()];
    const devices = [guest.add('a', first), guest.add('b', second)];
    guest.register({ name: 'small', aperture: { start: 0n, last: 0xffff_ffffn } }, first);
    guest.register(
      { name: 'large', pageSizes: 0x20_0000n, aperture: { start: 0n, last: (1n << 48n) - 1n } },
      second,
    );
    const domains = devices.map((device) => groupOf(device).domain!); // Set up.
    expect(domains.map((domain) => domain.blocks())).toEqual([[1], [512]]);
    mapRange(domains[0]!, 3, 3, 1, 3); // There are two.
    mapRange(domains[1]!, 512 << 12, 512, 512, 3); // As above.
    expect(codeOf(() => mapRange(domains[0]!, 512 << 12, 512, 512, 3))).toBe('EINVAL'); // As above.
    expect(codeOf(() => mapRange(domains[1]!, 3, 3, 1, 3))).toBe('EINVAL'); // As above.
    expect(
      codeOf(
        () => domains[0]!.ops.aperture && devices[0]?.iommu?.endpoint?.attach(domains[1]!.ops),
      ),
    ).toBe('EINVAL'); // As above.
  });
});

describe('the firmware', () => {
  it('S4.6 is asked before the IOMMU, which gets all numbers of a device', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    guest.firmware.specs.set('a', [
      [node, 7],
      [node, 8],
    ]);
    const iommu = new ScriptedIommu();
    const device = guest.add('a');
    guest.firmware.during = () => expect(iommu.calls).toEqual([]);
    guest.firmware.calls.length = 0;
    guest.core.registerInstance(iommu, node);
    expect([guest.firmware.calls, iommu.took('probe')]).toEqual([['a'], ['probe a 7,8']]);
    expect(device.iommu?.fwspec?.ids).toEqual([7, 8]);
  });

  it('S4.6 that names two IOMMUs for a device names none', () => {
    const guest = new CoreGuest();
    const [first, second] = [guest.node(), guest.node()];
    guest.firmware.specs.set('a', [
      [first, 1],
      [second, 2],
    ]);
    const one = guest.register({ name: 'iommu1' }, first);
    const two = guest.register({ name: 'iommu2' }, second);
    const device = guest.add('a');
    expect([device.iommu, device.iommuState, one.took('p'), two.took('p')]).toEqual([
      undefined,
      'none',
      [],
      [],
    ]);
    expect(guest.core.log.counters.probeFailed).toBe(1);
    expect(guest.core.bind(device, DRIVER)).toBe(true);
    expect(guest.core.log.counters.firmwareIgnored).toBe(1);
  });

  it('S4.6 is no obstacle when the IOMMU is disabled, or translates nothing [F9] [E1]', () => {
    const guest = new CoreGuest();
    const [off, stub] = [guest.node(false), guest.node()];
    const iommu = guest.register({ stub: true }, stub);
    for (const node of [off, stub]) {
      const device = guest.add(node.path, node);
      expect(guest.core.bind(device, DRIVER)).toBe(true);
      expect([device.group, device.iommu, device.iommuState]).toEqual([
        undefined,
        undefined,
        'none',
      ]);
    }
    expect([iommu.calls, guest.core.log.counters.firmwareIgnored]).toEqual([[], 0]);
  });
});

describe('an IOMMU that comes', () => {
  it('S4.5 is not there if one of its devices cannot be taken on', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    const devices = NAMES.map((name) => guest.add(name, node));
    const iommu = new ScriptedIommu();
    for (const operation of ['probe', 'paging', 'attach'] as const) {
      iommu.failures.plan(operation, 'EIO', 1);
      expect(codeOf(() => guest.core.registerInstance(iommu, node))).toBe('EIO');
      expect([guest.core.groups.all(), [...iommu.endpoints], [...iommu.domains]]).toEqual([
        [],
        [],
        [],
      ]);
      for (const device of devices) expect(device.group).toBeUndefined();
      expect(guest.core.directory.list('/sys/class/iommu')).toEqual([]);
    }
    guest.core.registerInstance(iommu, node);
    for (const device of devices) expect(guest.type(groupOf(device))).toBe('DMA');
  });

  it('S4.5 leaves out devices that it does not know', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    const devices = NAMES.map((name) => guest.add(name, node));
    const iommu = new ScriptedIommu();
    iommu.failures.plan('probe', 'ENODEV', 1);
    guest.core.registerInstance(iommu, node);
    expect(devices.map(({ group }) => group !== undefined)).toEqual([true, false, true]);
  });

  it('is refused under the node or the name of another one', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    guest.register({}, node);
    expect(codeOf(() => guest.register({ name: 'other' }, node))).toBe('EEXIST');
    expect(codeOf(() => guest.register({}))).toBe('EEXIST');
    expect(guest.core.registrations.size).toBe(1);
    const stranger = new ScriptedIommu();
    guest.core.unregisterInstance(stranger);
    expect(guest.core.registrations.size).toBe(1);
  });

  it('S4.10 gives each group its domain once, when all its devices are known', () => {
    const guest = new CoreGuest('iommu.strict=0');
    const { iommu, group } = guest.group([{}, {}, { untrusted: true }]);
    expect([guest.type(group), iommu.took('attach').length]).toEqual(['DMA', 3]);
    expect(guest.dma.calls.filter((call) => call.startsWith('end'))).toEqual([]);
  });
});

describe('an IOMMU that goes', () => {
  it('lets all its devices go, even under their drivers', () => {
    const guest = new CoreGuest();
    const { iommu, group, devices } = guest.group([{ name: 'a' }, { name: 'b' }]);
    const heard = guest.listen(group);
    const [a] = devices as [Device]; // And another one.
    guest.core.bind(a, DRIVER);
    guest.core.groups.reference(group);
    guest.core.unregisterInstance(iommu);
    expect([[...iommu.endpoints], [...iommu.domains], group.ownerCount]).toEqual([[], [], 0]);
    guest.core.groups.put(group);
    expect(guest.core.groups.all()).toEqual([]);
    expect(heard.slice(2)).toEqual(['DEL_DEVICE a', 'DEL_DEVICE b']);
    expect(devices.map((device) => guest.dma.ops.get(device))).toEqual(['direct', 'direct']);
    expect(guest.dma.ready.size).toBe(0);
    guest.core.unbind(a);
    expect([a.iommuState, guest.core.log.counters.groupMisuse, guest.lines]).toEqual([
      'unknown',
      0,
      [],
    ]);
  });
});

describe('a device that goes', () => {
  it('takes its driver, its group and its domain with it', () => {
    const guest = new CoreGuest();
    const { iommu, group, devices } = guest.group([{ name: 'a' }, { name: 'b' }]);
    const heard = guest.listen(group);
    const [a, b] = devices as [Device, Device]; // There are two.
    guest.core.bind(a, DRIVER);
    guest.core.removeDevice(a);
    expect([a.driver, a.group, a.iommu, group.ownerCount]).toEqual([
      undefined,
      undefined,
      undefined,
      0,
    ]);
    expect(heard.slice(2)).toEqual(['UNBIND_DRIVER a', 'UNBOUND_DRIVER a', 'DEL_DEVICE a']);
    expect([iommu.domains.size, b.group]).toEqual([1, group]);
    expect(guest.core.directory.list('/sys/class/iommu/iommu0/devices')).toEqual(['b']);
    expect([a, b].map(({ path }) => guest.core.directory.has(path))).toEqual([false, true]);
    guest.core.groups.reference(group);
    guest.core.removeDevice(b);
    guest.core.removeDevice(b);
    expect([iommu.domains.size, group.domain, group.defaultDomain]).toEqual([
      0,
      undefined,
      undefined,
    ]);
    expect(guest.lines).toEqual([]);
    // A group that somebody holds can have devices again.
    guest.core.addDevice(b);
    expect([b.group, guest.type(group)]).toEqual([group, 'DMA']);
  });

  it('takes the blocking domain of its group with it', () => {
    const guest = new CoreGuest();
    const { iommu, group, devices } = guest.group([{ name: 'a' }]);
    claimOwner(group, {});
    releaseOwner(group);
    expect(iommu.domains.size).toBe(2);
    guest.core.removeDevice(devices[0]!); // There is one.
    expect([iommu.domains.size, guest.lines]).toEqual([0, []]);
  });

  it('was never there if the last step of its coming fails', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    const iommu = guest.register({}, node);
    guest.core.concurrency.hook = (point) => {
      if (point === 'group:beforeAdd') throw new IommuError('EIO', 'At the last moment.');
    };
    const device = guest.add('a', node);
    expect([device.group, iommu.domains.size, iommu.endpoints.size]).toEqual([undefined, 0, 0]);
    expect(guest.core.groups.all()).toEqual([]);
    expect(guest.lines).toEqual(['iommu: a has no IOMMU: At the last moment.']);
  });

  it('can come again, and only once at a time', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    const iommu = guest.register({}, node);
    const device = guest.add('a', node);
    expect(codeOf(() => guest.core.addDevice(device))).toBe('EEXIST');
    expect(codeOf(() => guest.core.bus('pci').add(device))).toBe('EINVAL');
    guest.core.removeDevice(device);
    guest.core.addDevice(device);
    expect(iommu.took('probe')).toEqual(['probe a 1', 'probe a 1']);
  });
});
