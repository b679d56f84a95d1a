/** The vectors are what the model says, our device gives the first answer of each, and the example in C runs. */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { VirtioFeature, featureMask, guestPhysical } from '@viommu/common';
import { type Habits, IommuDevice, PeerDevice } from '@viommu/device';
import { SharedMemory, createDeviceQueue, queueFeatures } from '@viommu/ring';

import { Rig } from '../packages/conformance/test/model/rig.ts';
import { DEVICES, type DeviceName, type VectorDevice, hex } from '../scripts/vector/device.ts';
import { vectorFiles } from '../scripts/vector/file.ts';
import { requestVectors } from '../scripts/vector/request.ts';

const FOLDER = new URL('../packages/conformance/vectors/', import.meta.url);
const FILL = 0xa5;
const hasCompiler = spawnSync('gcc', ['--version']).status === 0;

/** A device as a vector asks for. */
function deviceOf(name: DeviceName, habits: Habits = {}): IommuDevice {
  const { offered, accepted: _, ...options }: VectorDevice = DEVICES[name];
  const offers = (bit: number): boolean => ((offered >> BigInt(bit)) & 1n) === 1n;
  const features = {
    inputRange: offers(0),
    domainRange: offers(1),
    mapUnmap: offers(2),
    probe: offers(4),
    mmio: offers(5),
    bypassConfig: offers(6),
  };
  return Object.keys(habits).length === 0
    ? new IommuDevice({ ...options, features })
    : new PeerDevice({ ...options, features, habits });
}

function rigOf(name: DeviceName, habits: Habits = {}): Rig {
  const rig = new Rig(deviceOf(name, habits));
  rig.start(DEVICES[name].accepted);
  return rig;
}

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
}

function read<File>(name: string): File {
  return JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8')) as File; // As the generator writes it.
}

describe('vectors', () => {
  it.each([...vectorFiles()])('%s is up to date', (name, text) => {
    expect(readFileSync(new URL(name, FOLDER), 'utf8') === text, 'npm run vectors').toBe(true);
  });

  it('name each stream once, and a clause that exists', () => {
    const known = ['clause.json', 'fact.json'].map((name) =>
      readFileSync(new URL(`../src/data/${name}`, FOLDER), 'utf8'),
    );
    const vectors = requestVectors();
    expect(new Set(vectors.map(({ name }) => name)).size).toBe(vectors.length);
    for (const { clause } of vectors)
      expect(
        known.some((text) => text.includes(`"${clause}"`)),
        clause,
      ).toBe(true);
  });

  it.each(requestVectors().map((vector) => [vector.name, vector] as const))(
    'our device gives the first answer: %s',
    (_, { device, steps }) => {
      const rig = rigOf(device);
      for (const { readable, room, answers } of steps) {
        const completion = rig.request(bytesOf(readable), room);
        const after = [...(completion?.after ?? [])].map((byte) => hex(Uint8Array.of(byte)));
        const expected = answers[0]?.writable.match(/../g) ?? [];
        expect(completion?.usedLength).toBe(answers[0]?.usedLength);
        expect(after).toEqual(expected.map((byte) => (byte === '..' ? 'a5' : byte)));
      }
    },
  );
});

interface AccessStep {
  readonly request?: string;
  readonly post?: number;
  readonly bypass?: number;
  readonly reset?: string;
  readonly access?: {
    readonly endpoint: number;
    readonly address: string;
    readonly length: number;
    readonly kind: 'read' | 'write';
  };
  readonly pieces?: unknown;
  readonly events?: unknown;
  readonly records?: readonly string[];
}

interface AccessFile {
  readonly vectors: readonly { name: string; device: DeviceName; steps: readonly AccessStep[] }[];
}

describe('accesses', () => {
  it.each(read<AccessFile>('accesses.json').vectors)(
    'our device gives what is expected: $name',
    ({ device, steps }) => {
      const rig = rigOf(device);
      for (const { request, post, bypass, reset, access, pieces, events, records } of steps) {
        if (request !== undefined)
          expect(rig.request(bytesOf(request), 4)?.after).toEqual(new Uint8Array(4));
        if (post !== undefined) rig.postEvent(post);
        if (bypass !== undefined) expect(rig.device.writeConfig(0x24, 1, bypass)).toBe(true);
        if (reset !== undefined) {
          rig.device.reset();
          rig.start(DEVICES[device].accepted);
        }
        if (access === undefined) continue;
        const { endpoint, address, length, kind } = access;
        const flags = kind === 'read' ? 1 : 2;
        const outcome = rig.access(endpoint, BigInt(address), length, flags);
        const shown = outcome.pieces.map((piece) => ({
          ...piece,
          address: `0x${piece.address.toString(16)}`,
        }));
        expect(outcome.fault === undefined ? shown : undefined).toEqual(pieces);
        if (outcome.fault === undefined) continue;
        const given = outcome.events.map((event) => ({ ...event, record: hex(event.record) }));
        expect(given).toEqual(events);
        expect(records?.[0]).toBe(given.at(-1)?.record);
      }
    },
  );
});

