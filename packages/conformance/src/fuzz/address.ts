/** Addresses near 0, page edges, powers of two, the ends of regions, and the edges of what is mapped. */

import { ADDRESS_MAX } from '@viommu/common';
import type { Mapping } from '../model/mapping-set.ts';
import type { Model } from '../model/model.ts';
import type { Random } from './random.ts';

const EDGES = [
  0n,
  0x1000n,
  0x4000n,
  0x5000n,
  0x5800n,
  1n << 32n,
  0xfee0_0000n,
  0xfef0_0000n,
  1n << 53n,
  1n << 63n,
  1n << 64n,
] as const;
const NUDGES = [0n, 0n, 0n, -1n, 1n, -0x1000n, 0x1000n, 0x2000n, 0x800n] as const;
const COUNTS = [1n, 1n, 1n, 2n, 3n, 8n] as const;
const COUNTS_OF_BYTES = [1n, 2n, 9n, 0x800n, 0x1000n, 0x1801n] as const;

/** Where thousands of mappings find room, in every input range that streams have. */
const BULK_HOME = 0x10_0000n;
const BULK_SPREAD = 0x8000;

export class AddressSource {
  readonly #random: Random;
  readonly #modelNow: () => Model;
  readonly #granule: bigint;
  readonly #data: { readonly start: bigint; readonly bytes: number };
  /** Where this stream works for the most part: mappings shall meet. */
  readonly #home: bigint;
  /** Granules that it works on: in many of them a domain becomes large. */
  readonly #spread: number;
  /** One of so many odd removals is of all there is. */
  readonly #wipes: number;

  constructor(
    random: Random,
    modelNow: () => Model,
    pageSizeMask: bigint,
    data: { readonly start: bigint; readonly bytes: number },
    bulk = false,
  ) {
    this.#random = random;
    this.#modelNow = modelNow;
    this.#granule = pageSizeMask & -pageSizeMask || 1n;
    this.#data = data;
    this.#home = bulk ? BULK_HOME : random.pick(EDGES);
    this.#spread = bulk ? BULK_SPREAD : random.pick([32, 32, 128, 2048]);
    this.#wipes = bulk ? 40 : 3;
  }

  /** Any address. */
  any(): bigint {
    const random = this.#random;
    const mapping = random.once(3) ? undefined : this.#mapping();
    let near = random.once(2) ? this.#home : random.pick(EDGES);
    if (mapping !== undefined) {
      const { start, last } = mapping;
      near = random.pick([start, last + 1n, last, (start + last) / 2n]);
    }
    return BigInt.asUintN(64, near + random.pick(NUDGES));
  }

  /** Mostly some granules, at times anything. */
  range(odd: boolean): readonly [start: bigint, last: bigint] {
    const random = this.#random;
    if (odd && random.once(2)) return [this.any(), this.any()];
    const granule = this.#granule;
    const start =
      (random.once(this.#spread > 32 ? 8 : 2) ? this.any() : this.#near()) & ~(granule - 1n);
    const count = random.pick(granule < 0x1000n ? COUNTS_OF_BYTES : COUNTS);
    let last = start + granule * count - 1n;
    // Off the granule, by pages where it is larger than those.
    if (odd) last += random.pick([0n, 0n, 0x1000n, -0x1000n, 1n, 0x800n]);
    if (last < 0n) last = 0n;
    return [start, last > ADDRESS_MAX ? ADDRESS_MAX : last];
  }

  /** What an UNMAP names: a mapping as a whole, several of them, a part of one, or any range. */
  removal(domain: number, odd: boolean): readonly [start: bigint, last: bigint] {
    const random = this.#random;
    const mappings = this.#modelNow().mappings(domain);
    if (mappings.length === 0 || random.once(4)) return this.range(odd);
    const first = random.number(mappings.length);
    const from = mappings[first]!; // Below the length.
    const to =
      mappings[Math.min(mappings.length - 1, first + random.pick([0, 0, 0, 1, 2, 9, 100]))] ?? from;
    if (!random.once(8)) return [from.start, to.last];
    if (random.once(this.#wipes)) return [0n, ADDRESS_MAX];
    // Cut through, or beyond, by a byte or a granule.
    const by = random.pick([1n, this.#granule, -1n, -this.#granule]);
    return random.once(2)
      ? [BigInt.asUintN(64, from.start + by), to.last]
      : [from.start, BigInt.asUintN(64, to.last + by)];
  }

  /** Mostly in the data, so that accesses can be made; at times at an edge, near the last address, or anything. */
  physical(odd: boolean): bigint {
    const random = this.#random;
    const granule = this.#granule;
    if (odd && random.once(2)) return random.once(2) ? this.any() : ADDRESS_MAX + 1n - granule;
    if (granule > this.#data.bytes || random.once(8)) return this.any() & ~(granule - 1n);
    const slots = this.#data.bytes / Number(granule);
    return this.#data.start + granule * BigInt(random.number(slots));
  }

  /** Where an access of `length` bytes begins: across edges for the most part. */
  access(length: number): bigint {
    const random = this.#random;
    if (random.once(8)) return this.#data.start + BigInt(random.number(this.#data.bytes - length));
    const mapping = random.once(5) ? undefined : this.#mapping();
    if (mapping === undefined) return this.any();
    const { start, last } = mapping;
    const by = random.pick([0n, 0n, -1n, 1n, BigInt(length), BigInt(length) - 1n]);
    const at = random.once(2) ? start + by : last + 1n - by;
    return BigInt.asUintN(64, at);
  }

  #near(): bigint {
    return BigInt.asUintN(
      64,
      this.#home + this.#granule * BigInt(this.#random.number(this.#spread)),
    );
  }

  #mapping(): Mapping | undefined {
    const { domains } = this.#modelNow();
    if (domains.length === 0) return undefined;
    const mappings = this.#modelNow().mappings(this.#random.pick(domains));
    return mappings.length === 0 ? undefined : this.#random.pick(mappings);
  }
}
