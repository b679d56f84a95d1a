/** How a running case judges: what both kinds of sessions offer to their cases. */

import { Skipped, Violation } from './verdict.ts';

export class Judge {
  readonly warnings: string[] = [];
  readonly notes: string[] = [];

  /** Ends the case if the clause is broken. The verdict follows from the clause's level: MAY only reports. */
  check(condition: boolean, message: string): void {
    if (!condition) throw new Violation(message);
  }

  /** Ends the case with a failure, whatever its level: something was lost, duplicated or corrupted. */
  must(condition: boolean, message: string): void {
    if (!condition) throw new Violation(message, 'fail');
  }

  /** Warns, and goes on. */
  should(condition: boolean, message: string): void {
    if (!condition) this.warnings.push(message);
  }

  /** Reports a choice of the subject, and goes on. */
  note(message: string): void {
    this.notes.push(message);
  }

  skip(reason: string): never {
    throw new Skipped(reason);
  }
}
