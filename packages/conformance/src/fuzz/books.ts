/** What a target says about itself, compared with what the model knows. */

import { IommuConfig } from '@viommu/common';
import type { Mapping } from '../model/mapping-set.ts';
import type { Model } from '../model/model.ts';
import type { DeviceTarget, TargetBooks } from '../target.ts';
import { Deviation } from './deviation.ts';

const WORD = 4;

/** The configuration space, read in words. */
export function configOf(target: DeviceTarget): Uint8Array {
  const bytes = new Uint8Array(IommuConfig.size);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < IommuConfig.size; at += WORD)
    view.setUint32(at, target.readConfig(at, WORD), true);
  return bytes;
}

/** @throws {Deviation} if the configuration space is not as expected. */
export function checkConfig(seen: Uint8Array, expected: Uint8Array): void {
  const at = expected.findIndex((byte, index) => byte !== seen[index]);
  if (at >= 0)
    throw new Deviation(
      'config',
      `the configuration space differs at ${at}`,
      `it holds ${seen[at]}, not ${expected[at]}`,
    );
}

/** @throws {Deviation} if domains, attachments or mappings are not those of the model. */
export function checkBooks(target: DeviceTarget, books: TargetBooks, model: Model): void {
  for (const { id } of target.endpoints) {
    const seen = books.domainOf(id);
    const expected = model.domainOf(id);
    if (seen !== expected)
      throw new Deviation(
        'books',
        'an endpoint is in another domain',
        `${id}: ${seen}, not ${expected}`,
      );
  }
  const { domains } = model;
  const seen = books.domains;
  if (seen.length !== domains.length || !domains.every((id) => seen.includes(id)))
    throw new Deviation('books', 'other domains', `${seen.join()}, not ${domains.join()}`);
  for (const domain of domains) {
    const expected = model.mappings(domain);
    let index = 0;
    for (const mapping of books.mappings(domain)) {
      if (!same(mapping, expected[index]))
        throw new Deviation(
          'books',
          'other mappings',
          `domain ${domain}: ${format(mapping)}, not ${format(expected[index])}`,
        );
      index += 1;
    }
    if (index !== expected.length)
      throw new Deviation(
        'books',
        'a mapping is missing',
        `domain ${domain}: ${format(expected[index])}`,
      );
  }
}

/** Mappings in all domains. */
export function sizeOf(model: Model): number {
  let size = 0;
  for (const id of model.domains) size += model.mappings(id).length;
  return size;
}

function same(one: Mapping, other: Mapping | undefined): boolean {
  return (
    other !== undefined &&
    one.start === other.start &&
    one.last === other.last &&
    one.phys === other.phys &&
    one.flags === other.flags
  );
}

function format(mapping: Mapping | undefined): string {
  if (mapping === undefined) return 'nothing';
  const { start, last, phys, flags } = mapping;
  const [from, to, where] = [start, last, phys].map((value) => `0x${value.toString(16)}`);
  return `${from}..${to} to ${where} flags ${flags}`;
}
