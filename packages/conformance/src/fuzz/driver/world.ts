/** One guest for one run: memory, time, the device, and the driver that takes it over, all in one thread. */

import { type Logger, guestPhysical } from '@viommu/common';
import type { PeerDevice } from '@viommu/device';
import {
  DRIVER_FEATURES,
  type FaultReport,
  IommuDriver,
  type IommuDriverOptions,
} from '@viommu/driver';
import { Bell, Patience, SharedMemory } from '@viommu/ring';
import { MmioTransport } from '@viommu/transport';
import { MmioRegister } from '@viommu/common';
import { Deviation } from '../deviation.ts';
import type { Random } from '../random.ts';
import type { Conduct } from './conduct.ts';
import { Opponent } from './opponent.ts';
import type { Answer, Seen } from './seen-request.ts';
import { GuestPages } from './pages.ts';
import { type Platform, coreOf, shownConfig } from './platform.ts';
import { WatchedMemory } from './watched-memory.ts';

/** Above 4 GiB, so that no half of an address is the same as none. */
const RAM_BASE = guestPhysical(0x3_4000_0000n);
const RAM_BYTES = 0x4_0000;
/** Turns of one call that no driver needs. */
const TURNS_MAX = 30_000;
/** Polls, and looks at the clock, likewise. */
const POLLS_MAX = 100_000;
/** How long nothing happens before somebody looks again. */
const IDLE_MS = 700;
/** The same where others may have something to do meanwhile. */
const PATIENT_MS = 50;
/** A driver that gives the device turns in place of waiting does so before it looks. */
const IDLE_TURNS_MAX = 3;

export interface WorldOptions {
  readonly random: Random;
  readonly platform: Platform;
  readonly endpoints: readonly number[];
  readonly conduct: Conduct;
  /** A turn takes less than this, in milliseconds. */
  readonly turnMs: number;
  /** Accesses of the driver between two chances for the device; 0 for none. */
  readonly raceEvery: number;
  readonly answerOf: (request: Seen) => Answer | undefined;
  readonly note: (line: () => string) => void;
  /** The device refuses what a driver may ask for, which then knows less of its tables. */
  readonly refuses: boolean;
  /** Runs with each turn, before the device's own. */
  readonly meanwhile?: () => void;
}

export class World {
  readonly random: Random;
  readonly platform: Platform;
  readonly ram: SharedMemory;
  readonly memory: WatchedMemory;
  readonly pages: GuestPages;
  readonly opponent: Opponent;
  readonly core: PeerDevice;
  readonly bell: Bell;
  readonly reports: FaultReport[] = [];
  /** Lines of the driver's log. */
  lines = 0;
  nowMs = 0;
  turns = 0;
  /** The device breaks rules: a driver may wait in vain. */
  lawless = false;
  /** The device has written over what the driver described: it cannot tell what it was shown. */
  wild = false;
  /** Nobody is to blame at once for turns in which nothing happens: the driver has its own time limit. */
  patient = false;
  readonly #options: WorldOptions;
  /** So often registers show what they were before. */
  readonly #slowReads: number;
  #deviation: Deviation | undefined;
  #racing = false;
  #polls = 0;
  #dozer = 0;
  #slowReady = 0;
  #asked = 0;
  /** The register that has to read 0 before anything else is written. */
  #awaited: number | undefined;
  #idleTurns = 0;

  constructor(options: WorldOptions) {
    const { random, platform, endpoints, conduct, raceEvery } = options;
    this.#options = options;
    this.random = random;
    this.platform = platform;
    const buffer = new SharedArrayBuffer(RAM_BYTES);
    this.ram = new SharedMemory({ buffer, offset: 0, size: RAM_BYTES, base: RAM_BASE });
    this.memory = new WatchedMemory({
      memory: this.ram,
      fail: (matter, evidence) => this.fail('memory', matter, evidence),
      race: () => this.#race(),
    });
    this.memory.gap = raceEvery;
    this.memory.races = raceEvery > 0;
    const fail = this.fail.bind(this);
    this.pages = new GuestPages({ memory: this.ram, watched: this.memory, random, fail });
    this.bell = new WorldBell(this);
    this.#slowReads = random.once(3) ? 3 : 0;
    this.core = coreOf(platform, endpoints);
    this.opponent = new Opponent({
      memory: this.ram,
      watched: this.memory,
      bell: this.bell,
      random,
      conduct,
      core: this.core,
      offered: platform.offered,
      script: {
        queueSizes: platform.queueSizes,
        config: shownConfig(platform),
        slowReads: this.#slowReads,
        ...(platform.unwilling && { refuseFeatures: true as const }),
      },
      fail,
      answerOf: options.answerOf,
      note: options.note,
      started: () => this.pages.checkSecrets(),
    });
  }

