/** Any sequence of register writes, queue contents and scribbling: nothing throws, and the window stays consistent. */

import { describe, expect, it } from 'vitest';
import { FakeDevice } from './kit/fake-device.ts';
import { R, RING_RESET, VERSION_1, WRITABLE } from './kit/register.ts';
import { RAM_AT, Rig, WINDOW_AT, layoutOf } from './kit/rig.ts';

/** A small generator of numbers (mulberry32), so that a seed replays a run. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const VALUES = [
  0, 1, 2, 3, 4, 7, 8, 0x0b, 0x0f, 0x10, 0x40, 0x4f, 0x80, 0x8f, 0xff, 0x100, 0x101, 0x8000, 0xffff,
  0x1_0000, 0x4000_0000, 0x4000_0400, 0x4000_0800, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0,
  0xffff_ffff,
] as const;

interface Run {
  readonly rig: Rig;
  readonly pick: (below: number) => number;
  /** What the selectors were set to last. */
  featureSelector: number;
  queueSelector: number;
}

function value(run: Run): number {
  const index = run.pick(2 * VALUES.length);
  return VALUES[index] ?? run.pick(0x1_0000) * 0x1_0001;
}

/** Keeps the run's own idea of the selectors, the standard's way: 0 after a reset, else what was written. */
function follow(run: Run, offset: number, width: number, written: number): void {
  if (width !== 4) return;
  if (offset === R.deviceFeaturesSel) run.featureSelector = written;
  if (offset === R.queueSel) run.queueSelector = written;
  if (offset === R.status && written === 0) run.featureSelector = run.queueSelector = 0;
}

function write(run: Run, offset: number, width: number, written: number): void {
  run.rig.port.write(offset, width, written);
  follow(run, offset, width, written);
}

/** One thing that a hostile driver, or a clumsy device, may do. */
function act(run: Run): void {
  const { rig, pick } = run;
  switch (pick(16)) {
    case 0:
      return write(run, pick(0x10000), pick(9), value(run));
    case 1:
      return write(run, R.config + pick(0x30), [1, 2, 4][pick(3)] ?? 1, value(run));
    case 2:
    case 3:
      return write(run, R.status, 4, [0x01, 0x03, 0x0b, 0x0f, rig.get(R.status) | 4][pick(5)] ?? 0);
    case 4: {
      rig.features([VERSION_1, VERSION_1 | RING_RESET, rig.device.offeredFeatures][pick(3)]);
      run.featureSelector = run.queueSelector = 0;
      return;
    }
    case 5:
    case 6: {
      const queue = pick(3);
      rig.program(queue, layoutOf(queue, { size: 1 << pick(6), set: pick(2) }));
      write(run, R.queueSel, 4, queue);
      if (pick(8) === 0) write(run, R.driverLow, 4, value(run));
      return write(run, R.queueReady, 4, 1);
    }
    case 7: {
      // Anything in the rings.
      rig.memory.setUint32(4 * pick(0x2000), value(run));
      rig.memory.setUint16(0x402 + 0x1000 * pick(2), pick(12));
      return;
    }
    case 8:
      rig.mmio.serve();
      return;
    case 9:
      rig.mmio.arm();
      rig.mmio.suppress();
      return;
    case 10:
      rig.device.port?.interrupt(pick(3));
      return;
    case 11:
      rig.device.config[8 + pick(8)] = pick(256);
      return rig.mmio.configChanged();
    case 12:
      if (pick(8) === 0) rig.device.port?.needsReset('a fuzzer says so');
      if (pick(8) === 0) rig.mmio.systemReset();
      else return;
      run.featureSelector = run.queueSelector = 0;
      return;
    default:
      return write(run, WRITABLE[pick(WRITABLE.length)] ?? 0, 4, value(run));
  }
}

