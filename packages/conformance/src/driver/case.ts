/** A case: one thing watched in a driver, under the id of the clause that demands it. */

import { IommuError } from '@viommu/common';
import { type Level, entryOf } from '../catalogue.ts';
import type { DeviceScript } from './scripted-device.ts';
import type { DriverSession } from './session.ts';

/** As an author writes it. */
export interface DriverCaseText {
  /** The id of a clause, `open.<point>` or `fact.…`; further cases of one add `#` and a name. */
  readonly id: string;
  /** What the device does and what the driver must do, as a clause of a sentence. */
  readonly title: string;
  /** How the device differs from an ordinary one. */
  readonly device?: DeviceScript;
  /** Says by the session's `check` and its kin what it finds. */
  readonly run: (session: DriverSession) => void;
}

/** A case with all that follows from its id. */
export interface DriverCase extends DriverCaseText {
  readonly level: Level;
  readonly section: string;
}

/** Makes a case. @throws {IommuError} `EINVAL` for an id that the catalogue does not have. */
export function defineDriverCase(text: DriverCaseText): DriverCase {
  const entry = entryOf(text.id);
  if (entry === undefined)
    throw new IommuError('EINVAL', `${text.id} names no clause, open point or fact.`);
  return { ...text, level: entry.level, section: entry.section };
}
