/** The guest program of a replay: sends the requests of a script through the driver and checks every status. */

import {
  AttachRequest,
  DetachRequest,
  IommuConfig,
  IommuError,
  MapRequest,
  PAGE_SIZE,
  ProbeRequest,
  ReservedMemoryType,
  RequestType,
  Status,
  UnmapRequest,
} from '@viommu/common';
import { NO_STATUS, type RequestOwner, type RequestQueue, parseProbe } from '@viommu/driver';
import type { GuestContext, GuestEndpoint } from '@viommu/machine';
import { regionText } from '../inspect/event-text.ts';
import { Counter, Findings } from './findings.ts';
import { HOST_NAME, HostRegister } from './host-register.ts';
import { answerText, recordedRegionText } from './row-text.ts';
import { NO_REGION, RowKind, Script } from './script.ts';
import { type BatchMode, type Performer, walk } from './walk.ts';

/** What the program gets as its arguments. */
export interface ReplayArguments {
  readonly script: SharedArrayBuffer;
  readonly findings: SharedArrayBuffer;
  readonly batch: BatchMode;
}

/** Runs the whole script. */
export default function replayGuest(context: GuestContext): void {
  const { script, findings, batch } = context.args as ReplayArguments; // The session's.
  const guest = new ReplayGuest(context, new Script(script), new Findings(findings));
  const begunMs = context.clock.now();
  walk(guest.script, batch, guest);
  guest.finish(context.clock.now() - begunMs);
}

/** More slots than any queue has. */
const SLOTS_MAX = 32_769;
const LAST_OFFSET = PAGE_SIZE - 1;

class ReplayGuest implements Performer, RequestOwner {
  readonly script: Script;
  readonly #context: GuestContext;
  readonly #findings: Findings;
  readonly #host: GuestEndpoint;
  #requests: RequestQueue;
  /** By slot of the request queue: the row of the request in it. */
  readonly #rows: Int32Array = new Int32Array(SLOTS_MAX);
  /** Doorbells rung for anything but requests. */
  #otherNotifications: number;

  constructor(context: GuestContext, script: Script, findings: Findings) {
    this.script = script;
    this.#context = context;
    this.#findings = findings;
    this.#host = context.endpoint(HOST_NAME);
    this.#requests = context.requestQueue;
    this.#otherNotifications = context.transport.notifications;
  }

  queue(row: number): void {
    const { script } = this;
    const kind = script.kind(row);
    if (kind === RowKind.MAP && this.#wholePages(row) && script.targetOffset(row) === 0) {
      const slot = this.#requests.addMap(
        this,
        script.domain(row),
        script.startPage(row),
        script.lastPage(row),
        script.targetPage(row),
        script.flags(row),
      );
      this.#rows[slot] = row;
    } else if (kind === RowKind.UNMAP && this.#wholePages(row)) {
      const slot = this.#requests.addUnmap(
        this,
        script.domain(row),
        script.startPage(row),
        script.lastPage(row),
      );
      this.#rows[slot] = row;
    } else if (kind === RowKind.PROBE && script.status(row) === Status.OK) this.#probe(row);
    else this.#rows[this.#requests.addReq(this.#encode(row), this)] = row;
  }

  sync(): void {
    this.#findings.add(Counter.SYNCS, 1);
    if (this.#requests.syncReq() === undefined) return;
    throw new IommuError('EIO', `The request queue broke down: ${this.#requests.broken}.`);
  }

  access(row: number): void {
    this.#findings.set(Counter.ROW, row);
    this.#host.port.write(HostRegister.ACCESS, 4, row);
  }

  bypass(row: number): void {
    this.#context.transport.writeConfig(IommuConfig.offset.bypass, 1, this.script.flags(row));
  }

  reset(_row: number, kind: 'device' | 'system'): void {
    const { driver, transport } = this.#context;
    const before = transport.notifications;
    driver.remove();
    if (kind === 'system') this.#host.port.write(HostRegister.SYSTEM_RESET, 4, 1);
    this.#requests = this.#context.startDriver().requests;
    this.#otherNotifications += transport.notifications - before;
  }

  requestDone(slot: number, status: number): void {
    const row = this.#rows[slot] ?? 0;
    this.#findings.add(Counter.REQUESTS, 1);
    const recorded = this.script.status(row);
    if (status === recorded) return;
    const got = status === NO_STATUS ? 'no status' : answerText(status);
    this.#findings.mismatch({ row, expected: answerText(recorded), got });
  }

  /** Everything is over: what is known only now. */
  finish(elapsedMs: number): void {
    this.#findings.set(Counter.ELAPSED_US, Math.round(elapsedMs * 1000));
    this.#findings.set(Counter.ROW, this.script.length);
    const rung = this.#context.transport.notifications - this.#otherNotifications;
    this.#findings.set(Counter.NOTIFICATIONS, rung);
  }

  /** The one request whose answer is more than a status. */
  #probe(row: number): void {
    const { script } = this;
    this.#findings.add(Counter.REQUESTS, 1);
    const answer = this.#requests.sendProbeSync(this.#encode(row));
    const result = typeof answer === 'string' ? answer : parseProbe(answer);
    const expected = recordedRegionText(script, row);
    if (typeof result === 'string') {
      this.#findings.mismatch({ row, expected, got: `the error ${result}` });
      return;
    }
    const regions = result.regions.map(({ type, start, last }) => ({
      subtype: type === 'msi' ? ReservedMemoryType.MSI : ReservedMemoryType.RESERVED,
      start,
      last,
    }));
    const found =
      script.flags(row) === NO_REGION
        ? regions.length === 0
        : regions.some(
            ({ subtype, start, last }) =>
              subtype === script.flags(row) &&
              start === script.start(row) &&
              last === script.last(row),
          );
    if (found) return;
    const got = regions.length === 0 ? 'no reserved region' : regions.map(regionText).join(', ');
    this.#findings.mismatch({ row, expected, got });
  }

  #wholePages(row: number): boolean {
    return this.script.startOffset(row) === 0 && this.script.lastOffset(row) === LAST_OFFSET;
  }

  /** The device-readable bytes of a request, for those that are rare. */
  #encode(row: number): Uint8Array {
    const { script } = this;
    const domain = script.domain(row);
    const endpoint = script.endpoint(row);
    const flags = script.flags(row);
    const virtStart = script.start(row);
    const virtEnd = script.last(row);
    switch (script.kind(row)) {
      case RowKind.ATTACH:
        return AttachRequest.encode({ type: RequestType.ATTACH, domain, endpoint, flags });
      case RowKind.DETACH:
        return DetachRequest.encode({ type: RequestType.DETACH, domain, endpoint });
      case RowKind.MAP: {
        const physStart = script.target(row);
        return MapRequest.encode({
          type: RequestType.MAP,
          domain,
          virtStart,
          virtEnd,
          physStart,
          flags,
        });
      }
      case RowKind.UNMAP:
        return UnmapRequest.encode({ type: RequestType.UNMAP, domain, virtStart, virtEnd });
      default:
        return ProbeRequest.encode({ type: RequestType.PROBE, endpoint });
    }
  }
}
