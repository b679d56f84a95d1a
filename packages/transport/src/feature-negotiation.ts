/** The device's side of feature negotiation: section "Feature Bits". */

import { IommuError, VirtioFeature, featureMask, hasFeature } from '@viommu/common';

/** Words of 32 bits that can hold an offered feature. */
const WORDS = 2;

/** The features of other transports: section "Feature Bits" has them neither offered nor accepted over virtio-mmio. */
export const OTHER_TRANSPORTS: bigint =
  featureMask(VirtioFeature.SR_IOV) |
  featureMask(VirtioFeature.NOTIF_CONFIG_DATA) |
  featureMask(VirtioFeature.ADMIN_VQ);

/** What this transport does not do yet. */
const NOT_YET = featureMask(VirtioFeature.SUSPEND);

/** The bits offered and the bits the driver has written so far. */
export class FeatureNegotiation {
  readonly offered: bigint;
  readonly #words: Uint32Array = new Uint32Array(WORDS);
  /** True if the driver set a bit in a word that offers none. */
  #foreign = false;

  /** @throws {IommuError} `EINVAL` if the offer lacks VERSION_1 or has a bit that this transport cannot honour. */
  constructor(offered: bigint) {
    if (BigInt.asUintN(32 * WORDS, offered) !== offered)
      throw new IommuError('EINVAL', 'A device offers feature bits 0 to 63 only.');
    if (!hasFeature(offered, VirtioFeature.VERSION_1))
      throw new IommuError('EINVAL', 'A device must offer VERSION_1.');
    const impossible = offered & (OTHER_TRANSPORTS | NOT_YET);
    if (impossible !== 0n)
      throw new IommuError(
        'EINVAL',
        `A device cannot offer features 0x${impossible.toString(16)} over virtio-mmio.`,
      );
    this.offered = offered;
  }

  /** The offered bits 32 * `selector` and up; 0 for words that offer none. */
  deviceWord(selector: number): number {
    return selector < WORDS ? wordOf(this.offered, selector) : 0;
  }

  /** The driver sets the bits it accepts in word `selector`. */
  writeDriverWord(selector: number, value: number): void {
    if (selector < WORDS) this.#words[selector] = value;
    else if (value !== 0) this.#foreign = true;
  }

  /** The bits the driver has written so far, of those that a word can hold which offers some. */
  get written(): bigint {
    const [low = 0, high = 0] = this.#words;
    return (BigInt(high) << 32n) | BigInt(low);
  }

  /** True if the driver set a bit in a word that offers none. */
  get foreign(): boolean {
    return this.#foreign;
  }

  /** The bits the driver wants, or `undefined` if that is no valid choice. */
  choice(): bigint | undefined {
    return !this.#foreign && this.isChoice(this.written) ? this.written : undefined;
  }

  /** True for a set with VERSION_1 and without a bit that is not offered. */
  isChoice(features: bigint): boolean {
    return (features & ~this.offered) === 0n && hasFeature(features, VirtioFeature.VERSION_1);
  }

  /** As if the driver had written this. */
  restore(written: bigint, foreign: boolean): void {
    this.#words.set([wordOf(written, 0), wordOf(written, 1)]);
    this.#foreign = foreign;
  }

  /** Forgets what the driver wrote. */
  reset(): void {
    this.#words.fill(0);
    this.#foreign = false;
  }
}

/** Bits 32 * `selector` to 32 * `selector` + 31 of `features`. */
export function wordOf(features: bigint, selector: number): number {
  return Number(BigInt.asUintN(32, features >> BigInt(32 * selector)));
}
