import { IommuError } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import * as published from '../src/index.ts';
import { Domain } from '../src/domain.ts';
import { Directory } from '../src/group-directory.ts';
import { GroupGuest, ScriptedIommu, codeOf, createDevice, recorder } from './group-guest.ts';

const PATH = '/sys/kernel/iommu_groups';

describe('the number of a group', () => {
  it('S2.1 is the lowest that is free, and free again when the group is gone [B1]', () => {
    const { groups, directory } = new GroupGuest();
    expect(directory.list(PATH)).toEqual([]);
    const made = [groups.allocate(), groups.allocate(), groups.allocate()];
    expect(made.map(({ id }) => id)).toEqual([0, 1, 2]);
    groups.put(made[1]);
    expect(directory.list(PATH)).toEqual(['0', '2']);
    expect(groups.all().map(({ id }) => id)).toEqual([0, 2]);
    expect([groups.allocate().id, groups.allocate().id]).toEqual([1, 3]);
    expect(directory.has(`${PATH}/1/devices`)).toBe(true);
  });

  it('S2.8 comes back if the group cannot be made, and nothing is left of it', () => {
    const directory = new FailingDirectory();
    const { groups } = new GroupGuest(directory);
    groups.define('type', { read: () => 'unknown\n' });
    groups.define('reserved_regions', { read: () => '' });
    for (let step = 1; step <= 3; step += 1) {
      directory.failAfter(step);
      expect(codeOf(() => groups.allocate())).toBe('ENOMEM');
      expect(directory.list(PATH)).toEqual([]);
      expect(groups.all()).toEqual([]);
    }
    directory.failAfter(4);
    expect(groups.allocate().id).toBe(0);
  });
});

describe('links', () => {
  it('S2.2 lead from the group to its members and back', () => {
    const { groups, directory } = new GroupGuest();
    const bridge = createDevice('bridge', { bus: 'pci' });
    const devices = [createDevice('a', { parent: bridge }), createDevice('b', { bus: 'platform' })];
    const group = groups.allocate();
    expect(directory.list(`${PATH}/0/devices`)).toEqual([]);
    for (const device of devices) groups.addDevice(group, device);
    expect(directory.list(`${PATH}/0/devices`)).toEqual(['a', 'b']);
    expect(directory.readlink(`${PATH}/0/devices/a`)).toBe('/sys/devices/pci/bridge/a');
    expect(directory.readlink(`${PATH}/0/devices/b`)).toBe('/sys/devices/platform/b');
    for (const device of devices)
      expect(directory.readlink(`${device.path}/iommu_group`)).toBe(`${PATH}/0`);
    groups.removeDevice(devices[0]!); // There are two.
    expect(directory.list(`${PATH}/0/devices`)).toEqual(['b']);
    expect(directory.list('/sys/devices/pci/bridge/a')).toEqual([]);
    expect(directory.has('/sys/devices/platform/b/iommu_group')).toBe(true);
  });

  it('S2.3 of one name are numbered from 0, and each device takes its own with it [B2]', () => {
    const { groups, directory } = new GroupGuest();
    const group = groups.allocate();
    const [first, second, third, fourth] = ['p', 'q', 'r', 's'].map((bus) =>
      createDevice('dev0', { bus }),
    ) as [published.Device, published.Device, published.Device, published.Device]; // Four buses.
    for (const device of [first, second, third]) groups.addDevice(group, device);
    const links = `${PATH}/0/devices`;
    expect(directory.list(links)).toEqual(['dev0', 'dev0.0', 'dev0.1']);
    groups.removeDevice(second);
    expect(directory.list(links)).toEqual(['dev0', 'dev0.1']);
    expect(directory.readlink(`${links}/dev0.1`)).toBe(third.path);
    groups.removeDevice(first);
    expect(directory.list(links)).toEqual(['dev0.1']);
    groups.addDevice(group, fourth);
    groups.addDevice(group, second);
    expect(directory.list(links)).toEqual(['dev0.1', 'dev0', 'dev0.0']);
    expect(directory.readlink(`${links}/dev0`)).toBe(fourth.path);
  });

  it('S2.3 a device that is called like a number gets one more', () => {
    const { groups, directory } = new GroupGuest();
    const group = groups.allocate();
    for (const name of ['dev0.0', 'dev0', 'dev0', 'dev0.0'])
      groups.addDevice(group, createDevice(name));
    expect(directory.list(`${PATH}/0/devices`)).toEqual(['dev0.0', 'dev0', 'dev0.1', 'dev0.0.0']);
  });
});

