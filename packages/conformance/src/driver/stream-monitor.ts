/** The monitor on a `viommu-stream`: judges the driver of a recording, which may have run anywhere. */

import { IommuFeature, type StreamEvent, featureMask } from '@viommu/common';
import { type Level, entryOf } from '../catalogue.ts';
import { type Result, resultOfBroken } from '../verdict.ts';
import { type Finding, Ledger } from './ledger.ts';
import { Monitor } from './monitor.ts';

/** A clause that the driver of a recording broke. */
export interface StreamFinding extends Finding {
  /** Of the recording, from 1. */
  readonly line: number;
  /** `MAY` for advice, which no clause stands behind. */
  readonly level: Level;
  readonly result: Exclude<Result, 'skip'>;
}

/**
 * Takes the events of a recording in order. A recording has what the device offered, and nobody says what the driver
 * accepted: it is taken to have accepted what it was offered, the superseded BYPASS excepted.
 */
export class StreamMonitor {
  readonly ledger: Ledger = new Ledger();
  /** Requests so far. */
  requests = 0;
  readonly #monitor: Monitor = new Monitor(this.ledger);
  #features = 0n;
  /** A PROBE with several regions has several events. */
  #probing: number | undefined;

  /** Returns what the event breaks. */
  take(event: StreamEvent, line: number): readonly StreamFinding[] {
    const before = this.ledger.findings.length;
    this.#take(event);
    return this.ledger.findings.slice(before).map((finding) => ({
      ...finding,
      ...weightOf(finding.clause),
      line,
    }));
  }

  #take(event: StreamEvent): void {
    const probing = this.#probing;
    this.#probing = undefined;
    switch (event.kind) {
      case 'features':
        this.#features = event.bits & ~featureMask(IommuFeature.BYPASS);
        return;
      case 'config':
        return this.#monitor.begin({ features: this.#features, ...event });
      case 'probe':
        if (probing !== event.endpoint) this.#send(event);
        this.#probing = event.endpoint;
        return this.#monitor.region(event.endpoint, event);
      case 'probe-empty':
        return this.#send({ kind: 'probe', endpoint: event.endpoint });
      case 'attach':
      case 'detach':
      case 'map':
      case 'unmap':
        this.#send(event);
        return this.#monitor.answered(event, 0);
      case 'refused':
        this.#send(event.request);
        return this.#monitor.answered(event.request, event.status);
      case 'device-reset':
      case 'system-reset':
        return this.#monitor.reset();
      case 'bypass':
        this.ledger.check(
          'iommu.drv.config.bypass-write-value',
          event.value <= 1,
          `${event.value} is written to bypass`,
        );
        return;
      case 'access':
      case 'fault':
      case 'notify':
    }
  }

  #send(request: Parameters<Monitor['request']>[0]): void {
    this.requests += 1;
    this.#monitor.request(request);
  }
}

/** How bad it is to break a clause; advice is worth a warning. */
export function weightOf(clause: string): Pick<StreamFinding, 'level' | 'result'> {
  const level = entryOf(clause)?.level ?? 'MAY';
  const result = level === 'MAY' ? 'warn' : resultOfBroken(level);
  return { level, result: result === 'skip' ? 'warn' : result };
}
