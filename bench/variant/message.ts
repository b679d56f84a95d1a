/** What one would otherwise write: the same requests as messages between two threads. */

import { createRequire } from 'node:module';
import type { Arena, Variant } from './variant.ts';

/** The part of msgpackr that is used here. */
interface Msgpackr {
  readonly Packr: new (options: { useRecords: boolean }) => {
    pack(value: unknown): Uint8Array;
    unpack(bytes: Uint8Array): unknown;
  };
}

interface Request {
  readonly id: number;
  readonly type: number;
  readonly domain: number;
  readonly start: number;
  readonly last: number;
  readonly phys: number;
  readonly flags: number;
}

interface Reply {
  readonly id: number;
  readonly status: number;
}

// The copy that our records use.
const { Packr } = createRequire(new URL('../../packages/common/package.json', import.meta.url))(
  'msgpackr',
) as Msgpackr; // Declared above as far as it is used.
const packr = new Packr({ useRecords: false });

const plain = { encode: (value: unknown): unknown => value, decode: (value: unknown) => value };
const packed = {
  encode: (value: unknown): unknown => packr.pack(value),
  decode: (value: unknown): unknown => packr.unpack(value as Uint8Array), // What `encode` made.
};
/** Ends a window; nothing else is sent as a string. */
const END = 'end';

/** One message for each request. */
function each({ encode, decode }: typeof plain): Variant {
  return {
    device: ({ port, meet }) => {
      meet();
      return listen(port, (message) => {
        if (message === END) return false;
        port.postMessage(encode(answer(decode(message) as Request))); // The driver's.
        return true;
      });
    },
    async driver({ port, meet }, batch, limit) {
      let done = 0;
      let inFlight = batch;
      const over = listen(port, (message) => {
        check(decode(message) as Reply); // The device's.
        done += 1;
        if (limit.reached(done)) inFlight -= 1;
        else port.postMessage(encode(request(done)));
        return inFlight > 0;
      });
      meet();
      for (let index = 0; index < batch; index += 1) port.postMessage(encode(request(index)));
      await over;
      port.postMessage(END);
      return done;
    },
  };
}

/** One message for each batch: an array of requests. */
const array: Variant = {
  device: ({ port, meet }) => {
    meet();
    return listen(port, (message) => {
      if (message === END) return false;
      const requests = packed.decode(message) as Request[]; // The driver's.
      port.postMessage(packed.encode(requests.map(answer)));
      return true;
    });
  },
  async driver({ port, meet }, batch, limit) {
    let done = 0;
    const send = (): void =>
      port.postMessage(packed.encode(Array.from({ length: batch }, (_, i) => request(done + i))));
    const over = listen(port, (message) => {
      const replies = packed.decode(message) as Reply[]; // The device's.
      replies.forEach(check);
      done += replies.length;
      if (limit.reached(done)) return false;
      send();
      return true;
    });
    meet();
    send();
    await over;
    port.postMessage(END);
    return done;
  },
};

/** Passes messages on until `take` returns false. */
function listen(port: Arena['port'], take: (message: unknown) => boolean): Promise<void> {
  return new Promise((resolve) => {
    const onMessage = (message: unknown): void => {
      if (take(message)) return;
      port.off('message', onMessage);
      resolve();
    };
    port.on('message', onMessage);
  });
}

function request(id: number): Request {
  const start = (id & 0xf_ffff) * 0x1000;
  return { id, type: 3, domain: 1, start, last: start + 0xfff, phys: start, flags: 3 };
}

function answer({ id, type, start, last }: Request): Reply {
  return { id, status: type === 3 && last > start ? 0 : 4 };
}

function check({ status }: Reply): void {
  if (status !== 0) throw new Error('a request failed');
}

export const variants = { object: each(plain), msgpackr: each(packed), array } as const;
