/**
 * The order of a replay: which requests go out together, and when accesses may run.
 *
 * Accesses must find what the requests before them did, so a batch ends where the answer of an access could depend on
 * it. Two ways to batch, as a Linux guest does it:
 *
 * - *lazy* (flush queues): MAPs up to the next access share one sync. UNMAPs wait for it; an access forces a sync for
 *   their sake only if it goes where one of them has just removed something, or if it was refused, which no driver
 *   does and which only the order of the recording can explain.
 * - *strict*: MAPs in a row share one sync, and each UNMAP is synced alone.
 *
 * PROBE, ATTACH and DETACH are waited for in both.
 */

import { ResetKind, RowKind, type Script, isAccess } from './script.ts';

/** How requests are batched. */
export const BATCH_MODES: readonly ['lazy', 'strict'] = ['lazy', 'strict'];
/** One of the ways. */
export type BatchMode = (typeof BATCH_MODES)[number];

/** What carries out the rows of a script. Everything takes effect in the order of the calls, once a sync is over. */
export interface Performer {
  /** Queues the request of a row. */
  queue(row: number): void;
  /** Sends what is queued and waits for every answer. */
  sync(): void;
  /** Has the endpoints carry out `count` accesses, from `row` on. */
  access(row: number, count: number): void;
  /** Writes `bypass`. */
  bypass(row: number): void;
  /** Resets the device and brings it up again. */
  reset(row: number, kind: 'device' | 'system'): void;
}

/** Accesses in one go at most, so that nobody waits for long without a word. */
export const RUN_MAX: number = 1 << 15;

/** UNMAPs that wait at most when an access comes: what a flush queue of Linux holds. */
const DEFERRED_MAX = 256;

/** Carries out a whole script. */
export function walk(script: Script, mode: BatchMode, performer: Performer): void {
  new Walk(script, mode, performer).run();
}

/** The row behind the run of accesses that begins with `row`. */
export function runEnd(script: Script, row: number): number {
  const last = Math.min(script.length, row + RUN_MAX);
  let end = row;
  while (end < last && isAccess(script.kind(end))) end += 1;
  return end;
}

class Walk {
  readonly #script: Script;
  readonly #strict: boolean;
  readonly #performer: Performer;
  /** True if something was queued since the last sync. */
  #queued = false;
  /** True if a MAP is among it. */
  #mapQueued = false;
  /** The UNMAPs among it. */
  readonly #deferred: number[] = [];
  readonly #domains: Map<number, number> = new Map();

  constructor(script: Script, mode: BatchMode, performer: Performer) {
    this.#script = script;
    this.#strict = mode === 'strict';
    this.#performer = performer;
  }

  run(): void {
    const { length } = this.#script;
    for (let row = 0; row < length;) row = this.#step(row);
    this.#sync();
  }

  /** Carries out one row, or one run of accesses; the result is the row after it. */
  #step(row: number): number {
    const script = this.#script;
    const kind = script.kind(row);
    switch (kind) {
      case RowKind.ATTACH:
      case RowKind.DETACH:
        this.#queue(row);
        this.#sync();
        if (script.status(row) === 0) this.#note(row, kind);
        return row + 1;
      case RowKind.PROBE:
        this.#queue(row);
        this.#sync();
        return row + 1;
      case RowKind.MAP:
        this.#queue(row);
        this.#mapQueued = true;
        return row + 1;
      case RowKind.UNMAP:
        if (this.#strict) this.#sync();
        this.#queue(row);
        if (this.#strict) this.#sync();
        else this.#deferred.push(row);
        return row + 1;
      case RowKind.ACCESS:
      case RowKind.FAULT: {
        const end = runEnd(script, row);
        if (this.#mapQueued || this.#depends(row, end)) this.#sync();
        this.#performer.access(row, end - row);
        return end;
      }
      case RowKind.RESET:
        this.#sync();
        this.#domains.clear();
        this.#performer.reset(row, script.flags(row) === ResetKind.SYSTEM ? 'system' : 'device');
        return row + 1;
      case RowKind.BYPASS:
        this.#sync();
        this.#performer.bypass(row);
        return row + 1;
    }
  }

  #queue(row: number): void {
    this.#performer.queue(row);
    this.#queued = true;
  }

  #sync(): void {
    if (this.#queued) this.#performer.sync();
    this.#queued = false;
    this.#mapQueued = false;
    this.#deferred.length = 0;
  }

  /** True if an access of the run could have another outcome before the waiting UNMAPs than after them. */
  #depends(row: number, end: number): boolean {
    const deferred = this.#deferred;
    if (deferred.length === 0) return false;
    if (deferred.length > DEFERRED_MAX) return true;
    for (let access = row; access < end; access += 1) {
      if (this.#script.kind(access) === RowKind.FAULT) return true;
      const domain = this.#domains.get(this.#script.endpoint(access));
      for (const unmap of deferred)
        if (this.#script.domain(unmap) === domain && this.#hits(unmap, access)) return true;
    }
    return false;
  }

  #hits(unmap: number, access: number): boolean {
    const script = this.#script;
    const page = script.startPage(access);
    const offset = script.startOffset(access);
    const firstPage = script.startPage(unmap);
    const lastPage = script.lastPage(unmap);
    return (
      (page > firstPage || (page === firstPage && offset >= script.startOffset(unmap))) &&
      (page < lastPage || (page === lastPage && offset <= script.lastOffset(unmap)))
    );
  }

  /** Keeps the domain of each endpoint. */
  #note(row: number, kind: RowKind): void {
    const endpoint = this.#script.endpoint(row);
    if (kind === RowKind.ATTACH) this.#domains.set(endpoint, this.#script.domain(row));
    else this.#domains.delete(endpoint);
  }
}