/** Everything that must hold of the window at any time; undefined if it does. */
function wrong(run: Run): string | undefined {
  const { rig } = run;
  const status = rig.get(R.status);
  const shown: Record<number, number> = {
    [R.magic]: 0x7472_6976,
    [R.version]: 2,
    [R.deviceId]: 23,
    [R.vendorId]: 0x4d4f_4976,
    [R.deviceFeatures]: [0x3000_0057, 0x101][run.featureSelector] ?? 0,
    [R.queueSizeMax]: [16, 8][run.queueSelector] ?? 0,
    [R.shmLenLow]: 0xffff_ffff,
    [R.shmLenHigh]: 0xffff_ffff,
    [R.shmBaseLow]: 0xffff_ffff,
    [R.shmBaseHigh]: 0xffff_ffff,
  };
  for (let offset = 0; offset < R.config; offset += 4) {
    if ([R.status, R.queueReady, R.interruptStatus, R.generation].some((own) => own === offset))
      continue;
    if (rig.get(offset) !== (shown[offset] ?? 0)) return `register ${offset.toString(16)}`;
  }
  if ((status & ~0xcf) !== 0) return 'an unknown status bit';
  if ((status & 2) !== 0 && (status & 1) === 0) return 'DRIVER without ACKNOWLEDGE';
  if ((status & 8) !== 0 && (status & 2) === 0) return 'FEATURES_OK without DRIVER';
  if ((status & 4) !== 0 && (status & 8) === 0) return 'DRIVER_OK without FEATURES_OK';
  const ready = rig.get(R.queueReady);
  if (ready > 1 || (ready === 1 && (status & 8) === 0)) return 'a ready queue without features';
  if (ready === 1 && run.queueSelector > 1) return 'an absent queue is ready';
  const interrupts = rig.get(R.interruptStatus);
  if ((interrupts & ~3) !== 0) return 'an unknown interrupt';
  if (interrupts !== 0 && (status & 4) === 0) return 'an interrupt before DRIVER_OK';
  if ((status & 0x44) === 0x44 && (rig.mmio.fault ?? '') === '') return 'no reason for the fault';
  const config = rig.device.config;
  for (let at = 0; at < 40; at += 1) {
    if (rig.port.read(R.config + at, 1) !== config[at]) return `configuration byte ${at}`;
  }
  return undefined;
}

function newRun(seed: number): Run {
  return {
    rig: new Rig({ device: new FakeDevice() }),
    pick: random(seed),
    featureSelector: 0,
    queueSelector: 0,
  };
}

describe('random register writes', () => {
  for (const seed of [1, 2, 3, 4]) {
    it(`leave a consistent window, seed ${seed}`, () => {
      const run = newRun(seed);
      const reached = new Set<number>();
      for (let step = 0; step < 25_000; step += 1) {
        act(run);
        const problem = wrong(run);
        if (problem !== undefined) expect.unreachable(`seed ${seed}, step ${step}: ${problem}`);
        reached.add(run.rig.get(R.status));
        if (run.rig.device.log.length > 1000) run.rig.device.log.length = 0;
      }
      // The walk goes everywhere; otherwise it shows nothing.
      for (const status of [0x00, 0x01, 0x03, 0x0b, 0x0f, 0x4b, 0x4f, 0x8f])
        expect(reached, status.toString(16)).toContain(status);
    });
  }

  it('a driver that scribbles over the window changes nothing for the device', () => {
    const clean = newRun(5);
    const dirty = newRun(5);
    const scribble = random(99);
    const window = new Uint8Array(dirty.rig.buffer, WINDOW_AT, 0x200);
    for (let step = 0; step < 5000; step += 1) {
      // The same steps on both sides: one that looks at the window would differ.
      const offset = WRITABLE[clean.pick(WRITABLE.length)] ?? 0;
      const written = value(clean);
      const legal = clean.pick(4);
      for (const { rig } of [clean, dirty]) {
        if (legal === 0) rig.features();
        else if (legal === 1) rig.set(R.status, 0x0f);
        else rig.set(offset, written);
        rig.mmio.serve();
      }
      for (let count = 0; count < 8; count += 1) window[scribble(0x200)] = scribble(256);
    }
    expect(dirty.rig.device.log).toEqual(clean.rig.device.log);
    expect(clean.rig.device.log).toContain('start');
    const ram = (run: Run): Uint8Array => new Uint8Array(run.rig.buffer, RAM_AT).slice();
    expect(ram(dirty)).toEqual(ram(clean));
  });
});