describe('the life of a group', () => {
  it('S2.4 ends with the last member or holder, whoever that is [B3]', () => {
    const { groups, directory } = new GroupGuest();
    const device = createDevice('a');
    const group = groups.allocate();
    groups.addDevice(group, device);
    groups.put(group);
    expect(directory.list(PATH)).toEqual(['0']);
    expect(groups.get(device)).toBe(group);
    groups.removeDevice(device);
    expect(groups.get(device)).toBeUndefined();
    // The holder is left. The group stays, keeps its number, and can have members again.
    expect(directory.list(PATH)).toEqual(['0']);
    groups.addDevice(group, device);
    expect(directory.list(`${PATH}/0/devices`)).toEqual(['a']);
    groups.removeDevice(device);
    groups.put(group);
    expect(directory.list(PATH)).toEqual([]);
  });

  it('S2.4 a group that nobody holds goes with its last member; none given back is fine', () => {
    const { groups, directory } = new GroupGuest();
    const device = createDevice('a');
    const group = groups.allocate();
    groups.addDevice(group, device);
    groups.reference(group);
    groups.put(group);
    groups.put(group);
    groups.put(undefined);
    groups.removeDevice(device);
    groups.removeDevice(device);
    expect(directory.list(PATH)).toEqual([]);
    expect(() => groups.put(group)).toThrow('gone');
    expect(() => groups.reference(group)).toThrow('gone');
  });

  it('S2.5 ends with one call of the release function, with the data [B3]', () => {
    const { groups } = new GroupGuest();
    const device = createDevice('a');
    const group = groups.allocate();
    const released: string[] = [];
    groups.setData(group, 'first', (data) => released.push(`wrong ${data}`));
    groups.setData(group, 'second', (data) => released.push(data));
    expect(group.data).toBe('second');
    groups.addDevice(group, device);
    groups.removeDevice(device);
    expect(released).toEqual([]);
    groups.put(group);
    expect(released).toEqual(['second']);
  });

  it('S2.5 a release function that throws leaves no group behind', () => {
    const { groups, directory } = new GroupGuest();
    const group = groups.allocate();
    groups.setData(group, 0, () => {
      throw new Error('The driver is broken.');
    });
    expect(() => groups.put(group)).toThrow('broken');
    expect([directory.list(PATH), groups.allocate().id]).toEqual([[], 0]);
  });

  it('S2.4 a domain that is still there when it ends is counted', () => {
    const { groups, log } = new GroupGuest();
    const iommu = new ScriptedIommu();
    const group = groups.allocate();
    group.defaultDomain = new Domain(iommu, iommu.allocPaging(), 'DMA');
    groups.put(group);
    groups.put(groups.allocate());
    expect(log.counters.groupDomainLeft).toBe(1);
  });
});

describe('the name of a group', () => {
  it('S2.6 is in its file, which comes and goes with it [B7]', () => {
    const { groups, directory } = new GroupGuest();
    const group = groups.allocate();
    const file = `${PATH}/0/name`;
    expect(directory.has(file)).toBe(false);
    groups.setName(group, 'a');
    expect([directory.read(file), group.name]).toEqual(['a\n', 'a']);
    groups.setName(group, 'b');
    expect([directory.read(file), group.name]).toEqual(['b\n', 'b']);
    expect(codeOf(() => directory.write(file, 'c\n', { administrator: true }))).toBe('EACCES');
    groups.setName(group, undefined);
    expect([directory.has(file), group.name]).toEqual([false, undefined]);
    expect(codeOf(() => groups.setName(group, undefined))).toBe('EINVAL');
  });

  it('S2.6 is none if the file cannot be made', () => {
    const directory = new FailingDirectory();
    const { groups } = new GroupGuest(directory);
    const group = groups.allocate();
    groups.setName(group, 'a');
    directory.failAfter(1);
    expect(codeOf(() => groups.setName(group, 'b'))).toBe('ENOMEM');
    expect([directory.has(`${PATH}/0/name`), group.name]).toEqual([false, undefined]);
    groups.setName(group, 'c');
    expect(directory.read(`${PATH}/0/name`)).toBe('c\n');
  });
});

