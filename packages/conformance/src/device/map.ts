/** Section "IOMMU Device / MAP request", the device's side. */

import { MapFlag, Status } from '@viommu/common';
import { type DeviceCase, defineCase } from '../case.ts';
import { mapBytes } from './request.ts';

const { READ } = MapFlag;

export const MAP_CASES: readonly DeviceCase[] = [
  defineCase({
    id: 'iommu.dev.map.overlap#exact',
    title: 'the same range again is refused with INVAL',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const domain = s.attached();
      const physStart = s.mapped(domain, 1, 4);
      const virtStart = s.page(1);
      const virtEnd = s.last(4);
      s.expect(s.provoke(mapBytes({ domain, virtStart, virtEnd, physStart })), Status.INVAL);
    },
  }),
  defineCase({
    id: 'iommu.dev.map.flags-unknown',
    title: 'a flag that nobody has defined is refused with INVAL, and nothing is mapped',
    needs: ['map-unmap', 'endpoint'],
    run: (s) => {
      const domain = s.attached();
      const [virtStart, virtEnd, physStart] = [s.page(0), s.last(0), s.physical(1)];
      for (const flags of [0x8, 0x8000_0001]) {
        const answer = s.provoke(mapBytes({ domain, virtStart, virtEnd, physStart, flags }));
        s.expect(answer, Status.INVAL);
      }
      s.must(s.mapPages(domain, 0).ok, 'a refused MAP has taken the range');
    },
  }),
  defineCase({
    id: 'iommu.dev.map.domain-missing',
    title: 'a domain that nobody has attached to is refused with NOENT',
    needs: ['map-unmap'],
    run: (s) => {
      const domain = s.domain();
      const [virtStart, virtEnd, physStart] = [s.page(0), s.last(0), s.physical(1)];
      s.expect(s.provoke(mapBytes({ domain, virtStart, virtEnd, physStart })), Status.NOENT);
    },
  }),
  defineCase({
    id: 'iommu.dev.map.write-needs-flag',
    title: 'an endpoint cannot write what is mapped for reading only',
    needs: ['map-unmap', 'dma'],
    run: (s) => {
      const endpoint = s.dma.endpoint();
      const domain = s.attached(endpoint);
      const phys = s.dma.pages();
      s.mapped(domain, 0, 1, { physStart: phys, flags: READ });
      if (!s.dma.read(endpoint, s.page(0), phys).reached) s.skip('the mapping cannot be read');
      s.check(!s.dma.write(endpoint, s.page(0), phys).reached, 'the write went through');
    },
  }),
];
