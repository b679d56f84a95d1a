/** The asynchronous forms, with a device and a sleep that the test moves by hand. */

import { AttachRequest, Status } from '@viommu/common';
import type { DeviceWaiter } from '@viommu/driver';
import { Chain, Popped, type QueueFeatures, SplitDeviceQueue, type Waitable } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { BARE_FEATURES, type BareQueue, bareQueue } from './helper/bare-queue.ts';
import { TestClock } from './helper/guest.ts';
import { ATTACH } from './helper/setup.ts';

const REQUEST = AttachRequest.encode({ type: ATTACH, domain: 1, endpoint: 8, flags: 0 });

/** Sleeps until the test wakes it. */
class HandWaiter implements DeviceWaiter {
  /** What a blocking wait does. */
  blocking: () => void = () => {
    throw new Error('a thread that must not block does');
  };
  sleeps = 0;
  #wake: (() => void) | undefined;

  poll(target: Waitable): boolean {
    this.blocking();
    return target.ready();
  }

  sleep(target: Waitable): boolean {
    return this.poll(target);
  }

  async doze(target: Waitable): Promise<void> {
    this.sleeps += 1;
    if (!target.armNotification()) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}

interface ByHand extends BareQueue {
  readonly waiter: HandWaiter;
  readonly clock: TestClock;
  /** Completes up to `count` requests; true if the driver wants to hear of it. */
  readonly complete: (count: number) => boolean;
}

function byHand(size = 8, features: QueueFeatures = BARE_FEATURES): ByHand {
  const waiter = new HandWaiter();
  const clock = new TestClock();
  const bare = bareQueue({ size, waiter, clock, features });
  const { memory, layout } = bare;
  const device = new SplitDeviceQueue({ memory, layout, features });
  const chain = new Chain(memory, size);
  return {
    ...bare,
    waiter,
    clock,
    complete(count) {
      for (let n = 0; n < count && device.pop(chain) === Popped.CHAIN; n += 1) {
        chain.writeWord(0, Status.OK);
        device.push(chain, 4);
      }
      return device.publish();
    },
  };
}

/** Lets everything that can go on without the device go on. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
}

/** What became of a promise so far. */
function watch<T>(promise: Promise<T>): { value: T | 'pending' } {
  const seen: { value: T | 'pending' } = { value: 'pending' };
  promise.then(
    (value) => (seen.value = value),
    () => undefined,
  );
  return seen;
}

describe('waiting in an event loop', () => {
  it.each([true, false])(
    'asks to be woken, and is quiet again afterwards (EVENT_IDX %s)',
    async (eventIndex) => {
      const { requests, waiter, complete } = byHand(8, { indirect: true, eventIndex });
      const answer = watch(requests.sendReqAsync(REQUEST));
      await settle();
      expect(answer.value).toBe('pending');
      expect(complete(1)).toBe(true);
      waiter.wake();
      await settle();
      expect(answer.value).toBeUndefined();
      requests.addReq(REQUEST);
      waiter.blocking = () => expect(complete(1)).toBe(false);
      expect(requests.syncReq()).toBeUndefined();
    },
  );

  it('many tasks share one sleep', async () => {
    const { requests, waiter, complete } = byHand();
    const answers = Array.from({ length: 5 }, () => watch(requests.sendReqAsync(REQUEST)));
    await settle();
    expect(waiter.sleeps).toBe(1);
    complete(3);
    waiter.wake();
    await settle();
    expect(waiter.sleeps).toBe(2);
    expect(answers.map(({ value }) => value)).toEqual([
      undefined,
      undefined,
      undefined,
      'pending',
      'pending',
    ]);
    complete(2);
    waiter.wake();
    await settle();
    expect(answers.map(({ value }) => value)).toEqual(answers.map(() => undefined));
  });

  it('a full ring makes tasks wait, and never blocks', async () => {
    const { requests, waiter, complete } = byHand(2);
    const answers = Array.from({ length: 7 }, () => watch(requests.sendReqAsync(REQUEST)));
    for (let turn = 0; turn < 10; turn += 1) {
      await settle();
      complete(1);
      waiter.wake();
    }
    expect(answers.map(({ value }) => value)).toEqual(answers.map(() => undefined));
  });

  it('is over when a blocking sync has taken the answer, though no wake-up comes', async () => {
    const { requests, waiter, complete } = byHand();
    const answer = watch(requests.sendReqAsync(REQUEST));
    await settle();
    waiter.blocking = () => void complete(2);
    requests.addReq(REQUEST);
    expect(requests.syncReq()).toBeUndefined();
    await settle();
    expect(answer.value).toBeUndefined();
  });

  it('S1.26 [A24] lasts as long as the device makes progress, and no longer', async () => {
    const { requests, waiter, clock, complete } = byHand();
    const owner = { ends: 0, requestDone: () => (owner.ends += 1) };
    for (let n = 0; n < 3; n += 1) requests.addReq(REQUEST, owner);
    const answer = watch(requests.syncReqAsync());
    for (let n = 0; n < 2; n += 1) {
      await settle();
      clock.nowMs += 4000;
      complete(1);
      waiter.wake();
    }
    await settle();
    expect(owner.ends).toBe(2);
    clock.nowMs += 4000;
    waiter.wake();
    await settle();
    expect(answer.value).toBe('pending');
    clock.nowMs += 1000;
    waiter.wake();
    await settle();
    expect(answer.value).toBe('EIO');
    expect(owner.ends).toBe(3);
    expect(requests.broken).toBeDefined();
  });

  it('is over when somebody else gives the device up', async () => {
    const { requests } = byHand();
    const answer = watch(requests.sendReqAsync(REQUEST));
    await settle();
    requests.giveUp('the test says so');
    await settle();
    expect(answer.value).toBe('EIO');
    await expect(requests.sendReqAsync(REQUEST)).resolves.toBe('EIO');
    await expect(requests.syncReqAsync()).resolves.toBe('EIO');
  });
});
