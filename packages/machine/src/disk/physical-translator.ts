/** A disk without ACCESS_PLATFORM: its addresses are physical, and only a guest that protects itself can keep it out. */

import type { PageStates } from '@viommu/iommu';
import { type Access, type PieceList, Translated, type Translator } from '@viommu/ring';
import { mayTouch } from './iommu-translator.ts';

/** Lets everything through that is open. */
export class PhysicalTranslator implements Translator {
  readonly generation = 0;
  readonly #states: PageStates;

  constructor(states: PageStates) {
    this.#states = states;
  }

  /** The states of a protected guest's pages may change at any time. */
  get wholePages(): boolean {
    return !this.#states.guarded;
  }

  translate(
    page: number,
    offset: number,
    sizeBytes: number,
    _access: Access,
    into: PieceList,
  ): Translated {
    if (!mayTouch(this.#states, page, offset, sizeBytes)) return Translated.FATAL;
    into.add(page, offset, sizeBytes);
    return Translated.OK;
  }
}
