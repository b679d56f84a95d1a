/** What is done to devices as a whole: they come and go, change their domain or their owner, sleep; queues are reset. */

import { type ErrorCode, IommuError } from '@viommu/common';
import {
  Domain,
  attachGroup,
  claimOwner,
  detachGroup,
  mapRange,
  releaseOwner,
  unmapRange,
} from '@viommu/iommu';
import { Loan, Piece } from './buffer.ts';
import type { Engine } from './engine.ts';
import type { Guest } from './guest.ts';
import type { Operation } from './plan.ts';
import type { Stage } from './stage.ts';

const TYPES = ['DMA', 'DMA-FQ', 'identity', 'auto'] as const;
const ROOT = { administrator: true };

export class Administration {
  /** Something is done to the engines: no other context uses them. */
  busy = false;
  readonly #guest: Guest;
  readonly #stage: Stage;

  constructor(guest: Guest) {
    this.#guest = guest;
    this.#stage = guest.stage;
  }

  /** Does one of these things. */
  perform(operation: Operation, engine: Engine): void {
    const guest = this.#guest;
    this.busy = operation !== 'queue reset';
    switch (operation) {
      case 'plug':
        guest.unplug(engine);
        this.#stage.rest(1);
        return guest.plug(engine);
      case 'type':
        return this.#changeType(engine);
      case 'owner':
        return this.#own(engine);
      case 'queue reset':
        return this.#resetQueue();
      case 'sleep':
        return this.#sleep();
      default:
        guest.stop();
        return guest.start();
    }
  }

  #resetQueue(): void {
    const { driver, memory } = this.#guest;
    const stage = this.#stage;
    const { random } = stage;
    const { excused } = stage;
    const size = random.pick([undefined, undefined, 2, 4, 8]);
    const { inFlight } = driver.requests;
    const { freePages } = memory.pages;
    const work = (): void =>
      random.once(2) ? driver.resetEventQueue(size) : driver.resetRequestQueue(size);
    // Another size takes a queue in which nothing waits.
    if (inFlight > 0) this.#expect(['EBUSY'], work);
    else work();
    const { pages } = memory;
    stage.check(
      stage.excused || size !== undefined || pages.freePages === freePages,
      'leak',
      'a queue that is reset leaves memory behind',
    );
    const error = driver.requests.syncReq();
    stage.check(
      stage.excused || error === undefined,
      'driver',
      'a queue that was reset does not work',
    );
    // Nobody knows what became of requests that the device had not answered.
    stage.excused = excused || stage.excused || inFlight > 0;
  }

  #changeType(engine: Engine): void {
    const guest = this.#guest;
    const { random } = this.#stage;
    const { core } = guest.system;
    const { device } = engine;
    const path = `${device?.group?.path}/type`;
    const type = random.pick(TYPES);
    if (device?.group === undefined) return;
    if (type === 'DMA-FQ' && core.directory.read(path) === 'DMA\n' && !device.untrusted) {
      // Under its driver.
      this.busy = false;
      core.directory.write(path, type, ROOT);
      return;
    }
    guest.unbind(engine);
    engine.reach = 'moving';
    const strict = device.untrusted && type !== 'DMA' && type !== 'auto';
    const write = (): unknown => core.directory.write(path, type, ROOT);
    try {
      if (strict) this.#expect(['EINVAL'], write);
      else write();
    } finally {
      guest.bind(engine);
    }
  }

  /** Somebody has the engine for himself, with a domain of his own. */
  #own(engine: Engine): void {
    const guest = this.#guest;
    const stage = this.#stage;
    const { device } = engine;
    const group = device?.group;
    const endpoint = device?.iommu?.endpoint;
    if (device === undefined || group === undefined || endpoint === undefined) return;
    guest.unbind(engine);
    engine.reach = 'moving';
    try {
      claimOwner(group, this);
    } catch (error) {
      guest.bind(engine);
      throw error;
    }
    engine.reach = 'loans';
    stage.rest(1);
    try {
      this.#use(engine, new Domain(guest.driver, guest.driver.allocPaging(endpoint), 'unmanaged'));
    } finally {
      engine.reach = 'moving';
      releaseOwner(group);
      guest.bind(engine);
    }
  }

  /** Maps something into a domain that is put under an engine. */
  #use(engine: Engine, domain: Domain): void {
    const guest = this.#guest;
    const stage = this.#stage;
    const { random } = stage;
    const group = engine.device?.group;
    const pages = 1 + random.number(3);
    const phys = guest.system.ram.allocatePages(pages);
    if (group === undefined || phys < 0) return domain.ops.free();
    const first = 0x20 + random.number(4);
    const piece = new Piece(guest.memory, phys, 0, pages * 4096);
    piece.fill(random);
    const loan = new Loan({ kind: 'own', direction: 3, pieces: [piece] });
    const before = random.once(2);
    try {
      engine.loans.add(loan);
      if (before) mapRange(domain, first, phys, pages, 3);
      loan.placeAt(first, 0);
      attachGroup(domain, group);
      if (!before) mapRange(domain, first, phys, pages, 3);
      loan.state = 'live';
      stage.rest(1);
      loan.state = 'ending';
      if (random.once(2)) {
        const done = unmapRange(domain, first, pages);
        stage.check(stage.excused || done === pages, 'call', 'what was mapped is not unmapped');
        engine.ended(loan);
        stage.rest(1);
      }
    } finally {
      if (group.domain === domain) detachGroup(domain, group);
      engine.ended(loan);
      this.#expect(['EBUSY'], () => domain.ops.free());
      guest.system.ram.freePages(phys);
    }
    stage.check(stage.excused || piece.difference() < 0, 'data', 'a buffer holds other bytes');
  }

  /** The guest sleeps, and the host may be another one when it wakes. */
  #sleep(): void {
    const guest = this.#guest;
    const { driver, engines, host } = guest;
    for (const { device } of engines) device?.group?.domain?.cookie?.drain();
    guest.disk?.settle();
    guest.disk?.unplug();
    driver.freeze();
    const reach = engines.map((engine) => engine.reach);
    for (const engine of engines) engine.reach = 'moving';
    if (this.#stage.random.once(2)) host.systemReset();
    this.#stage.rest(5);
    driver.restore();
    for (const [index, engine] of engines.entries()) engine.reach = reach[index] ?? 'loans';
    guest.disk?.plug();
  }

  #expect(codes: readonly ErrorCode[], work: () => unknown): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof IommuError) || !codes.includes(error.code)) throw error;
    }
  }
}
