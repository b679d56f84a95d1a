/** Section "IOMMU Device / ATTACH request", the device's side: what is refused, and what an attachment is. */

import { AttachFlag, IommuFeature, Status } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import { mappedUnit, memory, setBypass, unit } from '../place.ts';
import { attachBytes, withBytes } from '../request.ts';
import { BYPASS_CONFIG, type Session } from '../session.ts';

const { BYPASS } = AttachFlag;
const RESERVED_AT = 16;
const RESERVED_BYTES = 4;
/** Bits of the flags that no version of the standard has given a meaning. */
const UNKNOWN_FLAGS: readonly number[] = Array.from({ length: 31 }, (_, bit) => (2 << bit) >>> 0);

export const ATTACH_CASES: readonly DeviceCase[] = [
  ...Array.from({ length: RESERVED_BYTES }, (_, index) => RESERVED_AT + index).map((at) =>
    defineCase({
      id: `iommu.dev.attach.reserved-nonzero#${at}`,
      title: `a reserved byte, at ${at}, that is not 0 is refused with INVAL`,
      needs: ['endpoint'],
      run: (s) => {
        const domain = s.domain();
        for (const value of [1, 0x80, 0xff])
          s.expect(s.provoke(withBytes(attachBytes(domain, s.a), { [at]: value })), Status.INVAL);
        checkNoDomain(s, domain);
        s.check(s.attach(domain, s.a).ok, 'the endpoint cannot be attached any more');
      },
    }),
  ),
  defineCase({
    id: 'iommu.dev.attach.flags-unknown',
    title: 'each flag that nobody has defined is refused with INVAL',
    needs: ['endpoint'],
    run: (s) => {
      const domain = s.domain();
      for (const flags of [...UNKNOWN_FLAGS, 0xffff_fffe])
        s.expect(s.provoke(attachBytes(domain, s.a, flags)), Status.INVAL);
      checkNoDomain(s, domain);
      s.check(s.attach(domain, s.a).ok, 'the endpoint cannot be attached any more');
    },
  }),
  defineCase({
    id: 'iommu.dev.attach.flags-unknown#beside-bypass',
    title: 'an undefined flag beside BYPASS is refused with INVAL',
    needs: ['endpoint', 'bypass-config'],
    run: (s) => {
      const domain = s.domain();
      for (const flags of [2 | BYPASS, 0x8000_0001, 0xffff_ffff])
        s.expect(s.provoke(attachBytes(domain, s.a, flags)), Status.INVAL);
      checkNoDomain(s, domain);
    },
  }),
  defineCase({
    id: 'iommu.dev.attach.flags-unknown#moving',
    title: 'an undefined flag does not take an endpoint out of its domain',
    needs: ['endpoint', 'map-unmap'],
    run: (s) => {
      const domain = s.attached();
      s.expect(s.provoke(attachBytes(s.domain(), s.a, 0x10)), Status.INVAL);
      s.should(s.mapPages(domain, 0).ok, 'the refused ATTACH has ended the domain');
    },
  }),
  defineCase({
    id: 'iommu.dev.attach.endpoint-missing',
    title:
      'an endpoint that does not exist is refused with NOENT, and its domain does not come into being',
    needs: ['absent'],
    run: (s) => {
      const domain = s.domain();
      for (const { id, role } of s.target.endpoints)
        if (role === 'absent') s.expect(s.provoke(attachBytes(domain, id)), Status.NOENT);
      checkNoDomain(s, domain);
    },
  }),
  defineCase({
    id: 'iommu.dev.attach.endpoint-missing#joining',
    title: 'an endpoint that does not exist does not join a domain that does',
    needs: ['absent', 'endpoint', 'map-unmap'],
    run: (s) => {
      const domain = s.attached();
      s.expect(s.provoke(attachBytes(domain, s.absent)), Status.NOENT);
      s.setUp(s.detach(domain, s.a));
      s.check(!s.mapPages(domain, 0).ok, 'the domain lives on without its endpoint');
    },
  }),
  ...(['first', 'last'] as const).map((end) =>
    defineCase({
      id: `iommu.dev.attach.accepted-means-attached#${end}-domain`,
      title: `the ${end} domain number is as good as any`,
      needs: ['endpoint', 'map-unmap'],
      run: (s) => {
        const domain = s.config.domainRange[end];
        const answer = s.attach(domain, s.a);
        // The number of domains has a limit of its own in some devices.
        if (answer.status === Status.NOMEM) s.skip('the device has no room for this domain');
        s.check(answer.ok, `ATTACH to domain ${domain} gives ${answer.toString()}`);
        s.check(s.mapPages(domain, 0).ok, 'MAP to it is refused');
        s.check(s.unmapPages(domain, 0).ok, 'UNMAP in it is refused');
        s.check(s.detach(domain, s.a).ok, 'DETACH from it is refused');
        s.check(!s.mapPages(domain, 0).ok, 'it is still there after DETACH');
      },
    }),
  ),
  defineCase({
    id: 'iommu.dev.attach.accepted-means-attached',
    title: 'after OK the domain can be mapped in, and the endpoint detached',
    needs: ['endpoint', 'map-unmap'],
    run: (s) => {
      const domain = s.attached();
      s.expect(s.mapPages(domain, 0), Status.OK);
      s.expect(s.detach(domain, s.a), Status.OK);
    },
  }),
  defineCase({
    id: 'iommu.dev.attach.accepted-means-attached#every-endpoint',
    title: 'every endpoint can be attached and is in the domain it was attached to',
    needs: ['two-endpoints', 'map-unmap'],
    run: (s) => {
      const domains = s.present.map(({ id }) => s.attached(id));
      for (const domain of domains) s.expect(s.mapPages(domain, 0), Status.OK);
      for (const [index, { id }] of s.present.entries())
        s.expect(s.detach(domains[index] ?? 0, id), Status.OK);
      for (const domain of domains)
        s.check(!s.mapPages(domain, 0).ok, `domain ${domain} has outlived its endpoint`);
    },
  }),
  defineCase({
    id: 'iommu.dev.attach.accepted-means-attached#translated',
    title: 'after OK accesses of the endpoint are translated',
    needs: ['dma', 'map-unmap'],
    run: (s) => {
      for (const { id } of s.dma.endpoints) {
        const domain = s.attached(id);
        const phys = mappedUnit(s, domain, 3);
        const { virtStart } = unit(s, 3);
        s.check(s.dma.write(id, virtStart, phys).reached, 'a write does not arrive');
        s.check(s.dma.read(id, virtStart, phys).reached, 'a read does not see the memory');
      }
    },
  }),
  defineCase({
    id: 'iommu.dev.attach.accepted-means-attached#joined',
    title: 'an endpoint that joins a domain uses its mappings at once, as the first one does',
    needs: ['two-dma', 'map-unmap'],
    run: (s) => {
      const [a, b] = [s.dma.endpoint(0), s.dma.endpoint(1)];
      const domain = s.attached(a);
      const phys = mappedUnit(s, domain, 3);
      if (!s.attach(domain, b).ok) s.skip('the device does not share domains');
      const { virtStart } = unit(s, 3);
      const later = mappedUnit(s, domain, 5);
      for (const endpoint of [a, b]) {
        s.check(s.dma.write(endpoint, virtStart, phys).reached, 'a write does not arrive');
        const at = unit(s, 5).virtStart;
        s.check(s.dma.read(endpoint, at, later).reached, 'a later mapping is not seen by both');
      }
      s.setUp(s.unmap(domain, virtStart, unit(s, 3).virtEnd));
      for (const endpoint of [a, b])
        s.check(!s.dma.write(endpoint, virtStart, phys).reached, 'a removed mapping is used');
    },
  }),
  defineCase({
    id: 'open.2.3',
    title: 'domain numbers outside of domain_range may be refused',
    needs: ['endpoint', 'domain-range'],
    wish: { domainRange: { first: 16, last: 32 } },
    run: (s) => {
      const { first, last } = s.config.domainRange;
      for (const domain of [first - 1, last + 1]) {
        if (domain < 0 || domain > 0xffff_ffff) continue;
        const answer = s.provoke(attachBytes(domain, s.a));
        s.note(`domain ${domain}, outside of ${first} to ${last}: ${answer.toString()}`);
        if (answer.ok) s.detach(domain, s.a);
      }
      s.setUp(s.attach(first, s.a));
    },
  }),
  defineCase({
    id: 'open.2.4',
    title: 'domain_range may hold for a driver that has not accepted it',
    needs: ['endpoint', 'domain-range'],
    wish: { domainRange: { first: 16, last: 32 } },
    start: { without: 1n << BigInt(IommuFeature.DOMAIN_RANGE) },
    run: (s) => {
      const { first } = s.config.domainRange;
      if (first === 0) s.skip('the range begins at 0');
      s.note(`domain ${first - 1}: ${s.provoke(attachBytes(first - 1, s.a)).toString()}`);
    },
  }),
  defineCase({
    id: 'open.2.5',
    title: 'without DOMAIN_RANGE every number names a domain',
    needs: ['endpoint', 'no-domain-range'],
    wish: { withoutFeatures: 1n << BigInt(IommuFeature.DOMAIN_RANGE) },
    run: (s) => {
      for (const domain of [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
        const answer = s.provoke(attachBytes(domain, s.a));
        s.expect(answer, Status.OK, Status.NOMEM);
      }
    },
  }),
  defineCase({
    id: 'open.2.6',
    title: 'the BYPASS flag may be refused if BYPASS_CONFIG was not accepted',
    needs: ['endpoint', 'bypass-config'],
    start: { without: BYPASS_CONFIG },
    run: (s) => {
      const answer = s.provoke(attachBytes(s.domain(), s.a, BYPASS));
      s.expect(answer, Status.OK, Status.INVAL);
      s.note(answer.toString());
    },
  }),
  defineCase({
    id: 'open.2.6#not-offered',
    title: 'the BYPASS flag should be refused if BYPASS_CONFIG is not offered',
    needs: ['endpoint', 'no-bypass-config'],
    wish: { withoutFeatures: BYPASS_CONFIG },
    run: (s) => s.note(s.provoke(attachBytes(s.domain(), s.a, BYPASS)).toString()),
  }),
  defineCase({
    id: 'iommu.dev.attach.accepted-means-attached#leaves-bypass',
    title: 'an attached endpoint does not bypass, although it did before',
    needs: ['dma', 'bypass-config'],
    wish: { bypass: true },
    run: (s) => {
      setBypass(s, true);
      const endpoint = s.dma.endpoint();
      const phys = memory(s);
      s.attached(endpoint);
      s.must(!s.dma.write(endpoint, phys, phys).reached, 'a write bypasses the domain');
      s.must(!s.dma.read(endpoint, phys, phys).reached, 'a read bypasses the domain');
    },
  }),
];

function checkNoDomain(s: Session, domain: number): void {
  if (!s.has(IommuFeature.MAP_UNMAP)) return;
  s.check(!s.mapPages(domain, 0).ok, 'the refused ATTACH has made a domain');
}
