/** Random requests and addresses, pressed against the edges of what there is. */

import {
  AttachRequest,
  DetachRequest,
  MapRequest,
  ProbeRequest,
  RequestType,
  UnmapRequest,
} from '@viommu/common';
import type { Model } from '../../src/model/model.ts';
import { ENDPOINTS } from './platform.ts';
import type { Random } from './random.ts';

const LAST = 0xffff_ffff_ffff_ffffn;
const DOMAINS = [0, 1, 2, 3, 4, 0xffff_ffff];
const EDGES = [
  0n,
  0x1000n,
  0x4000n,
  0x5000n,
  0x5800n,
  1n << 32n,
  0xfee0_0000n,
  1n << 53n,
  1n << 63n,
  1n << 64n,
];
const NUDGES = [0n, 0n, 0n, -1n, 1n, -0x1000n, 0x1000n, 0x2000n, 0x800n];
/** Granules in a range. */
const COUNTS = [1, 1, 2, 3, 8];
const COUNTS_OF_BYTES = [1, 2, 9, 0x800, 0x1000, 0x1801];

export class Generator {
  /** One of so many requests has something wrong with it. */
  readonly odd: number;
  readonly #random: Random;
  readonly #model: Model;
  readonly #pageSizeMask: bigint;

  constructor(random: Random, model: Model, pageSizeMask: bigint) {
    this.odd = random.pick([3, 10, 40]);
    this.#random = random;
    this.#model = model;
    this.#pageSizeMask = pageSizeMask;
  }

  /** The readable and the writable bytes of a request: mostly as many as it needs. */
  chain(probeSize: number): { readonly readable: Uint8Array; readonly room: number } {
    const random = this.#random;
    let readable = this.request();
    let room = readable[0] === RequestType.PROBE ? probeSize + 4 : 4;
    if (random.once(this.odd)) {
      const size = random.pick([0, 1, 3, 4, 5, readable.length - 1, readable.length + 1, 100]);
      const other = new Uint8Array(size);
      other.set(readable.subarray(0, size));
      readable = other;
    }
    if (random.once(this.odd))
      room = Math.max(0, random.pick([0, 3, 5, 8, 50, 4, room - 1, room + 1, room + 9, 4 + room]));
    // A chain has a buffer.
    if (readable.length === 0) room = Math.max(room, 1);
    return { readable, room };
  }

  /** A whole request. */
  request(): Uint8Array {
    const random = this.#random;
    const kind = random.number(100);
    const domain = random.pick(random.once(4) ? DOMAINS : [1, 2]);
    const endpoint = random.pick(ENDPOINTS);
    const odd = random.once(this.odd);
    let bytes: Uint8Array;
    if (kind < 15) {
      const flags = odd ? random.pick([1, 2, 0x8000_0000, 3]) : random.once(6) ? 1 : 0;
      bytes = AttachRequest.encode({ type: RequestType.ATTACH, domain, endpoint, flags });
    } else if (kind < 22) {
      bytes = DetachRequest.encode({ type: RequestType.DETACH, domain, endpoint });
    } else if (kind < 70) {
      const [virtStart, virtEnd] = this.#range();
      const flags = odd ? random.pick([0, 4, 7, 8, 0x8000_0003]) : random.pick([1, 2, 3, 3]);
      const physStart = this.#physical(virtStart, odd);
      bytes = MapRequest.encode({
        type: RequestType.MAP,
        domain,
        virtStart,
        virtEnd,
        physStart,
        flags,
      });
    } else if (kind < 92) {
      const [virtStart, virtEnd] = this.#range();
      bytes = UnmapRequest.encode({ type: RequestType.UNMAP, domain, virtStart, virtEnd });
    } else {
      bytes = ProbeRequest.encode({ type: RequestType.PROBE, endpoint });
    }
    // The last byte of these is reserved.
    if (odd && (bytes[0] === RequestType.ATTACH || bytes[0] === RequestType.UNMAP))
      bytes[bytes.length - random.pick([1, 2, 3, 4])] = 1;
    if (random.once(4 * this.odd)) bytes[random.number(bytes.length)] = random.number(256);
    return bytes;
  }

  /** Mostly a granule in the lower half; at times near the last address, or anything. */
  #physical(virtStart: bigint, odd: boolean): bigint {
    const random = this.#random;
    const granule = this.#pageSizeMask & -this.#pageSizeMask;
    const some = granule * BigInt(random.pick([0x10, 1, 0x801, 0xfff, 0x1000]));
    if (!odd) return (virtStart + some) & (LAST >> 1n);
    return random.once(2) ? this.address() : BigInt.asUintN(64, LAST + 1n - some);
  }

  /** Mostly a small range of granules, at times anything. */
  #range(): readonly [bigint, bigint] {
    const random = this.#random;
    const start = this.address();
    if (random.once(this.odd)) return [start, this.address()];
    const mask = this.#pageSizeMask;
    const granule = mask & -mask;
    const aligned = start & ~(granule - 1n);
    const last =
      aligned + granule * BigInt(random.pick(granule < 0x1000n ? COUNTS_OF_BYTES : COUNTS)) - 1n;
    return [aligned, last > LAST ? LAST : last];
  }

  /** Mostly an address in a mapping that the endpoint has, near an edge or anywhere. */
  accessed(endpoint: number): bigint {
    const random = this.#random;
    const mappings = this.#model.mappings(this.#model.domainOf(endpoint) ?? -1);
    if (mappings.length === 0 || random.once(4)) return this.address();
    const { start, last } = random.pick(mappings);
    const size = last - start + 1n;
    return start + ((size * BigInt(random.number(0x1000))) >> 12n);
  }

  /** Near 0, page edges, powers of two, regions, or the edges of what is mapped. */
  address(): bigint {
    const random = this.#random;
    const { domains } = this.#model;
    let near = random.pick(EDGES);
    if (domains.length > 0 && !random.once(3)) {
      const mappings = this.#model.mappings(random.pick(domains));
      if (mappings.length > 0) {
        const { start, last } = random.pick(mappings);
        near = random.pick([start, last + 1n, (start + last) / 2n]);
      }
    }
    return BigInt.asUintN(64, near + random.pick(NUDGES));
  }
}
