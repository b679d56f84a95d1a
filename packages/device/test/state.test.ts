/**
 * Saving and restoring between any two requests of a stream.
 *
 * A stream is played twice with the same decisions: when requests are published, served, taken. Once undisturbed, once
 * with everything but guest memory made anew at random moments, on both sides, with requests in flight. Every answer,
 * every fault and every access has to be the same.
 */

import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import {
  MapFlag,
  MmioRegister,
  type StreamEvent,
  StreamParser,
  VirtioFeature,
  featureMask,
} from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { Board, type BoardOptions, Random } from './board.ts';
import { attachBytes, detachBytes, mapBytes, probeBytes, unmapBytes } from './guest.ts';
import type { EndpointOptions } from '../src/index.ts';

const { READ, WRITE } = MapFlag;
const PROBE_SIZE = 64;

/** What a driver, or an endpoint, does next. */
type Step =
  | { readonly do: 'send'; readonly request: Uint8Array; readonly answerBytes: number }
  | {
      readonly do: 'access';
      readonly endpoint: number;
      readonly address: bigint;
      readonly length: number;
      readonly access: number;
      readonly found?: string;
    }
  | {
      readonly do: 'register';
      readonly register: number;
      readonly width: number;
      readonly value: number;
    }
  | { readonly do: 'post event' | 'restart' | 'new request queue' | 'system reset' };

interface Played {
  readonly log: readonly string[];
  readonly restored: number;
  /** Restores while requests were in flight. */
  readonly inFlight: number;
  /** Restores while something was mapped. */
  readonly mapped: number;
  readonly board: Board;
}

