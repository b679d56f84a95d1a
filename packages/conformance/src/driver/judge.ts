/** Judgements that several kinds of cases share. */

import { A, type DriverSession } from './session.ts';

/** No watcher found anything about a clause, though perhaps it never applied. */
export function clean(s: DriverSession, clause: string): void {
  const [finding] = s.ledger.of(clause);
  s.check(finding === undefined, finding?.message ?? '');
}

/** The driver works. */
export function works(s: DriverSession): void {
  const outcome = s.start();
  s.check(outcome.result === 'ok', 'the driver does not take the device over');
  s.check(s.attach(A).result === 'ok', 'the driver does not attach an endpoint');
  s.check(s.map(0).result === 'ok', 'the driver does not map');
}
