/** The driver's side of virtio-mmio, against registers that a test bends. */

import { guestPhysical } from '@viommu/common';
import type { QueueLayout } from '@viommu/ring';
import type { MmioTransport } from '@viommu/transport';
import { describe, expect, it } from 'vitest';
import {
  EVENT_IDX,
  NOTIFICATION_DATA,
  R,
  READABLE,
  RING_RESET,
  VERSION_1,
  WRITABLE,
} from './kit/register.ts';
import { ScriptedRegisters } from './kit/scripted-registers.ts';

const LAYOUT: QueueLayout = {
  size: 8,
  descriptorArea: guestPhysical(0x1_4000_0000n),
  driverArea: guestPhysical(0x4000_1000n),
  deviceArea: guestPhysical(0xffff_fff0_4000_2000n),
};

/** The code of the IommuError that `call` throws. */
function codeOf(call: () => unknown): string | undefined {
  try {
    call();
  } catch (error) {
    return (error as { code?: string }).code; // Undefined for any other kind of error.
  }
  return undefined;
}

/** Everything a driver does in its life. */
function wholeLife(registers: ScriptedRegisters): MmioTransport {
  registers.offered |= RING_RESET;
  const transport = registers.transport();
  transport.negotiate({ wanted: RING_RESET, required: 0n });
  transport.readConfig64(0);
  transport.enableQueue(0, LAYOUT);
  transport.enableQueue(1, { ...LAYOUT, size: 4 });
  transport.driverOk();
  transport.notify(0, 0);
  registers.interruptStatus = 3;
  transport.acknowledgeInterrupts();
  transport.writeConfig(0x24, 1, 0);
  transport.resetQueue(1);
  transport.enableQueue(1, LAYOUT);
  transport.disableQueue(0);
  transport.fail();
  transport.reset();
  return transport;
}

describe('identification', () => {
  it('mmio.drv.init.check-magic-version: in this order, before any write', () => {
    const registers = new ScriptedRegisters();
    expect(registers.transport().deviceId).toBe(23);
    expect(registers.lines()).toEqual(['r 000', 'r 004', 'r 008']);
  });

  it('mmio.drv.reg.bad-magic-ignored', () => {
    const registers = new ScriptedRegisters();
    registers.magic = 0x7472_6977;
    expect(codeOf(() => registers.transport())).toBe('ENODEV');
    expect(registers.lines()).toEqual(['r 000', 'r 004']);
  });

  it('mmio.drv.reg.bad-version-ignored', () => {
    for (const version of [0, 1, 3]) {
      const registers = new ScriptedRegisters();
      registers.version = version;
      expect(codeOf(() => registers.transport())).toBe('ENODEV');
      expect(registers.lines()).toEqual(['r 000', 'r 004']);
    }
  });

  it('mmio.drv.init.no-access-device-id-zero: no error, no access', () => {
    const registers = new ScriptedRegisters();
    registers.deviceId = 0;
    const transport = registers.transport();
    expect(transport.deviceId).toBe(0);
    // mmio.drv.init.abort-device-id-zero: a driver that insists gets nowhere.
    expect(codeOf(() => transport.negotiate({ wanted: 0n, required: 0n }))).toBe('ENODEV');
    expect(registers.lines()).toEqual(['r 000', 'r 004', 'r 008']);
  });
});

