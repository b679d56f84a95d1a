/**
 * Pieces of guest memory as the views that reads and writes of files take.
 *
 * A view says nothing about who may use it, so those made before are kept: a guest uses the same pages again and again,
 * and making a view costs more than looking one up.
 */

const KEPT = 1024;
/** Spreads positions that are multiples of a page or of a sector. */
const SPREAD = 0x9e37_79b1;
const KEPT_SHIFT = 22;

/** The pieces of one access. Made once and used again. */
export class ViewList {
  /** The pieces, after {@link end}. The array is always the same. */
  readonly views: Uint8Array[] = [];
  /** Bytes in all of them. */
  sizeBytes = 0;
  #count = 0;
  readonly #buffer: ArrayBufferLike;
  readonly #offset: number;
  readonly #kept: (Uint8Array | undefined)[] = Array.from({ length: KEPT }, () => undefined);

  /** `memory` is the view of guest memory: positions count its bytes. */
  constructor({ buffer, byteOffset }: DataView) {
    this.#buffer = buffer;
    this.#offset = byteOffset;
  }

  begin(): void {
    this.#count = 0;
    this.sizeBytes = 0;
  }

  /** Adds `length` bytes of guest memory. */
  add(position: number, length: number): void {
    const at = this.#offset + position;
    const slot = Math.imul(position + length, SPREAD) >>> KEPT_SHIFT;
    let view = this.#kept[slot];
    if (view === undefined || view.byteOffset !== at || view.length !== length) {
      view = new Uint8Array(this.#buffer, at, length);
      this.#kept[slot] = view;
    }
    this.views[this.#count] = view;
    this.#count += 1;
    this.sizeBytes += length;
  }

  /** Makes {@link views} as long as the access has pieces. */
  end(): readonly Uint8Array[] {
    if (this.views.length !== this.#count) this.views.length = this.#count;
    return this.views;
  }
}
