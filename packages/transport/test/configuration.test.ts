/** The configuration space: section "Device Configuration Space", device side, and the driver's way to read it. */

import { describe, expect, it } from 'vitest';
import { FakeDevice } from './kit/fake-device.ts';
import { R, VERSION_1 } from './kit/register.ts';
import { Rig } from './kit/rig.ts';

/** The 40 bytes of the standard's example, from offset 0x100 of the window. */
const EXAMPLE = `
  00f0ffffffffffff 0000000000000000
  ffffffffffffffff 00000000ffffffff
  4000000001000000`.replaceAll(/\s/g, '');

function configHex(rig: Rig): string {
  let hex = '';
  for (let at = 0; at < 40; at += 1)
    hex += rig.port
      .read(R.config + at, 1)
      .toString(16)
      .padStart(2, '0');
  return hex;
}

describe('reads', () => {
  it('basic.dev.config.read-before-features-ok: the same at every status', () => {
    const rig = new Rig();
    for (const status of [0x00, 0x01, 0x03]) {
      rig.set(R.status, status);
      expect(configHex(rig)).toBe(EXAMPLE);
    }
    rig.start();
    expect(configHex(rig)).toBe(EXAMPLE);
  });

  it('answers 8, 16 and 32 bits at their natural alignment, and 0 elsewhere (11.13)', () => {
    const rig = new Rig();
    expect(rig.port.read(0x100, 4)).toBe(0xffff_f000);
    expect(rig.port.read(0x100, 2)).toBe(0xf000);
    expect(rig.port.read(0x101, 1)).toBe(0xf0);
    expect(rig.port.read(0x11c, 4)).toBe(0xffff_ffff);
    for (const [offset, width] of [
      [0x101, 2],
      [0x102, 4],
      [0x100, 8],
      [0x100, 3],
      [0x100, 0],
      [0x1ff, 4],
      [0x200, 1],
      [0x200, 4],
      [-4, 4],
    ] as const)
      expect(rig.port.read(offset, width), `${offset} ${width}`).toBe(0);
  });

  it('basic.dev.config.read-before-features-ok: reads 0 behind the last field', () => {
    const rig = new Rig();
    for (let at = 0x128; at < 0x200; at += 1) expect(rig.port.read(at, 1)).toBe(0);
  });

  it('takes any number of bytes that fit the window', () => {
    const odd = new FakeDevice();
    odd.config = new Uint8Array(41).fill(0x5a);
    const rig = new Rig({ device: odd });
    expect(rig.port.read(0x128, 1)).toBe(0x5a);
    expect(rig.port.read(0x128, 4)).toBe(0x5a);
    const large = new FakeDevice();
    large.config = new Uint8Array(257);
    expect(() => new Rig({ device: large })).toThrow('no room');
    expect(() => new Rig({ device: large, windowBytes: 0x400 })).not.toThrow();
  });
});

