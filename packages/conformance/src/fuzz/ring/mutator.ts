/** A thread that writes shared bytes while others read them, as fast as it can, until it is told to stop. */

import { parentPort, workerData } from 'node:worker_threads';

/** Words that both threads know. */
export const Control = { STOP: 0, WRITES: 1 } as const;

/** A stretch of memory, and what may stand there: each byte that of one of the variants, or any. */
export interface Target {
  readonly from: number;
  readonly variants: readonly Uint8Array[];
  /** Without variants: so many bytes. */
  readonly length: number;
}

export interface MutatorOrder {
  readonly bytes: Uint8Array;
  readonly control: Int32Array;
  readonly targets: readonly Target[];
  readonly seed: number;
}

/** Writes between two looks at whether to stop. */
const BURST = 64;

function run({ bytes, control, targets, seed }: MutatorOrder): void {
  let state = seed >>> 0;
  const draw = (below: number): number => {
    state = (Math.imul(state, 0x0019_660d) + 0x3c6e_f35f) >>> 0;
    return (state >>> 8) % below;
  };
  // Pairs with the store of those who have had enough.
  while (Atomics.load(control, Control.STOP) === 0) {
    for (let count = 0; count < BURST; count += 1) {
      const { from, variants, length } = targets[draw(targets.length)]!; // There is one.
      if (variants.length === 0) {
        const at = from + draw(length);
        bytes[at] = draw(2) === 0 ? draw(256) : bytes[at]! ^ (1 << draw(8)); // In memory.
        continue;
      }
      const variant = variants[draw(variants.length)]!; // There is one.
      // Now all of it, now a byte.
      if (draw(4) === 0) bytes.set(variant, from);
      else {
        const at = draw(variant.length);
        bytes[from + at] = variant[at]!; // Below the length.
      }
    }
    Atomics.add(control, Control.WRITES, BURST);
  }
}

// In the thread that starts this one, the module only lends its types and numbers.
if (parentPort !== null && isOrder(workerData)) run(workerData);

function isOrder(data: unknown): data is MutatorOrder {
  return typeof data === 'object' && data !== null && 'targets' in data && 'control' in data;
}
