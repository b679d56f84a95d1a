/** When the device in front of a driver does what. */

import type { Random } from '../random.ts';

export interface Conduct {
  /** Looks without being told. */
  readonly polls: boolean;
  /** Requests that it does, or gives back, in one turn. */
  readonly perTurn: number;
  /** One in so many turns is idle; 0 for none. */
  readonly lazy: number;
  /** Gives back in any order, without IN_ORDER. */
  readonly disorder: boolean;
  /** One in so many turns interrupts for nothing; 0 for none. */
  readonly spurious: number;
}

export function randomConduct(random: Random): Conduct {
  return {
    polls: random.once(2),
    perTurn: random.pick([1, 3, 16]),
    lazy: random.pick([0, 4, 2]),
    disorder: random.once(2),
    spurious: random.pick([0, 0, 9]),
  };
}
