/** Calls about requests and queues, and about the life of a driver as a whole. */

import { IommuConfig, IommuError, IommuFeature, InterruptBit, VirtioFeature } from '@viommu/common';
import { detached, restored } from './attachment.ts';
import { Caller } from './caller.ts';
import { randomRecord } from './fault-record.ts';

/** Longer than an honest device lets anybody wait. */
const LONG_MS = 4000;

/** Fields by their features. */
const FIELDS: readonly (readonly [feature: number, offset: number])[] = [
  [IommuFeature.INPUT_RANGE, IommuConfig.offset.inputRangeStart],
  [IommuFeature.INPUT_RANGE, IommuConfig.offset.inputRangeEnd],
  [IommuFeature.DOMAIN_RANGE, IommuConfig.offset.domainRangeStart],
  [IommuFeature.DOMAIN_RANGE, IommuConfig.offset.domainRangeEnd],
  [IommuFeature.PROBE, IommuConfig.offset.probeSize],
];

export class QueueCalls extends Caller {
  /** The driver has lost its device, and a new one has to take over. */
  broken = false;
  /** No faults come, so that it is known in which ring they are. */
  #quiet = false;

  /** Requests that mean nothing, some at a time. */
  addRaw(waits: boolean): void {
    if (this.promises.frozen) return;
    const random = this.random;
    const { requests } = this.driver;
    const { notifications } = this.world.opponent;
    const room = this.promises.capacity - requests.inFlight;
    const count = random.pick([3, 1, 8, 17, 40]);
    for (let index = 0; index < count; index += 1) {
      const probe = random.once(12);
      const outcome = this.call('add', [index], () => this.raw.add(requests, probe));
      this.expect(outcome, undefined);
      if (requests.inFlight > this.promises.inFlightBefore) continue;
      // A PROBE waits for the one before.
      if (probe) this.promises.settle();
      else this.promises.madeRoom();
    }
    const told = this.world.opponent.notifications - notifications;
    if (count <= room && told > 0 && requests.inFlight > count)
      this.fail('adding notifies the device', `${told}`);
    if (waits) this.syncAll();
  }

  sendRaw(): void {
    if (this.promises.frozen) return;
    const { requests } = this.driver;
    const probe = this.random.once(2);
    const { bytes, check } = this.raw.send(probe);
    const outcome = this.call('send', [bytes[0]], () =>
      probe ? requests.sendProbeSync(bytes) : requests.sendReqSync(bytes),
    );
    this.expect(outcome, undefined);
    if (outcome.code === undefined) check(outcome.value);
    this.promises.settle();
    this.raw.checkDone();
  }

  /** Several contexts of one event loop wait for requests of theirs. */
  async sendTogether(): Promise<void> {
    if (this.promises.frozen) return;
    const random = this.random;
    const { requests } = this.driver;
    this.begin('together', []);
    const since = this.world.nowMs;
    this.world.patient = true;
    const waits = Array.from({ length: random.pick([2, 1, 5, 12]) }, async () => {
      const kind = random.number(6);
      if (kind === 4) {
        // Takes the answers of all others, too.
        this.raw.add(requests);
        await Promise.resolve();
        if (requests.syncReq() !== undefined) this.fail('a sync fails', '');
        return;
      }
      if (kind === 0 || kind === 5) {
        this.raw.add(requests);
        const owed = [...this.raw.pending.keys()];
        const over = requests.syncReqAsync();
        // What comes later is not waited for, and may not even be sent.
        if (kind === 5) this.raw.add(requests);
        const error = await over;
        if (error !== undefined || owed.some((serial) => this.raw.pending.has(serial)))
          this.fail('an asynchronous sync is over too early', String(error));
        return;
      }
      const { bytes, check } = this.raw.send(kind === 1);
      check(await (kind === 1 ? requests.sendProbeAsync(bytes) : requests.sendReqAsync(bytes)));
    });
    try {
      await Promise.all(waits);
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      this.fail('waiting together fails', error.code);
    }
    this.world.patient = false;
    const tookMs = this.world.nowMs - since;
    if (tookMs >= LONG_MS && !this.world.slow)
      this.fail('it sleeps through an answer', `${tookMs} ms`);
    this.syncAll();
    this.world.check();
  }

  /** Faults come in, and are served. */
  serveFaults(): void {
    const { faults } = this.options;
    if (this.promises.frozen) return;
    this.begin('faults', [faults.waiting.length]);
    for (let count = this.random.pick([0, 1, 3, 20]); count > 0; count -= 1) this.injectFault();
    for (let turns = 0; ; turns += 1) {
      if (turns > 1000) this.fail('serving events has no end', '');
      if (this.driver.serveEvents() === 0) break;
    }
    faults.check();
    this.world.check();
    const { opponent } = this.world;
    const size = opponent.layoutOf(1)?.size;
    if (opponent.buffers !== size)
      this.fail('event buffers are lost', `${opponent.buffers} of ${size}`);
    // With races there may be another one by now.
    if (!this.world.memory.races && opponent.registers.interruptStatus !== 0)
      this.fail('an interrupt is not acknowledged', '');
  }