describe('initialisation', () => {
  it('basic.drv.init.sequence: reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK, re-read', () => {
    const registers = new ScriptedRegisters();
    registers.offered = VERSION_1 | EVENT_IDX | 0x14n;
    const transport = registers.transport();
    expect(transport.negotiate({ wanted: EVENT_IDX | 0x17n, required: 4n })).toBe(
      VERSION_1 | EVENT_IDX | 0x14n,
    );
    expect(registers.lines(3)).toEqual([
      'w 070=0',
      'r 070',
      'w 070=1',
      'w 070=3',
      'w 014=0',
      'r 010',
      'w 014=1',
      'r 010',
      'w 024=0',
      'w 020=20000014',
      'w 024=1',
      'w 020=1',
      'w 070=b',
      'r 070',
    ]);
    expect(registers.accepted).toBe(VERSION_1 | EVENT_IDX | 0x14n);
  });

  it('basic.drv.status.stepwise: 0, 1, 3, b, f', () => {
    const registers = new ScriptedRegisters();
    const transport = registers.transport();
    transport.negotiate({ wanted: 0n, required: 0n });
    transport.driverOk();
    expect(registers.written(R.status)).toEqual([0, 1, 3, 0x0b, 0x0f]);
  });

  it('basic.drv.status.no-clear-bit: even if the device shows other bits', () => {
    const registers = new ScriptedRegisters();
    registers.onRead = (offset) => (offset === R.status ? registers.status & 0x0e : undefined);
    wholeLife(registers);
    const written = registers.written(R.status);
    const cleared = written.filter(
      (status, index) => status !== 0 && ((written[index - 1] ?? 0) & ~status) !== 0,
    );
    expect(written.length).toBeGreaterThan(4);
    expect(cleared).toEqual([]);
  });

  it('basic.drv.features.subset-of-offer: each bit in turn', () => {
    for (let bit = 0n; bit < 64n; bit += 1n) {
      const registers = new ScriptedRegisters();
      registers.offered = VERSION_1 | (1n << bit);
      const everything = (1n << 64n) - 1n;
      registers.transport().negotiate({ wanted: everything, required: 0n });
      // basic.drv.reserved.sr-iov-not-without-cap: bits 37, 39 and 41 belong to PCI.
      const foreign = [37n, 39n, 41n].includes(bit);
      expect(registers.accepted).toBe(foreign ? VERSION_1 : registers.offered);
    }
  });

  it('basic.drv.reserved.sr-iov-not-without-cap: nor can a driver insist on what MMIO does not have', () => {
    for (const bit of [37n, 39n, 41n]) {
      const registers = new ScriptedRegisters();
      registers.offered |= 1n << bit;
      const transport = registers.transport();
      expect(codeOf(() => transport.negotiate({ wanted: 0n, required: 1n << bit }))).toBe('ENODEV');
    }
  });

  it('basic.drv.init.stop-on-error: no queue and no DRIVER_OK after a refusal', () => {
    const registers = new ScriptedRegisters();
    registers.onRead = (offset) => (offset === R.status ? registers.status & 0x83 : undefined);
    const transport = registers.transport();
    const from = registers.log.length;
    expect(codeOf(() => transport.negotiate({ wanted: 0n, required: 0n }))).toBe('ENODEV');
    expect(registers.lines(from).slice(-3)).toEqual(['w 070=b', 'r 070', 'w 070=8b']);
    transport.notify(0, 0);
    expect(registers.rung).toEqual([]);
  });

  it('basic.drv.features.not-accept-unknown: nor fail because of it', () => {
    const registers = new ScriptedRegisters();
    registers.offered = (1n << 64n) - 1n;
    const transport = registers.transport();
    expect(transport.negotiate({ wanted: 4n, required: 0n })).toBe(VERSION_1 | 4n);
    expect(registers.accepted).toBe(VERSION_1 | 4n);
    transport.driverOk();
    expect(registers.status).toBe(0x0f);
  });

  it('basic.drv.reserved.version-1-accept: always among the bits', () => {
    const registers = new ScriptedRegisters();
    expect(registers.transport().negotiate({ wanted: 0n, required: 0n })).toBe(VERSION_1);
  });

  it('basic.drv.features.fail-without-required: FAILED, and nothing else', () => {
    for (const offered of [0n, 4n, VERSION_1, EVENT_IDX | VERSION_1]) {
      const registers = new ScriptedRegisters();
      registers.offered = offered;
      const transport = registers.transport();
      expect(codeOf(() => transport.negotiate({ wanted: 0n, required: 4n }))).toBe('ENODEV');
      expect(registers.written(R.status)).toEqual([0, 1, 3, 0x83]);
      expect(registers.written(R.driverFeatures)).toEqual([]);
      expect(registers.written(R.queueReady)).toEqual([]);
    }
  });

  it('basic.drv.init.failed-on-error: when FEATURES_OK does not stick, then a reset', () => {
    const registers = new ScriptedRegisters();
    registers.onRead = (offset) =>
      offset === R.status ? registers.status & ~0x08 & 0xff : undefined;
    const transport = registers.transport();
    expect(codeOf(() => transport.negotiate({ wanted: 0n, required: 0n }))).toBe('ENODEV');
    expect(registers.written(R.status).at(-1)).toBe(0x8b);
    registers.onRead = () => undefined;
    const from = registers.log.length;
    transport.negotiate({ wanted: 0n, required: 0n });
    expect(registers.lines(from)[0]).toBe('w 070=0');
  });

  it('basic.drv.init.failed-on-error: when the device does not start', () => {
    for (const shown of [0x0b, 0x4f]) {
      const registers = new ScriptedRegisters();
      const transport = registers.transport();
      transport.negotiate({ wanted: 0n, required: 0n });
      registers.onRead = (offset) => (offset === R.status ? shown : undefined);
      expect(codeOf(() => transport.driverOk())).toBe('ENODEV');
      expect(registers.written(R.status).at(-1)).toBe(0x8f);
      transport.notify(0, 0);
      expect(registers.rung).toEqual([]);
    }
  });

  it('basic.drv.reset.wait-status-zero: polls, within a bound', () => {
    const registers = new ScriptedRegisters();
    const transport = registers.transport();
    let delay = 50;
    registers.onRead = (offset) => {
      if (offset !== R.status || delay === 0) return undefined;
      delay -= 1;
      return 0x0f;
    };
    transport.reset();
    expect(delay).toBe(0);
    expect(registers.lines(3)).toEqual(['w 070=0', ...Array.from({ length: 51 }, () => 'r 070')]);

    registers.onRead = (offset) => (offset === R.status ? 0x40 : undefined);
    expect(codeOf(() => transport.reset())).toBe('ETIMEDOUT');
  });

  it('mmio.drv.reg.features-sel-before-read: and before writes, after each reset', () => {
    const registers = new ScriptedRegisters();
    const transport = registers.transport();
    for (let round = 0; round < 2; round += 1) {
      const from = registers.log.length;
      transport.negotiate({ wanted: 0n, required: 0n });
      const lines = registers.lines(from);
      for (const [index, line] of lines.entries()) {
        if (line === 'r 010') expect(lines[index - 1]).toMatch(/^w 014=/);
        if (line.startsWith('w 020=')) expect(lines[index - 1]).toMatch(/^w 024=/);
      }
      expect(lines).toContain('r 010');
    }
  });

  it('basic.drv.init.no-new-features-late: none after FEATURES_OK', () => {
    const registers = new ScriptedRegisters();
    wholeLife(registers);
    const lines = registers.lines();
    expect(lines.findLastIndex((line) => line.startsWith('w 020='))).toBeLessThan(
      lines.indexOf('w 070=b'),
    );
  });
});