describe('adding a device', () => {
  it('S2.7 is refused if it has a group, this one or another', () => {
    const { groups, directory } = new GroupGuest();
    const device = createDevice('a');
    const [group, other] = [groups.allocate(), groups.allocate()];
    groups.addDevice(group, device);
    expect(codeOf(() => groups.addDevice(group, device))).toBe('EEXIST');
    expect(codeOf(() => groups.addDevice(other, device))).toBe('EEXIST');
    expect(() => groups.addDevice(other, device)).toThrow('in group 0');
    expect([group.devices.size, group.references, other.references]).toEqual([1, 2, 1]);
    expect(directory.readlink(`${device.path}/iommu_group`)).toBe(group.path);
    expect(directory.list(`${other.path}/devices`)).toEqual([]);
  });

  it('S2.7 is refused to a second context that comes while the first adds it', () => {
    const guest = new GroupGuest();
    const { groups, concurrency } = guest;
    const heard: string[] = [];
    const device = createDevice('a');
    const group = groups.allocate();
    groups.registerListener(group, recorder(heard));
    const second = guest.atRacePoint('group:beforeAdd', () => groups.addDevice(group, device));
    groups.addDevice(group, device);
    expect(second).toEqual({ error: 'EEXIST', done: true });
    expect([concurrency.parked, heard, group.references]).toEqual([1, ['ADD a'], 2]);
  });

  // Steps of the directory: the device's own directory, the link in it, the link in the group.
  it.each([1, 2, 3])('S2.8 leaves nothing behind if step %i of the links fails', (step) => {
    const directory = new FailingDirectory();
    const { groups } = new GroupGuest(directory);
    const heard: string[] = [];
    const group = groups.allocate();
    groups.registerListener(group, recorder(heard));
    groups.addDevice(group, createDevice('a'));
    heard.length = 0;
    const device = createDevice('a');
    directory.failAfter(step);
    expect(codeOf(() => groups.addDevice(group, device))).toBe('ENOMEM');
    expect(heard).toEqual([]);
    expect([...group.devices.values()]).toEqual(['a']);
    expect([group.references, device.group]).toEqual([2, undefined]);
    expect(directory.list(`${group.path}/devices`)).toEqual(['a']);
    expect(directory.has(`${device.path}/iommu_group`)).toBe(false);
    expect([group.membershipLock.held, group.mutex.held]).toEqual([false, false]);
    groups.addDevice(group, device);
    expect([...group.devices.values()]).toEqual(['a', 'a.0']);
  });

  it('S2.8 leaves nothing behind if the device has such a link already, but that link', () => {
    const { groups, directory } = new GroupGuest();
    const device = createDevice('a');
    directory.makeDirectory(device.path);
    directory.makeLink(device.path, 'iommu_group', '/elsewhere');
    const group = groups.allocate();
    expect(codeOf(() => groups.addDevice(group, device))).toBe('EEXIST');
    expect(directory.readlink(`${device.path}/iommu_group`)).toBe('/elsewhere');
    expect([group.devices.size, group.references, device.group]).toEqual([0, 1, undefined]);
  });

  it('S2.8 leaves nothing behind if its name cannot be that of a link', () => {
    const { groups, directory } = new GroupGuest();
    const group = groups.allocate();
    const parent = createDevice('parent', { bus: 'pci' });
    const device = createDevice('a/b', { parent });
    expect(codeOf(() => groups.addDevice(group, device))).toBe('EINVAL');
    expect([group.devices.size, group.references]).toEqual([0, 1]);
    expect(directory.has(`${device.path}/iommu_group`)).toBe(false);
  });

  it('S2.8 leaves nothing behind if what the core does in between fails, and nobody hears', () => {
    const { groups, directory } = new GroupGuest();
    const heard: string[] = [];
    const device = createDevice('a');
    const group = groups.allocate();
    groups.registerListener(group, recorder(heard));
    const prepare = (): never => {
      expect([group.mutex.held, group.membershipLock.held]).toEqual([true, true]);
      expect([device.group, group.devices.get(device)]).toEqual([group, 'a']);
      throw new IommuError('ENOSPC', 'The device is full.');
    };
    expect(codeOf(() => groups.addDevice(group, device, prepare))).toBe('ENOSPC');
    expect([heard, group.devices.size, group.references]).toEqual([[], 0, 1]);
    expect(directory.list(`${group.path}/devices`)).toEqual([]);
    expect(directory.list(device.path)).toEqual([]);
    expect([group.membershipLock.held, group.mutex.held]).toEqual([false, false]);
  });
});