interface RingFile {
  readonly vectors: readonly {
    readonly name: string;
    readonly device: DeviceName;
    readonly format: 'split' | 'packed';
    readonly features: readonly (keyof typeof VirtioFeature)[];
    readonly queue: {
      size: number;
      descriptorArea: string;
      driverArea: string;
      deviceArea: string;
    };
    readonly free: readonly { at: string; length: number }[];
    readonly steps: readonly {
      readonly write: readonly { at: string; bytes: string }[];
      readonly expect: readonly { at: string; bytes: string }[];
    }[];
  }[];
}

describe('rings', () => {
  it.each(read<RingFile>('rings.json').vectors)(
    'our device leaves them as expected: $name',
    ({ device, format, features, queue, free, steps }) => {
      const memory = new SharedMemory({
        buffer: new SharedArrayBuffer(0x1000),
        offset: 0,
        size: 0x1000,
        base: guestPhysical(0x1000n),
      });
      memory.write(0x800, new Uint8Array(0x800).fill(FILL), 0, 0x800);
      const bits = features.map((name) => featureMask(VirtioFeature[name]));
      if (format === 'packed') bits.push(featureMask(VirtioFeature.RING_PACKED));
      const negotiated = bits.reduce((all, bit) => all | bit, DEVICES[device].accepted);
      const subject = deviceOf(device);
      subject.acceptFeatures(negotiated);
      const layout = {
        size: queue.size,
        descriptorArea: guestPhysical(BigInt(queue.descriptorArea)),
        driverArea: guestPhysical(BigInt(queue.driverArea)),
        deviceArea: guestPhysical(BigInt(queue.deviceArea)),
      };
      const served = createDeviceQueue({ memory, layout, features: queueFeatures(negotiated) });
      const port = { interrupt: () => {}, configChanged: () => {}, needsReset: expect.unreachable };
      subject.start({ features: negotiated, memory, queues: [served], port });
      const image = (): Uint8Array => {
        const bytes = new Uint8Array(0x1000);
        memory.read(0, bytes, 0, bytes.length);
        return bytes;
      };
      const position = (at: string): number => Number(at) - 0x1000;
      for (const { write, expect: changes } of steps) {
        for (const { at, bytes } of write)
          memory.write(position(at), bytesOf(bytes), 0, bytes.length / 2);
        const expected = image();
        expect(subject.serve()).toBe(true);
        const actual = image();
        for (const { at, bytes } of changes) expected.set(bytesOf(bytes), position(at));
        for (const { at, length } of free) {
          expected.fill(0, position(at), position(at) + length);
          actual.fill(0, position(at), position(at) + length);
        }
        expect(hex(actual)).toBe(hex(expected));
      }
    },
  );
});

// Where there is no C compiler, the header is only known to be up to date.
describe.skipIf(!hasCompiler)('the example in C', () => {
  it('compiles without warnings, and finds our device and one with allowed habits to conform', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'viommu-vectors-'));
    try {
      const program = join(folder, 'example');
      const source = fileURLToPath(new URL('example.c', FOLDER));
      const flags = ['-std=c11', '-Wall', '-Wextra', '-Werror', '-o', program, source];
      const { status, stderr } = spawnSync('gcc', flags, { encoding: 'utf8' });
      expect(stderr).toBe('');
      expect(status).toBe(0);
      const { length } = requestVectors();
      expect(await run(program, {})).toBe(`${length} passed, 0 warned, 0 failed\n`);
      const allowed = await run(program, { longTail: 'end', detachWrong: 'nothing' });
      expect(allowed).toBe(`${length} passed, 0 warned, 0 failed\n`);
      const careless = await run(program, { mapUnaligned: 'served' });
      expect(careless).toMatch(/^\d+ passed, [1-9]\d* warned, 0 failed\n$/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

/** What the runner prints at the end, with our device at the other end of its pipe. */
async function run(program: string, habits: Habits): Promise<string> {
  const runner = spawn(program, { timeout: 30_000 });
  const names = Object.keys(DEVICES) as DeviceName[]; // Its keys, in the order of the header.
  let rig = rigOf('plain');
  let report = '';
  runner.stderr.on('data', (chunk: Buffer) => (report += chunk.toString()));
  createInterface({ input: runner.stdout }).on('line', (line) => {
    const [what, first = '', writable = ''] = line.split(' ');
    if (what === 'device') {
      rig = rigOf(names[Number(first)] ?? 'plain', habits);
      return;
    }
    const room = writable === '-' ? 0 : writable.length / 2;
    const completion = rig.request(bytesOf(first === '-' ? '' : first), room);
    const after = completion?.after ?? new Uint8Array();
    runner.stdin.write(`${completion?.usedLength ?? 0} ${after.length === 0 ? '-' : hex(after)}\n`);
  });
  await once(runner, 'close');
  return report;
}