describe('registers', () => {
  it('mmio.drv.reg.known-offsets-only: 32 bits wide, and no shared memory', () => {
    const registers = new ScriptedRegisters();
    wholeLife(registers);
    for (const { kind, offset, width } of registers.log) {
      if (offset >= R.config) continue;
      expect(width).toBe(4);
      expect(kind === 'read' ? READABLE : WRITABLE).toContain(offset);
      expect(offset < 0xac || offset > 0xbc).toBe(true);
    }
  });

  it('mmio.drv.reg.no-write-read-only: nor the other way round', () => {
    const registers = new ScriptedRegisters();
    wholeLife(registers);
    const offsets = (wanted: string): number[] =>
      registers.log
        .filter(({ kind, offset }) => kind === wanted && offset < R.config)
        .map(({ offset }) => offset);
    const readOnly = READABLE.filter((offset) => !WRITABLE.includes(offset));
    const writeOnly = WRITABLE.filter((offset) => !READABLE.includes(offset));
    expect(offsets('write').filter((offset) => readOnly.includes(offset))).toEqual([]);
    expect(offsets('read').filter((offset) => writeOnly.includes(offset))).toEqual([]);
  });

  it('mmio.drv.reg.width-config: natural widths, 64 bits as two halves', () => {
    const registers = new ScriptedRegisters();
    registers.config.setBigUint64(0x10, 0x0123_4567_89ab_cdefn, true);
    registers.config.setUint8(0x24, 1);
    const transport = registers.transport();
    expect(transport.readConfig64(0x10)).toBe(0x0123_4567_89ab_cdefn);
    expect(transport.readConfig(0x24, 1)).toBe(1);
    transport.writeConfig(0x24, 1, 0);
    const accesses = registers.log.filter(({ offset }) => offset >= R.config);
    expect(accesses.map(({ kind, offset, width }) => [kind, offset, width])).toEqual([
      ['read', 0x114, 4],
      ['read', 0x110, 4],
      ['read', 0x124, 1],
      ['write', 0x124, 1],
    ]);
  });
});

