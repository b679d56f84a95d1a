import { describe, expect, it } from 'vitest';
import type { Device } from '../src/device.ts';
import { probeOne } from '../src/probe.ts';
import { codeOf } from './group-guest.ts';
import { CoreGuest, DRIVER, groupOf } from './kit/core-guest.ts';
import { ScriptedIommu } from './kit/scripted-iommu.ts';

const NAMES = ['a', 'b', 'c'];

describe('devices, IOMMUs and drivers that come and go at once', () => {
  it('S2.7 hot-plug and the first scan take a device on once [B18]', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    const [a, b] = [guest.add('a', node), guest.device('b', node)];
    const iommu = new ScriptedIommu();
    // While the scan is between the firmware and the IOMMU of one device, another comes.
    guest.at('probe:described', () => guest.core.addDevice(b));
    guest.core.registerInstance(iommu, node);
    expect(iommu.took('probe')).toEqual(['probe b 2', 'probe a 1']);
    for (const device of [a, b]) expect(guest.type(groupOf(device))).toBe('DMA');
    expect(guest.core.groups.all()).toHaveLength(2);
  });

  it('S2.7 hot-unplug and the first scan let a device go once', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    const [a, b, c] = NAMES.map((name) => guest.add(name, node)) as [Device, Device, Device]; // Three names.
    const iommu = new ScriptedIommu();
    guest.core.concurrency.hook = (point) => {
      if (point !== 'probe:described' || b.iommu === undefined) return;
      // The scan has a behind it, is at b, and c is still to come.
      for (const device of [a, c])
        guest.core.concurrency.run(() => guest.core.removeDevice(device));
    };
    guest.core.registerInstance(iommu, node);
    expect(iommu.took('probe')).toEqual(['probe a 1', 'probe b 2']);
    expect([a, b, c].map(({ group }) => group !== undefined)).toEqual([false, true, false]);
    expect([iommu.endpoints.size, iommu.domains.size, guest.lines]).toEqual([1, 1, []]);
  });

  it('S2.7 of two that probe one device the second finds it done [B18]', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    const iommu = guest.register({}, node);
    const device = guest.device('a', node);
    // A driver is bound while the device is being added.
    guest.at('probe:described', () => guest.core.bind(device, DRIVER));
    guest.core.addDevice(device);
    expect([iommu.took('probe'), device.driver]).toEqual([['probe a 1'], DRIVER]);
    expect([groupOf(device).devices.size, groupOf(device).ownerCount]).toEqual([1, 1]);
    expect(guest.lines.filter((line) => !line.includes('had a driver'))).toEqual([]);
    expect(codeOf(() => guest.core.groups.addDevice(groupOf(device), device))).toBe('EEXIST');
    // What is done is done, but who was overtaken says so.
    expect(codeOf(() => probeOne(guest.core, device))).toBeUndefined();
    const other = guest.device('b', node);
    guest.at('probe:described', () => guest.core.addDevice(other));
    expect(codeOf(() => probeOne(guest.core, other))).toBe('ENODEV');
  });

  it('S2.7 a device that comes while another is being added waits for it', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    const iommu = guest.register({ grouping: 'all' }, node);
    const [a, b] = [guest.device('a', node), guest.device('b', node)];
    guest.at('group:beforeAdd', () => guest.core.addDevice(b));
    guest.core.addDevice(a);
    expect(guest.core.concurrency.parked).toBe(1);
    expect(iommu.took('probe')).toEqual(['probe a 1', 'probe b 2']);
    expect([...groupOf(a).devices.keys()]).toEqual([a, b]);
  });

  it('S4.8 an IOMMU that comes while a device is being added waits for it', () => {
    const guest = new CoreGuest();
    const [first, second] = [guest.node(), guest.node()];
    guest.register({}, first);
    const [a, b] = [guest.device('a', first), guest.add('b', second)];
    const other = new ScriptedIommu({ name: 'other' });
    guest.at('group:beforeAdd', () => guest.core.registerInstance(other, second));
    guest.core.addDevice(a);
    expect(guest.core.concurrency.parked).toBe(1);
    expect(guest.core.registrations.size).toBe(2);
    expect([guest.type(groupOf(a)), guest.type(groupOf(b))]).toEqual(['DMA', 'DMA']);
  });

  it('S4.7 a driver that goes while the type of its group changes is counted out once', () => {
    const guest = new CoreGuest();
    const { group, devices } = guest.group([{ name: 'a' }]);
    const [device] = devices as [Device]; // There is one.
    let removed = 0;
    guest.core.bind(device, { name: 'driver', remove: () => (removed += 1) });
    guest.at('type:beforePublish', () => guest.core.unbind(device));
    guest.write(group, 'DMA-FQ');
    expect([removed, group.ownerCount, device.driver]).toEqual([1, 0, undefined]);
    guest.write(group, 'identity');
  });

  it('S4.8 a device that goes while the type of its group changes does so afterwards', () => {
    const guest = new CoreGuest();
    const { iommu, group, devices } = guest.group([{ name: 'a' }]);
    guest.core.bind(devices[0]!, DRIVER); // There is one.
    guest.at('type:beforePublish', () => guest.core.removeDevice(devices[0]!)); // As above.
    guest.write(group, 'DMA-FQ');
    expect(guest.core.concurrency.parked).toBeGreaterThan(0);
    expect([group.devices.size, iommu.domains.size, iommu.endpoints.size]).toEqual([0, 0, 0]);
    expect([group.ownerCount, guest.core.defaultUsers.size, guest.lines]).toEqual([0, 0, []]);
  });
});
