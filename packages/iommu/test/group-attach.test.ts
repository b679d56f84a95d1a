import { describe, expect, it } from 'vitest';
import type { Device } from '../src/device.ts';
import type { Group } from '../src/group.ts';
import {
  attachDevice,
  attachGroup,
  claimOwner,
  detachDevice,
  detachGroup,
  releaseOwner,
  unuseDefaultDomain,
  useDefaultDomain,
} from '../src/group-attach.ts';
import { GroupGuest, ScriptedIommu, codeOf, createDevice } from './group-guest.ts';

/** A group of devices `a`, `b`, `c` … in its default domain. */
function createGroup(size: number, options: ConstructorParameters<typeof ScriptedIommu>[0] = {}) {
  const guest = new GroupGuest();
  const iommu = new ScriptedIommu(options);
  const devices = ['a', 'b', 'c'].slice(0, size).map((name) => iommu.adopt(createDevice(name)));
  const group = guest.groupOf(...devices);
  const domain = iommu.setUp(group);
  return { guest, iommu, devices, group, domain, counters: guest.log.counters };
}

/** The domain of each member. */
const places = (group: Group) =>
  [...group.devices.keys()].map(({ iommu }) => iommu?.endpoint?.domain);

const owner = { name: 'somebody' };

describe('attaching a group', () => {
  it('S2.13 attaches every member, in the order of the list', () => {
    const { iommu, group } = createGroup(3);
    const domain = iommu.domain('own');
    attachGroup(domain, group);
    expect(iommu.moves).toEqual(['a>own', 'b>own', 'c>own']);
    expect(group.domain).toBe(domain);
    expect(places(group)).toEqual([domain.ops, domain.ops, domain.ops]);
  });

  it('S2.13 puts all back in order if one refuses, and does not ask the rest [B8]', () => {
    const { iommu, group, domain, counters } = createGroup(3);
    iommu.refuse('b', 'own', 'EINVAL');
    expect(codeOf(() => attachGroup(iommu.domain('own'), group))).toBe('EINVAL');
    expect(iommu.moves).toEqual(['a>own', 'a>default']);
    expect(group.domain).toBe(domain);
    expect([counters.undoFailed, group.mutex.held]).toEqual([0, false]);
    iommu.refuse('c', 'own', 'ENOSPC');
    iommu.moves.length = 0;
    expect(codeOf(() => attachGroup(iommu.domain('own'), group))).toBe('ENOSPC');
    expect(iommu.moves).toEqual(['a>own', 'b>own', 'a>default', 'b>default']);
    // The refusal was soft: another domain does.
    attachGroup(iommu.domain('other'), group);
    expect(group.domain).not.toBe(domain);
  });

  it('S2.13 takes devices out again that were in no domain before', () => {
    const { iommu, group } = createGroup(2);
    for (const device of group.devices.keys()) device.iommu?.endpoint?.detach();
    group.domain = group.defaultDomain = undefined;
    iommu.moves.length = 0;
    iommu.refuse('b', 'own', 'EIO');
    expect(codeOf(() => attachGroup(iommu.domain('own'), group))).toBe('EIO');
    expect(iommu.moves).toEqual(['a>own', 'a>']);
    expect([group.domain, ...places(group)]).toEqual([undefined, null, null]);
  });

  it('S2.13 blocks a device that does not go back, where the group can block, and counts it', () => {
    const { iommu, group, domain, counters } = createGroup(2);
    claimOwner(group, owner);
    releaseOwner(group);
    iommu.moves.length = 0;
    iommu.refuse('b', 'own', 'EINVAL');
    iommu.refuse('a', 'default', 'EIO');
    expect(codeOf(() => attachGroup(iommu.domain('own'), group))).toBe('EINVAL');
    expect(iommu.moves).toEqual(['a>own', 'a>blocked']);
    expect([group.domain, counters.undoFailed]).toEqual([domain, 1]);
  });

  it('S2.13 counts a device that does not go back, where the group cannot block', () => {
    const { iommu, group, domain, counters } = createGroup(2);
    iommu.refuse('b', 'own', 'EINVAL');
    iommu.refuse('a', 'default', 'EIO');
    expect(codeOf(() => attachGroup(iommu.domain('own'), group))).toBe('EINVAL');
    expect(iommu.moves).toEqual(['a>own']);
    expect([group.domain, counters.undoFailed]).toEqual([domain, 1]);
  });

  it('S2.13 needs devices, an IOMMU, and a domain of that IOMMU, before it moves anything', () => {
    const { guest, iommu, group } = createGroup(1);
    expect(codeOf(() => attachGroup(iommu.domain('own'), guest.groups.allocate()))).toBe('ENODEV');
    expect(codeOf(() => attachGroup(new ScriptedIommu().domain('own'), group))).toBe('EINVAL');
    guest.groups.addDevice(group, createDevice('without'));
    expect(codeOf(() => attachGroup(iommu.domain('own'), group))).toBe('ENODEV');
    expect(iommu.moves).toEqual([]);
  });

  it('S2.14 is refused while another domain is attached, and none of it is moved [B9]', () => {
    const { iommu, group } = createGroup(2);
    const domain = iommu.domain('own');
    attachGroup(domain, group);
    iommu.moves.length = 0;
    expect(codeOf(() => attachGroup(iommu.domain('other'), group))).toBe('EBUSY');
    expect(codeOf(() => attachGroup(domain, group))).toBe('EBUSY');
    expect([iommu.moves, group.domain]).toEqual([[], domain]);
  });

  it('S2.14 is refused to a second context, which waits until the first has attached all', () => {
    const { guest, iommu, group } = createGroup(2);
    const domain = iommu.domain('own');
    const second = guest.atRacePoint('group:betweenDevices', () =>
      attachGroup(iommu.domain('other'), group),
    );
    attachGroup(domain, group);
    expect(second).toEqual({ error: 'EBUSY', done: true });
    expect([guest.concurrency.parked, iommu.moves]).toEqual([1, ['a>own', 'b>own']]);
  });

  it('S2.14 ends with a detach, which takes the group back to its default domain', () => {
    const { iommu, group, domain, counters } = createGroup(2);
    const own = iommu.domain('own');
    attachGroup(own, group);
    iommu.moves.length = 0;
    detachGroup(own, group);
    expect(iommu.moves).toEqual(['a>default', 'b>default']);
    expect([group.domain, counters.groupMisuse]).toEqual([domain, 0]);
    attachGroup(iommu.domain('other'), group);
  });

  it('S2.14 a detach of a domain that is not attached is counted and does nothing', () => {
    const { iommu, group, counters } = createGroup(1);
    const own = iommu.domain('own');
    attachGroup(own, group);
    iommu.moves.length = 0;
    detachGroup(iommu.domain('other'), group);
    expect([iommu.moves, group.domain, counters.groupMisuse]).toEqual([[], own, 1]);
  });

  it('S2.14 a detach fails where nobody sees it but the log', () => {
    const { iommu, group, domain, counters } = createGroup(2);
    claimOwner(group, owner);
    releaseOwner(group);
    const own = iommu.domain('own');
    attachGroup(own, group);
    iommu.moves.length = 0;
    iommu.refuse('a', 'default', 'EIO');
    detachGroup(own, group);
    expect(iommu.moves).toEqual(['a>blocked', 'b>default']);
    expect([group.domain, counters.undoFailed]).toEqual([domain, 1]);
  });

  it('S2.14 without a default domain a detach leaves the group in none', () => {
    const { iommu, group } = createGroup(1);
    group.domain = group.defaultDomain = undefined;
    const own = iommu.domain('own');
    attachGroup(own, group);
    detachGroup(own, group);
    expect(iommu.moves).toEqual(['a>own', 'a>']);
    expect(group.domain).toBeUndefined();
  });

  it('S2.13 a single device can be attached if it is alone', () => {
    const { iommu, group, domain, devices } = createGroup(1);
    const [device] = devices as [Device]; // One was asked for.
    const own = iommu.domain('own');
    attachDevice(own, device);
    expect(group.domain).toBe(own);
    expect(codeOf(() => attachDevice(iommu.domain('other'), device))).toBe('EBUSY');
    detachDevice(own, device);
    expect(group.domain).toBe(domain);
    expect(iommu.moves).toEqual(['a>own', 'a>default']);
    expect(codeOf(() => attachDevice(own, createDevice('x')))).toBe('ENODEV');
    detachDevice(own, createDevice('x'));
  });

  it('S2.13 a single device is refused if it has company, and its detach is counted', () => {
    const { iommu, group, devices, counters } = createGroup(2);
    const [device] = devices as [Device, Device]; // Two were asked for.
    const own = iommu.domain('own');
    expect(codeOf(() => attachDevice(own, device))).toBe('EINVAL');
    expect(iommu.moves).toEqual([]);
    attachGroup(own, group);
    detachDevice(own, device);
    expect([group.domain, counters.groupMisuse, group.mutex.held]).toEqual([own, 1, false]);
  });
});