describe('configuration', () => {
  it('basic.drv.config.generation-loop: reads again when the generation moved', () => {
    const registers = new ScriptedRegisters();
    const transport = registers.transport();
    let changes = 2;
    registers.onRead = (offset) => {
      if (offset === 0x110 && changes > 0) {
        changes -= 1;
        registers.generation += 1;
        registers.config.setUint32(0x10, 100 + registers.generation, true);
        registers.config.setUint32(0x14, 200 + registers.generation, true);
      }
      return undefined;
    };
    const from = registers.log.length;
    const value = transport.readConfig64(0x10);
    expect(value).toBe((202n << 32n) | 102n);
    expect(registers.lines(from).filter((line) => line.startsWith('r'))).toEqual([
      'r 0fc',
      'r 114',
      'r 110',
      'r 0fc',
      'r 0fc',
      'r 114',
      'r 110',
      'r 0fc',
      'r 0fc',
      'r 114',
      'r 110',
      'r 0fc',
    ]);
  });

  it('basic.drv.config.no-atomic-wide-read: never mixes the halves of two values', () => {
    // The device changes a field between any two accesses of the driver, one store at a time as our device does it:
    // generation, low half, high half, generation. A write lets the change under way finish.
    for (let start = 0; start < 4; start += 1) {
      for (let pace = 1; pace <= 3; pace += 1) {
        const registers = new ScriptedRegisters();
        const transport = registers.transport();
        let step = 0;
        let changes = 6;
        const advance = (): void => {
          if (changes === 0) return;
          const value = Math.floor(step / 4) + 1;
          if (step % 4 === 1) registers.config.setUint32(0x10, value, true);
          else if (step % 4 === 2) registers.config.setUint32(0x14, value, true);
          else registers.generation += 1;
          step += 1;
          if (step % 4 === 0) changes -= 1;
        };
        for (let count = 0; count < start; count += 1) advance();
        registers.onRead = () => {
          for (let count = 0; count < pace; count += 1) advance();
          return undefined;
        };
        registers.onWrite = () => {
          while (step % 4 !== 0) advance();
          return false;
        };
        const value = transport.readConfig64(0x10);
        expect(value >> 32n).toBe(value & 0xffff_ffffn);
      }
    }
  });

  it('gives up on a device that never stops changing', () => {
    const registers = new ScriptedRegisters();
    const transport = registers.transport();
    registers.onRead = (offset) => {
      if (offset === R.generation) registers.generation += 1;
      return undefined;
    };
    expect(codeOf(() => transport.readConfig64(0))).toBe('EIO');
  });

  it('passes any value through', () => {
    const registers = new ScriptedRegisters();
    const transport = registers.transport();
    expect(transport.readConfigStable(() => ({ mask: transport.readConfig(0, 4) }))).toEqual({
      mask: 0,
    });
  });
});

