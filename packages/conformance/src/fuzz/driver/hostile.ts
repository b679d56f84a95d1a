/**
 * A driver in front of a device that breaks rules. It may give the device up; it must not fall over, wait for ever, take
 * for done what was not, or touch what is not its own, and with an honest device it works again.
 */

import type { Journal } from '../fuzzer.ts';
import type { Random } from '../random.ts';
import { Calls } from './calls.ts';
import { DEVICES } from './endpoint-calls.ts';
import { randomConduct } from './conduct.ts';
import { randomPlatform, verdictOf } from './platform.ts';
import { randomProperties } from './property-list.ts';
import { RawRequests } from './raw-request.ts';
import { Victim } from './victim.ts';
import { World } from './world.ts';

const LIVES = 3;
const ENDPOINTS = DEVICES.flat();

export async function runHostile(random: Random, journal: Journal): Promise<void> {
  const platform = randomPlatform(random);
  let life: Victim | undefined;
  const { probeSize } = verdictOf(platform);
  const properties = new Map(
    ENDPOINTS.map((id) => [id, randomProperties(random, probeSize, false)]),
  );
  const world: World = new World({
    random,
    platform,
    endpoints: ENDPOINTS,
    conduct: { ...randomConduct(random), spurious: 0 },
    raceEvery: random.pick([0, 0, 60]),
    turnMs: 3,
    refuses: true,
    note: (line) => journal.note(line),
    answerOf: (request) => {
      const answer = life?.answerTo(request);
      if (answer !== undefined || request.fields?.kind !== 'probe') return answer;
      const known = properties.get(request.fields.endpoint);
      return known && { properties: known };
    },
    meanwhile: () => life?.meanwhile(),
  });
  const raw = new RawRequests(world, random);
  for (let lives = LIVES; lives > 0; lives -= 1) {
    world.rebel(false);
    life = undefined;
    const driver = world.probe({}, random.once(3), random.pick([0, 1, 4]));
    world.check();
    life = new Victim({ world, driver, probeSize, raw, journal });
    life.settleIn();
    await life.suffer();
    life.end();
  }
  world.rebel(false);
  // And now an honest one: as if nothing had happened.
  life = undefined;
  raw.ending = false;
  const driver = world.probe({}, random.once(3), 1);
  world.check();
  const calls = new Calls({
    world,
    driver,
    verdict: verdictOf(platform),
    raw,
    journal,
    properties: (id) => properties.get(id) ?? new Uint8Array(probeSize),
    refuse: () => undefined,
    odd: false,
  });
  const { endpoints, mappings, queues } = calls;
  for (const call of [
    () => endpoints.probe(),
    () => endpoints.allocate(),
    () => endpoints.attach(),
    () => mappings.mapMany(),
    () => mappings.unmap(),
    () => mappings.sync(),
  ]) {
    call();
    calls.compare();
  }
  queues.remove();
}
