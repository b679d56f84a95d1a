/** What a target does and a conforming one does not. */

/** Ends a stream. Two with the same kind and matter are the same finding, whatever the evidence. */
export class Deviation extends Error {
  override readonly name = 'Deviation';
  /** What was looked at, in a word: `answer`, `access`, `event`, `books`, `memory`, `crash` … */
  readonly kind: string;
  /** What is wrong, without anything that differs from stream to stream. */
  readonly matter: string;

  constructor(kind: string, matter: string, evidence: string) {
    super(evidence);
    this.kind = kind;
    this.matter = matter;
  }
}

/** The same for all findings that are one. */
export function signatureOf({ kind, matter }: Pick<Deviation, 'kind' | 'matter'>): string {
  return `${kind}: ${matter}`;
}