describe('queues', () => {
  it('programs size and all halves of the addresses before QueueReady', () => {
    const registers = new ScriptedRegisters();
    const transport = registers.transport();
    const from = registers.log.length;
    transport.enableQueue(1, LAYOUT);
    expect(registers.lines(from)).toEqual([
      'w 030=1',
      'r 034',
      'r 044',
      'w 038=8',
      'w 080=40000000',
      'w 084=1',
      'w 090=40001000',
      'w 094=0',
      'w 0a0=40002000',
      'w 0a4=fffffff0',
      'w 044=1',
      'r 044',
    ]);
  });

  it('mmio.drv.reg.queue-size-limit: never more than QueueSizeMax', () => {
    for (const max of [1, 2, 8, 256]) {
      const registers = new ScriptedRegisters();
      registers.queueSizeMax = max;
      const transport = registers.transport();
      expect(transport.queueSizeMax(0)).toBe(max);
      expect(codeOf(() => transport.enableQueue(0, { ...LAYOUT, size: 2 * max }))).toBe('EINVAL');
      transport.enableQueue(0, { ...LAYOUT, size: max });
      expect(registers.written(R.queueSize)).toEqual([max]);
    }
  });

  it('mmio.drv.reg.no-queue-access-when-ready: leaves an enabled queue alone', () => {
    const registers = new ScriptedRegisters();
    const transport = registers.transport();
    transport.enableQueue(0, LAYOUT);
    const from = registers.log.length;
    expect(codeOf(() => transport.enableQueue(0, LAYOUT))).toBe('EBUSY');
    expect(registers.lines(from)).toEqual(['w 030=0', 'r 034', 'r 044']);
  });

  it('reports a queue that is not there, and one that the device refuses', () => {
    const registers = new ScriptedRegisters();
    const transport = registers.transport();
    registers.queueSizeMax = 0;
    expect(codeOf(() => transport.enableQueue(7, LAYOUT))).toBe('ENODEV');
    registers.queueSizeMax = 8;
    registers.onWrite = (offset) => offset === R.queueReady;
    expect(codeOf(() => transport.enableQueue(0, LAYOUT))).toBe('EIO');
  });

  it('mmio.drv.reg.stop-writes-zero: to QueueReady of that queue', () => {
    const registers = new ScriptedRegisters();
    const transport = registers.transport();
    transport.enableQueue(1, LAYOUT);
    const from = registers.log.length;
    transport.disableQueue(1);
    expect(registers.lines(from).slice(0, 2)).toEqual(['w 030=1', 'w 044=0']);
  });

  it('mmio.drv.reg.stop-reads-back: polls, within a bound', () => {
    const registers = new ScriptedRegisters();
    const transport = registers.transport();
    transport.enableQueue(0, LAYOUT);
    const from = registers.log.length;
    let delay = 3;
    registers.onRead = (offset) => {
      if (offset !== R.queueReady || delay === 0) return undefined;
      delay -= 1;
      return 1;
    };
    transport.disableQueue(0);
    expect(registers.lines(from)).toEqual([
      'w 030=0',
      'w 044=0',
      'r 044',
      'r 044',
      'r 044',
      'r 044',
    ]);
    registers.onRead = (offset) => (offset === R.queueReady ? 1 : undefined);
    expect(codeOf(() => transport.disableQueue(0))).toBe('ETIMEDOUT');
  });

  it('basic.drv.queue-reset.verify: waits for QueueReset 0', () => {
    const registers = new ScriptedRegisters();
    registers.offered |= RING_RESET;
    const transport = registers.transport();
    transport.negotiate({ wanted: RING_RESET, required: 0n });
    transport.enableQueue(0, LAYOUT);
    const from = registers.log.length;
    let delay = 3;
    registers.onRead = (offset) => {
      if (offset !== R.queueReset || delay === 0) return undefined;
      delay -= 1;
      return 1;
    };
    transport.resetQueue(0);
    expect(registers.lines(from)).toEqual([
      'w 030=0',
      'w 0c0=1',
      'r 0c0',
      'r 0c0',
      'r 0c0',
      'r 0c0',
      'r 044',
    ]);
    registers.onRead = (offset) => (offset === R.queueReset ? 1 : undefined);
    expect(codeOf(() => transport.resetQueue(0))).toBe('ETIMEDOUT');
  });

  it('basic.drv.queue-reset.reenable-like-init: size and addresses once more', () => {
    const registers = new ScriptedRegisters();
    registers.offered |= RING_RESET;
    const transport = registers.transport();
    transport.negotiate({ wanted: RING_RESET, required: 0n });
    transport.enableQueue(0, LAYOUT);
    transport.resetQueue(0);
    const from = registers.log.length;
    transport.enableQueue(0, { ...LAYOUT, size: 4, driverArea: guestPhysical(0x5000n) });
    expect(registers.lines(from)).toContain('w 038=4');
    expect(registers.lines(from)).toContain('w 090=5000');
    expect(registers.lines(from).slice(-2)).toEqual(['w 044=1', 'r 044']);
  });

  it('a single queue is not reset without RING_RESET', () => {
    const registers = new ScriptedRegisters();
    registers.offered |= RING_RESET;
    const transport = registers.transport();
    transport.negotiate({ wanted: 0n, required: 0n });
    const from = registers.log.length;
    expect(codeOf(() => transport.resetQueue(0))).toBe('ENOSYS');
    expect(registers.lines(from)).toEqual([]);
  });
});

