/** Refused accesses, and whether the guest was told about each of them. */

import type { FaultReport } from '@viommu/driver';
import type { Stage } from './stage.ts';

export class FaultLedger {
  /** Those that may still be told about, in order. */
  readonly #refusals: { readonly id: number; readonly page: number }[] = [];
  /** Those that were not, though later ones were. */
  #skipped = 0;
  /** What the device had counted as dropped when the guest began. */
  #dropped = 0;
  readonly #stage: Stage;

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  get untold(): number {
    return this.#refusals.length;
  }

  /** A guest begins to listen. */
  begin(dropped: number): void {
    this.#refusals.length = 0;
    this.#skipped = 0;
    this.#dropped = dropped;
  }

  /** An access is refused. */
  refused(id: number, page: number): void {
    this.#refusals.push({ id, page });
  }

  /** The guest is told about an access: it was refused, and later than the one before. */
  told({ endpointId, address }: FaultReport): void {
    const page = Number((address ?? 0n) >> 12n);
    const found = this.#refusals.findIndex((one) => one.id === endpointId && one.page === page);
    const { excused } = this.#stage;
    this.#stage.check(found >= 0 || excused, 'event', 'a fault is told of that was none');
    this.#refusals.splice(0, found + 1);
    this.#skipped += Math.max(0, found);
  }

  /** Of those that nobody was told about the device has counted each one. */
  check(dropped: number): void {
    const missing = this.#skipped + this.#refusals.length;
    const counted = dropped - this.#dropped;
    this.#stage.check(
      missing === counted,
      'event',
      'faults are neither told of nor counted',
      () => `${missing} are missing, ${counted} are counted`,
    );
  }
}
