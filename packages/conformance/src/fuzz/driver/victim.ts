/** A driver whose device begins to break rules, from an honest beginning to its end. */

import { IommuError, RequestType } from '@viommu/common';
import {
  type Domain,
  type Endpoint,
  type IommuDriver,
  allocPaging,
  attach,
  detach,
  iotlbSync,
  iotlbSyncMap,
  mapPages,
  unmapPages,
} from '@viommu/driver';
import type { Journal } from '../fuzzer.ts';
import type { Random } from '../random.ts';
import { type Attack, Effect, randomAttack } from './attack.ts';
import { DEVICES } from './endpoint-calls.ts';
import { handlerOutcome, randomRecord } from './fault-record.ts';
import { randomProperties } from './property-list.ts';
import { type RawRequests, rawAnswer } from './raw-request.ts';
import type { Answer, Seen } from './seen-request.ts';
import type { World } from './world.ts';

const CALLS = 8;
const TIMEOUT_MS = 5000;

export interface VictimOptions {
  readonly world: World;
  readonly driver: IommuDriver;
  readonly probeSize: number;
  readonly raw: RawRequests;
  readonly journal: Journal;
}

export class Victim {
  readonly #world: World;
  readonly #driver: IommuDriver;
  readonly #random: Random;
  readonly #journal: Journal;
  readonly #raw: RawRequests;
  readonly #probeSize: number;
  readonly #attack: Attack;
  readonly #endpoints: Endpoint[] = [];
  readonly #domains: Domain[] = [];
  /** The worst that has struck so far. */
  #effect: Effect | undefined;
  #armed = false;
  /** When it struck. */
  #since = 0;

  constructor({ world, driver, probeSize, raw, journal }: VictimOptions) {
    this.#world = world;
    this.#driver = driver;
    this.#random = world.random;
    this.#journal = journal;
    this.#probeSize = probeSize;
    this.#raw = raw;
    raw.ending = false;
    this.#attack = randomAttack(world);
  }

