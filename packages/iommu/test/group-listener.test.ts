import { LockRank, assert } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import type { Group } from '../src/group.ts';
import { GroupEvent } from '../src/group-listener.ts';
import type { GroupRegistry } from '../src/group-registry.ts';
import { GroupGuest, codeOf, createDevice, recorder } from './group-guest.ts';

const DRIVER_EVENTS = [
  GroupEvent.BIND_DRIVER,
  GroupEvent.BOUND_DRIVER,
  GroupEvent.UNBIND_DRIVER,
  GroupEvent.UNBOUND_DRIVER,
] as const;

function visitNames(groups: GroupRegistry, group: Group, into: unknown[]): void {
  groups.forEachDevice(group, ({ name }) => {
    into.push(name);
    return 0;
  });
}

describe('listeners of a group', () => {
  it('S2.10 hear of devices that come and go, and of their drivers', () => {
    const { groups } = new GroupGuest();
    const heard: string[] = [];
    const device = createDevice('a');
    const group = groups.allocate();
    groups.registerListener(group, recorder(heard, '1 '));
    groups.registerListener(group, recorder(heard, '2 '));
    groups.addDevice(group, device);
    for (const event of DRIVER_EVENTS) groups.notifyDriverEvent(device, event);
    groups.removeDevice(device);
    const events = ['ADD', 'BIND', 'BOUND', 'UNBIND', 'UNBOUND', 'DEL'];
    expect(heard).toEqual(events.flatMap((event) => [`1 ${event} a`, `2 ${event} a`]));
    expect(Object.values(GroupEvent)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('S2.10 see the device as a member in both events', () => {
    const { groups, directory } = new GroupGuest();
    const seen: unknown[] = [];
    const device = createDevice('a');
    const group = groups.allocate();
    groups.registerListener(group, () => {
      // The mutex is free, so that listeners may look.
      visitNames(groups, group, seen);
      const found = groups.get(device);
      seen.push(found === group, directory.has(`${group.path}/devices/a`));
      groups.put(found);
    });
    groups.addDevice(group, device);
    groups.removeDevice(device);
    expect(seen).toEqual(['a', true, true, 'a', true, true]);
    expect(group.references).toBe(1);
  });

  it('S2.10 come once, and go once', () => {
    const { groups } = new GroupGuest();
    const heard: string[] = [];
    const listener = recorder(heard);
    const group = groups.allocate();
    expect(codeOf(() => groups.unregisterListener(group, listener))).toBe('ENOENT');
    groups.registerListener(group, listener);
    expect(codeOf(() => groups.registerListener(group, listener))).toBe('EEXIST');
    groups.addDevice(group, createDevice('a'));
    groups.unregisterListener(group, listener);
    groups.addDevice(group, createDevice('b'));
    expect(codeOf(() => groups.unregisterListener(group, listener))).toBe('ENOENT');
    // What was there before is not told again.
    groups.registerListener(group, listener);
    groups.addDevice(group, createDevice('c'));
    expect(heard).toEqual(['ADD a', 'ADD c']);
  });

  it('S2.10 that throw are logged, and neither stop the others nor keep the device', () => {
    const { groups, log } = new GroupGuest();
    const heard: string[] = [];
    const device = createDevice('a');
    const group = groups.allocate();
    groups.registerListener(group, () => {
      throw new Error('The listener is broken.');
    });
    groups.registerListener(group, recorder(heard));
    groups.addDevice(group, device);
    groups.removeDevice(device);
    expect(heard).toEqual(['ADD a', 'DEL a']);
    expect([log.counters.listenerFailed, group.devices.size, device.group]).toEqual([
      2,
      0,
      undefined,
    ]);
  });

  it('S2.10 that find a bug are not hushed up', () => {
    const { groups } = new GroupGuest();
    const group = groups.allocate();
    groups.registerListener(group, () => assert(false, 'a bug'));
    expect(() => groups.addDevice(group, createDevice('a'))).toThrow('a bug');
    expect([group.membershipLock.held, group.mutex.held]).toEqual([false, false]);
  });

  it('S2.12 hear nothing of drivers of devices without a group, or of another', () => {
    const guest = new GroupGuest();
    const heard: string[] = [];
    const [stranger, former, member] = [createDevice('x'), createDevice('y'), createDevice('z')];
    const group = guest.groupOf(former, member);
    guest.groupOf(stranger);
    guest.groups.removeDevice(former);
    guest.groups.registerListener(group, recorder(heard));
    for (const device of [createDevice('nobody'), stranger, former, member])
      guest.groups.notifyDriverEvent(device, GroupEvent.BOUND_DRIVER);
    expect(heard).toEqual(['BOUND z']);
    expect(group.references).toBe(1);
  });
});

describe('the order of events', () => {
  it('S2.11 a listener cannot remove the device it hears of; later the removal is heard [B4]', () => {
    const { groups } = new GroupGuest();
    const heard: string[] = [];
    const device = createDevice('a');
    const group = groups.allocate();
    const codes: unknown[] = [];
    groups.registerListener(group, (event) => {
      if (event === GroupEvent.ADD_DEVICE) {
        codes.push(codeOf(() => groups.removeDevice(device)));
        codes.push(codeOf(() => groups.addDevice(group, createDevice('b'))));
        codes.push(codeOf(() => groups.registerListener(group, () => {})));
        codes.push(codeOf(() => groups.unregisterListener(group, () => {})));
      }
    });
    groups.registerListener(group, recorder(heard));
    groups.addDevice(group, device);
    expect(codes).toEqual(['EDEADLK', 'EDEADLK', 'EDEADLK', 'EDEADLK']);
    expect([...group.devices.keys()]).toEqual([device]);
    groups.removeDevice(device);
    expect(heard).toEqual(['ADD a', 'DEL a']);
  });

  it('S2.11 a removal that comes between the list and the event waits for the event [B5]', () => {
    const guest = new GroupGuest();
    const { groups, concurrency } = guest;
    const heard: string[] = [];
    const device = createDevice('a');
    const group = groups.allocate();
    groups.registerListener(group, recorder(heard));
    const removal = guest.atRacePoint('group:beforeAdd', () => groups.removeDevice(device));
    groups.addDevice(group, device);
    expect(removal).toEqual({ error: undefined, done: true });
    expect(heard).toEqual(['ADD a', 'DEL a']);
    expect([concurrency.parked, group.devices.size, group.references]).toEqual([1, 0, 1]);
  });

  it('S2.11 of two removals at once the second finds nothing, and one event is heard', () => {
    const guest = new GroupGuest();
    const { groups, concurrency } = guest;
    const heard: string[] = [];
    const device = createDevice('a');
    const group = groups.allocate();
    groups.addDevice(group, device);
    groups.registerListener(group, recorder(heard));
    const second = guest.atRacePoint('group:beforeRemove', () => groups.removeDevice(device));
    groups.removeDevice(device);
    expect(second).toEqual({ error: undefined, done: true });
    expect([concurrency.parked, heard, group.references]).toEqual([1, ['DEL a'], 1]);
  });

  it('S2.11 a removal whose device is gone before it has the lock does nothing', () => {
    const guest = new GroupGuest();
    const { groups } = guest;
    const heard: string[] = [];
    const device = createDevice('a');
    const [group, other] = [groups.allocate(), groups.allocate()];
    groups.addDevice(group, device);
    groups.registerListener(group, recorder(heard));
    groups.registerListener(other, recorder(heard, 'other '));
    guest.atRacePoint('group:beforeLock', () => {
      groups.removeDevice(device);
      groups.addDevice(other, device);
    });
    groups.removeDevice(device);
    expect(heard).toEqual(['DEL a', 'other ADD a']);
    expect([device.group, group.references, other.references]).toEqual([other, 1, 2]);
  });

  it('S2.11 a device that is added while it is removed is refused before, and taken after', () => {
    const guest = new GroupGuest();
    const { groups } = guest;
    const heard: string[] = [];
    const device = createDevice('a');
    const group = groups.allocate();
    groups.addDevice(group, device);
    groups.registerListener(group, recorder(heard));
    const again = guest.atRacePoint('group:beforeRemove', () => groups.addDevice(group, device));
    groups.removeDevice(device);
    expect(again).toEqual({ error: undefined, done: true });
    expect(heard).toEqual(['DEL a', 'ADD a']);
    expect([...group.devices.values()]).toEqual(['a']);
  });

  it('S2.11 a listener that registers while a device is added finds it, or hears of it', () => {
    const guest = new GroupGuest();
    const { groups, concurrency } = guest;
    const heard: string[] = [];
    const group = groups.allocate();
    const found: string[] = [];
    guest.atRacePoint('group:beforeAdd', () => {
      groups.registerListener(group, recorder(heard));
      visitNames(groups, group, found);
    });
    groups.addDevice(group, createDevice('a'));
    expect([concurrency.parked, found, heard]).toEqual([1, ['a'], []]);
  });

  it('S2.11 a driver that is bound while its device is added is heard of after the device', () => {
    const guest = new GroupGuest();
    const { groups } = guest;
    const heard: string[] = [];
    const device = createDevice('a');
    const group = groups.allocate();
    groups.registerListener(group, recorder(heard));
    guest.atRacePoint('group:beforeAdd', () =>
      groups.notifyDriverEvent(device, GroupEvent.BIND_DRIVER),
    );
    groups.addDevice(group, device);
    expect(heard).toEqual(['ADD a', 'BIND a']);
  });

  it('S2.11 a listener may bind a driver to what it hears of', () => {
    const { groups } = new GroupGuest();
    const heard: string[] = [];
    const group = groups.allocate();
    groups.registerListener(group, recorder(heard));
    groups.registerListener(group, (event, device) => {
      if (event === GroupEvent.ADD_DEVICE)
        groups.notifyDriverEvent(device, GroupEvent.BOUND_DRIVER);
    });
    groups.addDevice(group, createDevice('a'));
    expect(heard).toEqual(['ADD a', 'BOUND a']);
  });

  // Goal: each event is heard once even if a listener has to wait for a lock, which makes its context start again.
  it('S2.11 each listener hears an event once, though one of them has to wait for a lock', () => {
    const { groups, concurrency } = new GroupGuest();
    const heard: string[] = [];
    const device = createDevice('a');
    const group = groups.allocate();
    const lock = concurrency.lock('of somebody else', LockRank.domain);
    groups.registerListener(group, recorder(heard, '1 '));
    groups.registerListener(group, (event, about) =>
      lock.hold(() => recorder(heard, '2 ')(event, about)),
    );
    for (const change of [
      () => groups.addDevice(group, device),
      () => groups.notifyDriverEvent(device, GroupEvent.BIND_DRIVER),
      () => groups.removeDevice(device),
      // What was interrupted before does not make later events go unheard.
      () => groups.addDevice(group, device),
      () => groups.removeDevice(device),
    ]) {
      lock.hold(() => concurrency.run(change));
    }
    const events = ['ADD', 'BIND', 'DEL', 'ADD', 'DEL'];
    expect(heard).toEqual(events.flatMap((event) => [`1 ${event} a`, `2 ${event} a`]));
    expect([concurrency.parked, group.references]).toEqual([5, 1]);
  });
});
