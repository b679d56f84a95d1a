import { type DemonstrationEvent, demonstrationMachine } from '@viommu/machine';
import { DEMONSTRATION, createMachine } from '@viommu/machine/node';
import { describe, expect, it } from 'vitest';

describe('the demonstration', { timeout: 60_000 }, () => {
  it('does what it says, step by step', async () => {
    const steps: DemonstrationEvent[] = [];
    const machine = createMachine({
      ...demonstrationMachine,
      program: DEMONSTRATION,
      timeoutMs: 50_000,
      onEvent(event) {
        // The guest of this machine reports nothing else.
        if (event.type === 'report') steps.push(event.event as unknown as DemonstrationEvent);
      },
    });
    const { statistics } = await machine.run();
    expect(steps.map(({ step }) => step)).toEqual([
      'device',
      'probe',
      'blocked',
      'attach',
      'map',
      'transfer',
      'transfer',
      'fault',
      'fault',
      'interrupt',
      'unmap',
      'speed',
      'speed',
    ]);
    expect(steps).toMatchObject([
      { aperture: { start: 0n, last: (1n << 48n) - 1n } },
      { endpoint: 8, regions: [{ type: 'msi', start: 0xfee0_0000n, last: 0xfeef_ffffn }] },
      { endpoint: 8, reason: 'DOMAIN' },
      { endpoint: 8 },
      // However many pieces: one notification at most.
      { pieces: 32, bytes: 262_144, requests: 64 },
      { direction: 'out', bytes: 262_144 },
      { direction: 'back', bytes: 262_144 },
      { access: 'write', address: 0x30_0000_0000n, reason: 'MAPPING' },
      { access: 'read', address: 0x50_0000_0000n, reason: 'MAPPING' },
      { address: 0xfee0_0020n },
      { bytes: 524_288, requests: 2, reason: 'MAPPING' },
      { batch: 1 },
      { batch: 64 },
    ]);
    for (const step of steps) {
      if (step.step === 'map' || step.step === 'unmap')
        expect(step.notifications).toBeLessThanOrEqual(1);
      if (step.step === 'speed') {
        expect(step.requests).toBeGreaterThan(0);
        // At most one for each sync.
        expect(step.notifications).toBeLessThanOrEqual(step.requests / step.batch);
      }
    }
    // 512 KiB for two transfers, and one word of interrupt.
    expect(statistics).toMatchObject({ copiedBytes: 524_292, interruptMessages: 1 });
  });
});
