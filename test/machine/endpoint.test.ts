import { describe, expect, it } from 'vitest';
import type { WatcherData } from './endpoint/watcher.ts';
import { ENGINES, run } from './run.ts';

const moduleOf = (name: string): URL => new URL(`./endpoint/${name}.ts`, import.meta.url);

describe('an endpoint of somebody else', { timeout: 60_000 }, () => {
  it('makes accesses, watches the device, reports, and resets the machine', async () => {
    const data: WatcherData = { greeting: 'up' };
    const { value, events, reports } = await run('watched', {
      endpoints: {
        ...ENGINES,
        watcher: { kind: 'module', module: moduleOf('watcher'), data },
      },
    });
    expect(value).toEqual({
      before: [0, 1, undefined, 3],
      between: [undefined, undefined, undefined, 3],
      after: [undefined, undefined, undefined, undefined],
      status: 0,
    });
    expect(events[0]).toEqual({ type: 'log', from: 'watcher', text: 'up' });
    expect(reports).toEqual([
      {
        removed: [
          { start: 0x64000n, last: 0x64fffn },
          { start: 0x65000n, last: 0x65fffn },
        ],
        name: 'watcher',
        id: undefined,
        served: true,
      },
    ]);
  });

  it('can have a number that the device knows without being told', async () => {
    const { value } = await run('probed', {
      endpoints: {
        own: { kind: 'module', module: moduleOf('stall'), id: 77 },
      },
    });
    expect(value).toEqual({ own: 77, regions: 0, stranger: 'ENOENT' });
  });
});

describe('a device that does not answer', { timeout: 60_000 }, () => {
  it('is given up by the driver, and fails the program', async () => {
    await expect(
      run('stalled', {
        driver: 'manual',
        endpoints: { ...ENGINES, stall: { kind: 'module', module: moduleOf('stall') } },
      }),
    ).rejects.toMatchObject({ code: 'EIO', cause: { code: 'EIO' } });
  });
});

describe('what a guest program finds', { timeout: 60_000 }, () => {
  it('are endpoints by name and number, interrupts that memory never sees, and limits', async () => {
    const { value, events, statistics } = await run('lent', {
      endpoints: { ...ENGINES, plain: { kind: 'module', module: moduleOf('stall') } },
      device: {
        endpoints: [
          {
            id: 8,
            reserved: [
              { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' },
              { start: 0x9000_0000n, last: 0x9000_0fffn, type: 'reserved' },
            ],
          },
        ],
      },
    });
    expect(value).toEqual({
      whole: true,
      half: true,
      read: false,
      reserved: false,
      names: ['first', 'second', 'plain'],
      ids: [9, 'second'],
      missing: 'ENOENT',
      notThere: 'ENOENT',
      noEngine: 'ENODEV',
      outside: 'EFAULT',
    });
    expect(events.filter(({ type }) => type === 'interrupt')).toEqual([
      { type: 'interrupt', endpoint: 8, address: 0xfee0_1000n, data: 0x1234_5678 },
    ]);
    expect(statistics).toMatchObject({ interruptMessages: 1 });
  });
});
