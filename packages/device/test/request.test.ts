/** What every request has in common: wire examples, framing, lengths, unknown types (ambiguities 1, 9). */

import { Status, guestPhysical } from '@viommu/common';
import { BufferList } from '@viommu/ring';
import { describe, expect, it } from 'vitest';
import {
  A,
  ABSENT,
  B,
  FILL,
  type Guest,
  attachBytes,
  createGuest,
  detachBytes,
  hex,
  mapBytes,
  probeBytes,
  unmapBytes,
} from './guest.ts';

const { OK, INVAL, NOENT } = Status;
const MAP_UNMAP = 1n << 2n;
const PROBE = 1n << 4n;

const filled = (length: number): number[] => Array.from({ length }, () => FILL);

describe('the worked examples of the wire format', () => {
  it('ATTACH, MAP, the same MAP again, UNMAP and DETACH, byte for byte', () => {
    const guest = createGuest();
    const map = hex(`03 00 00 00 01 00 00 00  00 10 00 00 00 00 00 00
                     ff 1f 00 00 00 00 00 00  00 a0 00 00 00 00 00 00
                     03 00 00 00`);
    const attach = hex(`01 00 00 00 01 00 00 00  08 00 00 00 00 00 00 00
                        00 00 00 00`);
    const unmap = hex(`04 00 00 00 01 00 00 00  00 10 00 00 00 00 00 00
                       ff 1f 00 00 00 00 00 00  00 00 00 00`);
    const detach = hex(`02 00 00 00 01 00 00 00  08 00 00 00 00 00 00 00
                        00 00 00 00`);
    expect(guest.send(attach, 4)).toEqual({ length: 4, bytes: hex('00 00 00 00') });
    expect(guest.send(map, 4)).toEqual({ length: 4, bytes: hex('00 00 00 00') });
    expect(guest.access(A, 0x1010n, 4)).toBe('a010+4');
    expect(guest.send(map, 4)).toEqual({ length: 4, bytes: hex('04 00 00 00') });
    expect(guest.send(unmap, 4)).toEqual({ length: 4, bytes: hex('00 00 00 00') });
    expect(guest.access(A, 0x1010n, 4)).toBe('mapping fault at 1010');
    expect(guest.send(detach, 4)).toEqual({ length: 4, bytes: hex('00 00 00 00') });
    expect(guest.access(A, 0x1010n, 4)).toBe('domain fault at 1010');
  });

  it('PROBE with one MSI region, byte for byte', () => {
    const guest = createGuest({
      probeSize: 64,
      endpoints: [{ id: 8, reserved: [{ start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' }] }],
    });
    const probe = new Uint8Array(72);
    probe.set(hex('05 00 00 00 08 00 00 00'));
    expect(guest.send(probe, 68)).toEqual({
      length: 68,
      bytes: hex(`01 00 14 00 01 00 00 00  00 00 e0 fe 00 00 00 00
                  ff ff ef fe 00 00 00 00  00 00 00 00 00 00 00 00
                  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
                  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
                  00 00 00 00`),
    });
  });

  it('a write to an unmapped address and its fault record, byte for byte', () => {
    const guest = createGuest();
    guest.attach(1, A);
    guest.postEvents(24);
    expect(guest.access(A, 0x2010n, 4, 2)).toBe('mapping fault at 2010');
    const [event] = guest.takeEvents();
    expect(event?.length).toBe(24);
    expect(event?.bytes.subarray(0, 24)).toEqual(
      hex(`02 00 00 00 02 01 00 00  08 00 00 00 00 00 00 00
           10 20 00 00 00 00 00 00`),
    );
  });
});

describe('status and tail', () => {
  it('iommu.dev.req.status-ok: each request that takes effect answers 0', () => {
    const guest = createGuest();
    expect(guest.attach(1, A)).toBe(OK);
    expect(guest.map(1, 0x1000n, 0x1fffn, 0xa000n)).toBe(OK);
    expect(guest.map(1, 0x1000n, 0x1fffn, 0xa000n)).toBe(INVAL);
    expect(guest.unmap(1, 0x1000n, 0x1fffn)).toBe(OK);
    expect(guest.map(1, 0x1000n, 0x1fffn, 0xa000n)).toBe(OK);
    const probed = guest.probe(A);
    expect(probed.bytes.at(-4)).toBe(OK);
    expect(guest.detach(1, A)).toBe(OK);
    expect(guest.map(1, 0x1000n, 0x1fffn, 0xa000n)).toBe(NOENT);
  });

  it('iommu.dev.req.tail-reserved-zero, (1.1) (1.2) length 4 for refusals as well', () => {
    const guest = createGuest();
    expect(guest.send(attachBytes(1, A), 4)).toEqual({ length: 4, bytes: hex('00 00 00 00') });
    expect(guest.send(attachBytes(1, ABSENT), 4)).toEqual({
      length: 4,
      bytes: hex('06 00 00 00'),
    });
    const probe = guest.send(probeBytes(ABSENT), 516);
    expect(probe.length).toBe(516);
    expect(probe.bytes.subarray(-4)).toEqual(hex('06 00 00 00'));
  });

  it('iommu.dev.req.head-reserved-ignored', () => {
    for (const reserved of [0x00, 0xff]) {
      const guest = createGuest();
      const attach = attachBytes(1, A);
      attach.fill(reserved, 1, 4);
      expect(guest.status(attach)).toBe(OK);
      expect(guest.device.iommu.domainOf(A)).toBe(1);
    }
  });
});

describe('types that the device does not know', () => {
  const unknown = [0, 6, 0x7f, 0x80, 0xff, 33];

  it('iommu.dev.req.unknown-type-not-written, (1.11)', () => {
    const guest = createGuest();
    for (const type of unknown)
      expect([...guest.send(Uint8Array.from([type, 0, 0, 0, ...filled(68)]), 16).bytes]).toEqual(
        filled(16),
      );
    expect(guest.attach(1, A)).toBe(OK);
  });

  it('iommu.dev.req.unknown-type-used-len-zero, (1.11)', () => {
    const guest = createGuest();
    for (const type of unknown)
      expect(guest.send(Uint8Array.from([type, 0, 0, 0, ...filled(68)]), 16).length).toBe(0);
    expect(guest.attach(1, A)).toBe(OK);
  });

  const unnegotiated: readonly [string, bigint, Uint8Array][] = [
    ['MAP', MAP_UNMAP, mapBytes(1, 0n, 0xfffn, 0n)],
    ['UNMAP', MAP_UNMAP, unmapBytes(1, 0n, 0xfffn)],
    ['PROBE', PROBE, probeBytes(A)],
  ];
  for (const [name, bit, request] of unnegotiated) {
    it(`(1.12) ${name} without its feature is not known`, () => {
      const accept = createGuest({ started: false }).device.offeredFeatures & ~bit;
      const guest = createGuest({ accept });
      guest.attach(1, A);
      const { length, bytes } = guest.send(request, 520);
      expect(length).toBe(0);
      expect([...bytes]).toEqual(filled(520));
      expect(guest.detach(1, A)).toBe(OK);
    });
  }

  it('(1.12) a later session with the feature knows them', () => {
    const guest = createGuest({ accept: 1n << 32n });
    guest.device.reset();
    guest.start();
    expect(guest.attach(1, A)).toBe(OK);
    expect(guest.map(1, 0n, 0xfffn, 0n)).toBe(OK);
  });
});

describe('buffers that are too short or too long', () => {
  const requests: readonly [string, Uint8Array][] = [
    ['ATTACH', attachBytes(1, B)],
    ['DETACH', detachBytes(1, A)],
    ['MAP', mapBytes(1, 0x5000n, 0x5fffn, 0n)],
    ['UNMAP', unmapBytes(1, 0x1000n, 0x1fffn)],
  ];
  const prepared = (): Guest => {
    const guest = createGuest();
    guest.attach(1, A);
    guest.map(1, 0x1000n, 0x1fffn, 0xa000n);
    return guest;
  };
  const stateOf = ({ device: { iommu } }: Guest): unknown => [
    iommu.domainOf(A),
    iommu.domainOf(B),
    [...iommu.mappings(1)],
  ];

  for (const [name, request] of requests) {
    it(`(1.4) ${name} that is cut off is INVAL, length 4, and has no effect`, () => {
      const guest = prepared();
      const before = stateOf(guest);
      for (let length = 4; length < request.length; length += 1)
        expect(guest.send(request.slice(0, length), 4)).toEqual({
          length: 4,
          bytes: hex('04 00 00 00'),
        });
      expect(stateOf(guest)).toEqual(before);
    });

    it(`(1.5) ${name} without a whole head is given back as it is`, () => {
      const guest = prepared();
      for (let length = 0; length < 4; length += 1)
        expect(guest.send(request.slice(0, length), 4)).toEqual({
          length: 0,
          bytes: Uint8Array.from(filled(4)),
        });
      expect(guest.attach(2, B)).toBe(OK);
    });

    it(`(1.6) (1.7) ${name} without room for a tail is given back and has no effect`, () => {
      const guest = prepared();
      const before = stateOf(guest);
      for (let room = 0; room < 4; room += 1)
        expect(guest.send(request, room)).toEqual({
          length: 0,
          bytes: Uint8Array.from(filled(room)),
        });
      expect(stateOf(guest)).toEqual(before);
      expect(guest.status(request)).toBe(OK);
    });

    it(`(1.8) ${name} with more behind it is the same request`, () => {
      const guest = prepared();
      expect(guest.status(Uint8Array.from([...request, ...filled(100)]))).toBe(OK);
    });

    it(`(1.9) ${name} with a long writable part: tail first, length 4`, () => {
      const guest = prepared();
      const { length, bytes } = guest.send(request, 64);
      expect(length).toBe(4);
      expect([...bytes]).toEqual([0, 0, 0, 0, ...filled(60)]);
    });
  }

  it('(1.4) PROBE that is cut off: INVAL behind zeros, at its usual place', () => {
    const guest = createGuest({ probeSize: 32 });
    expect(guest.send(probeBytes(A).slice(0, 71), 36)).toEqual({
      length: 36,
      bytes: Uint8Array.from([...Array.from({ length: 32 }, () => 0), INVAL, 0, 0, 0]),
    });
  });

  it('(10.6) a buffer outside memory: length 0, no effect, and the queue lives on', () => {
    const guest = createGuest();
    guest.addList(
      new BufferList(2)
        .addReadable(guestPhysical(0x10n), 20)
        .addWritable(guestPhysical(0x4000_8000n), 4),
    );
    guest.device.serve();
    expect(guest.take()).toBe(0);
    expect(guest.attach(1, A)).toBe(OK);
  });
});

describe('framing', () => {
  it('(1.10) any cut of any request gives the same answer', () => {
    const cases: readonly [Uint8Array, number][] = [
      [attachBytes(1, A), 4],
      [mapBytes(1, 0x1000n, 0x1fffn, 0xa000n), 4],
      [unmapBytes(1, 0x1000n, 0x1fffn), 4],
      [probeBytes(A), 36],
      [detachBytes(1, A), 4],
    ];
    const cuts: readonly (readonly number[])[] = [
      [],
      [1],
      [2, 3],
      [4],
      [1, 1, 1, 1, 1, 1, 1],
      [8, 8],
      [19],
    ];
    for (const readableCuts of cuts) {
      for (const writableCuts of cuts) {
        const guest = createGuest({ probeSize: 32 });
        for (const [request, room] of cases) {
          const { length, bytes } = guest.send(request, room, { readableCuts, writableCuts });
          expect([length, ...bytes]).toEqual([room, ...Array.from({ length: room }, () => 0)]);
        }
      }
    }
  });

  it('(10.13) a request is judged as it was when it was read', () => {
    // The readable part is also the writable one: the tail lands on the head of the request that was read before it.
    const guest = createGuest();
    const at = guestPhysical(0x4000_4000n);
    guest.memory.write(0x4000, attachBytes(1, A), 0, 20);
    guest.addList(new BufferList(2).addReadable(at, 20).addWritable(at, 4));
    guest.device.serve();
    expect(guest.take()).toBe(4);
    expect(guest.device.iommu.domainOf(A)).toBe(1);
  });
});

describe('queues of every kind', () => {
  for (const packed of [false, true]) {
    for (let bits = 0; bits < 8; bits += 1) {
      const features = {
        packed,
        indirect: (bits & 1) !== 0,
        eventIndex: (bits & 2) !== 0,
        inOrder: (bits & 4) !== 0,
      };
      it(`give the same answers: ${JSON.stringify(features)}`, () => {
        const guest = createGuest({ features, probeSize: 32 });
        guest.postEvents(8, 24);
        const answers = [
          guest.attach(1, A),
          guest.map(1, 0x1000n, 0x1fffn, 0xa000n),
          guest.map(1, 0x1000n, 0x1fffn, 0xa000n),
          guest.probe(A).length,
          guest.send(Uint8Array.of(99, 0, 0, 0), 4).length,
          guest.access(A, 0x1ff0n, 0x20),
          guest.takeEvents().map(({ length }) => length),
          guest.unmap(1, 0n, 0xffffn),
          guest.detach(1, A),
          guest.detach(1, A),
        ];
        expect(answers).toEqual([
          OK,
          OK,
          INVAL,
          36,
          0,
          'mapping fault at 2000',
          [0, 24],
          OK,
          OK,
          INVAL,
        ]);
      });
    }
  }
});

describe('order and batches', () => {
  it('(9.1) requests queued together are handled one after another', () => {
    const guest = createGuest();
    const room = 4;
    const requests = [
      attachBytes(1, A),
      mapBytes(1, 0n, 0xfffn, 0x8000n),
      mapBytes(1, 0n, 0xfffn, 0x9000n),
      unmapBytes(1, 0n, 0xfffn),
      mapBytes(1, 0n, 0xfffn, 0x9000n),
    ];
    requests.forEach((request, index) => {
      const at = 0x4000 + index * 0x100;
      guest.memory.write(at, request, 0, request.length);
      const base = 0x4000_0000n;
      guest.addList(
        new BufferList(2)
          .addReadable(guestPhysical(base + BigInt(at)), request.length)
          .addWritable(guestPhysical(base + BigInt(at + 0x80)), room),
      );
    });
    expect(guest.device.serve()).toBe(true);
    expect(requests.map(() => guest.take())).toEqual([4, 4, 4, 4, 4]);
    expect(requests.map((_, index) => guest.bytes(0x4080 + index * 0x100, 1)[0])).toEqual([
      OK,
      OK,
      INVAL,
      OK,
      OK,
    ]);
    expect(guest.access(A, 0x10n, 1)).toBe('9010+1');
  });

  it('(9.2) (9.6) a batch is published and notified once', () => {
    const guest = createGuest();
    for (let request = 0; request < 5; request += 1) guest.add(attachBytes(1, A), 4);
    expect(guest.device.serve()).toBe(true);
    expect(guest.interrupts).toEqual([0]);
    expect(guest.device.serve()).toBe(false);
    expect(guest.interrupts).toEqual([0]);
  });

  it('(9.2) a long burst is published in parts', () => {
    const guest = createGuest();
    for (let request = 0; request < 100; request += 1) guest.add(attachBytes(1, A), 4);
    const taken = (): number => {
      let count = 0;
      while (guest.take() === 4) count += 1;
      return count;
    };
    expect([guest.device.serve(), taken()]).toEqual([true, 64]);
    expect([guest.device.serve(), taken()]).toEqual([true, 36]);
    expect([guest.device.serve(), taken()]).toEqual([false, 0]);
  });

  it('(9.2) the driver takes the first answers of a burst while the last are made, and hears of it once', () => {
    let taken = 0;
    const before: number[] = [];
    const note = (): void => {
      while (guest.take() === 4) taken += 1;
      before.push(taken);
    };
    const guest: Guest = createGuest({ observer: { refused: note } });
    for (let request = 0; request < 40; request += 1) guest.add(mapBytes(1, 0n, 0xfffn, 0n), 4);
    expect(guest.device.serve()).toBe(true);
    expect(before).toEqual(before.map((_, request) => request - (request % 16)));
    expect(before).toHaveLength(40);
    expect(guest.interrupts).toEqual([0]);
  });

  it('damage in the middle of a burst: what came before it is answered, then the device needs a reset', () => {
    const guest = createGuest();
    for (let request = 0; request < 20; request += 1) guest.add(attachBytes(1, A), 4);
    guest.damageHead(18);
    expect(guest.device.serve()).toBe(true);
    expect(Array.from({ length: 20 }, () => guest.take())).toEqual([...Array(18).fill(4), -1, -1]);
    expect([guest.interrupts, guest.resets.length]).toEqual([[0], 1]);
    expect(guest.resets[0]).toMatch(/head lies outside/);
    expect(guest.device.serve()).toBe(false);
  });

  it('a damaged request ring stops the device, and a reset makes it work again', () => {
    const guest = createGuest();
    guest.attach(1, A);
    guest.add(attachBytes(2, A), 4);
    guest.damageRequests();
    expect(guest.device.serve()).toBe(false);
    expect(guest.resets).toHaveLength(1);
    expect(guest.device.serve()).toBe(false);
    // A host that arms before it sleeps is not kept awake by a queue that nobody can work on.
    expect(guest.device.arm()).toBe(true);
    expect(guest.device.iommu.domainOf(A)).toBe(1);
    guest.device.reset();
    guest.start();
    expect(guest.attach(2, A)).toBe(OK);
  });

  it('a queue can be stopped and started while the device runs', () => {
    const guest = createGuest();
    guest.attach(1, A);
    guest.device.queueStopped(0);
    guest.add(attachBytes(2, A), 4);
    expect(guest.device.serve()).toBe(false);
    guest.restartQueue();
    expect(guest.attach(3, A)).toBe(OK);
  });
});
