/**
 * A domain of an IOMMU that a test plays, with a device behind it that sees what has been sent.
 *
 * As with a real one, requests wait until somebody waits for them; each wait is one notification.
 */

import {
  type Concurrency,
  type ErrorCode,
  type IommuDomain,
  IommuError,
  type IommuInstance,
  type Lock,
  LockRank,
  PAGE_MAX,
  Protection,
  type Range,
  addressAt,
} from '@viommu/common';

interface Mapping {
  readonly start: number;
  readonly phys: number;
  readonly pages: number;
  readonly protection: number;
}

type Request = ({ kind: 'map' } & Mapping) | { kind: 'unmap'; start: number; pages: number };

/** What a test makes the IOMMU answer: nothing is success. */
interface Script {
  /** The device's answer to a MAP, known when somebody waits for it. */
  map?: (mapping: Mapping) => ErrorCode | undefined;
  /** The device's answer to an UNMAP. */
  unmap?: (start: number) => ErrorCode | undefined;
  /** A MAP that does not even get into the queue. */
  queueMap?: (mapping: Mapping) => ErrorCode | undefined;
  /** The device does not answer any more. */
  broken?: boolean;
  /** Called whenever somebody waits, with both locks free. */
  onWait?: () => void;
  /** Called when everything that was queued has been served. */
  onServed?: () => void;
  /** Called when somebody asks whether an unmap failed. */
  onIsStuck?: () => void;
  /** Called while an UNMAP is queued, with the domain's lock held. */
  onUnmap?: () => void;
}

/** Requests and waits so far. */
interface Traffic {
  maps: number;
  unmaps: number;
  notifications: number;
}

export class ScriptedDomain implements IommuDomain {
  readonly type = 'paging';
  readonly pageSizeBitmap: bigint;
  aperture: Range;
  script: Script = {};
  readonly traffic: Traffic = { maps: 0, unmaps: 0, notifications: 0 };
  /** MAP requests in order. */
  readonly sent: Mapping[] = [];
  /** What the guest knows, by first page. */
  readonly tree: Map<number, Mapping> = new Map();
  /** What the device knows: a page for each page. */
  readonly table: Map<number, { phys: number; protection: number }> = new Map();
  readonly #queue: Request[] = [];
  #failed: { start: number; code: ErrorCode }[] = [];
  readonly #stuck: { start: number; pages: number }[] = [];
  readonly #state: Lock;
  readonly #requests: Lock;

  constructor(
    concurrency: Concurrency,
    aperture: Range,
    pageSizeBitmap = ~0xfffn & (2n ** 64n - 1n),
  ) {
    this.aperture = aperture;
    this.pageSizeBitmap = pageSizeBitmap;
    this.#state = concurrency.lock('domain', LockRank.domain);
    this.#requests = concurrency.lock('requests', LockRank.requests);
  }

  /** The lock that mapping and unmapping take. */
  get lock(): Lock {
    return this.#state;
  }

  mapPages(start: number, phys: number, block: number, count: number, protection: number): number {
    const mapping = { start, phys, pages: block * count, protection };
    const last = start + mapping.pages - 1;
    if (addressAt(start, 0) < this.aperture.start || addressAt(last, 4095) > this.aperture.last)
      throw new IommuError('EINVAL', 'outside of the aperture');
    this.#locked(() => {
      for (const { start: other, pages } of this.tree.values())
        if (other <= last && other + pages > start) throw new IommuError('EEXIST', 'overlap');
      const refusal = this.script.queueMap?.(mapping);
      if (refusal !== undefined) throw new IommuError(refusal, 'not queued');
      this.tree.set(start, mapping);
      this.#queue.push({ kind: 'map', ...mapping });
      this.sent.push(mapping);
      this.traffic.maps += 1;
    });
    return mapping.pages;
  }

  unmapPages(start: number, block: number, count: number): number {
    const last = start + block * count - 1;
    return this.#locked(() => {
      let at = start;
      for (;;) {
        const mapping = this.tree.get(at);
        if (mapping === undefined || at > last) break;
        at += mapping.pages;
      }
      if (at === start || at - 1 > last) return 0;
      for (let page = start; page < at;) {
        const { pages } = this.tree.get(page)!; // Seen just now.
        this.tree.delete(page);
        page += pages;
      }
      this.#queue.push({ kind: 'unmap', start, pages: at - start });
      this.traffic.unmaps += 1;
      this.script.onUnmap?.();
      return at - start;
    });
  }

  translate(page: number): number {
    for (const { start, pages, phys } of this.tree.values())
      if (page >= start && page < start + pages) return phys + page - start;
    return -1;
  }

  syncMap(start: number, pages: number): void {
    this.sync();
    const within = (map: { start: number }) => map.start >= start && map.start < start + pages;
    const failed = this.#failed.filter(within);
    // What was refused stays in the guest's books until it is unmapped.
    this.#failed = this.#failed.filter((map) => !within(map));
    if (failed[0] !== undefined) throw new IommuError(failed[0].code, 'refused');
  }

  sync(): void {
    this.script.onWait?.();
    this.#requests.acquire();
    try {
      if (this.script.broken === true) throw new IommuError('EIO', 'no answer');
      if (this.#queue.length > 0) this.traffic.notifications += 1;
      for (const request of this.#queue.splice(0)) this.#serve(request);
      this.script.onServed?.();
    } finally {
      this.#requests.release();
    }
  }

  flushAll(): void {
    this.sync();
  }

  isStuck(start: number, pages: number): boolean {
    this.script.onIsStuck?.();
    return this.#stuck.some(
      (range) => range.start < start + pages && range.start + range.pages > start,
    );
  }

  setFaultHandler(): void {
    // No faults are told.
  }

  free(): void {
    this.tree.clear();
  }

  /** Where the device gets to at a page, if it may do what it wants to. */
  reach(page: number, access: number): number | undefined {
    const entry = this.table.get(page);
    return entry !== undefined && (entry.protection & access) === access ? entry.phys : undefined;
  }

  #serve(request: Request): void {
    const { start, pages } = request;
    const answer = request.kind === 'map' ? this.script.map?.(request) : this.script.unmap?.(start);
    if (answer !== undefined) {
      if (request.kind === 'map') this.#failed.push({ start, code: answer });
      else this.#stuck.push({ start, pages });
      return;
    }
    for (let n = 0; n < pages; n += 1)
      if (request.kind === 'unmap') this.table.delete(start + n);
      else {
        if (this.table.has(start + n)) throw new Error(`page ${start + n} is mapped on the device`);
        const { phys, protection } = request;
        this.table.set(start + n, { phys: phys + n, protection });
      }
  }

  #locked<Result>(step: () => Result): Result {
    this.#state.acquire();
    try {
      this.#requests.acquire();
      try {
        return step();
      } finally {
        this.#requests.release();
      }
    } finally {
      this.#state.release();
    }
  }
}

/** An instance that can do what a domain of its needs to ask. */
export function scriptedInstance(deferredFlush = true, shadowOnFlush = false): IommuInstance {
  const never = () => {
    throw new Error('not part of this test');
  };
  return {
    name: 'viommu0',
    capabilities: { deferredFlush, shadowOnFlush, cacheCoherency: true },
    grouping: 'each',
    probeDevice: never,
    allocPaging: never,
    allocIdentity: never,
  };
}

/** All addresses that a device of 64 bits may have. */
export const WHOLE_APERTURE: Range = { start: 0n, last: addressAt(PAGE_MAX, 4095) };
export const READ = Protection.READ;
export const WRITE = Protection.WRITE;
