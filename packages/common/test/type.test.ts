/**
 * What must not compile. Each `@ts-expect-error` is a test that the compiler runs: it fails if the line below it is
 * accepted. Here nothing of it is executed.
 */

import {
  type DescriptorIndex,
  type DomainId,
  type EndpointId,
  type ErrorCode,
  type GuestPhysical,
  type Iova,
  MapRequest,
  type RingIndex,
  RequestTail,
  type Status,
  type StreamEvent,
  domainId,
  guestPhysical,
  iova,
  range,
  struct,
} from '@viommu/common';
import { describe, expect, expectTypeOf, it } from 'vitest';

interface Kinds {
  iova: Iova;
  phys: GuestPhysical;
  domain: DomainId;
  endpoint: EndpointId;
  descriptor: DescriptorIndex;
  ring: RingIndex;
}

/** Compiled and never called. */
export function mustNotCompile(kinds: Kinds): void {
  // @ts-expect-error a bare bigint is no address
  kinds.iova = 0n;
  // @ts-expect-error a bare bigint is no address
  kinds.phys = 0n;
  // @ts-expect-error only translation leads from one address space to the other
  kinds.phys = kinds.iova;
  // @ts-expect-error and nothing leads back
  kinds.iova = kinds.phys;
  // @ts-expect-error a bare number is no domain
  kinds.domain = 0;
  // @ts-expect-error an endpoint is no domain
  kinds.domain = kinds.endpoint;
  // @ts-expect-error a domain is no endpoint
  kinds.endpoint = kinds.domain;
  // @ts-expect-error a free-running index is no index into a table
  kinds.descriptor = kinds.ring;
  // @ts-expect-error nor the other way round
  kinds.ring = kinds.descriptor;
  // @ts-expect-error arithmetic on an address gives a plain number, which must pass a door again
  kinds.iova = kinds.iova + 1n;
  // @ts-expect-error the ends of a range lie in one address space
  range<Iova>(kinds.iova, kinds.phys);
  // @ts-expect-error le64 fields take a bigint
  MapRequest.encode({ type: 3, domain: 1, virtStart: 1, virtEnd: 1n, physStart: 1n, flags: 0 });
  // @ts-expect-error a field that is not reserved must be given
  RequestTail.encode({});
  // @ts-expect-error a field that does not exist cannot be given
  RequestTail.encode({ status: 0, state: 0 });
  // @ts-expect-error a field has a type of the standard
  struct('odd', 3, { field: 'le24' });
  // @ts-expect-error names are for fields that exist
  struct('odd', 1, { field: 'u8' }, { felt: { values: {} } });
  // @ts-expect-error codes come from one list
  const code: ErrorCode = 'EWHATEVER';
  // @ts-expect-error 9 is no status
  const status: Status = 9;
  // @ts-expect-error an event has all its fields
  const event: StreamEvent = { kind: 'detach', domain: kinds.domain };
  void [code, status, event];
}

describe('types', () => {
  it('of a structure follow from its fields', () => {
    expectTypeOf<ReturnType<typeof MapRequest.read>>().toEqualTypeOf<{
      type: number;
      reserved0: Uint8Array;
      domain: number;
      virtStart: bigint;
      virtEnd: bigint;
      physStart: bigint;
      flags: number;
    }>();
    expectTypeOf(MapRequest.offset.virtStart).toBeNumber();
    expect(MapRequest.offset.virtStart).toBe(8);
  });

  it('of addresses and ids come from their doors', () => {
    expectTypeOf(iova(1n)).toEqualTypeOf<Iova>();
    expectTypeOf(guestPhysical(1n)).toEqualTypeOf<GuestPhysical>();
    expectTypeOf(domainId(1)).toEqualTypeOf<DomainId>();
    expectTypeOf(range(iova(1n), iova(2n)).last).toEqualTypeOf<Iova>();
    expect(range(iova(1n), iova(2n))).toEqual({ start: 1n, last: 2n });
  });
});
