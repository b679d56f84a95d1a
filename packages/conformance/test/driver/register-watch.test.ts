/** What the watcher at the registers sees: every rule broken once. */

import { MmioRegister as R } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { Ledger } from '../../src/driver/ledger.ts';
import type { RegisterScript } from '../../src/driver/register-script.ts';
import { ScriptedRegisters } from '../../src/driver/registers.ts';
import { USUAL_FEATURES } from '../../src/driver/register-table.ts';

type Step = readonly [way: 'r' | 'w', offset: number, value?: number, width?: number];

const IDENTIFY: readonly Step[] = [
  ['r', R.MagicValue],
  ['r', R.Version],
  ['r', R.DeviceID],
];
const WORDS: readonly Step[] = [
  ['w', R.DeviceFeaturesSel, 0],
  ['r', R.DeviceFeatures],
  ['w', R.DriverFeaturesSel, 0],
  ['w', R.DriverFeatures, 0x77],
  ['w', R.DriverFeaturesSel, 1],
  ['w', R.DriverFeatures, 1],
];
const NEGOTIATE: readonly Step[] = [
  ...IDENTIFY,
  ['w', R.Status, 0],
  ['w', R.Status, 1],
  ['w', R.Status, 3],
  ...WORDS,
  ['w', R.Status, 11],
];
const RUN: readonly Step[] = [...NEGOTIATE, ['w', R.Status, 15]];

function broken(steps: readonly Step[], script: RegisterScript = {}): string[] {
  const ledger = new Ledger();
  const nothing = (): void => undefined;
  const registers = new ScriptedRegisters(USUAL_FEATURES, script, ledger, {
    reset: nothing,
    enable: nothing,
    disable: nothing,
    notify: nothing,
  });
  for (const [way, offset, value = 0, width = 4] of steps) {
    if (way === 'r') registers.read(offset, width);
    else registers.write(offset, width, value);
  }
  return [...new Set(ledger.findings.map(({ clause }) => clause))];
}

