/** Fault records, right and wrong, and what a driver must tell of each: section "Fault reporting". */

import { FaultRecord, type ErrorCode } from '@viommu/common';
import type { Random } from '../random.ts';
import type { PromisedEndpoint, Promises } from './promise.ts';

interface Record {
  readonly bytes: Uint8Array;
  readonly usedBytes: number;
}

const REASONS = [2, 1, 0, 3, 0xff];
const FLAGS = [0x102, 0x101, 0x100, 0x103, 0, 2, 0x8000_0001, 0xffff_ffff, 0xfffffe00];
const ADDRESSES = [0n, 0x1000n, 0xffff_ffff_ffff_ffffn, 0x8000_0000n, 0x1234_5678_9abc_def0n];
/** What a domain's handler returns, by the lowest bits of the address. */
const OUTCOMES: readonly (ErrorCode | undefined)[] = [undefined, 'EINVAL'];
const LENGTHS = [0, 1, 8, 23, 25, 0x1000, 0xffff_ffff];
const RECORD_BYTES = 24;
const ACCESS_FLAGS = 3;
const ADDRESS_FLAG = 0x100;

/** The handler that domains have in these runs. */
export function handlerOutcome(address: bigint | undefined): ErrorCode | undefined {
  return OUTCOMES[Number((address ?? 0n) & 1n)];
}

/** Draws a record of one of these endpoints, or of none; `odd` also what no device may write. */
export function randomRecord(random: Random, endpoints: readonly number[], odd: boolean): Record {
  const bytes = FaultRecord.encode({
    reason: random.pick(REASONS),
    reserved: Uint8Array.from(odd && random.once(4) ? [0, random.number(2), 1] : [0, 0, 0]),
    flags: random.pick(FLAGS),
    endpoint: random.pick([...endpoints, 0xdead]),
    reserved1: Uint8Array.from(random.once(2) ? [0, 0, 0, 0] : [1, 2, 3, 4]),
    address: random.pick(ADDRESSES),
  });
  return { bytes, usedBytes: odd && random.once(4) ? random.pick(LENGTHS) : RECORD_BYTES };
}

/** What comes of records, in the order in which the device wrote them. */
export class FaultBook {
  /** Written, and not told of yet. */
  readonly waiting: Record[] = [];
  readonly #promises: Promises;

  constructor(promises: Promises) {
    this.#promises = promises;
  }

  /** The driver has handled them all, and told of these. */
  check(): void {
    const p = this.#promises;
    const { world } = p;
    const fail = (matter: string, evidence = ''): never => world.fail('fault', matter, evidence);
    for (const { bytes, usedBytes } of this.waiting.splice(0)) {
      if (usedBytes < RECORD_BYTES) {
        p.count('eventShort');
        continue;
      }
      if (usedBytes > RECORD_BYTES) p.count('eventLong');
      const { reason, reserved, flags, endpoint, address } = FaultRecord.read(
        new DataView(bytes.buffer),
      );
      if (reserved.some((byte) => byte !== 0)) {
        p.count('eventReserved');
        continue;
      }
      p.count('faultReported');
      if (reason > 2) p.count('faultReasonUnknown');
      const known = this.#endpoint(endpoint);
      if (known === undefined) p.count('faultEndpointUnknown');
      const report = world.reports.shift();
      if (report === undefined) return fail('a fault is not told');
      const where = (flags & ADDRESS_FLAG) === 0 ? undefined : address;
      if (report.reason !== (reason > 2 ? 0 : reason))
        fail('a fault has another reason', `${report.reason}`);
      if (report.flags !== (flags & (ACCESS_FLAGS | ADDRESS_FLAG)))
        fail('a fault has other flags', `${report.flags}`);
      if (report.endpointId !== endpoint)
        fail('a fault is of another endpoint', `${report.endpointId}`);
      if (report.endpoint !== known?.api) fail('a fault is told of another device', `${endpoint}`);
      if (report.address !== where) fail('a fault has another address', `${report.address}`);
      const domain = known?.domain ?? null;
      if (report.domain !== (domain?.api ?? null))
        fail('a fault is of another domain', `${endpoint}`);
      const outcome =
        domain === null || domain.api.faultHandler === undefined ? 'ENOSYS' : handlerOutcome(where);
      if (report.outcome !== outcome) fail('what a handler says is lost', `${report.outcome}`);
    }
    if (world.reports.length > 0)
      fail('a fault is told that there was not', `${world.reports.length}`);
  }

  #endpoint(id: number): PromisedEndpoint | undefined {
    return [...this.#promises.endpoints].find(({ ids }) => ids.includes(id));
  }
}
