/**
 * A driver in front of an honest device: whatever it offers, whenever it answers, and whatever it refuses, the driver
 * keeps what it promises.
 */

import {
  DeviceStatus,
  IommuConfig,
  IommuError,
  IommuFeature,
  RequestType,
  Status,
  hasFeature,
} from '@viommu/common';
import type { IommuDriver } from '@viommu/driver';
import type { Journal } from '../fuzzer.ts';
import type { Random } from '../random.ts';
import { Calls } from './calls.ts';
import { ABSENT, DEVICES } from './endpoint-calls.ts';
import type { Answer, Seen } from './seen-request.ts';
import { randomConduct } from './conduct.ts';
import { type Platform, bent, randomPlatform, verdictOf } from './platform.ts';
import { randomProperties } from './property-list.ts';
import { RawRequests, rawAnswer } from './raw-request.ts';
import { World } from './world.ts';

const CALLS = 40;
const ENDPOINTS = DEVICES.flat().filter((id) => id !== ABSENT);
const { ATTACH, DETACH, MAP, UNMAP, PROBE } = RequestType;
/** What a device can run out of, or not like. */
const REFUSALS = [
  Status.NOMEM,
  Status.DEVERR,
  Status.IOERR,
  Status.UNSUPP,
  Status.INVAL,
  Status.RANGE,
  Status.NOENT,
  Status.FAULT,
];

/** How much of what may happen does in this run. */
interface Temper {
  /** Requests of these types are refused once in so many times; 0 for never. */
  readonly refusals: ReadonlyMap<number, number>;
  /** The device may answer what no device should. */
  readonly odd: boolean;
}

/** A request that is refused: the one of this type that comes after so many others of it. */
interface Target {
  type: number;
  after: number;
}

export async function runHonest(random: Random, journal: Journal): Promise<void> {
  const platform = randomPlatform(random);
  if (random.once(2)) tryBent(random, journal, bent(random, platform));
  const verdict = verdictOf(platform);
  const temper = randomTemper(random);
  const properties = new Map<number, Uint8Array>();
  const raceEvery = random.pick([0, 0, 40, 200]);
  const propertiesOf = (id: number): Uint8Array => {
    const known =
      properties.get(id) ??
      randomProperties(random, verdict.probeSize, temper.odd && random.once(2));
    properties.set(id, known);
    return known;
  };
  const target: Target = { type: -1, after: 0 };
  let raw: RawRequests | undefined;
  let calls: Calls | undefined;
  const world: World = new World({
    random,
    platform,
    endpoints: ENDPOINTS,
    conduct: randomConduct(random),
    raceEvery,
    turnMs: random.pick([3, 3, 3, 600]),
    refuses: true,
    note: (line) => journal.note(line),
    answerOf: (request) => {
      const answer = answerTo(random, request, temper, target, propertiesOf);
      if (request.raw !== undefined && answer?.properties !== undefined)
        raw?.keep(request.raw, answer.properties);
      return answer;
    },
    meanwhile: () => {
      if (random.once(40)) calls?.queues.injectFault();
    },
  });
  raw = new RawRequests(world, random);
  journal.note(() => describe(platform));
  for (let lives = random.once(3) ? 2 : 1; lives > 0; lives -= 1) {
    calls = undefined;
    const driver = takeOver(world, random, verdict);
    if (driver === undefined) return;
    calls = new Calls({
      world,
      driver,
      verdict,
      raw,
      journal,
      properties: propertiesOf,
      refuse: (type, after) => Object.assign(target, { type, after }),
      odd: temper.odd,
    });
    await lead(random, calls, driver);
  }
}

/** A driver on a device whose configuration may make no sense. */
function tryBent(random: Random, journal: Journal, platform: Platform): void {
  journal.note(() => describe(platform));
  const world = new World({
    random,
    platform,
    endpoints: ENDPOINTS,
    conduct: randomConduct(random),
    raceEvery: 0,
    turnMs: 3,
    refuses: false,
    note: (line) => journal.note(line),
    answerOf: () => undefined,
  });
  takeOver(world, random, verdictOf(platform))?.remove();
}

/** Calls as a guest makes them: some to begin with, then any. */
async function lead(random: Random, calls: Calls, driver: IommuDriver): Promise<void> {
  const kinds = calls.drawn(random);
  for (let count = 0; count < 4; count += 1) calls.endpoints.probe();
  for (let count = 0; count < 4; count += 1) calls.endpoints.allocate();
  for (let count = 0; count < 4; count += 1) calls.endpoints.attach();
  for (let count = CALLS; count > 0 && !calls.broken; count -= 1) {
    await random.pick(kinds)();
    calls.compare();
  }
  if (calls.broken) {
    // Nothing works any more, and it can still be removed.
    if (driver.state !== 'broken')
      throw new Error(`A driver that lost its device is ${driver.state}.`);
    driver.remove();
    return;
  }
  calls.queues.serveFaults();
  calls.queues.remove();
}

