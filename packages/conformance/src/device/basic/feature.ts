/** Sections "Feature Bits" and "Reserved Feature Bits", the device's side. */

import { DeviceStatus, VirtioFeature, featureMask, featureSet } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import type { Session } from '../session.ts';
import { negotiate } from '../start.ts';

const { VERSION_1, ACCESS_PLATFORM, ORDER_PLATFORM, SR_IOV, ADMIN_VQ } = VirtioFeature;
const { NOTIF_CONFIG_DATA } = VirtioFeature;
const { FEATURES_OK } = DeviceStatus;
const ROUNDS = 100;

/** Bits of features that have a meaning: of the IOMMU, of rings, and of devices. */
const DEFINED = [
  ...Array.from({ length: 7 }, (_, bit) => bit),
  VirtioFeature.INDIRECT_DESC,
  VirtioFeature.EVENT_IDX,
  ...Array.from({ length: 12 }, (_, bit) => 32 + bit),
];

/** Bits that a driver leaves out at its own risk. */
const PLATFORM = {
  'basic.dev.reserved.version-1-required': VERSION_1,
  'basic.dev.reserved.access-platform-required': ACCESS_PLATFORM,
  'basic.dev.reserved.order-platform-required': ORDER_PLATFORM,
} as const;

export const BASIC_FEATURE_CASES: readonly DeviceCase[] = [
  defineCase({
    id: 'basic.dev.reserved.version-1-offer',
    title: 'VERSION_1 is offered',
    start: false,
    run: (s) => s.check(s.offers(VERSION_1), 'bit 32 is not offered'),
  }),
  defineCase({
    id: 'basic.dev.features.offer-dependencies',
    title: 'no feature is offered without those it depends on',
    start: false,
    // Nothing that an IOMMU has depends on anything but VERSION_1.
    run: (s) => s.check(s.offers(VERSION_1), 'VERSION_1 is not offered'),
  }),
  defineCase({
    id: 'basic.dev.features.offer-only-supported',
    title: 'only bits that have a meaning are offered',
    start: false,
    run: (s) => {
      for (let bit = 0; bit < 64; bit += 1)
        s.check(!s.offers(bit) || DEFINED.includes(bit), `bit ${bit} is offered`);
      if (s.target.transport === 'mmio')
        for (const bit of [SR_IOV, ADMIN_VQ])
          s.check(!s.offers(bit), `bit ${bit}, which is of PCI, is offered`);
    },
  }),
  defineCase({
    id: 'open.11.15',
    title: 'NOTIF_CONFIG_DATA is not offered where it is not defined',
    needs: ['mmio'],
    start: false,
    run: (s) => s.check(!s.offers(NOTIF_CONFIG_DATA), 'bit 39 is offered'),
  }),
  defineCase({
    id: 'open.11.20',
    title: 'ADMIN_VQ is not offered where it is not defined',
    needs: ['mmio'],
    start: false,
    run: (s) => s.check(!s.offers(ADMIN_VQ), 'bit 41 is offered'),
  }),
  defineCase({
    id: 'basic.dev.reserved.sr-iov-not-otherwise',
    title: 'SR_IOV is not offered by a device that is not on PCI',
    start: false,
    run: (s) => {
      if (s.target.transport === 'pci') s.skip('the suite does not see the capabilities of PCI');
      s.check(!s.offers(SR_IOV), 'bit 37 is offered');
    },
  }),
  defineCase({
    id: 'basic.dev.features.accept-subsets',
    title: 'every offered feature but VERSION_1 can be left out',
    start: false,
    run: (s) => {
      for (let bit = 0; bit < 64; bit += 1) {
        if (!s.offers(bit) || Object.values(PLATFORM).some((one) => one === bit)) continue;
        s.check(
          negotiate(s.target, s.offered & ~featureMask(bit)),
          `without bit ${bit} it refuses`,
        );
      }
      const least = s.offered & (featureMask(VERSION_1) | featureMask(ACCESS_PLATFORM) | 4n);
      s.check(negotiate(s.target, least), 'VERSION_1 and MAP_UNMAP alone are refused');
    },
  }),
  defineCase({
    id: 'basic.dev.features.accept-subsets#least',
    title: 'a driver that accepts MAP_UNMAP and no more of the IOMMU is served',
    needs: ['endpoint', 'map-unmap'],
    start: {
      accept:
        featureMask(VERSION_1) | featureMask(ACCESS_PLATFORM) | featureMask(ORDER_PLATFORM) | 4n,
    },
    run: (s) => {
      const domain = s.domain();
      s.check(s.attach(domain, s.a).ok, 'ATTACH is refused');
      s.check(s.mapPages(domain, 0).ok, 'MAP is refused');
      s.check(s.unmapPages(domain, 0).ok, 'UNMAP is refused');
      s.check(s.detach(domain, s.a).ok, 'DETACH is refused');
    },
  }),
  defineCase({
    id: 'basic.dev.features.refuse-clears-features-ok',
    title: 'features that were not offered are refused, or the device works without them',
    start: false,
    run: (s) => {
      // Not everything at once: what is refused is then known.
      for (const bit of [7, 24, 30, 42, 50, 63]) {
        if (s.offers(bit)) continue;
        const agreed = negotiate(s.target, acceptable(s) | featureMask(bit));
        s.note(`bit ${bit}: ${agreed ? 'kept' : 'refused'}`);
        if (agreed) continue;
        const status = s.target.readStatus();
        s.check((status & FEATURES_OK) === 0, 'FEATURES_OK comes back');
      }
      s.start();
      s.checkServes();
    },
  }),
  defineCase({
    id: 'open.11.6',
    title: 'with a feature that was not offered the device refuses, or works with the others',
    needs: ['endpoint'],
    run: (s) => {
      const agreed = negotiate(s.target, acceptable(s) | featureMask(24));
      s.note(agreed ? 'it keeps FEATURES_OK' : 'it refuses');
      s.start();
      s.check(s.attach(s.domain(), s.a).ok, 'it does not work afterwards');
    },
  }),
  defineCase({
    id: 'basic.dev.features.renegotiation',
    title: `what was agreed to once is agreed to ${ROUNDS} times`,
    start: false,
    run: (s) => {
      const features = acceptable(s);
      if (!negotiate(s.target, features)) s.skip('it was never agreed to');
      for (let round = 0; round < ROUNDS; round += 1)
        s.check(negotiate(s.target, features), `it is refused in round ${round}`);
    },
  }),
  ...Object.entries(PLATFORM).map(([id, bit]) =>
    defineCase({
      id,
      title: `the device may refuse to work without feature ${bit}`,
      start: false,
      run: (s) => {
        if (!s.offers(bit)) s.skip(`the device does not offer feature ${bit}`);
        const agreed = negotiate(s.target, acceptable(s) & ~featureMask(bit));
        s.note(agreed ? 'it keeps FEATURES_OK' : 'it refuses');
      },
    }),
  ),
  defineCase({
    id: 'open.11.7',
    title: 'without VERSION_1 the device works or refuses',
    start: false,
    run: (s) =>
      s.note(negotiate(s.target, acceptable(s) & ~featureMask(VERSION_1)) ? 'works' : 'refuses'),
  }),
  defineCase({
    id: 'open.11.5',
    title: 'features written after FEATURES_OK do no harm',
    needs: ['endpoint'],
    run: (s) => {
      s.target.writeFeatures(0n);
      s.check(s.attach(s.domain(), s.a).ok, 'ATTACH is refused');
    },
  }),
];

/** What the suite would accept, whatever the format of the rings. */
function acceptable({ offered }: Session): bigint {
  const rings = [VirtioFeature.RING_PACKED, VirtioFeature.NOTIFICATION_DATA, NOTIF_CONFIG_DATA];
  return rings.reduce((features, bit) => features & ~featureMask(bit), offered) & known();
}

function known(): bigint {
  return featureSet(DEFINED);
}
