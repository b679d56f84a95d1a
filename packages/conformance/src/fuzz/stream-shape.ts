/** Setups and steps that come from a file, as somebody may have changed them: looked at before they are used. */

import { ADDRESS_MAX, isUint32 } from '@viommu/common';
import type { TargetWish } from '../target.ts';
import { QUEUE_SIZE_MAX } from './limit.ts';
import type { Setup, Step } from './stream.ts';

type Loose = Readonly<Record<string, unknown>>;

const BYTES_MAX = 0x1_0000;

/** The step that a record holds; undefined if it is none. */
export function stepFrom(record: unknown): Step | undefined {
  const step = Object(record) as Loose; // every field is looked at below
  switch (step['kind']) {
    case 'request': {
      const { readable, room, cuts, held } = step;
      if (!(readable instanceof Uint8Array) || readable.length > BYTES_MAX) return undefined;
      if (!isBelow(room, BYTES_MAX) || typeof held !== 'boolean') return undefined;
      const whole = { kind: 'request', readable: Uint8Array.from(readable), room, held } as const;
      if (cuts === undefined) return whole;
      const [first, second, ...more] = Array.isArray(cuts) ? (cuts as unknown[]) : []; // of anything
      if (!isSizes(first) || !isSizes(second) || more.length > 0) return undefined;
      return { ...whole, cuts: [first, second] };
    }
    case 'access': {
      const { endpoint, direction, address, length } = step;
      if (!isUint(endpoint) || !isAddress(address) || !isBelow(length, BYTES_MAX)) return undefined;
      if ((direction !== 'read' && direction !== 'write') || length === 0) return undefined;
      return { kind: 'access', endpoint, direction, address, length };
    }
    case 'post': {
      const { bytes } = step;
      return isBelow(bytes, 65) && bytes > 0 ? { kind: 'post', bytes } : undefined;
    }
    case 'config': {
      const { offset, width, value } = step;
      if (!isBelow(offset, 256) || !isUint(value)) return undefined;
      if (width !== 1 && width !== 2 && width !== 4) return undefined;
      return { kind: 'config', offset, width, value };
    }
    case 'reset': {
      const { of, refuse } = step;
      if ((of !== 'device' && of !== 'system') || !isAddress(refuse)) return undefined;
      return { kind: 'reset', of, refuse };
    }
    case 'save':
    case 'wild':
      return { kind: step['kind'] };
    case 'queue': {
      const { queue, act } = step;
      if (queue !== 0 && queue !== 1) return undefined;
      if (act !== 'listen' && act !== 'ignore' && act !== 'renew') return undefined;
      return { kind: 'queue', queue, act };
    }
    case 'turn': {
      const { to } = step;
      return isBelow(to, 0x1_0000) ? { kind: 'turn', to } : undefined;
    }
    case 'poke': {
      const { at, bytes } = step;
      if (!isUint(at) || !(bytes instanceof Uint8Array) || bytes.length > BYTES_MAX)
        return undefined;
      return { kind: 'poke', at, bytes: Uint8Array.from(bytes) };
    }
    case 'kick': {
      const { queue } = step;
      return isBelow(queue, BYTES_MAX) ? { kind: 'kick', queue } : undefined;
    }
    default:
      return undefined;
  }
}

/** True if it is a setup that can be tried; what a target makes of the wish is its own affair. */
export function isSetup(value: unknown): value is Setup {
  const { wish, format, refuse, queueSize, indirect } = Object(value) as Loose; // looked at below
  return (
    isWish(wish) &&
    (format === 'split' || format === 'packed') &&
    isAddress(refuse) &&
    isBelow(queueSize, QUEUE_SIZE_MAX + 1) &&
    queueSize >= 2 &&
    (format === 'packed' || Number.isInteger(Math.log2(queueSize))) &&
    typeof indirect === 'boolean'
  );
}

function isWish(value: unknown): value is TargetWish {
  if (typeof value !== 'object' || value === null) return false;
  const { withoutFeatures = 0n, withFeatures = 0n, pageSizeMask = 0n, ...rest } = value as Loose; // looked at below
  const { inputRange, domainRange, probeSize = 0, bypass = true, reserved = [] } = rest;
  const { queueSize = 0, limits = {}, memoryStart = 0n } = rest;
  const regions: unknown[] = Array.isArray(reserved) ? reserved : [{}];
  return (
    [withoutFeatures, withFeatures, pageSizeMask].every(isAddress) &&
    (inputRange === undefined || isRange(inputRange)) &&
    (domainRange === undefined || isDomainRange(domainRange)) &&
    isBelow(probeSize, BYTES_MAX) &&
    isBelow(queueSize, BYTES_MAX) &&
    typeof bypass === 'boolean' &&
    isLimits(limits) &&
    isAddress(memoryStart) &&
    regions.every((region) => isRange(region) && isRegionType(region))
  );
}

function isLimits(value: unknown): boolean {
  const { domains = 1, mappingsPerDomain = 1, mappings = 1 } = Object(value) as Loose; // looked at
  return [domains, mappingsPerDomain, mappings].every((limit) => isUint(limit) && limit > 0);
}

function isRange(value: unknown): boolean {
  const { start, last } = Object(value) as Loose; // looked at
  return isAddress(start) && isAddress(last);
}

function isDomainRange(value: unknown): boolean {
  const { first, last } = Object(value) as Loose; // looked at
  return isUint(first) && isUint(last);
}

function isRegionType(value: unknown): boolean {
  const { type } = Object(value) as Loose; // looked at
  return type === 'reserved' || type === 'msi';
}

function isSizes(value: unknown): value is number[] {
  return (
    Array.isArray(value) && value.length <= 8 && value.every((size) => isBelow(size, BYTES_MAX))
  );
}

function isAddress(value: unknown): value is bigint {
  return typeof value === 'bigint' && value >= 0n && value <= ADDRESS_MAX;
}

function isUint(value: unknown): value is number {
  return typeof value === 'number' && isUint32(value);
}

function isBelow(value: unknown, limit: number): value is number {
  return isUint(value) && value < limit;
}