  /** Turns take so long that many of them may be too long for a driver. */
  get slow(): boolean {
    return this.#options.turnMs > IDLE_MS / 2;
  }

  /** From now on the device breaks rules, or no longer. */
  rebel(lawless: boolean): void {
    this.lawless = lawless;
    this.wild = false;
    this.opponent.rebel(lawless);
  }

  /** Ends the run with something wrong. It is not lost if the driver swallows it. */
  fail(kind: string, matter: string, evidence: string): never {
    this.#deviation ??= new Deviation(
      kind,
      matter,
      evidence === '' ? matter : `${matter}: ${evidence}`,
    );
    throw this.#deviation;
  }

  /** After each call: what anybody found meanwhile. */
  check(): void {
    if (this.#deviation !== undefined) throw this.#deviation;
    if (this.lawless) return;
    const { refuses } = this.#options;
    const finding = this.opponent.ledger.findings.find(
      ({ clause }) => !TOLERATED.has(clause) && !(refuses && DOUBTFUL.has(clause)),
    );
    if (finding !== undefined) this.fail('clause', finding.clause, finding.message);
  }

  /** Before each call: it has turns and accesses of its own. */
  begin(): void {
    this.turns = 0;
    this.#polls = 0;
    this.#asked = 0;
    this.#idleTurns = 0;
    this.opponent.begin();
    this.memory.accesses = 0;
    this.opponent.registers.begin();
  }

  /** A driver that takes the device over. @throws {IommuError} as `IommuDriver.probe`. */
  probe(more: Partial<IommuDriverOptions>, idle: boolean, pollsMax: number): IommuDriver {
    const { registers } = this.opponent;
    this.#awaited = undefined;
    const logger: Logger = { warn: () => (this.lines += 1) };
    return IommuDriver.probe({
      transport: new MmioTransport({
        port: {
          read: (offset, width) => this.#read(offset, width),
          write: (offset, width, value) => this.#write(offset, width, value),
          post: (offset, width, value) => this.#write(offset, width, value),
        },
        doorbells: { ring: (_, data) => registers.write(MmioRegister.QueueNotify, 4, data) },
        interruptBell: this.bell,
      }),
      memory: this.memory,
      pages: this.pages,
      clock: { now: () => this.#now() },
      logger,
      features: DRIVER_FEATURES & ~this.platform.refused,
      onFault: (report) => this.reports.push(report),
      ...(idle
        ? { idle: () => void this.turn(IDLE_TURNS_MAX) }
        : { pollsMax: new CountedPatience(this, pollsMax) }),
      ...more,
    });
  }

  /** One turn of the device while the driver waits. False if it has nothing to do, as must not be so often in a row. */
  turn(idleTurnsMax = 1): boolean {
    this.turns += 1;
    if (this.turns > TURNS_MAX)
      this.fail('wait', 'the driver waits for ever', `${this.turns} turns`);
    this.#options.meanwhile?.();
    const worked = this.opponent.turn();
    const idleMs = this.patient ? PATIENT_MS : IDLE_MS;
    this.nowMs += worked ? this.random.number(this.#options.turnMs) : idleMs;
    this.#idleTurns = worked ? 0 : this.#idleTurns + 1;
    if (this.#idleTurns >= idleTurnsMax && !this.lawless && !this.patient)
      this.fail(
        'wait',
        'the driver waits for a device that has nothing to do',
        this.opponent.inHand > 0
          ? 'it keeps requests'
          : 'nobody told it of any, or all are answered',
      );
    return worked;
  }

  /** Sleeps until the bell rings. */
  sleep(seen: number, timeoutMs: number): boolean {
    const end = this.nowMs + timeoutMs;
    this.#idleTurns = 0;
    while (this.nowMs < end) {
      if (this.bell.value() !== seen) return true;
      this.turn();
    }
    return this.bell.value() !== seen;
  }

  /** As {@link sleep}, for those who share a thread: others run between two turns. */
  async doze(seen: number, timeoutMs: number): Promise<boolean> {
    const end = this.nowMs + timeoutMs;
    this.#dozer += 1;
    const me = this.#dozer;
    await Promise.resolve();
    // There is one at a time: who sleeps no more is not waited for.
    while (this.patient && me === this.#dozer && this.nowMs < end && this.bell.value() === seen) {
      this.turn();
      await Promise.resolve();
    }
    return this.bell.value() !== seen;
  }

  /** A driver begins to poll, as it cannot do for ever. */
  polled(): void {
    this.#polls += 1;
    if (this.#polls > POLLS_MAX)
      this.fail('wait', 'the driver polls for ever', `${this.#polls} times`);
  }

  #now(): number {
    this.#asked += 1;
    if (this.#asked > POLLS_MAX)
      this.fail('wait', 'the driver waits for time to pass, for ever', '');
    return this.nowMs;
  }

  #read(offset: number, width: number): number {
    const value = this.opponent.registers.read(offset, width);
    if (offset === this.#awaited && value === 0) this.#awaited = undefined;
    if (offset === MmioRegister.QueueReady && this.#slowReady > 0) {
      this.#slowReady -= 1;
      return 1;
    }
    return value;
  }

  #write(offset: number, width: number, value: number): void {
    if (this.#awaited !== undefined && !this.lawless && offset !== this.#awaited)
      this.fail('register', 'it goes on before a reset is over', `0x${offset.toString(16)}`);
    const resets =
      offset === MmioRegister.QueueReset || (offset === MmioRegister.Status && value === 0);
    this.#awaited = resets ? offset : undefined;
    if (offset === MmioRegister.QueueReset && !this.lawless) this.#slowReady = this.#slowReads;
    this.opponent.registers.write(offset, width, value);
  }

  #race(): number {
    const { raceEvery, meanwhile } = this.#options;
    // Not within itself, as a device is one thread.
    if (this.#racing) return 1;
    this.#racing = true;
    try {
      meanwhile?.();
      this.opponent.turn();
    } finally {
      this.#racing = false;
    }
    return 1 + this.random.number(raceEvery);
  }
}

/** What a driver may do, and what this device refuses or does not mind. */
const TOLERATED: ReadonlySet<string> = new Set([
  'advice.map.domain',
  'advice.unmap.domain',
  // Of a device with several numbers the first is asked about.
  'iommu.drv.init.probe-before-attach',
]);

/** What cannot be held against a driver whose requests are refused now and then. */
const DOUBTFUL: ReadonlySet<string> = new Set([
  'advice.map.overlap',
  'advice.detach.attached',
  'iommu.drv.resv.no-map-in-region',
  'iommu.drv.unmap.covers-contiguous-mappings',
  'iommu.drv.unmap.start-on-boundary',
  'iommu.drv.unmap.end-on-boundary',
]);

class CountedPatience extends Patience {
  readonly #world: World;

  constructor(world: World, pollsMax: number) {
    super({ pollsMax });
    this.#world = world;
  }

  override begin(): number {
    this.#world.polled();
    return super.begin();
  }
}

class WorldBell extends Bell {
  readonly #world: World;

  constructor(world: World) {
    super(new Int32Array(new SharedArrayBuffer(4)), 0);
    this.#world = world;
  }

  override wait(seen: number, timeoutMs: number): boolean {
    return this.#world.sleep(seen, timeoutMs);
  }

  override async waitAsync(seen: number, timeoutMs: number): Promise<boolean> {
    return this.#world.doze(seen, timeoutMs);
  }
}
