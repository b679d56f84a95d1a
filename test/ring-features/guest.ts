/** A guest program: a short piece of work with a driver of every combination, one after the other. */

import { MapRequest, RequestType, iova, pageOf } from '@viommu/common';
import {
  NO_STATUS,
  allocPaging,
  attach,
  iotlbSync,
  iotlbSyncMap,
  mapPages,
  unmapPages,
} from '@viommu/driver';
import type { GuestContext } from '@viommu/machine';
import { READ_WRITE, contents, fill, mapBuffer } from '../machine/program/memory.ts';
import { COMBINATIONS, type Combination, acceptedFeatures } from './combination.ts';

/** How the driver waits. */
export interface GuestArguments {
  readonly polls: number;
}

export interface GuestReport {
  readonly combination: Combination;
  /** What was negotiated. */
  readonly features: bigint;
  readonly answers: readonly string[];
}

export default function guest(context: GuestContext): GuestReport[] {
  return COMBINATIONS.map((combination) => {
    const answers: string[] = [];
    const features = work(context, combination, answers);
    return { combination, features, answers };
  });
}

function work(context: GuestContext, combination: Combination, answers: string[]): bigint {
  const { polls } = context.args as GuestArguments; // What the test passes.
  const driver = context.startDriver({
    features: acceptedFeatures(combination),
    pollsMax: polls,
    requestQueueSize: 13,
    onFault: ({ reason, flags, endpointId, address }) =>
      answers.push(`fault ${reason} ${flags} ${endpointId} ${address}`),
  });
  const engine = context.copyEngine('first');
  const endpoint = driver.probeDevice([8]);
  const domain = allocPaging(endpoint);
  attach(domain, endpoint);
  // More pages than the ring has descriptors.
  const source = mapBuffer(context, domain, 0x10_0000n, 40);
  const target = mapBuffer(context, domain, 0x20_0000n, 40);
  fill(source, 7);

  const copy = (): void => {
    const result = engine.copy({ from: source.iova, to: target.iova, length: source.bytes });
    while (driver.serveEvents() > 0);
    const { ok, copied } = result;
    answers.push(`copy ${ok} ${copied} ${ok ? '' : result.address}`);
  };
  copy();
  const expected = contents(source);
  answers.push(`as sent: ${contents(target).every((byte, at) => byte === expected[at])}`);

  for (const [virtStart, virtEnd] of [
    [0x1000n, 0x1fffn],
    [0x1000n, 0x1fffn],
    [0x1800n, 0x1fffn],
    [0x3000n, 0x2fffn],
  ] as const) {
    const request = { type: RequestType.MAP, domain: domain.id ?? 0, physStart: 0n, flags: 3 };
    driver.requests.addReq(MapRequest.encode({ ...request, virtStart, virtEnd }), {
      requestDone: (_, status) => answers.push(`MAP ${status}`),
    });
  }
  driver.requests.addReq(Uint8Array.of(0x63, 0, 0, 0), {
    requestDone: (_, status) => answers.push(`unknown ${status === NO_STATUS}`),
  });
  // The device has seen nothing of these five yet.
  driver.resetRequestQueue();
  driver.requests.syncReq();

  driver.resetEventQueue(3);
  const page = pageOf(target.iova) + 20;
  unmapPages(domain, page, 1);
  iotlbSync(domain);
  copy();
  for (let round = 0; round < 30; round += 1) {
    mapPages(domain, page, 0x4_0000 + round, 1, READ_WRITE);
    iotlbSyncMap(domain, page, 1);
    unmapPages(domain, page, 1);
    iotlbSync(domain);
  }
  answers.push(`stuck ${domain.stuckRanges.length}, failed ${domain.failedMaps.length}`);
  const { features } = driver;
  driver.remove();
  // A removed driver may be told of nothing; its device has no endpoint left.
  answers.push(`after: ${engine.copy({ from: iova(0n), to: iova(0n), length: 1 }).ok}`);
  return features;
}
