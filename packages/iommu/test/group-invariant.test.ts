import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Device } from '../src/device.ts';
import type { Group } from '../src/group.ts';
import { GroupGuest, codeOf, createDevice, recorder } from './group-guest.ts';

const PATH = '/sys/kernel/iommu_groups';

/** Names that are equal, and names that look like numbered ones. */
const NAMES = ['a', 'a', 'a', 'a.0', 'a.0', 'a.1', 'b'];

/** What the test knows about a group. */
interface Expected {
  holders: number;
  /** In order, with the link each should have. */
  members: [Device, string][];
}

type Step = readonly ['allocate' | 'put' | 'hold' | 'add' | 'remove' | 'race', number, number];

const steps = fc.array(
  fc.tuple(
    fc.constantFrom<Step[0]>('allocate', 'put', 'hold', 'add', 'add', 'remove', 'race'),
    fc.nat(20),
    fc.nat(NAMES.length - 1),
  ),
  { maxLength: 60, size: 'max' },
);

function expectedLink(members: Expected['members'], name: string): string {
  const taken = new Set(members.map(([, link]) => link));
  let link = name;
  for (let count = 0; taken.has(link); count++) link = `${name}.${count}`;
  return link;
}

/** Does the steps on a guest and on a model, and compares them after each. */
function play(list: readonly Step[]): void {
  const guest = new GroupGuest();
  const { groups, directory } = guest;
  const devices = NAMES.map((name) => createDevice(name));
  const model = new Map<Group, Expected>();
  const released: number[] = [];
  const heard: string[] = [];
  const told: string[] = [];

  const at = (index: number): [Group, Expected] | undefined =>
    [...model][index % (model.size || 1)];
  const forget = (group: Group, expected: Expected): void => {
    if (expected.holders > 0 || expected.members.length > 0) return;
    model.delete(group);
    released.push(group.id);
  };
  const homeOf = (device: Device) =>
    [...model].find(([, { members }]) => members.some(([member]) => member === device));
  const join = (device: Device, expected: Expected): void => {
    expected.members.push([device, expectedLink(expected.members, device.name)]);
    told.push(`ADD ${device.name}`);
  };
  const leave = (device: Device, group: Group, expected: Expected): void => {
    expected.members = expected.members.filter(([member]) => member !== device);
    told.push(`DEL ${device.name}`);
    forget(group, expected);
  };

  const endings: number[] = [];
  for (const [kind, groupIndex, deviceIndex] of list) {
    const device = devices[deviceIndex]!; // In range by the generator.
    const found = at(groupIndex);
    const home = homeOf(device);
    if (kind === 'allocate') {
      const ids = [...model.keys()].map(({ id }) => id);
      const group = groups.allocate();
      expect(group.id).toBe(
        Array.from({ length: 99 }, (_, id) => id).find((id) => !ids.includes(id)),
      );
      groups.setData(group, group.id, (id) => endings.push(id));
      groups.registerListener(group, recorder(heard));
      model.set(group, { holders: 1, members: [] });
    } else if (kind === 'remove') {
      groups.removeDevice(device);
      if (home !== undefined) leave(device, ...home);
    } else if (found !== undefined) {
      const [group, expected] = found;
      if (kind === 'put' && expected.holders > 0) {
        expected.holders -= 1;
        forget(group, expected);
        groups.put(group);
      } else if (kind === 'hold') {
        expected.holders += 1;
        groups.reference(group);
      } else if (kind === 'add') {
        const code = codeOf(() => groups.addDevice(group, device));
        expect(code).toBe(home === undefined ? undefined : 'EEXIST');
        if (home === undefined) join(device, expected);
      } else if (kind === 'race' && home === undefined) {
        // Another context removes the device while it is being added.
        guest.atRacePoint('group:beforeAdd', () => groups.removeDevice(device));
        groups.addDevice(group, device);
        guest.concurrency.hook = undefined;
        join(device, expected);
        leave(device, group, expected);
      }
    }
    compare();
    expect([endings, heard]).toEqual([released, told]);
  }

  function compare(): void {
    expect(
      directory
        .list(PATH)
        .map(Number)
        .toSorted((one, other) => one - other),
    ).toEqual([...model.keys()].map(({ id }) => id).toSorted((one, other) => one - other));
    for (const [group, { holders, members }] of model) {
      expect(group.references).toBe(holders + members.length);
      expect([...group.devices]).toEqual(members);
      expect(directory.list(`${group.path}/devices`)).toEqual(members.map(([, link]) => link));
      for (const [member, link] of members)
        expect(directory.readlink(`${group.path}/devices/${link}`)).toBe(member.path);
      expect([group.membershipLock.held, group.mutex.held]).toEqual([false, false]);
    }
    for (const device of devices) {
      const home = homeOf(device)?.[0];
      expect(device.group).toBe(home);
      const link = `${device.path}/iommu_group`;
      expect(directory.has(link) ? directory.readlink(link) : undefined).toBe(home?.path);
    }
  }
}

describe('groups', () => {
  it('S2.4 keep links, references, numbers and events consistent whatever comes', () => {
    fc.assert(fc.property(steps, play), { seed: 20, numRuns: 150 });
  });
});