  answerTo(request: Seen): Answer | undefined {
    const random = this.#random;
    if (request.raw !== undefined) {
      const answer = rawAnswer(random, request, this.#armed);
      if (answer.properties !== undefined) this.#raw.keep(request.raw, answer.properties);
      return answer;
    }
    if (request.type === RequestType.PROBE)
      return this.#armed
        ? { properties: randomProperties(random, this.#probeSize, true) }
        : undefined;
    return this.#armed && random.once(6)
      ? { untouched: true, length: random.pick([4, 0]) }
      : undefined;
  }

  meanwhile(): void {
    if (!this.#armed) return;
    if (this.#attack.turn !== undefined) this.#attack.turn();
    else if (this.#random.once(8)) {
      const { bytes, usedBytes } = randomRecord(this.#random, [8, 9], true);
      this.#world.opponent.inject(bytes, usedBytes);
    }
  }

  /** Something to lose. */
  settleIn(): void {
    for (const ids of DEVICES.slice(0, 3)) {
      const endpoint = this.#call('probe', () => this.#driver.probeDevice(ids));
      const domain = endpoint && this.#call('allocate', () => allocPaging(endpoint));
      if (endpoint === undefined || domain === undefined) continue;
      this.#endpoints.push(endpoint);
      this.#domains.push(domain);
      domain.setFaultHandler((_, address) => handlerOutcome(address));
      this.#call('attach', () => attach(domain, endpoint));
      const start = this.#driver.firstPage;
      this.#call('map', () => mapPages(domain, start, 0x4_0000, 1, 3));
      this.#call('sync', () => iotlbSyncMap(domain, start, 1));
    }
  }

  async suffer(): Promise<void> {
    const { opponent } = this.#world;
    this.#journal.note(() => `now ${this.#attack.name}`);
    // What was added before and is not shown yet is among its victims.
    if (this.#random.once(3)) this.#burst(false);
    this.#world.rebel(true);
    this.#armed = true;
    this.#attack.begin((effect) => this.#struck(effect));
    for (let count = CALLS; count > 0; count -= 1) {
      const call = this.#random.pick<() => void | Promise<void>>([
        () => this.#burst(true),
        () => this.#burst(true),
        () => this.#probe(),
        () => this.#move(),
        () => this.#map(),
        () => this.#unmap(),
        () => this.#together(),
        () => this.#behind(),
        () => this.#serve(),
        () => this.#resetQueue(),
      ]);
      await call();
      this.#check();
    }
    opponent.registers.bend = (_, value) => value;
  }

  end(): void {
    this.#armed = false;
    this.#raw.ending = true;
    const { pages, opponent } = this.#world;
    this.#call('remove', () => this.#driver.remove());
    if (this.#driver.state !== 'removed') this.#fail('a removed driver is not removed', '');
    if (pages.taken > 0) this.#fail('memory is not given back', `${pages.taken} pieces`);
    if (opponent.registers.status !== 0) this.#fail('the device is not reset', '');
    this.#raw.checkDone();
  }

  #struck(effect: Effect): void {
    this.#journal.note(() => `  struck: ${effect}`);
    if (effect === Effect.NONE || this.#effect === Effect.DOUBT) return;
    this.#effect = this.#effect === undefined || effect === Effect.DOUBT ? effect : this.#effect;
    this.#since = this.#world.nowMs;
  }

  /** Between two calls. */
  #check(): void {
    const { requests, state, log } = this.#driver;
    const { broken } = requests;
    if ((broken === undefined) !== (state === 'live'))
      this.#fail(`the driver is ${state}`, String(broken));
    if (this.#effect === undefined && broken !== undefined)
      this.#fail('a device is given up that did nothing wrong', broken);
    if (broken === undefined) return;
    if (requests.inFlight > 0)
      this.#fail('requests of a lost device are in flight', `${requests.inFlight}`);
    this.#raw.checkDone();
    if (log.counters.queueBroken < 1) this.#fail('nobody is told that the device is lost', '');
  }

  /** Requests that mean nothing, and a sync if `waits`. */
  #burst(waits: boolean): void {
    const { requests } = this.#driver;
    const random = this.#random;
    for (let count = random.pick([4, 1, 12, 20]); count > 0; count -= 1) {
      const broken = requests.broken !== undefined;
      this.#raw.ending = true;
      const added = this.#call('add', () => (this.#raw.add(requests, random.once(10)), true));
      if (broken && added === true) this.#fail('a request is added for a lost device', '');
    }
    if (waits) this.#sync();
  }

  #sync(): void {
    const { requests } = this.#driver;
    const waits = requests.inFlight > 0;
    const error = this.#call('sync', () => requests.syncReq());
    this.#waited(waits, error);
    if (error === undefined && requests.inFlight > 0)
      this.#fail('a sync leaves requests in flight', '');
    if (error === undefined && requests.broken !== undefined)
      this.#fail('a sync succeeds with a lost device', '');
    this.#raw.checkDone();
  }

  /** Something was waited for: a driver that met what cannot be has given up by now. */
  #waited(waits: boolean, error: unknown): void {
    if (!waits || this.#effect === undefined || this.#effect === Effect.DOUBT) return;
    const { broken } = this.#driver.requests;
    if (broken === undefined || error !== 'EIO')
      this.#fail(`a driver goes on with ${this.#attack.name}`, String(error));
    const tookMs = this.#world.nowMs - this.#since;
    if (this.#effect === Effect.BREAKS && tookMs >= TIMEOUT_MS)
      this.#fail(`it takes its time over ${this.#attack.name}`, `${tookMs} ms`);
  }

  #probe(): void {
    const before = this.#world.opponent.seen.length;
    const endpoint = this.#call('probe', () => this.#driver.probeDevice([0xffff_ffff]));
    if (endpoint === undefined) return;
    if (this.#probeSize > 0) this.#granted(before, RequestType.PROBE, 1);
    this.#call('release', () => endpoint.release());
  }

  #move(): void {
    const [domain, endpoint] = [
      this.#random.pick(this.#domains),
      this.#random.pick(this.#endpoints),
    ];
    if (domain === undefined || endpoint === undefined) return;
    if (this.#random.once(3)) {
      this.#call('detach', () => detach(endpoint));
      if (endpoint.domain !== null) this.#fail('a detached endpoint is in a domain', '');
      return;
    }
    const from = endpoint.domain;
    const stuck = endpoint.stuck;
    const before = this.#world.opponent.seen.length;
    const done = this.#call('attach', () => (attach(domain, endpoint), true));
    if (done !== true || (from === domain && !stuck)) return;
    this.#granted(before, RequestType.ATTACH, endpoint.ids.length);
    if (domain.attached.size === 1) this.#granted(before, RequestType.MAP, domain.mappings.size);
  }

  #map(): void {
    const domain = this.#random.pick(this.#domains);
    if (domain === undefined) return;
    const start = this.#driver.firstPage + 8 + this.#random.number(200);
    const pages = this.#random.pick([1, 4, 20]);
    const before = this.#world.opponent.seen.length;
    let mapped = 0;
    for (let page = 0; page < pages; page += 1)
      mapped +=
        this.#call('map', () => (mapPages(domain, start + page, 0x4_0000 + page, 1, 3), 1)) ?? 0;
    const done = this.#call('sync', () => (iotlbSyncMap(domain, start, pages), true));
    if (done === true && domain.attached.size > 0) this.#granted(before, RequestType.MAP, mapped);
  }

  #unmap(): void {
    const domain = this.#random.pick(this.#domains);
    if (domain === undefined) return;
    const start = this.#driver.firstPage + 8 + this.#random.number(200);
    const { unmapFailures } = domain;
    const before = this.#world.opponent.seen.length;
    const count = this.#call('unmap', () => unmapPages(domain, start, 4)) ?? 0;
    const done = this.#call('sync', () => (iotlbSync(domain), true));
    if (
      done === true &&
      count > 0 &&
      domain.attached.size > 0 &&
      domain.unmapFailures === unmapFailures
    )
      this.#granted(before, RequestType.UNMAP, 1);
  }

  async #together(): Promise<void> {
    const { requests } = this.#driver;
    const random = this.#random;
    const wait = async (): Promise<void> => {
      if (random.once(2)) {
        const { bytes, check } = this.#raw.send(false);
        const result = await requests.sendReqAsync(bytes);
        if (result === undefined) check(result);
        return;
      }
      this.#raw.ending = true;
      this.#raw.add(requests);
      await requests.syncReqAsync();
    };
    this.#begin('together');
    this.#world.patient = true;
    const ends = await Promise.allSettled(Array.from({ length: random.pick([2, 1, 6]) }, wait));
    for (const end of ends)
      if (end.status === 'rejected' && !(end.reason instanceof IommuError)) throw end.reason;
    this.#world.patient = false;
    this.#world.check();
    this.#sync();
  }

  /** Requests that are added while others are waited for: the device has not been shown them. */
  async #behind(): Promise<void> {
    const { requests } = this.#driver;
    this.#begin('behind');
    this.#world.patient = this.#raw.ending = true;
    const add = (): void => {
      for (let count = 3; count > 0 && requests.broken === undefined; count -= 1)
        this.#call('add', () => this.#raw.add(requests));
    };
    add();
    const over = requests.syncReqAsync();
    add();
    await over;
    this.#world.patient = false;
    this.#world.check();
    this.#sync();
  }

