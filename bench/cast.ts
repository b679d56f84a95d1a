/** Who takes part: contenders by their names, each made when it is first asked for. */

import { BusyThread } from './busy.ts';
import type { Contender } from './contender.ts';
import { Pair } from './pair.ts';
import { TwinProcess } from './twin.ts';

export class Cast {
  readonly #contenders = new Map<string, Contender>();
  #twin: TwinProcess | undefined;
  #busy: BusyThread | undefined;

  /** Makes what `variants` need beforehand. Returns why there is no twin, if one is wanted and there is none. */
  async prepare(variants: readonly string[], signal: AbortSignal): Promise<string | undefined> {
    if (!variants.some(isTwin)) return undefined;
    const twin = await TwinProcess.start(signal);
    if (typeof twin === 'string') return twin;
    this.#twin = twin;
    return undefined;
  }

  get(variant: string): Contender {
    const known = this.#contenders.get(variant);
    if (known !== undefined) return known;
    const [module = '', name = ''] = variant.split('.');
    const made = isTwin(variant) ? this.#twin?.contender(name) : new Pair(module, name);
    if (made === undefined) throw new Error('The C twin was not prepared.');
    this.#contenders.set(variant, made);
    return made;
  }

  /** Processor time of other processes that belong to us. */
  get processorMs(): number {
    return this.#twin?.processorMs ?? 0;
  }

  get busyThread(): BusyThread {
    this.#busy ??= new BusyThread();
    return this.#busy;
  }

  /** Ends all threads and processes; windows under way fail. */
  async end(): Promise<void> {
    await Promise.all([
      this.#twin?.end(),
      this.#busy?.end(),
      ...[...this.#contenders.values()].map((contender) => contender.end()),
    ]);
  }
}

/** True if it needs the program in C. */
export function isTwin(variant: string): boolean {
  return variant.startsWith('twin.');
}
