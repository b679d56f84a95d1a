import { describe, expect, it } from 'vitest';
import { Directory } from '../src/group-directory.ts';
import { InstanceDirectory } from '../src/instance-directory.ts';
import { GroupGuest, ScriptedIommu, codeOf, createDevice } from './group-guest.ts';

const ADMINISTRATOR = { administrator: true };

function createTree() {
  const directory = new Directory();
  directory.makeDirectory('/sys/b');
  directory.makeDirectory('/sys/a/deep');
  directory.makeFile('/sys/a', 'file', { read: () => 'text\n' });
  directory.makeLink('/sys/b', 'up', '/sys/a');
  return directory;
}

describe('the directory view', () => {
  it('S2.2 lists what is there, in the order of its making, and follows links', () => {
    const directory = createTree();
    expect(directory.list('/sys')).toEqual(['b', 'a']);
    expect(directory.list('/sys/b/up/')).toEqual(['deep', 'file']);
    expect(directory.list('/')).toEqual(['sys']);
    expect(directory.read('/sys/b/up/file')).toBe('text\n');
    expect(directory.readlink('/sys/b/up')).toBe('/sys/a');
  });

  it('S2.2 says what is missing, and what is of another kind', () => {
    const directory = createTree();
    directory.makeLink('/sys/b', 'nowhere', '/sys/c');
    directory.makeLink('/sys/b', 'round', '/sys/b/round');
    const codes = (path: string) => [
      codeOf(() => directory.read(path)),
      codeOf(() => directory.write(path, '', ADMINISTRATOR)),
      codeOf(() => directory.list(path)),
      codeOf(() => directory.readlink(path)),
    ];
    expect(codes('/sys/c')).toEqual(['ENOENT', 'ENOENT', 'ENOENT', 'ENOENT']);
    expect(codes('/sys/a/file/x')).toEqual(['ENOENT', 'ENOENT', 'ENOENT', 'EINVAL']);
    expect(codes('/sys/a')).toEqual(['EINVAL', 'EINVAL', undefined, 'EINVAL']);
    expect(codes('/sys/a/file')).toEqual([undefined, 'EACCES', 'EINVAL', 'EINVAL']);
    expect(codes('/sys/b/nowhere')).toEqual(['ENOENT', 'ENOENT', 'ENOENT', undefined]);
    expect(codes('/sys/b/round')).toEqual(['EINVAL', 'EINVAL', 'EINVAL', undefined]);
  });

  it('S2.2 has one thing under each name, and names that paths can have', () => {
    const directory = createTree();
    const attribute = { read: () => '' };
    expect(codeOf(() => directory.makeDirectory('/sys/a/deep'))).toBeUndefined();
    expect(codeOf(() => directory.makeDirectory('/sys/a/file/deep'))).toBe('EEXIST');
    expect(codeOf(() => directory.makeFile('/sys/a', 'deep', attribute))).toBe('EEXIST');
    expect(codeOf(() => directory.makeLink('/sys/a', 'file', '/sys'))).toBe('EEXIST');
    expect(codeOf(() => directory.makeLink('/sys/c', 'x', '/sys'))).toBe('ENOENT');
    for (const name of ['', '.', '..', 'a/b'])
      expect(codeOf(() => directory.makeFile('/sys/a', name, attribute))).toBe('EINVAL');
    expect(directory.list('/sys/a')).toEqual(['deep', 'file']);
  });

  it('S2.2 a removed directory takes all in it along, but not what its links lead to', () => {
    const directory = createTree();
    directory.remove('/sys/b');
    directory.remove('/sys/b');
    directory.remove('/sys/c/d');
    expect([directory.has('/sys/b/up'), directory.has('/sys/a/file')]).toEqual([false, true]);
    expect(directory.list('/sys')).toEqual(['a']);
  });

  it('S2.16 files are written by administrators, and by nobody if they cannot be', () => {
    const { groups, directory } = new GroupGuest();
    const written: unknown[] = [];
    groups.define('type', {
      read: ({ id }) => `type of ${id}\n`,
      write: (group, text, caller) => written.push(group.id, text, caller),
    });
    groups.define('reserved_regions', { read: () => '' });
    groups.allocate();
    groups.allocate();
    const path = '/sys/kernel/iommu_groups/1/type';
    expect(directory.read(path)).toBe('type of 1\n');
    expect(codeOf(() => directory.write(path, 'DMA', { administrator: false }))).toBe('EACCES');
    expect(written).toEqual([]);
    expect(directory.write(path, 'DMA\n', ADMINISTRATOR)).toBe(4);
    expect(written).toEqual([1, 'DMA\n', ADMINISTRATOR]);
    const regions = '/sys/kernel/iommu_groups/1/reserved_regions';
    expect(codeOf(() => directory.write(regions, 'x', ADMINISTRATOR))).toBe('EACCES');
  });

  it('S2.17 the regions of all members are read from the file of the group [B21]', () => {
    const guest = new GroupGuest();
    const { groups, directory } = guest;
    groups.define('reserved_regions', {
      read: ({ devices }) => [...devices.keys()].map(({ name }) => `${name}\n`).join(''),
    });
    const device = createDevice('a');
    guest.groupOf(device, createDevice('b'));
    // As the device sees it, too.
    expect(directory.read('/sys/kernel/iommu_groups/0/reserved_regions')).toBe('a\nb\n');
    expect(directory.read(`${device.path}/iommu_group/reserved_regions`)).toBe('a\nb\n');
    groups.removeDevice(device);
    expect(directory.read('/sys/kernel/iommu_groups/0/reserved_regions')).toBe('b\n');
  });

  it('S2.2 an IOMMU lists the devices it serves', () => {
    const directory = new Directory();
    const iommu = new InstanceDirectory(directory, new ScriptedIommu({ name: 'viommu0' }).name);
    const [first, second] = [createDevice('dev0'), createDevice('dev0')];
    iommu.add(first);
    iommu.add(second);
    const links = '/sys/class/iommu/viommu0/devices';
    expect(directory.list(links)).toEqual(['dev0', 'dev0.0']);
    expect(directory.readlink(`${links}/dev0.0`)).toBe(second.path);
    expect(codeOf(() => iommu.add(first))).toBe('EEXIST');
    expect(codeOf(() => new InstanceDirectory(directory, 'viommu0'))).toBe('EEXIST');
    iommu.remove(first);
    iommu.remove(first);
    expect(directory.list(links)).toEqual(['dev0.0']);
    iommu.add(first);
    expect(directory.list(links)).toEqual(['dev0.0', 'dev0']);
    iommu.end();
    expect(directory.list('/sys/class/iommu')).toEqual([]);
    new InstanceDirectory(directory, 'viommu0').add(second);
    expect(directory.list(links)).toEqual(['dev0']);
  });
});
