/** Section "IOMMU Device / ATTACH request", the device's side: domains of several endpoints, and endpoints that move. */

import { AttachFlag, Status } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import { mappedUnit, setBypass, unit } from '../place.ts';
import { attachBytes, probeBytes } from '../request.ts';
import type { Session } from '../session.ts';

const { BYPASS } = AttachFlag;

export const ATTACH_SHARED_CASES: readonly DeviceCase[] = [
  defineCase({
    id: 'iommu.dev.attach.shared-domain-allowed',
    title: 'a second endpoint may join a domain',
    needs: ['two-endpoints'],
    run: (s) => {
      const answer = s.provoke(attachBytes(s.attached(s.a), s.b));
      s.expect(answer, Status.OK, Status.UNSUPP);
      s.note(`the second ATTACH gives ${answer.toString()}`);
    },
  }),
  defineCase({
    id: 'iommu.dev.attach.shared-domain-refused',
    title: 'a device that does not share the domain says UNSUPP, and leaves the endpoint as it was',
    needs: ['two-endpoints', 'map-unmap'],
    run: (s) => {
      const domain = s.attached(s.a);
      const own = s.attached(s.b);
      const answer = s.provoke(attachBytes(domain, s.b));
      if (answer.ok) {
        s.note('the domain is shared');
        s.setUp(s.detach(domain, s.a));
        s.check(s.mapPages(domain, 0).ok, 'the second endpoint is not in the domain');
        s.check(s.detach(domain, s.b).ok, 'the second endpoint cannot be detached from it');
        return;
      }
      s.expect(answer, Status.UNSUPP);
      s.check(s.mapPages(own, 0).ok, 'the endpoint has lost the domain it was in');
    },
  }),
  ...[0, BYPASS].map((flags) =>
    defineCase({
      id: `iommu.dev.attach.bypass-flag-mismatch#${flags === 0 ? 'plain-domain' : 'bypass-domain'}`,
      title: `joining a ${flags === 0 ? 'plain' : 'bypass'} domain with the other flag is refused with INVAL`,
      needs: ['two-endpoints', 'bypass-config'],
      run: (s) => {
        const domain = s.attached(s.a, flags);
        s.expect(s.provoke(attachBytes(domain, s.b, flags ^ BYPASS)), Status.INVAL);
        s.should(s.detach(domain, s.a).ok, 'the refused ATTACH has taken out the other endpoint');
      },
    }),
  ),
  defineCase({
    id: 'iommu.dev.attach.bypass-flag-mismatch#agreeing',
    title: 'joining a bypass domain with the flag is not refused as a mismatch',
    needs: ['two-endpoints', 'bypass-config'],
    run: (s) => {
      const answer = s.provoke(attachBytes(s.attached(s.a, BYPASS), s.b, BYPASS));
      s.expect(answer, Status.OK, Status.UNSUPP);
    },
  }),
  defineCase({
    id: 'iommu.dev.attach.move-detaches-first',
    title: 'an ATTACH to another domain takes the endpoint there',
    needs: ['endpoint', 'map-unmap'],
    run: (s) => {
      const [, second] = moved(s);
      s.check(s.mapPages(second, 0).ok, 'the second domain does not exist');
      s.expect(s.detach(second, s.a), Status.OK);
      s.check(!s.mapPages(second, 1).ok, 'the endpoint was in the second domain all the same');
    },
  }),
  defineCase({
    id: 'iommu.dev.attach.move-detaches-first#translated',
    title: 'a moved endpoint uses the mappings of its new domain',
    needs: ['dma', 'map-unmap'],
    run: (s) => {
      const endpoint = s.dma.endpoint();
      const { virtStart } = unit(s, 2);
      const first = s.attached(endpoint);
      const old = mappedUnit(s, first, 2);
      const second = s.domain();
      if (!s.attach(second, endpoint).ok) s.skip('the device does not move endpoints');
      s.must(
        !s.dma.write(endpoint, virtStart, old).reached,
        'a write reaches what the domain it has left has mapped',
      );
      const phys = mappedUnit(s, second, 2);
      s.check(s.dma.write(endpoint, virtStart, phys).reached, 'a write does not arrive');
      s.check(s.dma.read(endpoint, virtStart, phys).reached, 'a read does not see the memory');
    },
  }),
  defineCase({
    id: 'iommu.dev.attach.move-acts-like-detach',
    title: 'a domain ends when its last endpoint moves away',
    needs: ['endpoint', 'map-unmap'],
    run: (s) => {
      const first = s.attached();
      s.mapped(first, 1);
      const second = s.domain();
      if (!s.attach(second, s.a).ok) s.skip('the device does not move endpoints');
      s.expect(s.mapPages(first, 3), Status.NOENT);
      s.expect(s.unmapPages(first, 1), Status.NOENT);
      // The number begins anew.
      s.setUp(s.attach(first, s.a));
      s.check(s.mapPages(first, 1).ok, 'a mapping of the domain that was is still there');
    },
  }),
  defineCase({
    id: 'iommu.dev.attach.move-acts-like-detach#shared',
    title: 'a domain stays as it is when one of two endpoints moves away',
    needs: ['two-endpoints', 'map-unmap'],
    run: (s) => {
      const first = s.attached(s.a);
      s.mapped(first, 1);
      if (!s.attach(first, s.b).ok) s.skip('the device does not share domains');
      if (!s.attach(s.domain(), s.a).ok) s.skip('the device does not move endpoints');
      s.check(!s.mapPages(first, 1).ok, 'the domain has lost its mapping');
      s.check(s.mapPages(first, 3).ok, 'the domain is gone');
      s.check(s.unmapPages(first, 1, 3).ok, 'UNMAP is refused');
      s.expect(s.detach(first, s.b), Status.OK);
    },
  }),
  defineCase({
    id: 'iommu.dev.attach.move-refused',
    title: 'a device that does not move an endpoint says UNSUPP, and leaves it where it was',
    needs: ['endpoint', 'map-unmap'],
    run: (s) => {
      const first = s.attached();
      const answer = s.provoke(attachBytes(s.domain(), s.a));
      if (answer.ok) return s.note('the device moves endpoints');
      s.expect(answer, Status.UNSUPP);
      s.check(s.mapPages(first, 0).ok, 'the endpoint has lost the domain it was in');
    },
  }),
  defineCase({
    id: 'iommu.dev.attach.compatible-properties',
    title: 'endpoints with the same properties share a domain',
    needs: ['two-endpoints', 'probe'],
    run: (s) => {
      const [a, b] = sameProperties(s);
      const domain = s.attached(a);
      const answer = s.provoke(attachBytes(domain, b));
      s.expect(answer, Status.OK, Status.UNSUPP);
      s.note(`the second ATTACH gives ${answer.toString()}`);
    },
  }),
  defineCase({
    id: 'iommu.dev.attach.incompatible-properties',
    title:
      'an endpoint whose reserved region is mapped in the domain joins it or is refused with UNSUPP',
    needs: ['two-endpoints', 'map-unmap', 'reserved'],
    run: (s) => {
      const [joining, region] = regionOfOne(s);
      const other = s.present.find(({ id }) => id !== joining)?.id ?? s.b;
      const domain = s.attached(other);
      const virtStart = region.start & -s.granule;
      s.setUp(
        s.map({
          domain,
          virtStart,
          virtEnd: region.last | (s.granule - 1n),
          physStart: s.physical(1),
        }),
      );
      const answer = s.provoke(attachBytes(domain, joining));
      s.expect(answer, Status.OK, Status.UNSUPP);
      s.note(`ATTACH gives ${answer.toString()}`);
      if (!answer.ok)
        s.check(s.detach(domain, other).ok, 'the endpoint that was there is not attached any more');
    },
  }),
  defineCase({
    id: 'open.2.1',
    title: 'attaching to the same domain again keeps its mappings, drops them, or is UNSUPP',
    needs: ['endpoint', 'map-unmap'],
    run: (s) => {
      const domain = s.attached();
      s.mapped(domain, 1);
      const answer = s.provoke(attachBytes(domain, s.a));
      s.expect(answer, Status.OK, Status.UNSUPP);
      const free = s.mapPages(domain, 1).ok;
      s.note(`${answer.toString()}; the mapping is ${free ? 'gone' : 'still there'}`);
      s.must(free || s.unmapPages(domain, 1).ok, 'the mapping can neither be made nor removed');
      s.must(s.detach(domain, s.a).ok, 'the endpoint is not attached any more');
    },
  }),
  defineCase({
    id: 'open.2.2',
    title: 'after a move that was refused for its flag the endpoint is where it was, or nowhere',
    needs: ['two-endpoints', 'bypass-config', 'map-unmap'],
    run: (s) => {
      const domain = s.attached(s.a, BYPASS);
      const old = s.attached(s.b);
      const answer = s.provoke(attachBytes(domain, s.b));
      if (answer.ok) s.skip('the move is not refused');
      s.note(s.mapPages(old, 0).ok ? 'it is where it was' : 'it is attached nowhere');
    },
  }),
  defineCase({
    id: 'open.2.7',
    title: 'the only endpoint of a bypass domain asks for the same domain without the flag',
    needs: ['endpoint', 'bypass-config'],
    run: (s) => {
      const answer = s.provoke(attachBytes(s.attached(s.a, BYPASS), s.a));
      s.expect(answer, Status.OK, Status.INVAL);
      s.note(answer.toString());
    },
  }),
  defineCase({
    id: 'open.2.9',
    title: 'an endpoint that moves into a domain uses its mappings at once',
    needs: ['two-dma', 'map-unmap'],
    run: (s) => {
      const [a, b] = [s.dma.endpoint(0), s.dma.endpoint(1)];
      setBypass(s, false);
      const domain = s.attached(a);
      const phys = mappedUnit(s, domain, 4);
      s.attached(b);
      if (!s.attach(domain, b).ok) s.skip('the device does not share domains or move endpoints');
      s.check(s.dma.write(b, unit(s, 4).virtStart, phys).reached, 'a write does not arrive');
    },
  }),
];

