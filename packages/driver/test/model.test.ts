/**
 * Any sequence of calls, on a device that obeys the standard or refuses at random: what must hold after every sync.
 * The device's tables are those of `ModelIommu`; the guest's are the driver's own.
 */

import { PAGE_SIZE, Status } from '@viommu/common';
import {
  type Domain,
  type Endpoint,
  Protection,
  allocPaging,
  attach,
  detach,
  flushIotlbAll,
  iotlbSyncMap,
  mapPages,
  unmapPages,
} from '@viommu/driver';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ScriptedDevice } from './helper/scripted-device.ts';
import { MAP, type Setup, codeOf, setUp } from './helper/setup.ts';

const RW = Protection.READ | Protection.WRITE;
const DOMAINS = 3;
const ENDPOINTS = 3;

type Table = [start: bigint, last: bigint, phys: bigint][];

function guestTable(domain: Domain): Table {
  const table: Table = [];
  const address = (page: number): bigint => BigInt(page) * BigInt(PAGE_SIZE);
  domain.mappings.forEach((start, last, phys) =>
    table.push([address(start), address(last + 1) - 1n, address(phys)]),
  );
  return table;
}

function deviceTable(device: ScriptedDevice, { id }: Domain): Table {
  const mappings = [...(device.model.domains.get(id ?? -1)?.mappings ?? [])];
  return mappings
    .map(([start, { last, phys }]): Table[number] => [start, last, phys])
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
}

/** A.13: with nothing in flight. */
function verify({ device, driver }: Setup, domains: Domain[], endpoints: Endpoint[]): void {
  expect(driver.requests.inFlight).toBe(0);
  for (const domain of domains) {
    if (domain.attached.size === 0) expect(device.model.domains.has(domain.id ?? -1)).toBe(false);
    else {
      expect(deviceTable(device, domain)).toEqual(guestTable(domain));
      expect(device.model.domains.get(domain.id ?? -1)?.endpoints).toEqual(
        new Set([...domain.attached].flatMap(({ ids }) => ids)),
      );
    }
  }
  for (const endpoint of endpoints)
    for (const domain of domains)
      expect(domain.attached.has(endpoint)).toBe(endpoint.domain === domain);
  expect(new Set(domains.map(({ id }) => id)).size).toBe(domains.length);
  expect(device.configWrites).toEqual([]);
}

const step = fc.record({
  kind: fc.constantFrom('map', 'map', 'map', 'unmap', 'unmap', 'attach', 'detach', 'sync'),
  domain: fc.nat(DOMAINS - 1),
  endpoint: fc.nat(ENDPOINTS - 1),
  page: fc.nat(30),
  count: fc.integer({ min: 1, max: 4 }),
});

describe('guest and device', () => {
  it('agree after any sequence of calls', () => {
    let attached = 0;
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60, size: 'max' }),
        fc.constantFrom(2, 8, 64),
        (steps, ring) => {
          const setup = setUp({ queueSizes: [ring, 8] });
          const { driver, device } = setup;
          const endpoints = Array.from({ length: ENDPOINTS }, (_, n) =>
            driver.probeDevice(n === 0 ? [10, 11] : [20 + n]),
          );
          const [first] = endpoints;
          if (first === undefined) throw new Error('there are endpoints');
          const domains = Array.from({ length: DOMAINS }, () => allocPaging(first));
          for (const { kind, domain: d, endpoint: e, page, count } of steps) {
            const domain = domains[d]!; // Below the count, as is the endpoint.
            const endpoint = endpoints[e]!;
            if (kind === 'map') codeOf(() => mapPages(domain, page, page * 3, count, RW));
            else if (kind === 'unmap') unmapPages(domain, page, count);
            else if (kind === 'attach') attach(domain, endpoint);
            else if (kind === 'detach') detach(endpoint);
            else {
              driver.requests.syncReq();
              verify(setup, domains, endpoints);
            }
          }
          driver.requests.syncReq();
          verify(setup, domains, endpoints);
          for (const domain of domains) {
            expect(domain.failedMaps).toEqual([]);
            expect(domain.unmapFailures).toBe(0);
            attached += domain.attached.size;
          }
          // A driver in step with its device never asks for what the device has to refuse.
          expect(device.statuses.filter((status) => status !== Status.OK)).toEqual([]);
        },
      ),
      { seed: 20_263, numRuns: 150 },
    );
    expect(attached).toBeGreaterThan(50);
  });

  it('agree again once refused mappings are unmapped, and a refused attach changes nothing', () => {
    let refused = 0;
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60, size: 'max' }),
        fc.array(fc.nat(9), { minLength: 1, maxLength: 30 }),
        (steps, luck) => {
          const setup = setUp({ queueSizes: [8, 8] });
          const { driver, device } = setup;
          const endpoints = Array.from({ length: ENDPOINTS }, (_, n) =>
            driver.probeDevice([20 + n]),
          );
          const [first] = endpoints;
          if (first === undefined) throw new Error('there are endpoints');
          const domains = Array.from({ length: DOMAINS }, () => allocPaging(first));
          // While an attach is under way MAPs are let through, so that undoing it always works.
          let attaching = false;
          device.script = ({ type }, index) =>
            type === MAP && !attaching && luck[index % luck.length] === 0
              ? { status: Status.NOMEM }
              : undefined;
          for (const { kind, domain: d, endpoint: e, page, count } of steps) {
            const domain = domains[d]!; // Below the count, as is the endpoint.
            const endpoint = endpoints[e]!;
            if (kind === 'map') {
              if (codeOf(() => mapPages(domain, page, page, count, RW)) !== undefined) continue;
              const code = codeOf(() => iotlbSyncMap(domain, page, count));
              if (code === undefined) continue;
              expect(code).toBe('ENOMEM');
              refused += 1;
              expect(unmapPages(domain, page, count)).toBe(count);
            } else if (kind === 'unmap') unmapPages(domain, page, count);
            else if (kind === 'attach') {
              flushIotlbAll(domain);
              attaching = true;
              attach(domain, endpoint);
              attaching = false;
            } else if (kind === 'detach') detach(endpoint);
            driver.requests.syncReq();
            verify(setup, domains, endpoints);
          }
        },
      ),
      { seed: 20_264, numRuns: 100 },
    );
    expect(refused).toBeGreaterThan(20);
  });
});