  #serve(): void {
    this.#begin('serve');
    for (let turns = 0; turns < 200 && this.#driver.serveEvents() > 0; turns += 1);
    this.#world.reports.length = 0;
    this.#world.check();
    if (this.#attack.breaksEvents?.() === true && this.#driver.log.counters.queueBroken === 0)
      this.#fail('nobody is told that events are lost', '');
  }

  #resetQueue(): void {
    this.#raw.ending = true;
    const queue = this.#random.number(2);
    this.#call(`reset queue ${queue}`, () =>
      queue === 0 ? this.#driver.resetRequestQueue() : this.#driver.resetEventQueue(),
    );
    this.#world.reports.length = 0;
    // A new ring, as if nothing had been.
    if (queue === 0 && this.#effect === Effect.BREAKS) this.#effect = Effect.DOUBT;
  }

  /** What succeeded, the device has really been asked for, and has said so. */
  #granted(from: number, type: number, count: number): void {
    const granted = this.#world.opponent.seen
      .slice(from)
      .filter((seen) => seen.type === type && this.#world.opponent.tails.saysDone(seen));
    if (granted.length < count)
      this.#fail(
        'something succeeds that the device did not do',
        `type ${type}: ${granted.length} of ${count}`,
      );
  }

  #begin(name: string): void {
    this.#journal.requests += 1;
    this.#journal.note(() => name);
    this.#world.begin();
  }

  /** What a call returns; `undefined` if it failed as calls may. */
  #call<Value>(name: string, action: () => Value): Value | undefined {
    this.#begin(name);
    try {
      return action();
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      this.#journal.note(() => `  ${error.code}: ${error.message}`);
      return undefined;
    } finally {
      this.#world.check();
    }
  }

  #fail(matter: string, evidence: string): never {
    return this.#world.fail('result', matter, evidence);
  }
}
