import { IommuError } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import type { Device } from '../src/device.ts';
import { codeOf } from './group-guest.ts';
import { CoreGuest, DRIVER, groupOf } from './kit/core-guest.ts';
import { ScriptedIommu } from './kit/scripted-iommu.ts';

describe('a driver whose IOMMU is not there', () => {
  it('S4.9 waits, and goes on when it comes', () => {
    const guest = new CoreGuest();
    guest.core.finishBoot();
    const node = guest.node();
    const device = guest.add('a', node);
    const probed: string[] = [];
    const driver = { name: 'waiting', probe: ({ iommuState }: Device) => probed.push(iommuState) };
    expect(guest.core.bind(device, driver)).toBe(false);
    expect([device.driver, device.iommuState, guest.core.deferred.has(device)]).toEqual([
      undefined,
      'deferred',
      true,
    ]);
    guest.clock.advance(9_999);
    expect(probed).toEqual([]);
    const iommu = guest.register({}, node);
    expect([probed, device.driver, guest.core.deferred.has(device)]).toEqual([
      ['grouped'],
      driver,
      false,
    ]);
    expect([guest.type(groupOf(device)), groupOf(device).ownerCount]).toEqual(['DMA', 1]);
    guest.clock.advance(10_000);
    expect([iommu.took('probe').length, guest.lines]).toEqual([1, []]);
  });

  it('S4.9 goes on without it after 10 seconds, with a notice [E2]', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    const device = guest.add('a', node);
    guest.core.bind(device, DRIVER);
    guest.clock.advance(60_000);
    expect(device.driver).toBeUndefined();
    // The time runs from the end of the boot, however often that is said.
    guest.core.finishBoot();
    guest.clock.advance(5_000);
    guest.core.finishBoot();
    guest.clock.advance(4_999);
    expect([device.driver, guest.lines]).toEqual([undefined, []]);
    guest.clock.advance(1);
    expect([device.driver, device.group, device.iommuState]).toEqual([DRIVER, undefined, 'none']);
    expect(guest.core.log.counters.dependencyIgnored).toBe(1);
    expect(guest.lines).toEqual([
      'iommu: a waits no longer for /iommu@0: the dependency is ignored',
    ]);
    // Nobody waits from now on, and nobody without a driver has waited.
    guest.core.finishBoot();
    const other = guest.add('b', node);
    expect([guest.clock.pending, guest.core.log.counters.dependencyIgnored]).toEqual([0, 1]);
    expect(guest.core.bind(other, DRIVER)).toBe(true);
  });

  it('S4.9 waits as long as the command line says, or not at all once the guest has booted', () => {
    const patient = new CoreGuest('deferred_probe_timeout=30');
    const device = patient.add('a', patient.node());
    patient.core.bind(device, DRIVER);
    patient.core.finishBoot();
    patient.clock.advance(29_999);
    expect(device.driver).toBeUndefined();
    patient.clock.advance(1);
    expect(device.driver).toBe(DRIVER);

    const hasty = new CoreGuest('deferred_probe_timeout=0');
    const other = hasty.add('a', hasty.node());
    expect(hasty.core.bind(other, DRIVER)).toBe(false);
    hasty.core.finishBoot();
    expect([other.driver, hasty.clock.pending]).toEqual([DRIVER, 0]);
  });

  it('S4.9 does not go on before all devices of the IOMMU have their domain', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    const [a, b] = [guest.add('a', node), guest.add('b', node)];
    const iommu = new ScriptedIommu();
    const seen: unknown[] = [];
    // Another context tries to bind drivers while the scan runs.
    guest.at('probe:described', () => {
      seen.push(guest.core.bind(a, DRIVER), guest.core.bind(b, DRIVER));
    });
    guest.core.registerInstance(iommu, node);
    // At the second turn they were bound, once the IOMMU was ready.
    expect(seen).toEqual([false, false]);
    expect([a.driver, b.driver, iommu.took('probe').length]).toEqual([DRIVER, DRIVER, 2]);
    expect(guest.lines).toEqual([]);
  });

  it('S4.9 waits no longer when its device goes, or nobody wants it any more', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    const [a, b] = [guest.add('a', node), guest.add('b', node)];
    guest.core.bind(a, DRIVER);
    guest.core.bind(b, DRIVER);
    guest.core.removeDevice(a);
    guest.core.unbind(b);
    guest.register({}, node);
    expect([a.driver, b.driver]).toEqual([undefined, undefined]);
  });

  it('S4.9 waits for its own IOMMU, not for any', () => {
    const guest = new CoreGuest();
    const [first, second] = [guest.node(), guest.node()];
    const device = guest.add('a', second);
    guest.core.bind(device, DRIVER);
    guest.register({ name: 'iommu1' }, first);
    expect(device.driver).toBeUndefined();
    guest.register({ name: 'iommu2' }, second);
    expect([device.driver, guest.type(groupOf(device))]).toEqual([DRIVER, 'DMA']);
  });
});

