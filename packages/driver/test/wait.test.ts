/** The request queue against a device in another thread: polling, sleeping, waking. */

import { Worker } from 'node:worker_threads';
import { AttachRequest } from '@viommu/common';
import { BellWaiter, type RequestQueue } from '@viommu/driver';
import { Bell } from '@viommu/ring';
import { afterEach, describe, expect, it } from 'vitest';
import type { AnsweringData } from './helper/answering-worker.ts';
import { BARE_BASE, bareQueue } from './helper/bare-queue.ts';
import { ATTACH } from './helper/setup.ts';

const STOP = 32;
const DELAY_MS = 48;
/** Far below the time limit, which would end a wait that nobody wakes. */
const AWAKE_MS = 2500;

interface Threads {
  readonly requests: RequestQueue;
  readonly waiter: BellWaiter;
  readonly words: Int32Array;
}

let running: { worker: Worker; words: Int32Array } | undefined;

afterEach(async () => {
  if (running === undefined) return;
  const { worker, words } = running;
  running = undefined;
  Atomics.store(words, STOP, 1);
  await worker.terminate();
});

async function start(
  pollsMax: number,
  timeoutMs = 5000,
  withDevice = true,
  acknowledge?: () => void,
): Promise<Threads> {
  const words = new Int32Array(new SharedArrayBuffer(256));
  const doorbell = new Bell(words, 0);
  const waiter = new BellWaiter(new Bell(words, 16), pollsMax);
  const { requests, ram, layout } = bareQueue({
    size: 64,
    waiter,
    clock: { now: () => performance.now() },
    port: { notify: () => doorbell.ring(), ...(acknowledge && { acknowledge }) },
    timeoutMs,
  });
  if (withDevice) {
    const workerData: AnsweringData = { ram, base: BARE_BASE, words, layout };
    const url = new URL('./helper/answering-worker.ts', import.meta.url);
    const worker = new Worker(url, { workerData });
    running = { worker, words };
    await new Promise((resolve) => worker.once('online', resolve));
  }
  return { requests, waiter, words };
}

const REQUEST = AttachRequest.encode({ type: ATTACH, domain: 1, endpoint: 8, flags: 0 });

describe('a device in another thread', () => {
  it.each([0, 4000])(
    'answers hundreds of syncs with up to %i looks before a sleep',
    async (polls) => {
      const { requests } = await start(polls);
      let ended = 0;
      const owner = { requestDone: (_: number, status: number) => (ended += status === 0 ? 1 : 0) };
      let added = 0;
      for (let round = 0; round < 300; round += 1) {
        for (let n = 0; n <= round % 100; n += 1) {
          requests.addMap(owner, 1, n, n, n, 3);
          added += 1;
        }
        expect(requests.syncReq()).toBeUndefined();
      }
      expect(ended).toBe(added);
    },
  );

  it('S1.26 a device is known to be lost though its interrupt came while the driver was polling', async () => {
    let lost = (): void => undefined;
    const { requests, words } = await start(10, 5000, false, () => lost());
    requests.addReq(REQUEST);
    lost = () => requests.giveUp('the device needs a reset');
    new Bell(words, 16).ring();
    const before = performance.now();
    expect(requests.syncReq()).toBe('EIO');
    expect(performance.now() - before).toBeLessThan(AWAKE_MS);
  });

  it('wakes a sleeper that has used up its looks', async () => {
    const { requests, waiter, words } = await start(10);
    Atomics.store(words, DELAY_MS, 30);
    const before = performance.now();
    expect(requests.sendReqSync(REQUEST)).toBeUndefined();
    expect(waiter.sleeps).toBeGreaterThan(0);
    expect(performance.now() - before).toBeLessThan(AWAKE_MS);
  });

  it('wakes an event loop', async () => {
    const { requests, words } = await start(0);
    Atomics.store(words, DELAY_MS, 5);
    const before = performance.now();
    const keepAlive = setInterval(() => {}, 50);
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => requests.sendReqAsync(REQUEST)),
    );
    clearInterval(keepAlive);
    expect(answers).toEqual(Array.from({ length: 100 }, () => undefined));
    expect(requests.inFlight).toBe(0);
    expect(performance.now() - before).toBeLessThan(AWAKE_MS);
  });

  it('that is not there is given up after the limit', async () => {
    const before = performance.now();
    const { requests } = await start(10, 200, false);
    requests.addReq(REQUEST);
    expect(requests.syncReq()).toBe('EIO');
    const waitedMs = performance.now() - before;
    expect(waitedMs).toBeGreaterThan(190);
    expect(waitedMs).toBeLessThan(AWAKE_MS);
  });
});
