/**
 * The state of an IOMMU as bytes: what it is made of, then its domains with their endpoints and mappings. Decision 0012.
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
import { BYPASS_CONTROLS } from './options.ts';
import type { IommuState } from './state.ts';

const platformFields = {
  pageSizeMask: 'le64',
  inputStart: 'le64',
  inputLast: 'le64',
  domainFirst: 'le32',
  domainLast: 'le32',
  probeSize: 'le32',
  bypassControl: 'le32',
  endpoints: 'le32',
} as const;
/** What the platform chose, with its endpoints behind it in the order of their numbers. */
const Platform: Struct<typeof platformFields> = struct('viommu_platform', 44, platformFields);

const endpointFields = { id: 'le32', propertyBytes: 'le32' } as const;
/** One endpoint; the properties that a PROBE returns follow. */
const PlatformEndpoint: Struct<typeof endpointFields> = struct(
  'viommu_platform_endpoint',
  8,
  endpointFields,
);

const headFields = { bypass: 'le32', domains: 'le32' } as const;
/** Domains follow in the order in which they began. */
const StateHead: Struct<typeof headFields> = struct('viommu_state', 8, headFields);

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
  writePlatform(state, into);
  into.add(StateHead, { bypass: state.bypass ? 1 : 0, domains: state.domains.size });
  const { pool } = state;
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
  const own = new ImageWriter({ kind: 0, version: 0 });
  writePlatform(state, own);
  const { content } = own;
  const saved = from.bytes(content.length);
  checkSaved(
    content.every((byte, at) => byte === saved[at]),
    'it is of a device with other options or endpoints',
  );
  const { bypass, domains } = from.read(StateHead);
  checkSaved(bypass <= (state.bypassControl === 'config' ? 1 : 0), 'it has an impossible bypass');
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

/** The choices of the platform, which a saved state never changes. */
function writePlatform(state: IommuState, into: ImageWriter): void {
  into.add(Platform, {
    pageSizeMask: state.pageSizeMask,
    inputStart: state.inputRange.start,
    inputLast: state.inputRange.last,
    domainFirst: state.domainRange.first,
    domainLast: state.domainRange.last,
    probeSize: state.probeSize,
    bypassControl: BYPASS_CONTROLS.indexOf(state.bypassControl),
    endpoints: state.endpoints.size,
  });
  for (const { id, properties } of inOrder(state.endpoints.values()))
    into.add(PlatformEndpoint, { id, propertyBytes: properties.length }).addBytes(properties);
}

function inOrder<Item extends { readonly id: number }>(items: Iterable<Item>): readonly Item[] {
  return [...items].toSorted((a, b) => a.id - b.id);
}
