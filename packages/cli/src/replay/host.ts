/**
 * The half of a replay that runs in the host worker, beside the device: carries out the accesses of the endpoints,
 * and watches the device handle each request.
 */

import {
  type DomainId,
  type EndpointId,
  type GuestPhysical,
  type Iova,
  type Range,
  type RefusedRequest,
} from '@viommu/common';
import { type IommuObserver, PieceKind, TranslateOutcome, Translation } from '@viommu/device';
import type { HostContext, HostEndpoint } from '@viommu/machine';
import { requestText } from '../inspect/event-text.ts';
import { formatAddress, formatRange } from '../output.ts';
import { Counter, Findings } from './findings.ts';
import { HostRegister } from './host-register.ts';
import {
  PASSED_TEXT,
  REMOVAL_MAX,
  recordedOutcomeText,
  recordedRemovalText,
  refusedText,
  removalText,
  rowText,
} from './row-text.ts';
import { RowKind, Script, UNTRANSLATED, isRequest } from './script.ts';
import { runEnd } from './walk.ts';

/** What the endpoint gets as its data. */
export interface ReplayHostData {
  readonly script: SharedArrayBuffer;
  readonly findings: SharedArrayBuffer;
}

/** Makes the endpoint. */
export default function createReplayHost(host: HostContext, data: ReplayHostData): HostEndpoint {
  const script = new Script(data.script);
  const findings = new Findings(data.findings);
  host.observe(new RequestWatch(script, findings));
  const accesses = new Accesses(host, script, findings);
  return {
    write(offset, _width, value) {
      if (offset === HostRegister.ACCESS) accesses.run(value);
      else if (offset === HostRegister.SYSTEM_RESET) host.systemReset();
    },
  };
}

/** Carries out accesses and compares what comes of them. */
class Accesses {
  readonly #host: HostContext;
  readonly #script: Script;
  readonly #findings: Findings;
  readonly #translation: Translation = new Translation();

  constructor(host: HostContext, script: Script, findings: Findings) {
    this.#host = host;
    this.#script = script;
    this.#findings = findings;
  }

  /** The run of accesses that begins with `first`. */
  run(first: number): void {
    const script = this.#script;
    const end = runEnd(script, first);
    for (let row = first; row < end; row += 1) this.#access(row);
    this.#findings.add(Counter.ACCESSES, end - first);
  }

  #access(row: number): void {
    const script = this.#script;
    const translation = this.#translation;
    const outcome = this.#host.iommu.translate(
      script.endpoint(row),
      script.startPage(row),
      script.startOffset(row),
      1,
      script.flags(row),
      translation,
    );
    if (this.#isAsRecorded(row, outcome)) return;
    this.#findings.mismatch({
      row,
      expected: recordedOutcomeText(script, row),
      got: outcomeText(outcome, translation),
    });
  }

  #isAsRecorded(row: number, outcome: TranslateOutcome): boolean {
    const script = this.#script;
    const translation = this.#translation;
    if (script.kind(row) === RowKind.FAULT)
      return outcome === TranslateOutcome.FAULT && translation.faultReason === script.status(row);
    if (outcome !== TranslateOutcome.OK) return false;
    const kind = translation.kind[0];
    if (script.status(row) === UNTRANSLATED) return kind !== PieceKind.MEMORY;
    // A bypassed access led to its own address, which may have been recorded; an interrupt led nowhere in memory.
    return (
      kind !== PieceKind.MSI &&
      translation.physPage[0] === script.targetPage(row) &&
      translation.physOffset[0] === script.targetOffset(row)
    );
  }
}

function outcomeText(outcome: TranslateOutcome, translation: Translation): string {
  if (outcome === TranslateOutcome.FAULT) return refusedText(translation.faultReason);
  if (translation.kind[0] !== PieceKind.MEMORY) return PASSED_TEXT;
  return formatAddress(translation.address(0));
}