describe('a driver at the registers', () => {
  it('that is right is not blamed', () => {
    expect(
      broken([
        ...NEGOTIATE,
        ['r', R.ConfigGeneration],
        ['r', R.Config],
        ['r', R.Config + 0x20],
        ['r', R.ConfigGeneration],
        ['w', R.Config + 0x24, 1, 1],
        ['w', R.QueueSel, 0],
        ['r', R.QueueSizeMax],
        ['w', R.QueueSize, 64],
        ['w', R.QueueReady, 1],
        ['w', R.Status, 15],
        ['w', R.QueueNotify, 0],
        ['r', R.InterruptStatus],
        ['w', R.InterruptACK, 3],
        ['w', R.Status, 0x8f],
        ['w', R.Status, 0],
      ]),
    ).toEqual([]);
  });

  it.each<[string, string, readonly Step[]]>([
    [
      'looks elsewhere first',
      'mmio.drv.init.check-magic-version',
      [['r', R.DeviceID], ...IDENTIFY],
    ],
    [
      'writes before it knows what is there',
      'mmio.drv.init.read-device-id',
      [
        ['r', R.MagicValue],
        ['r', R.Version],
        ['w', R.Status, 0],
      ],
    ],
    ['reads where nothing is', 'mmio.drv.reg.known-offsets-only', [...IDENTIFY, ['r', 0x0c4]]],
    [
      'reads behind the configuration',
      'mmio.drv.reg.known-offsets-only',
      [...NEGOTIATE, ['r', R.Config + 40]],
    ],
    [
      'writes what is to be read',
      'mmio.drv.reg.no-write-read-only',
      [...IDENTIFY, ['w', R.InterruptStatus, 0]],
    ],
    [
      'reads what is to be written',
      'mmio.drv.reg.no-read-write-only',
      [...IDENTIFY, ['r', R.QueueSel]],
    ],
    [
      'reads a byte of a register',
      'mmio.drv.reg.width-control',
      [...IDENTIFY, ['r', R.Status, 0, 1]],
    ],
    ['reads half a field', 'mmio.drv.reg.width-config', [...NEGOTIATE, ['r', R.Config, 0, 2]]],
    ['reads bypass as a word', 'mmio.drv.reg.width-config', [...NEGOTIATE, ['r', R.Config + 0x24]]],
    [
      'looks for shared memory',
      'mmio.drv.init.no-shm-registers',
      [...IDENTIFY, ['r', R.SHMLenLow]],
    ],
    [
      'reads features of no word',
      'mmio.drv.reg.features-sel-before-read',
      [...IDENTIFY, ['w', R.Status, 0], ['r', R.DeviceFeatures]],
    ],
    [
      'accepts features of no word',
      'mmio.drv.reg.features-sel-before-write',
      [...IDENTIFY, ['w', R.Status, 0], ['w', R.DriverFeatures, 0]],
    ],
    [
      'accepts the old BYPASS',
      'basic.drv.features.subset-of-offer',
      [...IDENTIFY, ['w', R.DriverFeaturesSel, 0], ['w', R.DriverFeatures, 8]],
    ],
    [
      'accepts a feature of others',
      'basic.drv.features.not-accept-unknown',
      [...IDENTIFY, ['w', R.DriverFeaturesSel, 0], ['w', R.DriverFeatures, 128]],
    ],
    ['accepts features late', 'basic.drv.init.no-new-features-late', [...NEGOTIATE, ...WORDS]],
    [
      'skips a step',
      'basic.drv.status.stepwise',
      [...IDENTIFY, ['w', R.Status, 0], ['w', R.Status, 3]],
    ],
    ['does not reset', 'basic.drv.init.sequence', [...IDENTIFY, ['w', R.Status, 1]]],
    ['clears a bit', 'basic.drv.status.no-clear-bit', [...RUN, ['w', R.Status, 13]]],
    [
      'goes on after FAILED',
      'basic.drv.status.failed-then-reset',
      [...NEGOTIATE, ['w', R.Status, 0x8b], ['w', R.Status, 15]],
    ],
    ['suspends', 'basic.drv.suspend.only-when-allowed', [...RUN, ['w', R.Status, 31]]],
    [
      'notifies early',
      'basic.drv.init.no-notify-before-driver-ok',
      [...NEGOTIATE, ['w', R.QueueNotify, 0]],
    ],
    [
      'acknowledges what is not defined',
      'mmio.drv.reg.ack-defined-only',
      [...RUN, ['r', R.InterruptStatus], ['w', R.InterruptACK, 4]],
    ],
    [
      'acknowledges what it has not read',
      'mmio.drv.irq.read-status',
      [...RUN, ['w', R.InterruptACK, 1]],
    ],
    [
      'makes a queue too large',
      'mmio.drv.reg.queue-size-limit',
      [...NEGOTIATE, ['w', R.QueueSel, 0], ['w', R.QueueSize, 128]],
    ],
    [
      'makes a queue of three',
      'mmio.drv.reg.queue-size-limit',
      [...NEGOTIATE, ['w', R.QueueSel, 0], ['w', R.QueueSize, 3]],
    ],
    [
      'programs a live queue',
      'mmio.drv.reg.no-queue-access-when-ready',
      [
        ...NEGOTIATE,
        ['w', R.QueueSel, 0],
        ['w', R.QueueSize, 8],
        ['w', R.QueueReady, 1],
        ['w', R.QueueDescLow, 0],
      ],
    ],
    [
      'does not look at the generation again',
      'basic.drv.config.generation-loop',
      [...NEGOTIATE, ['r', R.ConfigGeneration], ['r', R.Config], ['w', R.Status, 15]],
    ],
    [
      'writes the granule',
      'iommu.drv.config.write-only-bypass',
      [...NEGOTIATE, ['w', R.Config, 1]],
    ],
    [
      'writes what bypass cannot be',
      'iommu.drv.config.bypass-write-value',
      [...NEGOTIATE, ['w', R.Config + 0x24, 2, 1]],
    ],
    [
      'writes bypass before features are settled',
      'basic.drv.init.no-config-write-early',
      [...IDENTIFY, ['w', R.Config + 0x24, 1, 1]],
    ],
    [
      'writes bypass that it has not accepted',
      'iommu.drv.config.bypass-writable',
      [...IDENTIFY, ['w', R.Config + 0x24, 1, 1]],
    ],
  ])('that %s: %s', (_, clause, steps) => {
    expect(broken(steps)).toContain(clause);
  });

  it('that goes on though FEATURES_OK is gone: basic.drv.init.stop-on-error', () => {
    expect(broken(RUN, { refuseFeatures: true })).toContain('basic.drv.init.stop-on-error');
  });

  it('that reads for ever is a hang', () => {
    const forever: Step[] = Array.from({ length: 500_001 }, () => ['r', R.Status] as const);
    expect(() => broken(forever)).toThrow('without end');
  });
});
