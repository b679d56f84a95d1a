/** Numbers for domains: the lowest free one of a range. */

import { type DomainId, domainId } from '@viommu/common';

/** The domain numbers of one driver instance. */
export class DomainIds {
  readonly #first: number;
  readonly #last: number;
  /** The lowest number that was never taken. */
  #next: number;
  /** Numbers below it that were given back, in descending order. */
  readonly #free: number[] = [];

  /** Both ends inclusive, 0..2^32 - 1; a range that ends before it starts holds no number. */
  constructor(first: number, last: number) {
    this.#first = first;
    this.#next = first;
    this.#last = last;
  }

  /** True for a number of the range, free or taken. */
  includes(id: number): boolean {
    return id >= this.#first && id <= this.#last;
  }

  /** The lowest free number, which is then taken, or `undefined` if there is none. */
  take(): DomainId | undefined {
    const freed = this.#free.pop();
    if (freed !== undefined) return domainId(freed);
    if (this.#next > this.#last) return undefined;
    this.#next += 1;
    return domainId(this.#next - 1);
  }

  /** Gives back a number that was taken. */
  release(id: DomainId): void {
    const at = this.#free.findIndex((free) => free < id);
    this.#free.splice(at < 0 ? this.#free.length : at, 0, id);
  }
}