describe('a driver that waits for something of its own', () => {
  it('is tried again when another one was bound, and leaves no owner meanwhile', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    guest.register({}, node);
    const [a, b] = [guest.add('a', node), guest.add('b', node)];
    let calls = 0;
    const waiting = {
      name: 'waiting',
      probe: () => {
        calls += 1;
        if (b.driver === undefined) throw new IommuError('EPROBE_DEFER', 'Where is b?');
      },
    };
    expect(guest.core.bind(a, waiting)).toBe(false);
    expect([a.driver, groupOf(a).ownerCount]).toEqual([undefined, 0]);
    guest.write(groupOf(a), 'identity');
    expect(guest.core.bind(b, DRIVER)).toBe(true);
    expect([a.driver, calls, groupOf(a).ownerCount]).toEqual([waiting, 2, 1]);
  });

  it('is tried again when the other one had been waiting too', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    const [a, b] = [guest.add('a', node), guest.add('b', node)];
    const waiting = {
      name: 'waiting',
      probe: () => {
        if (b.driver === undefined) throw new IommuError('EPROBE_DEFER', 'Where is b?');
      },
    };
    guest.core.bind(a, waiting);
    guest.core.bind(b, DRIVER);
    guest.register({}, node);
    expect([a.driver, b.driver]).toEqual([waiting, DRIVER]);
  });

  it('waits for a lock alone, and keeps nobody else', () => {
    const guest = new CoreGuest();
    const { group, devices } = guest.group([{ name: 'a' }]);
    const [device] = devices as [Device]; // There is one.
    let there = false;
    const waiting = {
      name: 'waiting',
      probe: () => {
        if (!there) throw new IommuError('EPROBE_DEFER', 'Not yet.');
      },
    };
    guest.core.bind(device, waiting);
    there = true;
    // Another IOMMU comes, and tries the driver, while the group is locked.
    guest.at('type:beforePublish', () => guest.register({ name: 'other' }));
    guest.write(group, 'DMA-FQ');
    expect([device.driver, guest.core.registrations.size, group.ownerCount]).toEqual([
      waiting,
      2,
      1,
    ]);
  });

  it('ends waiting when it fails, with a line', () => {
    const guest = new CoreGuest();
    const node = guest.node();
    const device = guest.add('a', node);
    const failing = {
      name: 'failing',
      probe: () => {
        throw new IommuError('EIO', 'Broken.');
      },
    };
    guest.core.bind(device, failing);
    guest.register({}, node);
    expect([device.driver, guest.core.deferred.has(device)]).toEqual([undefined, false]);
    expect([guest.core.log.counters.bindFailed, groupOf(device).ownerCount]).toEqual([1, 0]);
    expect(codeOf(() => guest.core.bind(device, failing))).toBe('EIO');
    expect(guest.core.bind(device, DRIVER)).toBe(true);
    expect(codeOf(() => guest.core.bind(device, DRIVER))).toBe('EBUSY');
  });

  it('comes to an end when drivers wait for each other', () => {
    const guest = new CoreGuest('deferred_probe_timeout=0');
    const node = guest.node();
    const forever = {
      name: 'forever',
      probe: () => {
        throw new IommuError('EPROBE_DEFER', 'Not yet.');
      },
    };
    const devices = ['a', 'b', 'c'].map((name) => guest.add(name, node));
    for (const device of devices) guest.core.bind(device, forever);
    guest.register({}, node);
    guest.core.finishBoot();
    expect(devices.every((device) => guest.core.deferred.has(device))).toBe(true);
  });
});