/** The first endpoint, moved from one domain to another; both numbers. */
function moved(s: Session): [number, number] {
  const first = s.attached();
  const second = s.domain();
  const answer = s.provoke(attachBytes(second, s.a));
  s.expect(answer, Status.OK, Status.UNSUPP);
  if (!answer.ok) s.skip('the device does not move endpoints');
  return [first, second];
}

/** Two endpoints for which PROBE says the same. */
function sameProperties(s: Session): [number, number] {
  const seen = new Map<string, number>();
  for (const { id } of s.present) {
    const answer = s.setUp(s.send(probeBytes(id), { writable: s.config.probeSize + 4 }));
    const key = answer.bytes.join();
    const twin = seen.get(key);
    if (twin !== undefined) return [twin, id];
    seen.set(key, id);
  }
  return s.skip('no two endpoints have the same properties');
}

/** An endpoint with a region that another one does not have. */
function regionOfOne(s: Session): [number, { start: bigint; last: bigint }] {
  for (const { id, reserved = [] } of s.present)
    for (const region of reserved) {
      const others = s.present.filter((other) => other.id !== id);
      const free = others.some(({ reserved: theirs = [] }) =>
        theirs.every(({ start, last }) => last < region.start || start > region.last),
      );
      if (free && others[0] !== undefined) return [id, region];
    }
  return s.skip('all endpoints have the same regions');
}