describe('owners', () => {
  it.each([true, false])(
    'S1.21 a device with a direct region is not blocked, and so not claimed; the IOMMU blocks: %s [B25]',
    (blocking) => {
      const { iommu, group, domain, devices } = createGroup(2, { blocking });
      devices[1]!.iommu!.requireDirect = true; // Adopted above.
      expect(codeOf(() => claimOwner(group, owner))).toBe('EINVAL');
      expect(group.domain).toBe(domain);
      expect(places(group)).toEqual([domain.ops, domain.ops]);
      expect([group.ownerCount, group.owner, group.mutex.held]).toEqual([0, undefined, false]);
      // Trying again makes no second domain.
      const { allocations } = iommu;
      expect(codeOf(() => claimOwner(group, owner))).toBe('EINVAL');
      expect(iommu.allocations).toBe(allocations);
      // Nor is it attached there directly.
      expect(codeOf(() => attachGroup(group.blockingDomain!, group))).toBe('EINVAL'); // Made by the claim.
      useDefaultDomain(devices[0]!); // Made above.
    },
  );

  it('S1.21 a device with a direct region is not blocked when it does not go back either', () => {
    const { iommu, group, devices, counters } = createGroup(2);
    claimOwner(group, owner);
    releaseOwner(group);
    devices[0]!.iommu!.requireDirect = true; // Adopted above.
    iommu.moves.length = 0;
    iommu.refuse('b', 'own', 'EINVAL');
    iommu.refuse('a', 'default', 'EIO');
    expect(codeOf(() => attachGroup(iommu.domain('own'), group))).toBe('EINVAL');
    expect([iommu.moves, counters.undoFailed]).toEqual([['a>own'], 2]);
  });

  it('S2.14 an owner has the group in the blocking domain, and attaches its own', () => {
    const { iommu, group, domain, devices, counters } = createGroup(2);
    claimOwner(group, owner);
    expect(iommu.moves).toEqual(['a>blocked', 'b>blocked']);
    const blocking = group.blockingDomain;
    expect([group.domain, blocking?.type, group.ownerCount, group.owner]).toEqual([
      blocking,
      'blocked',
      1,
      owner,
    ]);
    expect(codeOf(() => claimOwner(group, { name: 'another' }))).toBe('EPERM');
    expect(codeOf(() => useDefaultDomain(devices[0]!))).toBe('EBUSY'); // Made above.
    const own = iommu.domain('own');
    attachGroup(own, group);
    detachGroup(own, group);
    expect(group.domain).toBe(blocking);
    attachGroup(own, group);
    releaseOwner(group);
    expect([group.domain, group.ownerCount, group.owner]).toEqual([domain, 0, undefined]);
    expect(places(group)).toEqual([domain.ops, domain.ops]);
    // The next owner finds the same blocking domain.
    const { allocations } = iommu;
    claimOwner(group, owner);
    expect([group.blockingDomain, iommu.allocations]).toEqual([blocking, allocations]);
    expect(counters.groupMisuse).toBe(0);
  });

  it('S2.14 an IOMMU that cannot block gives the owner an empty domain, which nobody maps into', () => {
    const { iommu, group } = createGroup(1, { blocking: false });
    claimOwner(group, owner);
    expect(iommu.moves).toEqual(['a>empty']);
    expect([group.domain?.type, group.domain?.paging]).toEqual(['blocked', false]);
  });

  it('S2.14 a claim is refused while drivers use the group, or another domain is attached', () => {
    const { iommu, group, devices } = createGroup(2);
    const [first, second] = devices as [Device, Device]; // Two were asked for.
    useDefaultDomain(first);
    useDefaultDomain(second);
    expect(group.ownerCount).toBe(2);
    unuseDefaultDomain(first);
    expect(codeOf(() => claimOwner(group, owner))).toBe('EPERM');
    unuseDefaultDomain(second);
    attachGroup(iommu.domain('own'), group);
    expect(codeOf(() => claimOwner(group, owner))).toBe('EBUSY');
    expect(codeOf(() => useDefaultDomain(first))).toBe('EBUSY');
    group.domain = group.defaultDomain = undefined;
    expect(codeOf(() => claimOwner(group, owner))).toBe('EBUSY');
    expect([group.ownerCount, group.owner, group.mutex.held]).toEqual([0, undefined, false]);
  });

  it('S2.14 a claim that one device refuses changes nothing', () => {
    const { iommu, group, domain } = createGroup(2);
    iommu.refuse('b', 'blocked', 'EIO');
    expect(codeOf(() => claimOwner(group, owner))).toBe('EIO');
    expect(iommu.moves).toEqual(['a>blocked', 'a>default']);
    expect([group.domain, group.ownerCount, group.owner]).toEqual([domain, 0, undefined]);
    claimOwner(group, owner);
  });

  it('S2.14 a driver waits for a default domain, or learns that there is none', () => {
    const { group, devices, domain } = createGroup(1);
    const [device] = devices as [Device]; // One was asked for.
    group.domain = group.defaultDomain = undefined;
    expect(codeOf(() => useDefaultDomain(device))).toBe('EPROBE_DEFER');
    group.defaultRefused = 'a region does not fit';
    expect(() => useDefaultDomain(device)).toThrow('a region does not fit');
    expect(codeOf(() => useDefaultDomain(device))).toBe('ENODEV');
    group.domain = group.defaultDomain = domain;
    useDefaultDomain(device);
    expect(group.ownerCount).toBe(1);
    // Without an IOMMU there is nothing to ask.
    useDefaultDomain(createDevice('x'));
    unuseDefaultDomain(createDevice('x'));
  });

  it('S2.14 what ends without having begun is counted and does nothing', () => {
    const { group, devices, domain, counters } = createGroup(1);
    const [device] = devices as [Device]; // One was asked for.
    unuseDefaultDomain(device);
    releaseOwner(group);
    useDefaultDomain(device);
    releaseOwner(group);
    expect([group.ownerCount, group.domain, counters.groupMisuse]).toEqual([1, domain, 3]);
    unuseDefaultDomain(device);
    claimOwner(group, owner);
    unuseDefaultDomain(device);
    expect([group.ownerCount, group.owner, counters.groupMisuse]).toEqual([1, owner, 4]);
  });
});
