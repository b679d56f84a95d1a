/** The guest of a simulation: its kernel, the devices that it drives, and what has to be true of both between two calls. */

import { AssertionError, LockRank, addressAt, assert, guestPhysical } from '@viommu/common';
import { type IommuDriver, verify } from '@viommu/driver';
import { Device } from '@viommu/iommu';
import { type GuestContext, GuestRam, GuestSystem, RAM_BASE } from '@viommu/machine';
import { Disk } from './disk.ts';
import type { Loan } from './buffer.ts';
import { Engine } from './engine.ts';
import { guestContext } from './guest-context.ts';
import { type Host, Place } from './host.ts';
import type { Plan } from './plan.ts';
import { watchMemory } from './shared.ts';
import type { Stage } from './stage.ts';

/** Counters of the core that only move when something fails, or may always. */
const HARMLESS: ReadonlySet<string> = new Set(['bounceFull', 'highAddresses', 'domainFallback']);
const DRIVER_HARMLESS: ReadonlySet<string> = new Set([
  'faultReported',
  'faultEndpointUnknown',
  'faultLogDropped',
  'configChanged',
]);

/** A page that no device is given. */
const NOWHERE = 3;

export class Guest {
  readonly stage: Stage;
  readonly plan: Plan;
  readonly host: Host;
  readonly memory: GuestRam;
  readonly engines: readonly Engine[];
  readonly disk: Disk | undefined;
  system: GuestSystem;
  /** Something failed meanwhile: memory may have been given up. */
  lossy = false;
  readonly #context: GuestContext;
  #freePages = 0;
  #rung = 0;
  #counted: Record<string, number> = {};

