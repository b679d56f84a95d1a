/** What all calls of a driver have in common: how one is made, and what it is made with. */

import {
  type ErrorCode,
  IommuError,
  PAGE_MAX,
  addressAt,
  guestPhysical,
  iova,
} from '@viommu/common';
import { type IommuDriver, mapPages, mapRange } from '@viommu/driver';
import type { Journal } from '../fuzzer.ts';
import type { Random } from '../random.ts';
import type { FaultBook } from './fault-record.ts';
import type { Promises, PromisedDomain, PromisedEndpoint } from './promise.ts';
import type { RawRequests } from './raw-request.ts';
import type { World } from './world.ts';

/** What came of a call: what it returned, or the code of its error. */
export type Outcome<Value> =
  | { readonly value: Value; readonly code?: undefined }
  | { readonly code: ErrorCode };

export interface CallerOptions {
  readonly world: World;
  readonly driver: IommuDriver;
  readonly promises: Promises;
  readonly faults: FaultBook;
  readonly raw: RawRequests;
  readonly journal: Journal;
  /** What the device says of an endpoint, in all the room there is. */
  readonly properties: (id: number) => Uint8Array;
  /** From now on the device refuses the request of this type that comes after so many others of it. */
  readonly refuse: (type: number, after: number) => void;
  /** The device may answer what no device should. */
  readonly odd: boolean;
}

export class Caller {
  protected readonly options: CallerOptions;
  protected readonly world: World;
  protected readonly driver: IommuDriver;
  protected readonly promises: Promises;
  protected readonly raw: RawRequests;
  protected readonly random: Random;

  constructor(options: CallerOptions) {
    this.options = options;
    const { world, driver, promises, raw } = options;
    this.world = world;
    this.driver = driver;
    this.promises = promises;
    this.raw = raw;
    this.random = world.random;
  }

  protected begin(name: string, details: readonly unknown[]): void {
    this.options.journal.requests += 1;
    this.options.journal.note(() => `${name} ${details.map(String).join(' ')}`);
    this.world.begin();
    this.promises.inFlightBefore = this.driver.requests.inFlight;
  }

  protected call<Value>(
    name: string,
    details: readonly unknown[],
    action: () => Value,
  ): Outcome<Value> {
    this.begin(name, details);
    try {
      return { value: action() };
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      this.options.journal.note(() => `  ${error.code}: ${error.message}`);
      return { code: error.code };
    } finally {
      this.world.check();
    }
  }

  protected expect(outcome: Outcome<unknown>, code: ErrorCode | undefined): void {
    if (outcome.code !== code)
      this.fail(
        `a call ends with ${outcome.code ?? 'success'} in place of ${code ?? 'success'}`,
        '',
      );
  }

  protected fail(matter: string, evidence: string): never {
    return this.world.fail('result', matter, evidence);
  }

  protected syncAll(): void {
    const { requests } = this.driver;
    this.waitFor(() => {
      if (requests.syncReq() !== undefined) throw new IommuError('EIO', 'The sync failed.');
    }, true);
    this.promises.settle();
  }

  /** A sync: one notification at most, and afterwards nothing is in flight. */
  protected waitFor(action: () => void, waits: boolean, mayFail = false): Outcome<void> {
    const { opponent } = this.world;
    const { notifications } = opponent;
    const { inFlight } = this.driver.requests;
    const outcome = this.call('sync', [], action);
    if (!mayFail) this.expect(outcome, undefined);
    const told = opponent.notifications - notifications;
    if (told > (waits && inFlight > 0 ? 1 : 0))
      this.fail('a sync notifies more than once, or for nothing', `${told}`);
    if (!waits) return outcome;
    if (this.driver.requests.inFlight > 0)
      this.fail('a sync leaves requests in flight', `${this.driver.requests.inFlight}`);
    this.raw.checkDone();
    return outcome;
  }

  protected endpoint(): PromisedEndpoint | undefined {
    const { endpoints } = this.promises;
    return endpoints.size === 0 ? undefined : this.random.pick([...endpoints]);
  }

  /** Mostly one that endpoints are in; `any` is one of all kinds. */
  protected domain(any: boolean): PromisedDomain | undefined {
    const domains = [...this.promises.domains];
    const live = domains.filter(({ attached: some, bypass }) => some.size > 0 && !bypass);
    const random = this.random;
    if (live.length > 0 && !random.once(any ? 2 : 5)) return random.pick(live);
    return domains.length === 0 ? undefined : random.pick(domains);
  }

  /** A page near others. */
  protected page(domain: PromisedDomain): number {
    const random = this.random;
    const base = this.promises.firstPage + random.pick([16, 0, 8, 0x7f0]);
    const mapping =
      domain.mappings.length > 0 && random.once(2) ? random.pick(domain.mappings) : undefined;
    return (mapping === undefined ? base : mapping.last + 1) + random.number(4);
  }

  /** Maps pages as one mapping. False if that is refused, as it should be. */
  protected mapOne(
    domain: PromisedDomain,
    start: number,
    phys: number,
    count: number,
    protection: number,
  ): boolean {
    const bytes = start >= 0 && start <= PAGE_MAX && phys <= PAGE_MAX && this.random.once(8);
    const outcome = this.call('map', [domain.number, start, phys, count, protection], () =>
      bytes
        ? void mapRange(
            domain.api,
            iova(addressAt(start, 0)),
            guestPhysical(addressAt(phys, 0)),
            BigInt(count) * 4096n,
            protection,
          )
        : mapPages(domain.api, start, phys, count, protection),
    );
    this.expect(outcome, this.promises.map(domain, start, phys, count, protection));
    return outcome.code === undefined;
  }
}