/**
 * Follows the requests as the device handles them, in the order of the recording: each must be the recorded one, to
 * the last field, and an UNMAP must have removed the recorded mappings. Statuses are for the guest to compare.
 */
class RequestWatch implements IommuObserver {
  readonly #script: Script;
  readonly #findings: Findings;
  #row = 0;

  constructor(script: Script, findings: Findings) {
    this.#script = script;
    this.#findings = findings;
  }

  attached(domain: DomainId, endpoint: EndpointId, flags: number): void {
    this.#next({ kind: 'attach', domain, endpoint, flags });
  }

  detached(domain: DomainId, endpoint: EndpointId): void {
    this.#next({ kind: 'detach', domain, endpoint });
  }

  mapped(domain: DomainId, virt: Range<Iova>, physStart: GuestPhysical, flags: number): void {
    const { start: virtStart, last: virtLast } = virt;
    this.#next({ kind: 'map', domain, virtStart, virtLast, physStart, flags });
  }

  unmapped(domain: DomainId, virt: Range<Iova>, removed: readonly Range<Iova>[]): void {
    const { start: virtStart, last: virtLast } = virt;
    const row = this.#next({ kind: 'unmap', domain, virtStart, virtLast });
    if (row === undefined || this.#script.status(row) !== 0) return;
    this.#findings.add(Counter.REMOVED_SETS, 1);
    if (this.#isAsRecorded(row, removed)) return;
    const ranges = removed.slice(0, REMOVAL_MAX).map(({ start, last }) => formatRange(start, last));
    this.#findings.mismatch({
      row,
      expected: recordedRemovalText(this.#script, row),
      got: removalText(ranges, removed.length),
    });
  }

  probed(endpoint: EndpointId): void {
    this.#next({ kind: 'probe', endpoint });
  }

  refused(_status: number, request: RefusedRequest): void {
    this.#next(request);
  }

  /** Both are in ascending order. */
  #isAsRecorded(row: number, removed: readonly Range<Iova>[]): boolean {
    const script = this.#script;
    return (
      removed.length === script.removedCount(row) &&
      removed.every(
        ({ start, last }, index) =>
          start === script.removedStart(row, index) && last === script.removedLast(row, index),
      )
    );
  }

  /** The row of the request that the device has handled, if it is the one that the recording has there. */
  #next(request: RefusedRequest): number | undefined {
    const script = this.#script;
    const kind = KINDS[request.kind];
    // The device does not say anything of a PROBE that it does not know; its driver does.
    while (this.#row < script.length && !this.#isNext(kind)) this.#row += 1;
    const row = this.#row;
    if (row >= script.length) return undefined;
    this.#row += 1;
    this.#findings.add(Counter.REQUESTS, 1);
    if (isSame(script, row, request)) return row;
    this.#findings.mismatch({
      row,
      expected: rowText(script, row),
      got: requestText(request),
    });
    return undefined;
  }

  #isNext(kind: RowKind): boolean {
    const next = this.#script.kind(this.#row);
    return isRequest(next) && (next === kind || next !== RowKind.PROBE);
  }
}

const KINDS: Readonly<Record<RefusedRequest['kind'], RowKind>> = {
  attach: RowKind.ATTACH,
  detach: RowKind.DETACH,
  map: RowKind.MAP,
  unmap: RowKind.UNMAP,
  probe: RowKind.PROBE,
};

/** True if the request is the one of the row. */
function isSame(script: Script, row: number, request: RefusedRequest): boolean {
  if (script.kind(row) !== KINDS[request.kind]) return false;
  if ('domain' in request && request.domain !== script.domain(row)) return false;
  if ('endpoint' in request && request.endpoint !== script.endpoint(row)) return false;
  if ('flags' in request && request.flags !== script.flags(row)) return false;
  if ('virtStart' in request && request.virtStart !== script.start(row)) return false;
  if ('virtLast' in request && request.virtLast !== script.last(row)) return false;
  return !('physStart' in request) || request.physStart === script.target(row);
}
