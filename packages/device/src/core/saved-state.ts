/**
 * The state of an IOMMU as bytes: its endpoints, its domains, and what is attached and mapped there. Decision 0012.
 *
 * Saved requests are handled anew, in a second state, by the functions that handle requests: so the result is one that a
 * driver could have reached, every bound holds, and the first state stays as it is until all is well.
 */

import {
  AttachFlag,
  type ImageReader,
  ImageWriter,
  Status,
  type Struct,
  addressAt,
  checkSaved,
  offsetInPage,
  pageOf,
  struct,
} from '@viommu/common';
import { attach } from './attach.ts';
import { map } from './map.ts';
import type { IommuState } from './state.ts';

const headFields = { bypass: 'le32', endpoints: 'le32', domains: 'le32' } as const;
/** The endpoints follow in the order of their numbers, then the domains in the order in which they began. */
const StateHead: Struct<typeof headFields> = struct('viommu_state', 12, headFields);

const endpointFields = { id: 'le32', propertyBytes: 'le32' } as const;
/** One endpoint; the properties that a PROBE returns follow. */
const SavedEndpoint: Struct<typeof endpointFields> = struct('viommu_endpoint', 8, endpointFields);

const domainFields = { id: 'le32', flags: 'le32', endpoints: 'le32', mappings: 'le32' } as const;
/** One domain: the flags of its ATTACH requests; endpoints follow in the order of their numbers, then mappings in order. */
const SavedDomain: Struct<typeof domainFields> = struct('viommu_domain', 16, domainFields);

const attachmentFields = { endpoint: 'le32' } as const;
const SavedAttachment: Struct<typeof attachmentFields> = struct(
  'viommu_attachment',
  4,
  attachmentFields,
);

const mappingFields = {
  virtStart: 'le64',
  virtLast: 'le64',
  physStart: 'le64',
  flags: 'le32',
} as const;
const SavedMapping: Struct<typeof mappingFields> = struct('viommu_mapping', 28, mappingFields);

/** Adds a state to an image. */
export function writeState(state: IommuState, into: ImageWriter): void {
  const { pool } = state;
  into.add(StateHead, {
    bypass: state.bypass ? 1 : 0,
    endpoints: state.endpoints.size,
    domains: state.domains.size,
  });
  writeEndpoints(state, into);
  for (const { id, bypass, endpoints, mappings } of state.domains.values()) {
    const flags = bypass ? AttachFlag.BYPASS : 0;
    into.add(SavedDomain, { id, flags, endpoints: endpoints.size, mappings: mappings.size });
    for (const endpoint of inOrder(endpoints)) into.add(SavedAttachment, { endpoint: endpoint.id });
    for (let slot = mappings.first(); slot >= 0; slot = mappings.next(slot)) {
      into.add(SavedMapping, {
        virtStart: addressAt(pool.startPage(slot), pool.startOffset(slot)),
        virtLast: addressAt(pool.lastPage(slot), pool.lastOffset(slot)),
        physStart: addressAt(pool.physPage(slot), pool.physOffset(slot)),
        flags: pool.flags(slot),
      });
    }
  }
}

/**
 * The rest of an image as a state of its own, for a device as `state` is one, with `features` negotiated.
 *
 * @throws {IommuError} `EINVAL` for a state that no driver could bring such a device into.
 */
export function readState(state: IommuState, features: bigint, from: ImageReader): IommuState {
  const { bypass, endpoints, domains } = from.read(StateHead);
  checkSaved(bypass <= (state.bypassControl === 'config' ? 1 : 0), 'it has an impossible bypass');
  const own = new ImageWriter({ kind: 0, version: 0 });
  writeEndpoints(state, own);
  checkSaved(
    endpoints === state.endpoints.size && from.matches(own.content),
    'it is of a device with other endpoints, or other regions',
  );
  const restored = state.fresh();
  restored.negotiate(features);
  restored.bypass = bypass === 1;
  for (let count = 0; count < domains; count += 1) readDomain(restored, from);
  from.end();
  return restored;
}

function readDomain(state: IommuState, from: ImageReader): void {
  const { id, flags, endpoints, mappings } = from.read(SavedDomain);
  checkSaved(endpoints > 0 && !state.domains.has(id), 'a domain is empty, or there twice');
  let before = -1;
  for (let count = 0; count < endpoints; count += 1) {
    const { endpoint } = from.read(SavedAttachment);
    checkSaved(
      endpoint > before && state.endpoints.get(endpoint)?.domain === undefined,
      'an endpoint is out of its order, or in two domains',
    );
    const status = attach(state, id, endpoint, flags);
    checkSaved(status === Status.OK, 'an endpoint cannot be in its domain');
    before = endpoint;
  }
  let behind = -1n;
  for (let count = 0; count < mappings; count += 1) {
    const mapping = from.read(SavedMapping);
    checkSaved(mapping.virtStart > behind, 'mappings are out of their order');
    const status = map(
      state,
      id,
      pageOf(mapping.virtStart),
      offsetInPage(mapping.virtStart),
      pageOf(mapping.virtLast),
      offsetInPage(mapping.virtLast),
      pageOf(mapping.physStart),
      offsetInPage(mapping.physStart),
      mapping.flags,
    );
    checkSaved(status === Status.OK, 'a mapping cannot be in its domain');
    behind = mapping.virtLast;
  }
}

/** Endpoints and their regions are the platform's choice, which a saved state never changes. */
function writeEndpoints({ endpoints }: IommuState, into: ImageWriter): void {
  for (const { id, properties } of inOrder(endpoints.values()))
    into.add(SavedEndpoint, { id, propertyBytes: properties.length }).addBytes(properties);
}

function inOrder<Item extends { readonly id: number }>(items: Iterable<Item>): readonly Item[] {
  return [...items].toSorted((a, b) => a.id - b.id);
}
