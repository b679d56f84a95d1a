/** What becomes of a peer that ends, or never answers. */

import { IommuError } from '@viommu/common';

/** How a peer was lost. */
export type LossKind = 'crash' | 'hang';

/** Thrown by every call that needs a peer which has ended. */
export class PeerLost extends IommuError {
  /** `hang` if the peer was ended from outside, because its time was over before it answered. */
  readonly how: LossKind;
  /** The last lines it wrote, for people. */
  readonly lastWords: string;

  constructor(how: LossKind, message: string, lastWords: string) {
    super(how === 'hang' ? 'ETIMEDOUT' : 'EIO', message);
    this.how = how;
    this.lastWords = lastWords;
  }
}
