/**
 * A disk in a domain of its own: it reaches only pages that the guest has granted it, and holds them no longer than it
 * needs them.
 *
 * A page that is used is mapped until {@link GrantTranslator.release}, before the request is given back: a guest that
 * takes a grant back then finds it free.
 */

import { PAGE_SIZE } from '@viommu/common';
import { GRANT_PAGE, type GrantHypervisor } from '@viommu/iommu';
import { Access, type PieceList, Translated, type Translator } from '@viommu/ring';

/** The page behind the last reference there can be. */
const GRANT_PAGES_END = GRANT_PAGE + 2 ** 32;

/** Maps grants of one guest for one back-end. */
export class GrantTranslator implements Translator {
  readonly wholePages = true;
  readonly #hypervisor: GrantHypervisor;
  readonly #guest: number;
  readonly #backend: number;
  /** Handles by reference, for reading and for writing. */
  readonly #readable: Map<number, number> = new Map();
  readonly #writable: Map<number, number> = new Map();
  #generation = 0;

  /** `guest` and `backend` are the numbers of the two domains. */
  constructor(hypervisor: GrantHypervisor, guest: number, backend: number) {
    this.#hypervisor = hypervisor;
    this.#guest = guest;
    this.#backend = backend;
  }

  get generation(): number {
    return this.#generation;
  }

  translate(
    page: number,
    offset: number,
    sizeBytes: number,
    access: Access,
    into: PieceList,
  ): Translated {
    const pages = Math.ceil((offset + sizeBytes) / PAGE_SIZE);
    // Everything that is no grant is refused: no address of the guest's own gets through.
    if (page < GRANT_PAGE || page + pages > GRANT_PAGES_END) return Translated.FAULT;
    let at = offset;
    let remaining = sizeBytes;
    for (let n = 0; n < pages; n += 1) {
      const frame = this.#frameOf(page - GRANT_PAGE + n, access);
      if (frame < 0) return Translated.FAULT;
      const bytes = Math.min(remaining, PAGE_SIZE - at);
      into.add(frame, at, bytes);
      remaining -= bytes;
      at = 0;
    }
    return Translated.OK;
  }

  /** Unmaps everything; translations so far are not to be used any more. */
  release(): void {
    if (this.#readable.size + this.#writable.size === 0) return;
    for (const handle of this.#readable.values()) this.#hypervisor.unmapGrant(handle);
    for (const handle of this.#writable.values()) this.#hypervisor.unmapGrant(handle);
    this.#readable.clear();
    this.#writable.clear();
    this.#generation = (this.#generation + 1) & 0xff_ffff;
  }

  #frameOf(ref: number, access: Access): number {
    const handles = access === Access.READ ? this.#readable : this.#writable;
    let handle = handles.get(ref);
    if (handle === undefined) {
      const readOnly = access === Access.READ;
      handle = this.#hypervisor.mapGrant(this.#guest, ref, this.#backend, readOnly);
      if (handle < 0) return -1;
      handles.set(ref, handle);
    }
    return this.#hypervisor.frameOf(handle);
  }
}
