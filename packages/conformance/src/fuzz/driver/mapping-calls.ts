/** Calls about mappings, and what the driver promises of each. */

import { PAGE_MAX, RequestType, addressAt, guestPhysical, iova } from '@viommu/common';
import { iotlbSync, iotlbSyncMap, iovaToPhys, unmapPages, unmapRange } from '@viommu/driver';
import { Caller } from './caller.ts';
import type { PromisedDomain } from './promise.ts';

/** Pages in a row that cannot be mapped are much like each other. */
const REFUSED_MAX = 4;
const PROTECTIONS = [3, 1, 2, 3 | 16, 3 | 8, 16, 0, 4, 64, 3 | 32];

export class MappingCalls extends Caller {
  map(): void {
    const domain = this.domain(false);
    if (domain === undefined) return;
    const random = this.random;
    const count = random.pick([1, 2, 1, 5, 1, 0x200]);
    const start = random.once(8) ? random.pick(this.#edges(count)) : this.page(domain);
    const phys = random.pick([
      0x4_0000 + random.number(64),
      0,
      PAGE_MAX - count + 1,
      PAGE_MAX - count + 2,
      0x10_0000,
      0xf_ffff,
    ]);
    this.mapOne(domain, start, phys, count, random.once(3) ? random.pick(PROTECTIONS) : 3);
  }

  /** Many single pages, and mostly one sync for all. */
  mapMany(): void {
    const domain = this.domain(false);
    if (domain === undefined) return;
    const random = this.random;
    const first = this.page(domain);
    const step = random.pick([1, 1, 2, 3, -1]);
    const pages = random.pick([4, 20, 40, 70, 150]);
    const { notifications } = this.world.opponent;
    const room = this.promises.capacity - this.driver.requests.inFlight;
    let refused = 0;
    for (let page = 0; page < pages && refused < REFUSED_MAX; page += 1)
      if (!this.mapOne(domain, first + page * step, 0x4_0000 + page, 1, 3)) refused += 1;
    if (pages <= room && this.world.opponent.notifications !== notifications)
      this.fail('mapping notifies the device', `${pages} pages`);
    if (!random.once(4))
      this.#syncMap(domain, Math.min(first, first + (pages - 1) * step), pages * Math.abs(step));
  }

  /** A mapping that the device refuses, as nobody asks at once. */
  mapInVain(): void {
    const domain = this.domain(false);
    if (domain === undefined || this.promises.frozen) return;
    this.options.refuse(RequestType.MAP, 0);
    const done = this.mapOne(domain, this.page(domain), 0x7_0000, 1, 3);
    this.sync();
    if (done) this.syncAll();
    this.options.refuse(-1, 0);
  }

  unmap(): void {
    const domain = this.domain(false);
    if (domain === undefined) return;
    const random = this.random;
    const known = domain.mappings.length > 0 && !random.once(6);
    const end = domain.mappings.at(-1)?.last ?? 0;
    const begin = known ? random.pick(domain.mappings) : undefined;
    const start = begin?.start ?? Math.min(this.page(domain), PAGE_MAX);
    const count =
      random.once(2) && begin !== undefined
        ? begin.last - begin.start + 1
        : random.pick([1, Math.max(1, end - start + 1), 2, 5, 20, 200, 0x1_0000, 0]);
    this.#unmapOne(domain, start, count, random.once(4));
  }

  /** Mappings that lie behind each other, one by one or together. */
  unmapMany(): void {
    const domain = this.domain(false);
    if (domain === undefined || domain.mappings.length === 0) return;
    const first = this.random.number(domain.mappings.length);
    const some = domain.mappings.slice(first, first + this.random.pick([3, 2, 8, 200]));
    const run = some.filter((one, at) => one.start === (some[at - 1]?.last ?? one.start - 1) + 1);
    if (run.length === some.length && this.random.once(2)) {
      const [{ start }, { last }] = [some[0]!, some.at(-1)!]; // There is one.
      return this.#unmapOne(domain, start, last - start + 1, false);
    }
    for (const { start, last } of some) this.#unmapOne(domain, start, last - start + 1, false);
    this.syncAll();
  }

  /** The same pages as part of another mapping, before anybody knows what became of the first. */
  remap(): void {
    const domain = this.domain(false);
    if (domain === undefined) return;
    const start = this.page(domain);
    const [count, other] = [this.random.pick([1, 2]), this.random.pick([3, 1, 2])];
    this.mapOne(domain, start, 0x5_0000, count, 3);
    this.#unmapOne(domain, start, count, false);
    this.mapOne(domain, start, 0x6_0000, other, 3);
    this.syncAll();
  }

  syncMap(): void {
    const domain = this.domain(true);
    if (domain !== undefined)
      this.#syncMap(domain, this.page(domain) - 2, this.random.pick([1000, 1, 8]));
  }

  sync(): void {
    const domain = this.domain(true);
    if (domain === undefined) return;
    this.waitFor(() => iotlbSync(domain.api), domain.attached.size > 0);
    this.promises.sync(domain);
  }

  /** Questions, which change nothing. */
  ask(): void {
    const domain = this.domain(true);
    if (domain === undefined) return;
    const page = Math.min(this.page(domain), PAGE_MAX - 3);
    const expected = this.promises.translate(domain, page);
    const outcome = this.call('translate', [domain.number, page], () =>
      iovaToPhys(domain.api, iova(addressAt(page, 0x123))),
    );
    this.expect(outcome, undefined);
    const where = expected < 0 ? null : guestPhysical(addressAt(expected, 0x123));
    if (outcome.code === undefined && outcome.value !== where)
      this.fail('an address leads elsewhere', `${outcome.value}`);
    if (domain.api.isStuck(page, 4) !== this.promises.isStuck(domain, page, 4))
      this.fail('what is stuck is not known', `${page}`);
    const reserved = this.promises.reservedIn(domain, page, page + 3);
    if (domain.api.touchesReserved(page, page + 3) !== reserved)
      this.fail('what is reserved is not known', `${page}`);
  }

  #unmapOne(domain: PromisedDomain, start: number, count: number, bytes: boolean): void {
    const outcome = this.call('unmap', [domain.number, start, count], () =>
      bytes
        ? Number(unmapRange(domain.api, iova(addressAt(start, 0)), BigInt(count) * 4096n)) / 4096
        : unmapPages(domain.api, start, count),
    );
    const expected = this.promises.unmap(domain, start, count);
    this.expect(outcome, undefined);
    if (outcome.code === undefined && outcome.value !== expected)
      this.fail('another number of pages is unmapped', `${outcome.value} for ${expected}`);
  }

  #syncMap(domain: PromisedDomain, start: number, count: number): void {
    const outcome = this.waitFor(
      () => iotlbSyncMap(domain.api, start, count),
      domain.attached.size > 0,
      true,
    );
    this.expect(outcome, this.promises.syncMap(domain, start, count));
  }

  /** Where `count` pages just fit, or just do not. */
  #edges(count: number): number[] {
    const { firstPage, lastPage } = this.promises;
    return [
      firstPage,
      firstPage - 1,
      lastPage - count + 1,
      lastPage - count + 2,
      lastPage,
      0,
    ].filter((page) => page >= 0);
  }
}
