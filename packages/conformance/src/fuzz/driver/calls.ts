/** Calls of a driver as a guest may make them, drawn one after the other, each checked against what it promises. */

import type { IommuDriver } from '@viommu/driver';
import type { Journal } from '../fuzzer.ts';
import type { Random } from '../random.ts';
import { promiseDomain } from './attachment.ts';
import { EndpointCalls } from './endpoint-calls.ts';
import { FaultBook } from './fault-record.ts';
import { MappingCalls } from './mapping-calls.ts';
import { compareAll } from './mirror.ts';
import type { Verdict } from './platform.ts';
import { Promises } from './promise.ts';
import { QueueCalls } from './queue-calls.ts';
import type { RawRequests } from './raw-request.ts';
import type { World } from './world.ts';

export interface CallsOptions {
  readonly world: World;
  readonly driver: IommuDriver;
  readonly verdict: Verdict;
  readonly raw: RawRequests;
  readonly journal: Journal;
  /** What the device says of an endpoint, in all the room there is. */
  readonly properties: (id: number) => Uint8Array;
  /** From now on the device refuses the request of this type that comes after so many others of it. */
  readonly refuse: (type: number, after: number) => void;
  readonly odd: boolean;
}

type Call = () => void | Promise<void>;

export class Calls {
  readonly endpoints: EndpointCalls;
  readonly mappings: MappingCalls;
  readonly queues: QueueCalls;
  readonly #promises: Promises;

  constructor({ world, driver, verdict, ...more }: CallsOptions) {
    const promises = new Promises(world, driver, verdict);
    const options = { ...more, world, driver, promises, faults: new FaultBook(promises) };
    this.#promises = promises;
    this.endpoints = new EndpointCalls(options);
    this.mappings = new MappingCalls(options);
    this.queues = new QueueCalls(options);
    const { identityDomain } = driver;
    if (identityDomain !== undefined)
      promises.domains.add(promiseDomain(identityDomain, promises.takeNumber()));
    compareAll(promises);
  }

  /** True once the driver has lost its device: another one has to take over. */
  get broken(): boolean {
    return this.queues.broken;
  }

  /** Compares everything; to be called after each call. */
  compare(): void {
    if (!this.broken) compareAll(this.#promises);
  }

  /** Draws which calls are made, and how often. */
  drawn(random: Random): readonly Call[] {
    const { endpoints, mappings, queues } = this;
    const all: readonly (readonly [weight: number, call: Call])[] = [
      [6, () => mappings.map()],
      [3, () => mappings.mapMany()],
      [6, () => mappings.unmap()],
      [2, () => mappings.unmapMany()],
      [2, () => mappings.remap()],
      [4, () => mappings.syncMap()],
      [2, () => mappings.sync()],
      [2, () => mappings.ask()],
      [3, () => endpoints.attach()],
      [2, () => endpoints.attachOver()],
      [3, () => endpoints.moveInVain()],
      [2, () => endpoints.detach()],
      [1, () => endpoints.probe()],
      [2, () => endpoints.allocate()],
      [2, () => endpoints.free()],
      [2, () => endpoints.replace()],
      [3, () => queues.addRaw(!random.once(4))],
      [2, () => queues.sendRaw()],
      [2, () => queues.sendTogether()],
      [2, () => queues.serveFaults()],
      [1, () => queues.changeConfig()],
      [2, () => queues.resetQueue()],
      [1, () => queues.freeze()],
      [1, () => mappings.mapInVain()],
      [2, () => queues.restore()],
    ];
    // Now and then only some kinds, which then meet more often.
    const once = random.pick([2, 6]);
    const some = all.filter(() => !random.once(once));
    return (some.length === 0 ? all : some).flatMap(([weight, call]) =>
      Array.from({ length: weight }, () => call),
    );
  }
}
