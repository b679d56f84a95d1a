import { describe, expect, it } from 'vitest';
import type { Device, PciFunction } from '../src/device.ts';
import { DeviceGroups } from '../src/device-group.ts';
import { GroupGuest, ScriptedIommu, createDevice } from './group-guest.ts';

/** A PCI function at `bus:slot.function`; isolated, alone in its slot and without aliases if nothing else is said. */
function pci(place: string, options: Partial<PciFunction> = {}): Device {
  const [bus = '', slot = '', number = ''] = place.split(/[:.]/);
  return createDevice(place, {
    pci: {
      segment: 0,
      bus: Number.parseInt(bus, 16),
      devfn: Number.parseInt(slot, 16) * 8 + Number(number),
      multifunction: false,
      isolated: true,
      aliases: [],
      upstream: undefined,
      ...options,
    },
  });
}

/** Probes devices in this order, and returns the number of each one's group. */
function groupsOf(
  devices: Device[],
  { grouping = 'pci' as 'each' | 'all' | 'pci', unprobed = [] as Device[] } = {},
) {
  const { groups } = new GroupGuest();
  const choice = new DeviceGroups(groups);
  const iommu = new ScriptedIommu({ grouping });
  const ids = devices.map((device) => {
    const group = choice.find(device, iommu, [...devices, ...unprobed]);
    groups.addDevice(group, device);
    groups.put(group);
    return group.id;
  });
  for (const device of devices) groups.removeDevice(device);
  return ids;
}

/** All orders of a few things. */
function ordersOf<Thing>(things: Thing[]): Thing[][] {
  return things.length < 2
    ? [things]
    : things.flatMap((thing) =>
        ordersOf(things.filter((other) => other !== thing)).map((rest) => [thing, ...rest]),
      );
}

