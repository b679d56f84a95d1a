/** A case: one thing asked of a device, under the id of the clause that demands it. */

import { IommuError } from '@viommu/common';
import { type Level, UNCOVERED, entryOf } from './catalogue.ts';
import type { StartOptions } from './device/start.ts';
import type { Session } from './device/session.ts';
import type { Need } from './need.ts';
import type { TargetWish } from './target.ts';

/** As an author writes it. */
export interface CaseText {
  /**
   * The id of a clause, `open.<point>` or `fact.…`; further cases of one add `#` and a name. The level comes from the
   * catalogue.
   */
  readonly id: string;
  /** What is sent and what must happen, as a clause of a sentence: `the exact range again is refused`. */
  readonly title: string;
  /** What the target must have; without it the case is skipped, with this as the reason. */
  readonly needs?: readonly Need[];
  /** How the device would best be; a target does what it can. */
  readonly wish?: TargetWish;
  /** How the device is brought up before {@link run}; false leaves it as it was powered up, and the case calls `start`. */
  readonly start?: StartOptions | false;
  /** The device may want a reset at the end (malformed rings): it need not serve any more. */
  readonly mayBreak?: true;
  /** Why nobody can find out from outside: the case is always skipped, with this as the reason. */
  readonly unreachable?: string;
  /** Sends one deviation per stimulus, and says by the session's `check` and its kin what it finds. */
  readonly run: (session: Session) => void;
}

/** A case with all that follows from its id. */
export interface DeviceCase extends CaseText {
  readonly level: Level;
  readonly section: string;
}

/** Makes a case. @throws {IommuError} `EINVAL` for an id that the catalogue does not have. */
export function defineCase(text: CaseText): DeviceCase {
  const entry = entryOf(text.id);
  if (entry === undefined)
    throw new IommuError('EINVAL', `${text.id} names no clause, open point or fact.`);
  return { ...text, level: entry.level, section: entry.section };
}

/** A case for each clause that none can be written for, so that a report accounts for it. */
export const UNREACHABLE_CASES: readonly DeviceCase[] = Object.entries(UNCOVERED)
  .filter(([id]) => entryOf(id)?.side === 'device')
  .map(([id, reason]) =>
    defineCase({
      id,
      title: entryOf(id)?.summary ?? '',
      unreachable: reason,
      run: (session) => session.skip(reason),
    }),
  );
