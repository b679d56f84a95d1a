/** The host without a thread of its own: started by the tests, on a buffer of theirs. */

import { IommuError } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { Host, type HostContext, type ModuleLoader } from '../src/host.ts';
import { MemoryMap } from '../src/memory-map.ts';
import { Outbox, type WorkerMessage } from '../src/message.ts';
import {
  deviceOptions,
  settingsOf,
  type HostSettings,
  type MachineOptions,
} from '../src/options.ts';

interface Parts {
  readonly host: Host;
  readonly map: MemoryMap;
  readonly buffer: SharedArrayBuffer;
  readonly messages: WorkerMessage[];
}

async function build(
  options: MachineOptions,
  factory?: unknown,
  load: ModuleLoader = async () => ({ default: factory }),
): Promise<Parts> {
  const base = settingsOf({ memoryBytes: 1 << 16, ...options });
  const map = new MemoryMap(base.map);
  const buffer = map.createBuffer();
  const settings: HostSettings = {
    ...base,
    buffer,
    device: deviceOptions(options.device, base.endpoints),
    record: options.record ?? false,
    polls: options.hostPolls,
  };
  const messages: WorkerMessage[] = [];
  const poster = { postMessage: (message: WorkerMessage) => void messages.push(message) };
  const outbox = new Outbox(poster, map.bookkeeping(buffer).messages('host'));
  const openDisk = (): never => {
    throw new IommuError('ENOENT', 'There are no files here.');
  };
  const host = await Host.create(settings, outbox, { load, openDisk });
  return { host, map, buffer, messages };
}

describe('host', () => {
  it('shows the IOMMU in the first window and the endpoints in the others', async () => {
    const { map, buffer } = await build({ endpoints: { a: { kind: 'copy', id: 5 } } });
    expect(map.window(buffer, 0).read(0, 4)).toBe(0x7472_6976); // virt
    expect(map.window(buffer, 0).read(8, 4)).toBe(23);
    expect(map.window(buffer, 1).read(0, 4)).toBe(0x7970_6f63); // copy
    expect(map.window(buffer, 1).read(8, 4)).toBe(5);
  });

  it('ends at once when it is asked to, also if it was asked before it looked', async () => {
    const { host, map, buffer } = await build({ hostPolls: 0 });
    map.controlPage(buffer).stop();
    const begun = performance.now();
    host.serve();
    expect(performance.now() - begun).toBeLessThan(500);
  });

  it('ends at once when an endpoint asks for it between a look and a sleep', async () => {
    // Whether polling or going to sleep, the host finds the ring of the stop seen and nothing else to do.
    const factory = (): object => ({
      arm() {
        control?.stop();
        return true;
      },
    });
    let control: ReturnType<MemoryMap['controlPage']> | undefined;
    const parts = await build(
      { hostPolls: 0, endpoints: { a: { kind: 'module', module: 'a' } } },
      factory,
    );
    control = parts.map.controlPage(parts.buffer);
    const begun = performance.now();
    parts.host.serve();
    expect(performance.now() - begun).toBeLessThan(500);
  });

  it('declares endpoints to the device, once each', async () => {
    let context: HostContext | undefined;
    const factory = (given: HostContext): object => {
      context = given;
      return {};
    };
    await build(
      {
        device: { endpoints: [{ id: 5, reserved: [] }, { id: 6 }] },
        endpoints: {
          a: { kind: 'copy', id: 5 },
          b: { kind: 'module', module: 'b', id: 7 },
          c: { kind: 'module', module: 'c' },
        },
      },
      factory,
    );
    expect(context?.iommu.endpoints).toEqual([5, 6, 7]);
  });

  it('begins a recording with what the device is, and ends it when it is closed', async () => {
    const { host, messages } = await build({ record: true, device: { probeSize: 16 } });
    expect(messages).toEqual([]);
    host.close();
    expect(messages).toEqual([
      {
        type: 'record',
        lines: [
          expect.stringMatching(/^F [0-9a-f]+$/),
          'C fffffffffffff000 0 ffffffffffffffff 0 ffffffff 10 0',
        ],
        version: 1,
      },
    ]);
  });

  it.each([
    ['has no function', 5, /^The module of the endpoint a has no default function\.$/],
    [
      'throws while it is made',
      () => {
        throw new Error('no');
      },
      /^The endpoint a cannot be made: no$/,
    ],
    ['rejects while it is made', () => Promise.reject(new Error('no')), /cannot be made: no$/],
  ])('refuses an endpoint that %s', async (_, factory, message) => {
    await expect(
      build({ endpoints: { a: { kind: 'module', module: 'a' } } }, factory),
    ).rejects.toMatchObject({ code: 'EINVAL', message: expect.stringMatching(message) });
  });

  it('refuses an endpoint that cannot be loaded', async () => {
    const load = (): Promise<never> => Promise.reject(new SyntaxError('odd'));
    await expect(
      build({ endpoints: { a: { kind: 'module', module: 'a' } } }, undefined, load),
    ).rejects.toMatchObject({
      code: 'EINVAL',
      message: 'The module of the endpoint a cannot be loaded: odd',
    });
  });

  it('refuses a device that cannot be', async () => {
    await expect(build({ device: { pageSizeMask: 0n } })).rejects.toMatchObject({ code: 'EINVAL' });
  });
});
