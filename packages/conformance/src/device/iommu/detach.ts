/** Section "IOMMU Device / DETACH request", the device's side. */

import { Status } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import { mappedUnit, setBypass, unit } from '../place.ts';
import { detachBytes, withBytes } from '../request.ts';

const RESERVED_AT = 12;
const RESERVED_END = 20;

export const DETACH_CASES: readonly DeviceCase[] = [
  defineCase({
    id: 'iommu.dev.detach.reserved-ignored',
    title: 'reserved bytes make no difference, whatever is in them',
    needs: ['endpoint', 'map-unmap'],
    run: (s) => {
      const each = Array.from({ length: RESERVED_END - RESERVED_AT }, (_, index) => [
        RESERVED_AT + index,
      ]);
      for (const places of [...each, each.flat()]) {
        const domain = s.attached();
        const change = Object.fromEntries(places.map((at) => [at, 0xff]));
        s.expect(s.provoke(withBytes(detachBytes(domain, s.a), change)), Status.OK);
        s.check(!s.mapPages(domain, 0).ok, 'the endpoint is still attached');
      }
    },
  }),
  defineCase({
    id: 'iommu.dev.detach.endpoint-missing',
    title: 'an endpoint that does not exist is refused with NOENT',
    needs: ['absent', 'endpoint'],
    run: (s) => {
      const missing = s.domain();
      const domain = s.attached();
      for (const { id, role } of s.target.endpoints)
        if (role === 'absent')
          for (const from of [missing, domain])
            s.expect(s.provoke(detachBytes(from, id)), Status.NOENT);
      s.check(s.detach(domain, s.a).ok, 'the endpoint that is attached has been detached');
    },
  }),
  ...(['absent', 'other'] as const).map((which) =>
    defineCase({
      id: `iommu.dev.detach.wrong-domain#${which}`,
      title: `DETACH from ${which === 'absent' ? 'a domain that does not exist' : 'another domain'} is INVAL or OK`,
      needs: which === 'absent' ? ['endpoint'] : ['two-endpoints'],
      run: (s) => {
        s.attached(s.a);
        const domain = which === 'absent' ? s.domain() : s.attached(s.b);
        const answer = s.provoke(detachBytes(domain, s.a));
        s.expect(answer, Status.INVAL, Status.OK);
        s.note(answer.toString());
      },
    }),
  ),
  defineCase({
    id: 'open.3.1',
    title:
      'after INVAL for the wrong domain the endpoint is still attached, and the other domain as it was',
    needs: ['two-endpoints', 'map-unmap'],
    run: (s) => {
      const own = s.attached(s.a);
      s.mapped(own, 1);
      const other = s.attached(s.b);
      for (const domain of [s.domain(), other]) {
        const answer = s.provoke(detachBytes(domain, s.a));
        s.expect(answer, Status.INVAL, Status.OK);
        s.note(`${domain === other ? 'another domain' : 'no domain'}: ${answer.toString()}`);
        s.must(s.mapPages(other, domain === other ? 1 : 0).ok, 'the other domain is gone');
        if (answer.ok) return;
        s.check(s.mapPages(own, 1).status === Status.INVAL, 'the endpoint was detached');
      }
      s.check(s.detach(own, s.a).ok, 'the endpoint cannot be detached from its own domain');
    },
  }),
  ...(['never', 'before'] as const).map((when) =>
    defineCase({
      id: `open.3.2#${when}`,
      title: `DETACH of an endpoint that was ${when === 'never' ? 'never attached' : 'detached before'} is INVAL or OK`,
      needs: ['two-endpoints'],
      run: (s) => {
        const domain = s.attached(s.b);
        if (when === 'before') {
          const own = s.attached(s.a);
          s.setUp(s.detach(own, s.a));
          s.expect(s.provoke(detachBytes(own, s.a)), Status.INVAL, Status.OK);
        }
        const answer = s.provoke(detachBytes(domain, s.a));
        s.note(answer.toString());
        s.must(s.detach(domain, s.b).ok, 'the endpoint that is attached has been detached');
        s.expect(answer, Status.INVAL, Status.OK);
      },
    }),
  ),
  defineCase({
    id: 'open.3.3',
    title: 'one of two endpoints can be detached',
    needs: ['two-endpoints', 'map-unmap'],
    run: (s) => {
      const domain = s.attached(s.a);
      s.mapped(domain, 0);
      if (!s.attach(domain, s.b).ok) s.skip('the device does not share domains');
      const answer = s.provoke(detachBytes(domain, s.a));
      s.note(answer.toString());
      s.expect(answer, Status.OK, Status.UNSUPP);
      s.must(s.mapPages(domain, 0).status === Status.INVAL, 'the domain has lost its mapping');
    },
  }),
  defineCase({
    id: 'open.3.4',
    title: 'mappings end with the last endpoint of their domain',
    needs: ['endpoint', 'map-unmap'],
    run: (s) => {
      const domain = s.attached();
      s.mapped(domain, 0, 8);
      s.setUp(s.detach(domain, s.a));
      s.expect(s.mapPages(domain, 20), Status.NOENT);
      s.setUp(s.attach(domain, s.a));
      s.check(s.mapPages(domain, 3).ok, 'a mapping from before is still there');
    },
  }),
  ...[false, true].map((bypass) =>
    defineCase({
      id: `iommu.dev.detach.no-access-after${bypass ? '#bypass' : ''}`,
      title: `after DETACH nothing that the domain had mapped can be reached, with bypass ${bypass ? 1 : 0}`,
      needs: bypass ? ['dma', 'map-unmap', 'bypass-config'] : ['dma', 'map-unmap'],
      wish: { bypass },
      run: (s) => {
        setBypass(s, bypass);
        const endpoint = s.dma.endpoint();
        const domain = s.attached(endpoint);
        const { virtStart } = unit(s, 2);
        const phys = mappedUnit(s, domain, 2);
        if (!s.dma.write(endpoint, virtStart, phys).reached) s.skip('the mapping is not used');
        s.setUp(s.detach(domain, endpoint));
        s.check(!s.dma.write(endpoint, virtStart, phys).reached, 'a write uses the mapping');
        s.check(!s.dma.read(endpoint, virtStart, phys).reached, 'a read uses the mapping');
      },
    }),
  ),
  defineCase({
    id: 'iommu.dev.detach.no-access-after#shared',
    title: 'after DETACH of one of two endpoints only the other uses the mappings, old and new',
    needs: ['two-dma', 'map-unmap'],
    wish: { bypass: false },
    run: (s) => {
      setBypass(s, false);
      const [a, b] = [s.dma.endpoint(0), s.dma.endpoint(1)];
      const domain = s.attached(a);
      if (!s.attach(domain, b).ok) s.skip('the device does not share domains');
      const old = mappedUnit(s, domain, 2);
      for (const endpoint of [a, b])
        if (!s.dma.write(endpoint, unit(s, 2).virtStart, old).reached)
          s.skip('the mapping is not used');
      s.setUp(s.detach(domain, a));
      const late = mappedUnit(s, domain, 4);
      for (const [index, phys] of [
        [2, old],
        [4, late],
      ] as const) {
        const { virtStart } = unit(s, index);
        s.check(!s.dma.write(a, virtStart, phys).reached, 'a write uses the mapping');
        s.check(!s.dma.read(a, virtStart, phys).reached, 'a read uses the mapping');
        s.must(s.dma.write(b, virtStart, phys).reached, 'the other endpoint has lost its access');
      }
    },
  }),
  defineCase({
    id: 'iommu.dev.detach.no-access-after#another',
    title: 'an endpoint that is detached and attached to a new domain finds nothing mapped there',
    needs: ['dma', 'map-unmap'],
    wish: { bypass: false },
    run: (s) => {
      setBypass(s, false);
      const endpoint = s.dma.endpoint();
      const domain = s.attached(endpoint);
      const { virtStart } = unit(s, 2);
      const phys = mappedUnit(s, domain, 2);
      if (!s.dma.read(endpoint, virtStart, phys).reached) s.skip('the mapping is not used');
      s.setUp(s.detach(domain, endpoint));
      for (const next of [s.domain(), domain]) {
        s.setUp(s.attach(next, endpoint));
        s.check(!s.dma.write(endpoint, virtStart, phys).reached, 'a write uses the old mapping');
        s.check(!s.dma.read(endpoint, virtStart, phys).reached, 'a read uses the old mapping');
        s.setUp(s.detach(next, endpoint));
      }
    },
  }),
];
