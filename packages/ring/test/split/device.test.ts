/** What the device's side writes, judged byte by byte against the clauses on devices. */

import { Chain, Popped, SplitDeviceQueue } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import { Arena } from '../kit/arena.ts';
import { GuestRingWriter } from '../kit/guest-ring-writer.ts';
import { must } from '../kit/must.ts';
import { Random } from '../kit/random.ts';
import { SplitPlace } from '../kit/split-place.ts';
import { WatchedMemory } from '../kit/watched-memory.ts';

const SIZE = 8;
const READABLE = 0x4000;
const WRITABLE = 0x8000;
const TABLE = 0xc000;

function setUp() {
  const arena = new Arena();
  const place = new SplitPlace(arena, SIZE);
  const memory = new WatchedMemory(arena);
  const features = { indirect: true, eventIndex: true };
  const queue = new SplitDeviceQueue({ memory, layout: place.layout, features });
  const guest = new GuestRingWriter(arena.view, place);
  return { arena, place, memory, queue, guest, chain: new Chain(memory, SIZE) };
}

/** Makes a request of 20 and 4 bytes available, directly or in a table. */
function offer({ arena, guest }: ReturnType<typeof setUp>, indirect: boolean): void {
  const buffers = [
    { address: arena.address(READABLE), length: 20 },
    { address: arena.address(WRITABLE), length: 4, writable: true },
  ];
  if (indirect) {
    guest.table(TABLE, buffers);
    guest.indirect(3, arena.address(TABLE), 2);
    guest.offer(3);
  } else guest.offer(guest.chain(buffers, [5, 2]));
}

describe.each([false, true])('requests in tables: %s', (indirect) => {
  /** Bytes that change while the device serves one request and writes `fill` and the used length `len`. */
  function changes(fill: number, len: number): number[] {
    const side = setUp();
    const { arena, queue, chain } = side;
    arena.bytes.set(new Random(fill).bytes(0x1000), READABLE);
    arena.bytes.fill(0x11, WRITABLE, WRITABLE + 64);
    offer(side, indirect);
    const before = arena.bytes.slice();
    queue.armNotification();
    queue.suppressNotification();
    must(queue.pop(chain) === Popped.CHAIN, 'a chain is there');
    const target = new Uint8Array(64);
    chain.read(0, target, 0, 64);
    // More than there is room for.
    expect(chain.write(0, target.fill(fill), 0, 64)).toBe(4);
    queue.push(chain, len);
    queue.publish();
    return [...before.keys()].filter((at) => arena.bytes[at] !== before[at]);
  }

  it('split.dev.desc.no-write-readable: readable buffers stay as they are', () => {
    const touched = changes(0x22, 4).filter((at) => at >= READABLE && at < READABLE + 0x1000);
    expect(touched).toEqual([]);
  });

  it('split.dev.desc.table-read-only: descriptors and tables stay as they are, and so does the available ring', () => {
    const { place } = setUp();
    const touched = changes(0x22, 4);
    expect(touched.filter((at) => at < place.used)).toEqual([]);
    expect(touched.filter((at) => at >= TABLE && at < TABLE + 32)).toEqual([]);
  });

  it('split.dev.used.may-write-more: bytes past the used length may change, those past the buffer do not', () => {
    const touched = changes(0x22, 1).filter((at) => at >= WRITABLE && at < WRITABLE + 64);
    expect(touched).toEqual([WRITABLE, WRITABLE + 1, WRITABLE + 2, WRITABLE + 3]);
  });

  it('split.dev.used.len-bytes-written: the bytes are there at the moment the index moves', () => {
    const side = setUp();
    const { arena, place, memory, queue, chain } = side;
    arena.bytes.fill(0xff, WRITABLE, WRITABLE + 4);
    offer(side, indirect);
    queue.pop(chain);
    let checked = 0;
    memory.before = ({ kind, position }) => {
      if (kind !== 'write' || position !== place.used + 2) return;
      expect([...arena.copy(WRITABLE, 4)]).toEqual([1, 2, 3, 4]);
      checked += 1;
    };
    chain.write(0, Uint8Array.of(1, 2, 3, 4), 0, 4);
    queue.push(chain, 4);
    expect(checked).toBe(0);
    queue.publish();
    expect(checked).toBe(1);
  });

  it('split.dev.used.len-before-idx: id and length are final at the moment the index moves', () => {
    const side = setUp();
    const { arena, place, memory, queue, chain } = side;
    arena.bytes.fill(0xff, place.used + 4, place.used + 4 + 8 * SIZE);
    for (let turn = 0; turn < 3; turn += 1) offer(side, indirect);
    const elements: { id: number; len: number }[] = [];
    memory.before = ({ kind, position }) => {
      if (kind !== 'write' || position !== place.used + 2) return;
      elements.push(place.usedElement(0), place.usedElement(1), place.usedElement(2));
    };
    for (let len = 5; queue.pop(chain) === Popped.CHAIN; len += 1) queue.push(chain, len);
    queue.publish();
    const id = indirect ? 3 : 5;
    expect(elements).toEqual([5, 6, 7].map((len) => ({ id, len })));
    // Nothing of the used ring is written after that.
    memory.trace = [];
    queue.publish();
    expect(memory.trace).toEqual([]);
  });
});

