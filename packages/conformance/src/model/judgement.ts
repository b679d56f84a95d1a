/** What becomes of one request: the rules that refuse it, the choices that were asked, and the changes that it makes. */

import { Status } from '@viommu/common';
import type { ChoiceName, Choices, StatusName } from './choice.ts';
import type { Change } from './state.ts';

/** A rule that ends a request. */
export interface Ruling {
  /** The clause, or the name of the choice. */
  readonly rule: string;
  readonly status: Status;
  /** What happens all the same. */
  readonly changes: readonly Change[];
}

/** The choices between statuses and serving a request after all. */
type StatusChoice = {
  [Name in ChoiceName]: Choices[Name] extends StatusName | 'served' ? Name : never;
}[ChoiceName];

const NO_CHANGES: readonly Change[] = [];

/**
 * Collects all rules that apply to a request, not only the first: which error is found first is nobody's duty (9.5).
 * They are added in the order that the list of open points recommends.
 */
export class Judgement {
  readonly rulings: Ruling[] = [];
  /** The choices that the outcome hangs on. */
  readonly asked: ChoiceName[] = [];
  /** What a request does that no rule ends. */
  changes: readonly Change[] = NO_CHANGES;
  readonly #choices: Choices;

  constructor(choices: Choices) {
    this.#choices = choices;
  }

  /** The device's choice. */
  ask<Name extends ChoiceName>(name: Name): Choices[Name] {
    this.asked.push(name);
    return this.#choices[name];
  }

  /** A rule ends the request with this status. */
  end(status: Status, rule: string, changes: readonly Change[] = NO_CHANGES): void {
    this.rulings.push({ status, rule, changes });
  }

  /** A choice between statuses ends the request, unless it is to serve it. */
  endUnlessServed(name: StatusChoice): void {
    const value = this.ask(name);
    if (value !== 'served') this.end(Status[value], name);
  }

  /** The rule that decides: the one that is named, if it applies, or else the first. Undefined if none ends the request. */
  ruling(first: string | undefined): Ruling | undefined {
    return this.rulings.find(({ rule }) => rule === first) ?? this.rulings[0];
  }
}
