/** Accesses without translation: the `bypass` field and bypass domains, in every state of an endpoint and of the device. */

import { AttachFlag } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import type { Access } from '../dma.ts';
import { mapUnit, mappedUnit, memory, setBypass, unit } from '../place.ts';
import { BYPASS_CONFIG, type Session } from '../session.ts';

const { BYPASS } = AttachFlag;

export const BYPASS_CASES: readonly DeviceCase[] = [
  defineCase({
    id: 'fact.iommu.bypass-identity#unattached',
    title: 'with bypass 1 an endpoint that is attached to nothing uses addresses as they are',
    needs: ['dma', 'bypass-config'],
    wish: { bypass: true },
    run: (s) => {
      setBypass(s, true);
      for (const { id } of s.dma.endpoints) checkIdentity(s, id, true, `endpoint ${id}`);
    },
  }),
  ...[false, true].map((bypass) =>
    defineCase({
      id: `fact.iommu.bypass-identity#domain-${bypass ? 1 : 0}`,
      title: `in a bypass domain addresses are used as they are, with bypass ${bypass ? 1 : 0}`,
      needs: ['dma', 'bypass-config'],
      wish: { bypass },
      run: (s) => {
        setBypass(s, bypass);
        const endpoint = s.dma.endpoint();
        const domain = s.attached(endpoint, BYPASS);
        checkIdentity(s, endpoint, true, 'in the domain');
        s.setUp(s.detach(domain, endpoint));
        checkIdentity(s, endpoint, bypass, 'after DETACH');
      },
    }),
  ),
  defineCase({
    id: 'fact.iommu.bypass-identity#toggled',
    title: 'bypass rules for unattached endpoints only, each time it is written',
    needs: ['two-dma', 'bypass-config', 'map-unmap'],
    run: (s) => {
      const [a, b] = [s.dma.endpoint(0), s.dma.endpoint(1)];
      const domain = s.attached(a);
      const phys = mappedUnit(s, domain, 3);
      for (const on of [true, false, true, false]) {
        setBypass(s, on);
        checkIdentity(s, b, on, `bypass ${on ? 1 : 0}, an unattached endpoint`);
        checkIdentity(s, a, false, `bypass ${on ? 1 : 0}, an attached endpoint`);
        s.check(
          s.dma.write(a, unit(s, 3).virtStart, phys).reached,
          `with bypass ${on ? 1 : 0} a mapping is not used`,
        );
      }
    },
  }),
  defineCase({
    id: 'fact.iommu.bypass-identity#moved',
    title: 'an endpoint that moves from a bypass domain to a plain one is translated, and back',
    needs: ['dma', 'bypass-config', 'map-unmap'],
    wish: { bypass: false },
    run: (s) => {
      setBypass(s, false);
      const endpoint = s.dma.endpoint();
      s.attached(endpoint, BYPASS);
      const plain = s.domain();
      if (!s.attach(plain, endpoint).ok) s.skip('the device does not move endpoints');
      checkIdentity(s, endpoint, false, 'in the plain domain');
      const phys = memory(s);
      s.setUp(mapUnit(s, plain, 3, phys));
      s.check(s.dma.write(endpoint, unit(s, 3).virtStart, phys).reached, 'a mapping is not used');
      s.setUp(s.attach(s.domain(), endpoint, BYPASS));
      checkIdentity(s, endpoint, true, 'in the next bypass domain');
      s.must(
        !s.dma.write(endpoint, unit(s, 3).virtStart, phys).reached,
        'in the next bypass domain an old mapping is used',
      );
    },
  }),
  defineCase({
    id: 'fact.iommu.bypass-identity#refused',
    title: 'a refused ATTACH leaves an unattached endpoint to bypass',
    needs: ['dma', 'bypass-config'],
    wish: { bypass: true },
    run: (s) => {
      setBypass(s, true);
      const endpoint = s.dma.endpoint();
      if (s.attach(s.domain(), endpoint, 0x8000_0000).ok) s.skip('the ATTACH is not refused');
      checkIdentity(s, endpoint, true, 'after a refused ATTACH');
    },
  }),
  ...[false, true].map((bypass) =>
    defineCase({
      id: `fact.iommu.bypass-unnegotiated#${bypass ? 1 : 0}`,
      title: `bypass ${bypass ? 1 : 0} rules also for a driver that has not accepted BYPASS_CONFIG`,
      needs: ['dma', 'bypass-config'],
      wish: { bypass },
      run: (s) => {
        setBypass(s, bypass);
        s.start({ without: BYPASS_CONFIG });
        if (s.config.bypass !== (bypass ? 1 : 0)) s.skip('a device reset changes bypass');
        const endpoint = s.dma.endpoint();
        checkIdentity(s, endpoint, bypass, 'before ATTACH');
        const domain = s.attached(endpoint);
        checkIdentity(s, endpoint, false, 'after ATTACH');
        s.setUp(s.detach(domain, endpoint));
        checkIdentity(s, endpoint, bypass, 'after DETACH');
      },
    }),
  ),
  ...[false, true].map((bypass) =>
    defineCase({
      id: `iommu.dev.config.bypass-kept-on-device-reset#access-${bypass ? 1 : 0}`,
      title: `bypass ${bypass ? 1 : 0}, written over the other value, rules after a device reset`,
      needs: ['dma', 'bypass-config'],
      wish: { bypass: !bypass },
      run: (s) => {
        setBypass(s, bypass);
        s.target.writeStatus(0);
        const rules = (when: string): void => {
          const { reached } = tried(s, s.dma.endpoint());
          s.check(
            reached === bypass,
            `${when} an access ${reached ? 'goes through' : 'is refused'}`,
          );
        };
        rules('after the reset');
        s.start();
        rules('after the next initialisation');
      },
    }),
  ),
  ...[false, true].map((bypass) =>
    defineCase({
      id: `open.7.3#${bypass ? 1 : 0}`,
      title: `bypass ${bypass ? 1 : 0} rules from a device reset on, whatever the driver has got to`,
      needs: ['dma', 'bypass-config'],
      wish: { bypass },
      run: (s) => {
        setBypass(s, bypass);
        const endpoint = s.dma.endpoint();
        for (const status of [0, 1, 3]) {
          s.target.writeStatus(status);
          checkIdentity(s, endpoint, bypass, `with status ${status}`);
        }
      },
    }),
  ),
  defineCase({
    id: 'iommu.dev.req.unattached-no-access#no-bypass-feature',
    title: 'without any bypass feature an unattached endpoint reaches no memory',
    needs: ['dma', 'no-bypass-config'],
    wish: { withoutFeatures: BYPASS_CONFIG },
    run: (s) => {
      const endpoint = s.dma.endpoint();
      const phys = memory(s);
      s.must(!s.dma.write(endpoint, phys, phys).reached, 'the write went through');
      s.must(!s.dma.read(endpoint, phys, phys).reached, 'the read went through');
    },
  }),
];

/** A write by an address that is its own translation. */
function tried(s: Session, endpoint: number): Access {
  const phys = memory(s);
  return s.dma.write(endpoint, phys, phys);
}

/** Whether accesses reach memory by its own address, in the first and in the last of two pages. */
function checkIdentity(s: Session, endpoint: number, want: boolean, when: string): void {
  const phys = memory(s, 2);
  for (const at of [phys, phys + 0xff1n]) {
    for (const direction of ['write', 'read'] as const) {
      const { reached } = s.dma[direction](endpoint, at, at);
      if (want) s.check(reached, `${when}: a ${direction} does not reach its own address`);
      else s.must(!reached, `${when}: a ${direction} goes through untranslated`);
    }
  }
}