describe('writes', () => {
  it('the negotiated byte takes effect before the write returns (7.9), at one width only (7.7)', () => {
    const rig = new Rig();
    rig.features(rig.device.offeredFeatures);
    rig.port.write(0x124, 4, 0);
    rig.port.write(0x124, 2, 0);
    expect(rig.port.read(0x124, 4)).toBe(1);
    rig.port.write(0x124, 1, 0);
    expect(rig.device.config[0x24]).toBe(0);
    expect(rig.port.read(0x124, 1)).toBe(0);
  });

  it('without the feature, or with another value, they change nothing (7.4, 7.5)', () => {
    const rig = new Rig();
    rig.port.write(0x124, 1, 0);
    rig.start(VERSION_1);
    rig.port.write(0x124, 1, 0);
    expect(configHex(rig)).toBe(EXAMPLE);
    rig.start(rig.device.offeredFeatures);
    rig.port.write(0x124, 1, 2);
    expect(configHex(rig)).toBe(EXAMPLE);
  });

  it('only the low bits of a value count', () => {
    const rig = new Rig();
    rig.start(rig.device.offeredFeatures);
    rig.port.write(0x124, 1, 0x1234_5600);
    expect(rig.device.log.at(-1)).toBe('writeConfig 36 1 0');
    rig.port.write(0x120, 2, -1);
    expect(rig.device.log.at(-1)).toBe('writeConfig 32 2 65535');
    rig.port.write(0x120, 4, -1);
    expect(rig.device.log.at(-1)).toBe('writeConfig 32 4 4294967295');
  });

  it('to other fields, outside or across the end never reach the bytes (7.6, 11.13)', () => {
    const rig = new Rig();
    rig.start(rig.device.offeredFeatures);
    const generation = rig.get(R.generation);
    const calls = rig.device.log.length;
    for (const [offset, width] of [
      [0x128, 1],
      [0x128, 4],
      [0x126, 4],
      [0x125, 2],
      [0x101, 4],
      [0x124, 3],
      [0x124, 0],
      [0xffff, 1],
    ] as const)
      rig.port.write(offset, width, 0xffff_ffff);
    expect(rig.device.log).toHaveLength(calls);
    for (const offset of [0x100, 0x108, 0x110, 0x118, 0x120]) rig.port.write(offset, 4, 0x1234);
    expect(configHex(rig)).toBe(EXAMPLE);
    expect(rig.get(R.generation)).toBe(generation);
  });

  it('(7.8) the generation stays the same after the driver’s own write', () => {
    const rig = new Rig();
    rig.start(rig.device.offeredFeatures);
    const generation = rig.get(R.generation);
    rig.port.write(0x124, 1, 0);
    expect(rig.get(R.generation)).toBe(generation);
  });
});

describe('changes by the device', () => {
  it('mmio.dev.reg.config-generation: differs after a change, stays without one', () => {
    const rig = new Rig();
    rig.start();
    const before = rig.get(R.generation);
    expect(rig.get(R.generation)).toBe(before);
    rig.device.config[8] = 0x11;
    rig.mmio.configChanged();
    expect(rig.get(R.generation)).not.toBe(before);
    expect(rig.port.read(0x108, 1)).toBe(0x11);
    const after = rig.get(R.generation);
    rig.mmio.configChanged();
    expect(rig.get(R.generation)).toBe(after);
  });

  it('fact.basic.config-notify: interrupts the driver', () => {
    const rig = new Rig();
    rig.start();
    rig.device.config[8] = 0x11;
    rig.device.port?.configChanged();
    expect(rig.get(R.interruptStatus)).toBe(2);
    expect(rig.port.read(0x108, 1)).toBe(0x11);
  });

  it('during initialisation are told at DRIVER_OK, and not after a reset', () => {
    const rig = new Rig();
    rig.features();
    rig.device.config[8] = 0x11;
    rig.mmio.configChanged();
    expect(rig.get(R.interruptStatus)).toBe(0);
    expect(rig.port.read(0x108, 1)).toBe(0x11);
    rig.set(R.status, 0x0f);
    expect(rig.get(R.interruptStatus)).toBe(2);

    rig.features();
    rig.mmio.configChanged();
    rig.set(R.status, 0);
    rig.mmio.configChanged();
    expect(rig.start()).toBe(0x0f);
    expect(rig.get(R.interruptStatus)).toBe(0);
  });

  it('bump the generation before and after the bytes, whole words at a time', () => {
    // Look at the window after every store of the change.
    const rig = new Rig();
    const store = rig.window.store.bind(rig.window);
    const seen: string[] = [];
    rig.window.store = (offset, value) => {
      store(offset, value);
      seen.push(`${rig.get(R.generation)}:${rig.port.read(0x108, 4)},${rig.port.read(0x10c, 4)}`);
    };
    rig.device.config.fill(0xff, 8, 16);
    rig.mmio.configChanged();
    expect(seen[0]).toBe('1:0,0');
    expect(seen).toContain('1:4294967295,0');
    expect(seen.at(-2)).toBe('1:4294967295,4294967295');
    expect(seen.at(-1)).toBe('2:4294967295,4294967295');
  });
});