describe('supplying buffers', () => {
  it('split.drv.supply.batching: chains that become available at once are all used', () => {
    const side = setUp();
    const { guest, queue, chain, place } = side;
    const heads = [7, 1, 4, 0, 2];
    for (const head of heads) guest.descriptor(head, {});
    guest.offer(...heads);
    for (const head of heads) {
      expect(queue.pop(chain)).toBe(Popped.CHAIN);
      expect(chain.id).toBe(head);
      queue.push(chain, 0);
    }
    queue.publish();
    expect(place.usedIndex()).toBe(5);
    expect(heads.map((_, slot) => place.usedElement(slot).id)).toEqual(heads);
  });

  it('split.drv.supply.defer-idx: heads beyond the index are not taken before it moves', () => {
    const { guest, queue, chain } = setUp();
    for (let slot = 0; slot < SIZE; slot += 1) {
      guest.descriptor(slot, {});
      guest.entry(slot, slot);
    }
    expect([queue.ready(), queue.pop(chain)]).toEqual([false, Popped.EMPTY]);
    guest.index(2);
    expect([queue.pop(chain), chain.id]).toEqual([Popped.CHAIN, 0]);
    expect([queue.pop(chain), chain.id]).toEqual([Popped.CHAIN, 1]);
    expect(queue.pop(chain)).toBe(Popped.EMPTY);
  });
});

describe('in order', () => {
  const features = { indirect: false, eventIndex: true, inOrder: true };

  it('fact.split.in-order-offset: a batch has one element, in the slot of its first chain, with the id of its last', () => {
    const { arena, place, memory, guest, chain } = setUp();
    const queue = new SplitDeviceQueue({ memory, layout: place.layout, features, batchUsed: true });
    for (let index = 0; index < SIZE; index += 1) guest.descriptor(index, {});
    arena.bytes.fill(0xff, place.used + 4, place.used + 4 + 8 * SIZE);
    guest.offer(3, 4, 5, 6, 7);
    for (const count of [3, 2]) {
      for (let turn = 0; turn < count; turn += 1) {
        queue.pop(chain);
        queue.push(chain, 10 + turn);
      }
      queue.publish();
    }
    const nothing = { id: 0xffff_ffff, len: 0xffff_ffff };
    const elements = [0, 1, 2, 3, 4].map((slot) => place.usedElement(slot));
    expect(elements).toEqual([{ id: 5, len: 12 }, nothing, nothing, { id: 7, len: 11 }, nothing]);
    expect(place.usedIndex()).toBe(5);
  });

  it('a device that batches nothing has an element for each chain', () => {
    const { place, memory, guest, chain } = setUp();
    const queue = new SplitDeviceQueue({ memory, layout: place.layout, features });
    guest.descriptor(3, {});
    guest.descriptor(4, {});
    guest.offer(3, 4);
    while (queue.pop(chain) === Popped.CHAIN) queue.push(chain, chain.id);
    queue.publish();
    expect([place.usedElement(0), place.usedElement(1)]).toEqual([
      { id: 3, len: 3 },
      { id: 4, len: 4 },
    ]);
  });
});