describe('visiting the members', () => {
  it('S2.9 goes in order and stops at the first result that is not 0 [B6]', () => {
    const guest = new GroupGuest();
    const devices = ['c', 'a', 'b'].map((name) => createDevice(name));
    const group = guest.groupOf(...devices);
    const visited: string[] = [];
    const visit = (stopAt: string) =>
      guest.groups.forEachDevice(group, ({ name }) => {
        visited.push(name);
        return name === stopAt ? 5 : 0;
      });
    expect(visit('a')).toBe(5);
    expect(visited.splice(0)).toEqual(['c', 'a']);
    expect(visit('none')).toBe(0);
    expect(visited).toEqual(['c', 'a', 'b']);
  });

  it('S2.9 makes others wait who want to change them', () => {
    const guest = new GroupGuest();
    const { groups, concurrency } = guest;
    const [first, second, late] = ['a', 'b', 'c'].map((name) => createDevice(name));
    const group = guest.groupOf(first!, second!); // Made above.
    const visited: string[] = [];
    groups.forEachDevice(group, ({ name }) => {
      if (name === 'a') {
        concurrency.run(() => groups.addDevice(group, late!)); // Made above.
        concurrency.run(() => groups.removeDevice(second!)); // Made above.
        expect(concurrency.parked).toBe(2);
      }
      visited.push(name);
      return 0;
    });
    expect(visited).toEqual(['a', 'b']);
    expect([...group.devices.keys()]).toEqual([first, late]);
  });

  it('S2.9 cannot add or remove devices, or start again', () => {
    const guest = new GroupGuest();
    const { groups } = guest;
    const device = createDevice('a');
    const group = guest.groupOf(device);
    groups.forEachDevice(group, () => {
      expect(codeOf(() => groups.removeDevice(device))).toBe('EDEADLK');
      expect(codeOf(() => groups.addDevice(group, createDevice('b')))).toBe('EDEADLK');
      expect(codeOf(() => groups.forEachDevice(group, () => 0))).toBe('EDEADLK');
      return 0;
    });
    expect([...group.devices.keys()]).toEqual([device]);
    expect([group.references, group.mutex.held]).toEqual([1, false]);
  });
});

describe('files of a group', () => {
  it('S2.16 drivers add their own, under names that are free', () => {
    const { groups, directory } = new GroupGuest();
    groups.define('type', { read: () => 'unknown\n' });
    const group = groups.allocate();
    let value = 'one';
    const attribute = {
      read: () => `${value}\n`,
      write: (text: string) => {
        value = text;
      },
    };
    groups.addAttribute(group, 'speed', attribute);
    groups.setName(group, 'a');
    for (const name of ['speed', 'type', 'devices', 'name'])
      expect(codeOf(() => groups.addAttribute(group, name, attribute))).toBe('EEXIST');
    for (const name of ['type', 'devices', 'name'])
      expect(codeOf(() => groups.define(name, { read: () => '' }))).toBe('EEXIST');
    expect(directory.write(`${PATH}/0/speed`, 'two', { administrator: true })).toBe(3);
    expect(directory.read(`${PATH}/0/speed`)).toBe('two\n');
    groups.removeAttribute(group, 'speed');
    expect(directory.has(`${PATH}/0/speed`)).toBe(false);
    groups.addAttribute(group, 'speed', attribute);
    groups.put(group);
    // The next group of the number has none of it.
    groups.allocate();
    expect(directory.list(`${PATH}/0`)).toEqual(['devices', 'type']);
  });

  it('S2.16 what a group is made of is not for users to make', () => {
    expect(Object.keys(published)).toContain('GroupRegistry');
    expect(Object.keys(published)).not.toContain('Group');
  });
});

/** A directory in which one step fails. */
class FailingDirectory extends Directory {
  #left = Infinity;

  /** The step of this number from now on fails, counted from 1. */
  failAfter(steps: number): void {
    this.#left = steps;
  }

  override makeDirectory(path: string): void {
    this.#step();
    super.makeDirectory(path);
  }

  override makeLink(directory: string, name: string, target: string): void {
    this.#step();
    super.makeLink(directory, name, target);
  }

  override makeFile(...entry: Parameters<Directory['makeFile']>): void {
    this.#step();
    super.makeFile(...entry);
  }

  #step(): void {
    this.#left -= 1;
    if (this.#left === 0) throw new IommuError('ENOMEM', 'As told.');
  }
}
