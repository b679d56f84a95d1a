/** Saved registers and queues that no device can have, and some that one can. */

import { MmioRegister, VirtioFeature, featureMask } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { Board, OPTIONS, RAM_BASE } from './board.ts';
import { attachBytes } from './guest.ts';
import { type MmioImage, deviceImage, hexOf, mmioImage, outcome } from './image.ts';

const QUEUE_AREAS = [RAM_BASE, RAM_BASE + 0x100n, RAM_BASE + 0x800n] as const;
const READY = { size: 16, ready: 1, position: 5, areas: QUEUE_AREAS };

const { InterruptACK: InterruptAck, InterruptStatus } = MmioRegister;

describe('saved registers', () => {
  const device = (features: bigint, of = new Board().device.offeredFeatures) =>
    deviceImage({ offered: of, features, probeSize: 512 });
  const boardOffer = new Board().device.offeredFeatures;
  const split = boardOffer & ~featureMask(VirtioFeature.RING_PACKED);
  /** Restores into a board at work. */
  const restoringBoard = (image: MmioImage, inner?: Uint8Array): string => {
    const board = new Board();
    board.start();
    const [before, shown, ram] = [board.mmio.save(), board.shown(), board.ram()];
    const bytes = mmioImage(image, inner ?? device(image.features ?? 0n));
    const result = outcome(() => board.mmio.restore(bytes));
    expect(hexOf(board.mmio.save())).toBe(hexOf(result === 'taken over' ? bytes : before));
    if (result !== 'taken over') {
      expect(hexOf(board.shown())).toBe(hexOf(shown));
      expect(Buffer.compare(board.ram(), ram)).toBe(0);
    }
    return result;
  };
  const running = { status: 0x0f, features: split, queues: [READY, {}] };

  it('have the bytes that decision 0012 says', () => {
    const board = new Board();
    expect(hexOf(board.mmio.save())).toBe(hexOf(mmioImage({}, board.device.save())));
    board.start();
    const { size, ready } = { size: 16, ready: 1 };
    const areas = (at: bigint) =>
      [RAM_BASE + at, RAM_BASE + at + 0x100n, RAM_BASE + at + 0x800n] as const;
    const queues = [0n, 0x1000n].map((at) => ({ size, ready, areas: areas(at) }));
    const image = { status: 0x0f, features: split, selectors: [0, 1, 1] as const, queues };
    expect(hexOf(board.mmio.save())).toBe(hexOf(mmioImage(image, board.device.save())));
  });

  it('are taken over if a device can have them', () => {
    for (const image of [
      {},
      running,
      { status: 0x8f, features: split },
      { status: 0x4f, features: split, interruptStatus: 2, queues: [{ ...READY, broken: 1 }, {}] },
      { status: 0x4b, features: split },
      { status: 3, written: 0x1234_5678_9abc_def0n, foreign: 1, configPending: 1 },
      {
        selectors: [0xffff_ffff, 5, 7],
        generation: 0xffff_ffff,
        queues: [{ size: 0xffff_ffff, areas: [1n, 2n, 1n << 63n] }, {}],
      },
      { ...running, interruptStatus: 3, queues: [READY, { ...READY, position: 0xffff }] },
    ] as const)
      expect(
        restoringBoard(image),
        JSON.stringify(image, (_, value) => String(value)),
      ).toBe('taken over');
  });

  it('are refused with a status that no device has', () => {
    for (const status of [0x02, 0x08, 0x09, 0x04, 0x07, 0x40, 0x43, 0x10, 0x20])
      expect(restoringBoard({ status, ...(status > 8 && { features: split }) }), `${status}`).toBe(
        'EINVAL',
      );
    expect(restoringBoard({ status: 0x0b })).toBe('EINVAL');
    expect(restoringBoard({ status: 3, features: split })).toBe('EINVAL');
    expect(restoringBoard({ status: 3, configPending: 2 })).toBe('EINVAL');
    expect(restoringBoard({ configPending: 1 })).toBe('EINVAL');
    expect(restoringBoard({ ...running, configPending: 1 })).toBe('EINVAL');
    expect(restoringBoard({ foreign: 2 })).toBe('EINVAL');
    expect(restoringBoard({ ...running, interruptStatus: 4 })).toBe('EINVAL');
    expect(restoringBoard({ status: 0x0b, features: split, interruptStatus: 1 })).toBe('EINVAL');
  });

  it('are refused with features that the device does not know of', () => {
    expect(restoringBoard(running, device(split & ~1n))).toBe('EINVAL');
    expect(restoringBoard({ ...running, features: split | (1n << 63n) })).toBe('EINVAL');
    expect(restoringBoard({ ...running, features: 1n })).toBe('EINVAL');
  });

  it('are refused with queues that cannot be, and with those of another device', () => {
    const queue = (change: object, features = split) =>
      restoringBoard({ status: 0x0f, features, queues: [{ ...READY, ...change }, {}] });
    expect(queue({})).toBe('taken over');
    for (const size of [0, 3, 32, 0x1_0000]) expect(queue({ size }), `${size}`).toBe('EINVAL');
    expect(queue({ ready: 2 })).toBe('EINVAL');
    expect(queue({ ready: 0 })).toBe('EINVAL');
    expect(queue({ ready: 0, position: 0, broken: 1 })).toBe('EINVAL');
    expect(queue({ broken: 2 })).toBe('EINVAL');
    const [table, driverArea] = QUEUE_AREAS;
    for (const areas of [
      [1n, driverArea, table],
      [table + 8n, driverArea, table],
      [0n, driverArea, table],
      [table, driverArea, 1n << 63n],
    ])
      expect(queue({ areas }), String(areas)).toBe('EINVAL');
    // A packed queue has slots.
    for (const position of [15, 0x800f, 16, 0x8010, 0x7fff])
      expect(queue({ position }, boardOffer), `${position}`).toBe(
        (position & 0x7fff) < 16 ? 'taken over' : 'EINVAL',
      );
    expect(restoringBoard({ status: 3, queues: [READY, {}] })).toBe('EINVAL');
    expect(restoringBoard({ deviceId: 2 })).toBe('EINVAL');
    expect(restoringBoard({ queues: [{}] })).toBe('EINVAL');
    expect(restoringBoard({ queues: [{}, {}, {}] })).toBe('EINVAL');
    expect(restoringBoard({ queueCount: 0xffff_ffff })).toBe('EINVAL');
  });

  it('begin anew after a reset, whatever was restored', () => {
    const board = new Board();
    board.mmio.restore(mmioImage({ ...running, interruptStatus: 3, generation: 4 }, device(split)));
    board.set(0x70, 0);
    expect(hexOf(board.mmio.save())).toBe(hexOf(mmioImage({ generation: 4 }, device(0n))));
    board.start();
    expect(board.add(attachBytes(1, 8), 4)).toBe(true);
    board.publish();
    board.mmio.serve();
    expect(board.take()).toBe('answer 0: 06000000'); // NOENT
  });

  it('the device that was restored over has no hand in its queues any more', () => {
    const board = new Board({ device: OPTIONS });
    board.start();
    const idle = board.mmio.save();
    board.add(attachBytes(1, 8), 4);
    board.publish();
    board.set(0x70, 0);
    const stopped = board.mmio.save();
    for (const [image, served] of [
      [idle, true],
      [stopped, false],
    ] as const) {
      board.mmio.restore(image);
      expect(board.mmio.serve()).toBe(served);
    }
    // Nor does it interrupt: a change of the configuration waits for a driver.
    board.set(InterruptAck, 3);
    board.mmio.configChanged();
    expect(board.get(InterruptStatus)).toBe(0);
    board.device.restore(board.device.save());
    expect([board.device.serve(), board.device.arm()]).toEqual([false, true]);
  });

  it('wake whoever waits for an interrupt that stands, and say that a reset is due', () => {
    const board = new Board();
    const rung = board.interruptBell.value();
    board.mmio.restore(mmioImage(running, device(split)));
    expect([board.interruptBell.value(), board.mmio.fault]).toEqual([rung, undefined]);
    const broken = { ...running, status: 0x4f, interruptStatus: 2 };
    board.mmio.restore(mmioImage(broken, device(split)));
    expect(board.interruptBell.value()).not.toBe(rung);
    expect(board.mmio.fault).toContain('reset');
    board.set(0x70, 0);
    expect(board.mmio.fault).toBeUndefined();
  });
});