describe('the group of a device', () => {
  it('S2.15 is its own, if it is not a PCI function', () => {
    expect(groupsOf([createDevice('a'), createDevice('b')], { grouping: 'each' })).toEqual([0, 1]);
    expect(groupsOf([createDevice('a'), createDevice('b')], { grouping: 'pci' })).toEqual([0, 1]);
  });

  it('S2.15 is the one of all, if the IOMMU has one, which keeps it until it goes', () => {
    const { groups, directory } = new GroupGuest();
    const choice = new DeviceGroups(groups);
    const [one, other] = [{ grouping: 'all' }, { name: 'b', grouping: 'all' }].map(
      (options) => new ScriptedIommu(options as { grouping: 'all' }), // As written.
    ) as [ScriptedIommu, ScriptedIommu]; // Two.
    const first = choice.find(createDevice('a'), one, []);
    expect(choice.find(pci('0:1.0'), one, [])).toBe(first);
    expect(first.references).toBe(3);
    expect(choice.find(createDevice('c'), other, [])).not.toBe(first);
    groups.put(first);
    groups.put(first);
    expect(directory.list('/sys/kernel/iommu_groups')).toEqual(['0', '1']);
    choice.forget(one);
    choice.forget(one);
    expect(directory.list('/sys/kernel/iommu_groups')).toEqual(['1']);
  });

  it('S2.15 isolated functions have one each, in one slot or below bridges', () => {
    const bridge = pci('0:1.0');
    const port = pci('1:0.0', { upstream: bridge });
    const devices = [
      bridge,
      port,
      pci('2:0.0', { upstream: port, multifunction: true }),
      pci('2:0.1', { upstream: port, multifunction: true }),
      pci('2:1.0', { upstream: port }),
    ];
    for (const order of ordersOf(devices)) expect(new Set(groupsOf(order)).size).toBe(5);
  });

  it('S2.15 functions of a slot that are not isolated share one; the isolated one is alone', () => {
    const device = (place: string, options: Partial<PciFunction> = {}) =>
      pci(place, { multifunction: true, isolated: false, ...options });
    const devices = [
      device('0:3.0'),
      device('0:3.1', { isolated: true }),
      device('0:3.2'),
      // Neither the same slot, nor the same bus, nor the same segment.
      device('0:4.2'),
      device('1:3.2'),
      device('0:3.2', { segment: 1 }),
    ];
    expect(groupsOf(devices)).toEqual([0, 1, 0, 2, 3, 4]);
    for (const order of ordersOf(devices.slice(0, 3))) {
      const ids = groupsOf(order);
      const isolated = ids[order.indexOf(devices[1]!)]; // Made above.
      expect(ids.filter((id) => id === isolated)).toHaveLength(1);
    }
    // Functions of one slot that are not of one device, as virtual functions are.
    expect(
      groupsOf(['0:3.0', '0:3.1'].map((place) => device(place, { multifunction: false }))),
    ).toEqual([0, 1]);
    // One function says nothing about others that the slot does not have.
    expect(
      groupsOf([pci('0:3.0', { isolated: false }), pci('0:4.0', { isolated: false })]),
    ).toEqual([0, 1]);
  });

  it('S2.15 below a bridge that lets requests turn around all share one with the bridge', () => {
    const root = pci('0:1.0', { isolated: false });
    const port = pci('1:0.0', { upstream: root });
    const leaf = pci('2:0.0', { upstream: port });
    const sibling = pci('1:1.0', { upstream: root });
    const elsewhere = pci('0:2.0');
    for (const order of ordersOf([root, port, leaf, sibling])) {
      const [alone, ...together] = groupsOf([elsewhere, ...order]);
      expect([alone, ...new Set(together)]).toEqual([0, 1]);
    }
  });

  it('S2.15 siblings find each other even if the IOMMU does not have the bridge', () => {
    const bridge = pci('0:1.0', { isolated: false });
    const devices = ['1:0.0', '1:1.0', '1:2.0'].map((place) => pci(place, { upstream: bridge }));
    expect(groupsOf(devices, { unprobed: [bridge] })).toEqual([0, 0, 0]);
    expect(groupsOf([...devices, pci('2:0.0', { upstream: pci('0:2.0') })])).toEqual([0, 0, 0, 1]);
  });

  it('S2.15 isolation counts up to where the bridges are isolated all the way', () => {
    const root = pci('0:1.0');
    const port = pci('1:0.0', { upstream: root, isolated: false });
    const leaf = pci('2:0.0', { upstream: port });
    expect(groupsOf([root, port, leaf])).toEqual([0, 1, 1]);
    expect(groupsOf([leaf, port, root])).toEqual([0, 0, 1]);
  });

  it('S2.15 a bridge that lends its requester id shares one with those who use it', () => {
    // A conventional bus: the bridge is isolated from the rest, yet speaks for all below it.
    const bridge = pci('0:5.0');
    const below = (place: string) => pci(place, { upstream: bridge, aliases: [0x28] });
    for (const order of ordersOf([bridge, below('3:0.0'), below('3:1.0')]))
      expect(groupsOf(order)).toEqual([0, 0, 0]);
  });

  it('S2.15 functions that may carry the id of another, or one that nobody has, share one', () => {
    const named = pci('1:0.0');
    const asNamed = pci('1:0.1', { aliases: [0x100] });
    for (const order of ordersOf([named, asNamed])) expect(groupsOf(order)).toEqual([0, 0]);
    const chain = [
      pci('1:0.0', { aliases: [0x1ff] }),
      pci('1:2.0', { aliases: [0x1ff, 0x1fe] }),
      pci('1:4.0', { aliases: [0x1fe] }),
    ];
    // The middle one holds the others together, whether it comes first or last.
    for (const order of ordersOf(chain)) expect(groupsOf(order)).toEqual([0, 0, 0]);
    expect(groupsOf([pci('1:0.0'), pci('1:0.1', { segment: 1, aliases: [0x100] })])).toEqual([
      0, 1,
    ]);
  });

  it('S2.15 relations add up: a slot, an alias and a bridge make one group', () => {
    const bridge = pci('0:1.0', { isolated: false, multifunction: true });
    const twin = pci('0:1.1', { isolated: false, multifunction: true });
    const leaf = pci('1:0.0', { upstream: bridge });
    const alias = pci('5:0.0', { aliases: [0x100] });
    for (const order of ordersOf([bridge, twin, leaf, alias]))
      expect(groupsOf(order)).toEqual([0, 0, 0, 0]);
  });
});
