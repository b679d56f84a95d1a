/** What the guest does, one call after the other, and what happens to it. */

import { Concurrency, IommuError } from '@viommu/common';
import { Administration } from './administration.ts';
import type { Guest } from './guest.ts';
import { Lending } from './lending.ts';
import type { Operation } from './plan.ts';
import type { Stage } from './stage.ts';

const LOANS_MAX = 6;
/** Calls after something went wrong before the guest starts anew at the latest. */
const PATIENCE = 4;

export class Program {
  readonly #guest: Guest;
  readonly #stage: Stage;
  readonly #lending: Lending;
  readonly #administration: Administration;
  #untilRace = 0;

  constructor(guest: Guest) {
    this.#guest = guest;
    this.#stage = guest.stage;
    this.#lending = new Lending(guest);
    this.#administration = new Administration(guest);
    guest.system.core.concurrency.hook = () => this.#race();
    this.#untilRace = this.#racePeriod();
  }

  run(): void {
    const guest = this.#guest;
    const stage = this.#stage;
    const { plan } = guest;
    stage.lively = true;
    for (let step = 0, excused = 0; step < plan.steps; step += 1) {
      const operation = stage.random.pick(plan.operations);
      stage.begin();
      this.#attempt(operation);
      stage.check(this.#lending.underWay === 0, 'lock', 'a context waits for ever');
      stage.begin();
      this.#call('events', () => guest.settle());
      guest.check();
      excused = stage.excused ? excused + 1 : 0;
      if (stage.excused && (guest.driver.state !== 'live' || excused > PATIENCE)) {
        stage.begin();
        guest.recover();
      }
    }
    stage.begin();
    stage.lively = false;
    guest.host.await();
    if (stage.excused) guest.recover();
    stage.lively = false;
    for (const engine of guest.engines) this.#lending.lend(engine, 0);
    stage.begin();
    guest.end();
  }

  #attempt(operation: Operation): void {
    this.#stage.note(() => `guest: ${operation}`);
    this.#call(operation, () => this.#perform(operation));
  }

  /** What the guest is refused is a finding, unless something went wrong. */
  #call(what: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof IommuError) || Concurrency.unwinds(error)) throw error;
      this.#stage.note(() => `guest: ${error.code}, ${error.message}`);
      const scarce = error.code === 'ENOSPC' && this.#guest.plan.fewDomains;
      this.#stage.check(this.#stage.excused || scarce, 'call', `${what} fails with ${error.code}`);
    } finally {
      this.#administration.busy = false;
    }
  }

  #perform(operation: Operation): void {
    const guest = this.#guest;
    const lending = this.#lending;
    const stage = this.#stage;
    const { random } = stage;
    const engine = random.pick(guest.engines);
    const loans = [...engine.loans].filter(({ state }) => state === 'live');
    const cpu = random.number(2);
    switch (operation) {
      case 'map':
      case 'list':
      case 'coherent':
        if (engine.loans.size >= LOANS_MAX && loans[0] !== undefined)
          lending.end(engine, loans[0], cpu);
        if (operation === 'map') return lending.lend(engine, cpu, random.once(4) ? 4 : 0);
        if (operation === 'list') return lending.lendList(engine, cpu);
        return lending.lendCoherent(engine, cpu);
      case 'unmap':
        if (loans.length > 0) lending.end(engine, random.pick(loans), cpu);
        return;
      case 'sync':
        if (loans.length > 0) lending.sync(engine, random.pick(loans));
        return;
      case 'late':
        return lending.endTogether(engine, loans, cpu);
      case 'rest':
        return stage.rest(random.pick([1, 6, 15, 60]));
      case 'events':
        return void guest.driver.serveEvents();
      case 'drain':
        return void engine.device?.group?.domain?.cookie?.drain();
      case 'disk':
        return guest.disk?.go();
      default:
        return this.#administration.perform(operation, engine);
    }
  }

  /** At a race point: another context may do something small. */
  #race(): void {
    this.#untilRace -= 1;
    if (this.#untilRace !== 0) return;
    this.#untilRace = this.#racePeriod();
    const stage = this.#stage;
    const engine = stage.random.pick(this.#guest.engines);
    if (this.#administration.busy || !stage.lively) return;
    const loans = [...engine.loans].filter(({ state }) => state === 'live');
    if (loans.length > 0 && stage.random.once(2)) this.#lending.end(engine, loans[0]!, 1); // Not empty.
    else this.#lending.lend(engine, 1);
  }

  #racePeriod(): number {
    const { racePeriod } = this.#guest.plan;
    return racePeriod === 0 ? Infinity : 1 + this.#stage.random.number(2 * racePeriod);
  }
}
