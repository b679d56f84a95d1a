/** What the chapter on the IOMMU states without a keyword: the life of domains. */

import { Status } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import { mapBytes } from '../request.ts';

export const FACT_CASES: readonly DeviceCase[] = [
  defineCase({
    id: 'fact.iommu.attach-creates',
    title: 'ATTACH makes a domain that was not there',
    needs: ['endpoint', 'map-unmap'],
    run: (s) => {
      const domain = s.domain();
      const [virtStart, virtEnd, physStart] = [s.page(0), s.last(0), s.physical(1)];
      const map = mapBytes({ domain, virtStart, virtEnd, physStart });
      s.expect(s.provoke(map), Status.NOENT);
      s.setUp(s.attach(domain, s.a));
      s.expect(s.send(map), Status.OK);
    },
  }),
  defineCase({
    id: 'fact.iommu.last-detach-destroys',
    title: 'a domain ends with the last of its endpoints, and its number can be used again',
    needs: ['two-endpoints', 'map-unmap'],
    run: (s) => {
      const domain = s.attached(s.a);
      s.mapped(domain, 1);
      if (!s.attach(domain, s.b).ok) s.skip('the device does not share domains');
      s.setUp(s.detach(domain, s.a));
      s.expect(s.mapPages(domain, 2), Status.OK);
      s.setUp(s.detach(domain, s.b));
      s.expect(s.mapPages(domain, 3), Status.NOENT);
      s.setUp(s.attach(domain, s.b));
      for (const page of [1, 2]) s.expect(s.mapPages(domain, page), Status.OK);
    },
  }),
  defineCase({
    id: 'fact.iommu.single-domain',
    title: 'an endpoint that has moved is not in the domain it was in',
    needs: ['two-endpoints', 'map-unmap'],
    run: (s) => {
      const first = s.attached(s.a);
      if (!s.attach(first, s.b).ok) s.skip('the device does not share domains');
      const second = s.domain();
      if (!s.attach(second, s.a).ok) s.skip('the device does not move endpoints');
      // The other endpoint was the last of the first domain.
      s.setUp(s.detach(first, s.b));
      s.check(!s.mapPages(first, 0).ok, 'it is still in the domain it was in');
      s.check(s.mapPages(second, 0).ok, 'it is not in its new domain');
    },
  }),
];