/** A driver on the device, or none if there is something wrong with it. */
function takeOver(
  world: World,
  random: Random,
  verdict: ReturnType<typeof verdictOf>,
): IommuDriver | undefined {
  const { platform, opponent, pages } = world;
  const bypass = random.pick([undefined, undefined, false, true]);
  const hasBypass = hasFeature(platform.offered & ~platform.refused, IommuFeature.BYPASS_CONFIG);
  pages.refusals = 0;
  const memoryless = random.once(30);
  world.begin();
  let driver: IommuDriver | undefined;
  let code: string | undefined;
  const options = {
    ...(bypass !== undefined && { bypass }),
    ...(random.once(3) && { requestQueueSize: random.pick([8, 16, 5, 256]) }),
    ...(random.once(3) && { eventQueueSize: random.pick([4, 1, 3, 64]) }),
  };
  if (memoryless) pages.refusals = 1;
  try {
    driver = world.probe(options, random.once(3), random.pick([0, 1, 4]));
  } catch (error) {
    if (!(error instanceof IommuError)) throw error;
    code = error.code;
  }
  pages.refusals = 0;
  world.check();
  let expected: string | undefined = verdict.error;
  if (expected !== 'ENODEV' && bypass !== undefined && !hasBypass) expected = 'ENOSYS';
  if (expected === undefined && memoryless) expected = 'ENOMEM';
  if (code !== expected)
    world.fail(
      'result',
      `taking over ends with ${code ?? 'success'} in place of ${expected ?? 'success'}`,
      '',
    );
  if (driver === undefined) {
    if (pages.taken > 0)
      world.fail('result', 'a driver that gave up keeps memory', `${pages.taken} pieces`);
    if (
      (opponent.registers.status & DeviceStatus.FAILED) === 0 ||
      (opponent.registers.status & DeviceStatus.DRIVER_OK) !== 0
    )
      world.fail(
        'result',
        'a device that was given up is not marked',
        `${opponent.registers.status}`,
      );
    return undefined;
  }
  const { input, probeSize } = verdict;
  if (driver.aperture.start !== input.start || driver.aperture.last !== input.last)
    world.fail(
      'result',
      'the driver has another aperture',
      `${driver.aperture.start} to ${driver.aperture.last}`,
    );
  if (driver.probeSize !== probeSize)
    world.fail('result', 'the driver has another probe size', `${driver.probeSize}`);
  const field = opponent.registers.config.getUint8(IommuConfig.offset.bypass);
  if (bypass !== undefined && field !== (bypass ? 1 : 0))
    world.fail('result', 'bypass is not set', `${field}`);
  if (driver.bypass !== (hasBypass ? (field & 1) === 1 : undefined))
    world.fail('result', 'bypass is read wrong', `${field}`);
  return driver;
}

/** What the device does with a request, if not what it is asked. */
function answerTo(
  random: Random,
  request: Seen,
  { refusals, odd }: Temper,
  target: Target,
  propertiesOf: (id: number) => Uint8Array,
): Answer | undefined {
  if (request.raw !== undefined) return rawAnswer(random, request, odd);
  const { type, fields } = request;
  const once = refusals.get(type) ?? 0;
  const aimed = type === target.type && (target.after -= 1) < 0;
  if (aimed) target.type = -1;
  if (aimed || (once > 0 && random.once(once))) {
    if (!odd || random.once(2)) return { status: random.pick(REFUSALS), undone: true };
    const undone = random.once(2);
    return random.pick<Answer>([
      { undone, status: 9 },
      { undone, length: 0 },
      { undone, length: 3 },
      { undone, length: 5 },
      { untouched: true },
      { untouched: true, length: request.writableBytes },
      { undone, status: 0xff },
    ]);
  }
  if (fields?.kind !== 'probe') return odd ? { reserved: [1, 2, 3] } : undefined;
  if (fields.endpoint === ABSENT) return { status: Status.NOENT };
  return { properties: propertiesOf(fields.endpoint) };
}

function randomTemper(random: Random): Temper {
  const often = random.pick([0, 0, 12, 4]);
  const types = [MAP, UNMAP, ATTACH, DETACH, PROBE].filter(() => often > 0 && random.once(2));
  return { refusals: new Map(types.map((type) => [type, often])), odd: random.once(3) };
}

function describe({ offered, refused, config, queueSizes }: Platform): string {
  const fields = Object.entries(config).map(([name, value]) => `${name} 0x${value?.toString(16)}`);
  return `features 0x${offered.toString(16)} without 0x${refused.toString(16)}, queues ${queueSizes.join(' and ')}, ${fields.join(', ')}`;
}