describe('notifications', () => {
  it('basic.drv.init.no-notify-before-driver-ok: neither before nor after a reset', () => {
    const registers = new ScriptedRegisters();
    const transport = registers.transport();
    transport.notify(0, 0);
    transport.negotiate({ wanted: 0n, required: 0n });
    transport.notify(0, 0);
    expect(registers.rung).toEqual([]);
    transport.driverOk();
    transport.notify(0, 0);
    transport.notify(1, 0);
    transport.reset();
    transport.notify(0, 0);
    expect(registers.rung).toEqual([
      [0, 0],
      [1, 1],
    ]);
    expect(transport.notifications).toBe(2);
  });

  it('carry the queue’s index alone without NOTIFICATION_DATA', () => {
    const registers = new ScriptedRegisters();
    registers.offered |= NOTIFICATION_DATA;
    const transport = registers.transport();
    transport.negotiate({ wanted: 0n, required: 0n });
    transport.driverOk();
    transport.notify(0, 0x8005);
    transport.notify(1, 0xffff);
    expect(registers.rung).toEqual([
      [0, 0],
      [1, 1],
    ]);
    expect(registers.written(R.queueNotify)).toEqual([]);
  });

  it('carry the index, and the position in the upper half, with NOTIFICATION_DATA', () => {
    const registers = new ScriptedRegisters();
    registers.offered |= NOTIFICATION_DATA;
    const transport = registers.transport();
    transport.negotiate({ wanted: NOTIFICATION_DATA, required: 0n });
    transport.driverOk();
    // Slot 5 of a lap with wrap counter 1: the standard's example. On a split ring that is available index 0x8005.
    transport.notify(0, 0x8005);
    transport.notify(1, 0x7fff);
    transport.notify(1, 0xffff);
    transport.notify(0, 0);
    expect(registers.rung).toEqual([
      [0, 0x8005_0000],
      [1, 0x7fff_0001],
      [1, 0xffff_0001],
      [0, 0],
    ]);
    // Negotiated anew, without it.
    transport.negotiate({ wanted: 0n, required: 0n });
    transport.driverOk();
    transport.notify(1, 0x8005);
    expect(registers.rung.at(-1)).toEqual([1, 1]);
  });

  it('mmio.drv.irq.read-status: and acknowledges the bits that were read', () => {
    for (const events of [1, 2, 3]) {
      const registers = new ScriptedRegisters();
      const transport = registers.transport();
      registers.interruptStatus = events;
      const from = registers.log.length;
      expect(transport.acknowledgeInterrupts()).toBe(events);
      expect(registers.lines(from)).toEqual(['r 060', `w 064=${events}`]);
      expect(registers.interruptStatus).toBe(0);
      // A change of the configuration is looked at next, so the device has to have acted.
      expect(registers.posts).toEqual(events === 1 ? [[R.interruptAck, 1]] : []);
    }
  });

  it('mmio.drv.reg.interrupt-undefined-ignored: and not acknowledged', () => {
    const registers = new ScriptedRegisters();
    const transport = registers.transport();
    registers.interruptStatus = 0xffff_fffd;
    expect(transport.acknowledgeInterrupts()).toBe(1);
    registers.interruptStatus = 0xffff_fffc;
    expect(transport.acknowledgeInterrupts()).toBe(0);
    expect(registers.written(R.interruptAck)).toEqual([1]);
  });
});