  constructor(stage: Stage, plan: Plan, host: Host) {
    this.stage = stage;
    this.plan = plan;
    this.host = host;
    const ram = host.map.regions().find(({ name }) => name === 'RAM');
    assert(ram !== undefined, 'a machine has RAM');
    const { buffer } = host;
    const { offset, bytes: size } = ram;
    this.memory = new GuestRam({ buffer, offset, size, base: RAM_BASE });
    watchMemory(this.memory, () => stage.visit());
    this.#context = guestContext(stage, plan, host, this.memory);
    this.system = new GuestSystem(this.#context, {
      commandLine: plan.commandLine,
      iommu: false,
      cpus: 2,
      tree: { amend: (source) => withEngines(source, plan) },
    });
    const { pool } = this.system;
    // As if it had been used before.
    if (pool !== undefined)
      this.memory
        .bytes(guestPhysical(addressAt(pool.firstPage, 0)), pool.slots.slotCount * 2048)
        .fill(0x77);
    const bypass = (): boolean => this.driver.bypass === true;
    this.engines = plan.engines.map(
      (one) => new Engine({ stage, host, memory: host.memory, plan: one, bypass, pool }),
    );
    this.#freePages = this.memory.pages.freePages;
    this.disk = plan.disk ? new Disk(this) : undefined;
    this.start();
  }

  get driver(): IommuDriver {
    return this.#context.driver;
  }

  /** Starts the IOMMU and everything behind it. */
  start(): void {
    this.host.ledger.begin(this.host.droppedFaults);
    this.system.startIommu();
    for (const engine of this.engines) this.plug(engine);
    this.disk?.plug();
  }

  /** Lets everything go. */
  stop(): void {
    this.disk?.unplug();
    for (const engine of this.engines) this.unplug(engine);
    this.system.core.unregisterInstance(this.driver);
    this.driver.remove();
  }

  /** After something that cannot go on: all of it once more, on whatever host there is. */
  recover(): void {
    const { stage, host } = this;
    stage.note(() => 'guest: starts anew');
    this.lossy = true;
    stage.lively = false;
    stage.excused = true;
    host.await();
    this.stop();
    stage.rest(1000);
    stage.excused = false;
    this.#counted = { ...this.system.core.log.counters };
    this.start();
    stage.lively = true;
  }

  plug(engine: Engine): void {
    const { plan } = engine;
    const node = this.system.firmware.tree.find(`/${plan.name}`);
    assert(node !== undefined, 'the tree has the engines');
    const { name, untrusted, dmaMask } = plan;
    const more = dmaMask === undefined ? {} : { dmaMask };
    const device = new Device({ name, bus: 'platform', node, untrusted, ...more });
    engine.reach = 'moving';
    engine.device = device;
    this.system.core.addDevice(device);
    this.bind(engine);
  }

  /** A driver takes the engine over. */
  bind(engine: Engine): void {
    const { device } = engine;
    if (device === undefined) return;
    this.system.core.bind(device, { name: 'engine' });
    const domain = device.group?.domain;
    this.stage.check(
      this.stage.excused || (domain !== undefined && device.dmaOps !== undefined),
      'group',
      'a device that is plugged in has no domain',
    );
    engine.reach = domain?.type === 'identity' ? 'all' : 'loans';
    if (domain === undefined || domain.type === 'identity') return engine.loans.clear();
    const { ops } = domain;
    if (Object.hasOwn(ops, 'flushAll')) return;
    // What the domain before it left behind is of no more concern.
    engine.loans.clear();
    const flush = ops.flushAll.bind(ops);
    ops.flushAll = () => engine.watchFlush(flush);
  }

  unplug(engine: Engine): void {
    const { device } = engine;
    if (device === undefined) return;
    this.unbind(engine);
    engine.reach = 'moving';
    this.system.core.removeDevice(device);
    engine.reach = 'outside';
    engine.device = undefined;
    engine.loans.clear();
    const { iommu } = this.host.iommu;
    for (const id of engine.plan.ids)
      this.stage.check(
        this.stage.excused || iommu.domainOf(id) === undefined,
        'books',
        'an endpoint stays where it was though its device is gone',
      );
  }

  /** Its driver lets it go, and gives back what it had mapped. */
  unbind(engine: Engine): void {
    for (const loan of engine.loans) this.endLoan(engine, loan);
    if (engine.device !== undefined) this.system.core.unbind(engine.device);
  }

  /** Set by who maps. */
  endLoan: (engine: Engine, loan: Loan) => void = () => undefined;

  /** Time passes for the guest: timers, and interrupts while nobody waits. */
  settle(): void {
    this.system.poll();
    const rung = this.host.bell(Place.IOMMU).value();
    if (rung === this.#rung) return;
    this.#rung = rung;
    for (let turns = 0; this.driver.serveEvents() > 0; turns += 1)
      if (turns > 100) this.stage.fail('event', 'events never end');
  }

  /** What has to be true between two calls. */
  check(): void {
    const { stage, system, driver } = this;
    const { core } = system;
    stage.check(!core.concurrency.holds(LockRank.probe), 'lock', 'a lock stays held');
    for (const { stateLock } of driver.domains)
      stage.check(!stateLock.held, 'lock', 'the lock of a domain stays held');
    if (stage.excused) return;
    stage.check(
      driver.state === 'live',
      'driver',
      'the driver gives a device up that works',
      () => `${driver.requests.broken}`,
    );
    for (const [name, count] of Object.entries(core.log.counters))
      if (!HARMLESS.has(name) && count !== (this.#counted[name] ?? 0))
        stage.fail('log', `nothing is wrong, and the core counts ${name}`);
    for (const [name, count] of Object.entries(driver.log.counters))
      if (!DRIVER_HARMLESS.has(name) && count > 0)
        stage.fail('log', `nothing is wrong, and the driver counts ${name}`);
    // A request of the disk whose mapping was refused keeps it until it is reaped.
    const refused = this.plan.device.limits !== undefined && this.disk?.busy === true;
    if (driver.requests.inFlight > 0 || refused) return;
    try {
      verify(driver, this.host.iommu.iommu);
    } catch (error) {
      if (!(error instanceof AssertionError)) throw error;
      stage.fail('books', 'guest and device differ', error.message);
    }
  }

  /** Everything goes: nothing may be left of it. */
  end(): void {
    const { stage, host, driver, system } = this;
    stage.lively = false;
    this.disk?.settle();
    stage.rest(1000);
    this.settle();
    for (const { plan } of this.engines)
      // Nobody has ever had this address, so that it is refused, and told about: there are buffers for that.
      if (host.translate(plan.ids[0] ?? 0, NOWHERE, 0, 1, 1) === undefined) {
        stage.rest(1000);
        this.settle();
        stage.check(host.ledger.untold === 0, 'event', 'a fault is not told of at all');
      }
    if (!stage.excused && !this.lossy) host.ledger.check(host.droppedFaults);
    for (const { loans } of this.engines)
      for (const { state } of loans)
        stage.check(
          state !== 'limbo' || this.lossy,
          'flush',
          'addresses wait for ever for a flush',
        );
    for (const engine of this.engines) {
      for (const loan of engine.loans) this.endLoan(engine, loan);
      const cookie = engine.device?.group?.domain?.cookie;
      if (cookie === undefined) continue;
      cookie.drain();
      cookie.space.flushCaches();
      const used = cookie.space.usedWithin(1, cookie.lastPage);
      stage.check(!used || this.lossy, 'leak', 'addresses are never given back');
    }
    const { pool } = system;
    stage.check(this.lossy || (pool?.slots.used ?? 0) === 0, 'leak', 'slots are never given back');
    this.check();
    this.stop();
    stage.check(driver.endpoints.size === 0, 'leak', 'endpoints stay');
    stage.check(driver.domains.size <= 1, 'leak', 'domains stay');
    stage.check(host.iommu.iommu.domains.length === 0, 'leak', 'the device keeps domains');
    this.disk?.end();
    if (!this.lossy)
      stage.check(
        this.memory.pages.freePages === this.#freePages,
        'leak',
        'pages are never given back',
        () => `${this.#freePages - this.memory.pages.freePages} pages`,
      );
  }
}

function withEngines(source: string, { engines }: Plan): string {
  const nodes = engines.map(({ name, ids }) => {
    const named = ids.map((id) => `<&viommu ${id}>`).join(', ');
    return `  ${name} { iommus = ${named}; };`;
  });
  return source.replace(/\};\s*$/, `${nodes.join('\n')}\n};\n`);
}