  /** The device reports something, if there is a buffer. */
  injectFault(): void {
    if (this.#quiet) return;
    const { bytes, usedBytes } = randomRecord(this.random, [8, 9, 1, 2], this.options.odd);
    const { bell, opponent } = this.world;
    const before = bell.value();
    const asleep = this.options.faults.waiting.length === 0;
    if (!opponent.inject(bytes, usedBytes)) return;
    this.options.faults.waiting.push({ bytes, usedBytes });
    if (asleep && bell.value() === before) this.fail('a fault comes without an interrupt', '');
  }

  /** One queue begins anew, perhaps while somebody waits for it. */
  async resetQueue(): Promise<void> {
    const random = this.random;
    const which = random.number(2);
    const size = random.pick([undefined, 4, 8, 16, 3]);
    const { requests } = this.driver;
    const { opponent, pages } = this.world;
    const resettable = this.driver.has(VirtioFeature.RING_RESET) && !this.promises.frozen;
    let over: Promise<unknown> | undefined;
    if (which === 0 && resettable && random.once(2)) {
      this.addRaw(false);
      this.world.patient = true;
      if (random.once(2)) over = requests.syncReqAsync();
      for (let turns = random.number(4); turns > 0; turns -= 1) opponent.turn();
    }
    const memoryless = random.once(8);
    const unsent = requests.unsent > 0;
    const resized =
      size !== undefined && this.#sizeOf(size, which) !== (opponent.layoutOf(which)?.size ?? 0);
    this.raw.ending = this.#quiet = true;
    if (memoryless) pages.refusals = 1;
    const outcome = this.call('reset queue', [which, size], () =>
      which === 0 ? this.driver.resetRequestQueue(size) : this.driver.resetEventQueue(size),
    );
    pages.refusals = 0;
    await over;
    // Then all was waited for, reset or not.
    if (over !== undefined && outcome.code !== undefined) this.promises.settle();
    this.world.patient = this.raw.ending = this.#quiet = false;
    if (this.promises.frozen) return this.expect(outcome, 'EBUSY');
    if (!this.driver.has(VirtioFeature.RING_RESET)) return this.expect(outcome, 'ENOSYS');
    if (memoryless) return this.expect(outcome, 'ENOMEM');
    if (which === 1) {
      this.expect(outcome, undefined);
      return this.options.faults.check();
    }
    if (resized && unsent) return this.expect(outcome, 'EBUSY');
    this.expect(outcome, undefined);
    this.promises.retired();
    this.promises.resized();
  }

  freeze(): void {
    const { promises } = this;
    const outcome = this.call('freeze', [], () => this.driver.freeze());
    if (promises.frozen) return this.expect(outcome, 'EBUSY');
    this.expect(outcome, undefined);
    promises.settle();
    this.raw.checkDone();
    promises.frozen = true;
  }

  restore(): void {
    const { promises } = this;
    if (!promises.frozen) return;
    const random = this.random;
    if (random.once(2)) this.world.core.systemReset();
    const field = random.once(4) ? random.pick(FIELDS) : undefined;
    const other = field !== undefined && this.driver.has(field[0]);
    if (field !== undefined) this.#changeField(field[1]);
    this.#quiet = true;
    const outcome = this.call('restore', [], () => this.driver.restore());
    this.#quiet = false;
    if (field !== undefined) this.#changeField(field[1]);
    const error = other ? 'EINVAL' : restored(promises);
    this.expect(outcome, error);
    this.broken = error !== undefined;
    if (!this.broken) this.options.faults.check();
  }

  /** The device that comes back is another one, or it is the first again. */
  #changeField(at: number): void {
    const { config } = this.world.opponent.registers;
    config.setUint8(at, config.getUint8(at) ^ 1);
  }

  /** The device says that something in its configuration has changed, and nothing has. */
  changeConfig(): void {
    if (this.promises.frozen) return;
    const { registers } = this.world.opponent;
    registers.generation += 1;
    this.world.opponent.interrupt(InterruptBit.CONFIG_CHANGE);
    this.promises.count('configChanged');
    this.serveFaults();
  }

  /** Lets everything go. */
  remove(): void {
    const { opponent, pages } = this.world;
    this.raw.ending = this.raw.leaving = true;
    const { promises } = this;
    const leaving = [...this.driver.domains].flatMap(({ attached: some }) => [...some]);
    const outcome = this.call('remove', [], () => this.driver.remove());
    this.expect(outcome, undefined);
    for (const api of leaving) {
      const endpoint = [...promises.endpoints].find((one) => one.api === api);
      if (endpoint !== undefined) detached(promises, endpoint);
    }
    // What was queued for nobody may never have been sent.
    if (!promises.frozen && leaving.length > 0) promises.checkAll();
    if (this.driver.state !== 'removed')
      this.fail('a removed driver is not removed', this.driver.state);
    if (pages.taken > 0) this.fail('memory is not given back', `${pages.taken} pieces`);
    if (opponent.registers.status !== 0)
      this.fail('the device is not reset', `${opponent.registers.status}`);
    this.raw.ending = this.raw.leaving = false;
    this.raw.checkDone();
  }

  /** The size of a queue that is asked for. */
  #sizeOf(size: number, queue: number): number {
    const most = Math.min(size, this.world.platform.queueSizes[queue] ?? size);
    return this.world.opponent.has(VirtioFeature.RING_PACKED)
      ? most
      : 2 ** Math.floor(Math.log2(most));
  }
}
