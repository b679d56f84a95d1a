/** A disk behind the IOMMU: its addresses are those of an endpoint. */

import { PAGE_SIZE } from '@viommu/common';
import { type Iommu, PieceKind, TranslateOutcome, Translation } from '@viommu/device';
import type { PageStates } from '@viommu/iommu';
import { type Access, type PieceList, Translated, type Translator } from '@viommu/ring';

/** Translates for one endpoint. The memory that keeps its translations has to be a keeper of the IOMMU. */
export class IommuTranslator implements Translator {
  readonly generation = 0;
  readonly wholePages: boolean;
  readonly #iommu: Iommu;
  readonly #endpoint: number;
  readonly #states: PageStates;
  readonly #translation: Translation = new Translation();

  constructor(iommu: Iommu, endpoint: number, states: PageStates) {
    this.#iommu = iommu;
    this.#endpoint = endpoint;
    this.#states = states;
    const granule = iommu.pageSizeMask & -iommu.pageSizeMask;
    this.wholePages = granule >= BigInt(PAGE_SIZE);
  }

  translate(
    page: number,
    offset: number,
    sizeBytes: number,
    access: Access,
    into: PieceList,
  ): Translated {
    const found = this.#translation;
    const outcome = this.#iommu.translate(this.#endpoint, page, offset, sizeBytes, access, found);
    if (outcome !== TranslateOutcome.OK) return Translated.FAULT;
    for (let piece = 0; piece < found.count; piece += 1) {
      // A doorbell is no memory, and a disk has no business there.
      if (found.kind[piece] === PieceKind.MSI) return Translated.FAULT;
      // All below the count.
      const at = found.physPage[piece]!;
      const within = found.physOffset[piece]!;
      const bytes = found.length[piece]!;
      if (!mayTouch(this.#states, at, within, bytes)) return Translated.FATAL;
      into.add(at, within, bytes);
    }
    return Translated.OK;
  }
}

/** True if the guest has not closed any of these pages. Memory that is not there is for others to find out. */
export function mayTouch(
  states: PageStates,
  page: number,
  offset: number,
  sizeBytes: number,
): boolean {
  if (!states.guarded) return true;
  return states.shared(page, Math.ceil((offset + sizeBytes) / PAGE_SIZE));
}