function play(
  options: BoardOptions,
  steps: readonly Step[],
  seed: number,
  restoring?: Random,
): Played {
  let board = new Board(options);
  const random = new Random(seed);
  const log: string[] = [];
  let pending = 0;
  let restored = 0;
  let inFlight = 0;
  let mapped = 0;
  const take = (): boolean => {
    const answer = board.take();
    if (answer === undefined) return false;
    log.push(answer);
    pending -= 1;
    return true;
  };
  const settle = (): void => {
    board.publish();
    while (board.mmio.serve());
  };
  board.start();
  for (const step of steps) {
    switch (step.do) {
      case 'send':
        while (!board.add(step.request, step.answerBytes)) {
          settle();
          while (take());
        }
        pending += 1;
        break;
      case 'access': {
        const { endpoint, address, length, access, found } = step;
        // What a recording found there, it found after all requests before.
        if (found !== undefined) settle();
        const result = board.access(endpoint, address, length, access);
        if (found !== undefined && result !== found) log.push(`${found} was expected`);
        log.push(result);
        break;
      }
      case 'register':
        board.mmio.write(step.register, step.width, step.value);
        break;
      case 'post event':
        board.postEvent();
        break;
      case 'system reset':
        board.mmio.systemReset();
        board.start();
        pending = 0;
        break;
      case 'restart':
        board.start();
        pending = 0;
        break;
      case 'new request queue':
        board.enableQueue(0);
        pending = 0;
        break;
    }
    if (random.once(3)) log.push(`notify ${board.publish()}`);
    if (random.once(4)) log.push(`served ${board.mmio.serve()}`);
    if (random.once(3)) take();
    if (random.once(5)) log.push(board.takeEvent() ?? 'no event');
    if (random.once(6)) {
      log.push(`interrupts ${board.get(MmioRegister.InterruptStatus)}`);
      board.set(MmioRegister.InterruptACK, random.below(4));
    }
    if (restoring?.once(12) !== true) continue;
    const image = board.mmio.save();
    const next = board.restored(image);
    restored += 1;
    if (pending > 0) inFlight += 1;
    if (board.device.iommu.usage.mappings > 0) mapped += 1;
    if (!same(next.mmio.save(), image)) log.push('another image');
    if (!same(next.shown(), board.shown())) log.push('another window');
    board = next;
  }
  settle();
  while (take());
  for (const domain of board.device.iommu.domains)
    for (const { virt, physStart, flags } of board.device.iommu.mappings(domain))
      log.push(`domain ${domain}: ${virt.start} ${virt.last} ${physStart} ${flags}`);
  log.push(`${board.device.droppedFaults} faults dropped, ${pending} answers lost`);
  return { log, restored, inFlight, mapped, board };
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** Plays the steps in both ways and returns what was logged. */
function expectUndisturbed(
  options: BoardOptions,
  steps: readonly Step[],
  seed: number,
): readonly string[] {
  const undisturbed = play(options, steps, seed);
  const disturbed = play(options, steps, seed, new Random(seed + 1));
  expect(disturbed.log.join('\n')).toBe(undisturbed.log.join('\n'));
  expect(undisturbed.log.filter((line) => line.endsWith('expected'))).toEqual([]);
  expect(undisturbed.log.at(-1)).toContain(' 0 answers lost');
  expect(disturbed.restored).toBeGreaterThan(steps.length / 20);
  expect(disturbed.inFlight).toBeGreaterThan(disturbed.restored / 4);
  expect(disturbed.mapped).toBeGreaterThan(disturbed.restored / 4);
  // The same state gives the same bytes, however it came about.
  expect(same(disturbed.board.device.save(), undisturbed.board.device.save())).toBe(true);
  return undisturbed.log;
}

const RINGS: readonly (BoardOptions & { readonly rings: string })[] = [
  { rings: 'split' },
  { rings: 'packed', packed: true, queueSize: 13 },
  { rings: 'split, direct, any order', without: bits('INDIRECT_DESC', 'IN_ORDER') },
  { rings: 'packed, direct', packed: true, without: bits('INDIRECT_DESC', 'EVENT_IDX') },
  { rings: 'split, batches', device: { batchUsed: true } },
  { rings: 'packed, batches', packed: true, device: { batchUsed: true } },
];

function bits(...names: readonly (keyof typeof VirtioFeature)[]): bigint {
  return names.reduce((set, name) => set | featureMask(VirtioFeature[name]), 0n);
}

describe('the first requests of the recording, saved and restored anywhere', () => {
  const { endpoints, steps } = recording(9000);

  it.each(RINGS.slice(0, 2))('$rings rings', ({ device, ...rings }) => {
    expect(steps.length).toBeGreaterThan(8900);
    const options = { ...rings, device: { ...device, endpoints, probeSize: PROBE_SIZE } };
    const answers = expectUndisturbed(options, steps, 6).filter((line) =>
      line.startsWith('answer'),
    );
    expect(answers.length).toBeGreaterThan(2000);
    expect(answers.filter((line) => !line.endsWith('00000000'))).toEqual([]);
  });
});

describe('random streams, saved and restored anywhere', () => {
  const cases = RINGS.flatMap((rings) => [1, 2].map((seed) => ({ ...rings, seed })));

  it.each(cases)('$rings rings, seed $seed', ({ device, seed, ...rings }) => {
    const options = {
      ...rings,
      device: { ...device, endpoints: ENDPOINTS, probeSize: PROBE_SIZE },
    };
    const log = expectUndisturbed(options, randomSteps(new Random(seed), 1500), seed);
    // Requests of every fate, faults that were told and dropped, and mappings at the end.
    for (const status of [0, 2, 4, 5, 6])
      expect(
        log.some((line) => line.endsWith(`: 0${status}000000`)),
        `${status}`,
      ).toBe(true);
    for (const start of ['event', 'fault', '=', 'notify true', 'interrupts 1'])
      expect(
        log.some((line) => line.startsWith(start)),
        start,
      ).toBe(true);
  });
});

const ENDPOINTS: readonly EndpointOptions[] = [
  { id: 0x1_0028 },
  {
    id: 8,
    reserved: [
      { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' },
      { start: 0x8000n, last: 0x8fffn, type: 'reserved' },
    ],
  },
  {
    id: 9,
    reserved: [{ start: 0xffff_ffff_ffff_e000n, last: 0xffff_ffff_ffff_ffffn, type: 'reserved' }],
  },
];

/** Steps of every kind; few of them reset anything, so that something is there to be lost. */
function randomSteps(random: Random, count: number): Step[] {
  const domain = (): number => 1 + random.below(4);
  const endpoint = (): number => (random.once(12) ? 77 : random.pick(ENDPOINTS).id);
  const edges = [0n, 0x8000n, 0xfee0_0000n, 0xffff_ffff_ffff_8000n, 0x7ff_ffff_c000n];
  const page = (): bigint =>
    BigInt.asUintN(64, random.pick(edges) + BigInt(random.below(16)) * 0x1000n);
  const send = (request: Uint8Array, answerBytes = 4): Step => ({
    do: 'send',
    request,
    answerBytes,
  });
  const makers: readonly (() => Step)[] = [
    () => send(attachBytes(domain(), endpoint(), random.once(6) ? 1 : 0)),
    () => send(attachBytes(domain(), endpoint(), 0)),
    () => send(detachBytes(domain(), endpoint())),
    ...Array<() => Step>(6).fill(() => {
      const start = page();
      const last = BigInt.asUintN(64, start + BigInt(1 + random.below(3)) * 0x1000n - 1n);
      return send(mapBytes(domain(), start, last, page(), random.below(9)));
    }),
    () => {
      const start = page();
      return send(unmapBytes(domain(), start, BigInt.asUintN(64, start + 0x4fffn)));
    },
    () => send(probeBytes(endpoint()), PROBE_SIZE + 4),
    ...Array<() => Step>(4).fill(() => ({
      do: 'access',
      endpoint: endpoint(),
      address: page() + BigInt(random.below(0x1000)),
      length: 1 + random.below(0x2000),
      access: random.pick([READ, WRITE, READ | WRITE]),
    })),
    () => ({ do: 'post event' }),
    () => {
      const registers = [
        MmioRegister.QueueSel,
        MmioRegister.DeviceFeaturesSel,
        MmioRegister.DriverFeaturesSel,
      ];
      return { do: 'register', register: random.pick(registers), width: 4, value: random.below(3) };
    },
    () => {
      // Now and then a new beginning; mostly a write to `bypass`.
      if (random.once(6))
        return { do: random.pick(['restart', 'new request queue', 'system reset']) };
      return {
        do: 'register',
        register: MmioRegister.Config + 36,
        width: 1,
        value: random.below(3),
      };
    },
  ];
  return Array.from({ length: count }, () => random.pick(makers)());
}

/** The first lines of the recording, and the endpoints with the regions that they had there. */
function recording(lines: number): { endpoints: EndpointOptions[]; steps: Step[] } {
  const path = new URL('../../../recordings/linux-6.12-lazy.stream.gz', import.meta.url);
  const parser = new StreamParser();
  const events = gunzipSync(readFileSync(path))
    .toString('latin1')
    .split('\n', lines)
    .map((line) => parser.line(line))
    .filter((event) => event !== undefined);
  const endpoints: EndpointOptions[] = [];
  const steps: Step[] = [];
  for (const event of events) {
    if (event.kind === 'error') throw new Error(event.reason);
    if (event.kind === 'probe') {
      const { start, last, endpoint } = event;
      endpoints.push({ id: endpoint, reserved: [{ start, last, type: 'msi' }] });
    }
    const step = stepOf(event);
    if (step !== undefined) steps.push(step);
  }
  return { endpoints, steps };
}

function stepOf(event: StreamEvent): Step | undefined {
  switch (event.kind) {
    case 'probe':
      return { do: 'send', request: probeBytes(event.endpoint), answerBytes: PROBE_SIZE + 4 };
    case 'attach':
      return {
        do: 'send',
        request: attachBytes(event.domain, event.endpoint, event.flags),
        answerBytes: 4,
      };
    case 'map': {
      const { domain, virtStart, virtLast, physStart, flags } = event;
      return {
        do: 'send',
        request: mapBytes(domain, virtStart, virtLast, physStart, flags),
        answerBytes: 4,
      };
    }
    case 'unmap':
      return {
        do: 'send',
        request: unmapBytes(event.domain, event.virtStart, event.virtLast),
        answerBytes: 4,
      };
    case 'access': {
      const { endpoint, address, result, access } = event;
      const found = result === '=' ? `=${address.toString(16)}+1` : `${result.toString(16)}+1`;
      const bits = { r: READ, w: WRITE, rw: READ | WRITE }[access];
      return { do: 'access', endpoint, address, length: 1, access: bits, found };
    }
    default:
      return undefined;
  }
}
