/**
 * The real thing: `RequestQueue` of the driver, virtio-mmio, and `IommuDevice` with its mapping store. One batch is one
 * sync; batches of MAPs and of UNMAPs of the same pages take turns, beside mappings that stay.
 */

import { AttachRequest, MapFlag, RequestType, Status, guestPhysical } from '@viommu/common';
import { IommuDevice } from '@viommu/device';
import { IommuDriver, type RequestOwner, type RequestQueue } from '@viommu/driver';
import { SharedMemory } from '@viommu/ring';
import {
  CONTROL_PAGE_SIZE,
  ControlPage,
  HostPort,
  MailboxPort,
  MmioDevice,
  MmioTransport,
  RegisterWindow,
} from '@viommu/transport';
import { ARENA_BYTES, type Arena, type Variant } from './variant.ts';

const WINDOW_AT = CONTROL_PAGE_SIZE;
/** A word in the page of the window, behind it: whose registers are there, and whose driver is prepared. */
const READY = (WINDOW_AT + 2048) / 4;
const SERVED = 1;
const PREPARED = 2;
const RAM_AT = WINDOW_AT + 4096;
const RAM_BASE = 0x4000_0000n;
const SLEEP_MS = 5;

const DOMAIN = 1;
const ENDPOINT = 8;
/** Mappings that stay, a page each; those that come and go lie between them. */
const LIVE = 512;
const CELL_PAGES = 4;
const READ_WRITE = MapFlag.READ | MapFlag.WRITE;

const map: Variant = {
  device(arena) {
    const { control, window, memory } = partsOf(arena);
    const device = new IommuDevice({ endpoints: [{ id: ENDPOINT }] });
    const interruptBell = control.interruptBell(0);
    const port = new HostPort({
      control,
      devices: [new MmioDevice({ window, interruptBell, memory, device })],
    });
    const words = new Int32Array(arena.buffer);
    Atomics.store(words, READY, SERVED);
    Atomics.notify(words, READY);
    // The driver needs an answer to every register write while it prepares.
    while (!prepared(words)) port.wait(SLEEP_MS);
    arena.meet();
    while (!arena.stopped()) port.wait(SLEEP_MS);
  },
  driver(arena, batch, limit) {
    const words = new Int32Array(arena.buffer);
    const { control } = partsOf(arena);
    Atomics.wait(words, READY, 0);
    const queue = requestQueue(arena);
    const failures = new Failures();
    const add = (mapping: boolean, page: number): void => {
      if (mapping) queue.addMap(failures, DOMAIN, page, page, page, READ_WRITE);
      else queue.addUnmap(failures, DOMAIN, page, page);
    };
    for (let cell = 0; cell < LIVE; cell += 1) add(true, cell * CELL_PAGES);
    queue.syncReq();
    const clockPeriod = batch >= 64 ? 1 : 8;
    let first = 0;
    let done = 0;
    Atomics.store(words, READY, PREPARED);
    control.hostBell.ring();
    arena.meet();
    for (let turn = 0; turn % clockPeriod !== 0 || !limit.reached(done); turn += 1) {
      for (let index = 0; index < batch; index += 1) add(true, pageOf(first + index));
      queue.syncReq();
      for (let index = 0; index < batch; index += 1) add(false, pageOf(first + index));
      queue.syncReq();
      done += 2 * batch;
      first = (first + batch) % LIVE;
    }
    if (failures.count > 0) throw new Error(`${failures.count} requests failed`);
    return done;
  },
};

function prepared(words: Int32Array): boolean {
  return Atomics.load(words, READY) === PREPARED;
}

/** The page of a mapping that comes and goes. */
function pageOf(index: number): number {
  return (index % LIVE) * CELL_PAGES + 2;
}

class Failures implements RequestOwner {
  count = 0;

  requestDone(_slot: number, status: number): void {
    if (status !== Status.OK) this.count += 1;
  }
}

/** A driver that is up, with its endpoint attached. */
function requestQueue(arena: Arena): RequestQueue {
  const { control, window, memory } = partsOf(arena);
  const transport = new MmioTransport({
    port: new MailboxPort({ control, block: 0, window }),
    doorbells: control.doorbells(0),
    interruptBell: control.interruptBell(0),
  });
  let free = RAM_BASE;
  const pages = {
    allocate(sizeBytes: number, alignment: number) {
      const start = (free + BigInt(alignment) - 1n) & -BigInt(alignment);
      free = start + BigInt(sizeBytes);
      return guestPhysical(start);
    },
  };
  const { requests } = IommuDriver.probe({ transport, memory, pages, clock: performance });
  const error = requests.sendReqSync(
    AttachRequest.encode({
      type: RequestType.ATTACH,
      domain: DOMAIN,
      endpoint: ENDPOINT,
      flags: 0,
    }),
  );
  if (error !== undefined) throw new Error(`ATTACH failed: ${error}`);
  return requests;
}

function partsOf({ buffer }: Arena): {
  control: ControlPage;
  window: RegisterWindow;
  memory: SharedMemory;
} {
  return {
    control: new ControlPage(buffer, 0),
    window: new RegisterWindow(buffer, WINDOW_AT),
    memory: new SharedMemory({
      buffer,
      offset: RAM_AT,
      size: ARENA_BYTES - RAM_AT,
      base: guestPhysical(RAM_BASE),
    }),
  };
}

export const variants = { map } as const;
