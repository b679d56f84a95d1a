/**
 * Fuzzes the device's side of queues, against plain ones: lawful traffic, chains with one thing wrong, live rings with
 * bytes changed, and memory full of anything.
 */

import type { Fuzzer, Journal } from '../fuzzer.ts';
import type { Random } from '../random.ts';
import { DeviceWorld } from './device-world.ts';
import type { PlainChain } from './plain.ts';
import { INDIRECT, NEXT, type Site } from './plain-driver.ts';
import { deviation, drawBuffers, listBuffers, scatter } from './setting.ts';
import { WRONGS } from './wrong.ts';

/** Queues of one run. */
const LIVES = 30;
const STEPS = 60;
/** Chains that are spoilt in one life. */
const SPOILT = 5;

export const ringDevice: Fuzzer = {
  name: 'ring-device',
  about:
    "the device's side of queues: lawful rings, broken ones and random bytes, against plain ones",
  smokeSeeds: 500,
  run(random, journal) {
    for (let lives = 1 + random.number(LIVES); lives > 0; lives -= 1) {
      const world = new DeviceWorld(random, journal);
      const kind = random.pick(KINDS);
      const { packed, size } = world.setting;
      journal.note(() => `${packed ? 'packed' : 'split'} queue of ${size}: ${kind.name}`);
      kind(world, random, journal);
      world.finish();
      journal.requests += world.chains;
    }
  },
};

type Kind = (world: DeviceWorld, random: Random, journal: Journal) => void;

const KINDS: readonly Kind[] = [lawful, oneWrong, lawful, oneWrong, oneWrong, storm, raw];

/** Lawful traffic in any order: the ring never breaks. */
function lawful(world: DeviceWorld, random: Random): void {
  for (let left = random.number(STEPS); left > 0; left -= 1) {
    if (random.once(2)) add(world, random);
    else if (random.once(3)) world.driver.publish();
    else world.step();
    expectWhole(world);
  }
  world.driver.publish();
  world.drain();
  expectWhole(world);
  if (world.driver.inFlight > 0 && !world.driver.waits)
    throw deviation('device: chains are left', world.setting, `${world.driver.inFlight}`);
}

/** One chain that breaks one rule, behind some that break none. */
function oneWrong(world: DeviceWorld, random: Random, journal: Journal): void {
  const { setting, driver } = world;
  for (let left = random.number(12); left > 0; left -= 1) {
    if (random.once(2)) add(world, random);
    else world.step();
  }
  driver.publish();
  world.drain();
  // In the largest ring any step is lawful, or nearly.
  if (!setting.packed && setting.size < 0x4000 && random.once(10))
    return jump(world, random, journal);
  if (setting.packed && setting.size > 1 && random.once(10)) return crowd(world, random);
  if (setting.features.indirect && setting.tableEntries > setting.size && random.once(4))
    return tooLong(world, random);
  // What a device has to bear leaves room for more.
  for (let left = 1 + random.number(SPOILT); left > 0; left -= 1)
    if (!spoil(world, random, journal)) return;
}

/** Spoils one chain, behind some others. True if the ring goes on. */
function spoil(world: DeviceWorld, random: Random, journal: Journal): boolean {
  const { setting, driver } = world;
  for (let left = random.number(3); left > 0; left -= 1) add(world, random);
  if (random.once(2)) driver.publish();
  const site = driver.add(drawBuffers(random, setting, setting.size));
  if (site === undefined) return false;
  const format = setting.packed ? 'packed' : 'split';
  const fitting = WRONGS.filter(
    (wrong) => (wrong.format === 'both' || wrong.format === format) && wrong.fits(site, setting),
  );
  const wrong = random.pick(fitting);
  journal.note(() => `${wrong.name}: ${JSON.stringify(site.at)}, table from ${site.tableFrom}`);
  wrong.spoil(site, driver, setting, random);
  if (random.once(4)) add(world, random);
  driver.publish();
  expectAfter(world, random, wrong.verdict, wrong.name, site);
  return wrong.verdict === 'chain' || wrong.verdict === 'unreachable';
}

/** An available index that no driver can have, with some chains in the device's hands. */
function jump(world: DeviceWorld, random: Random, journal: Journal): void {
  const { setting, driver } = world;
  const { size } = setting;
  for (let left = random.number(4); left > 0; left -= 1) add(world, random);
  driver.publish();
  for (let left = driver.inFlight; left > 0; left -= 1) world.pop();
  const { inHand } = world;
  const step = random.pick([
    size + 1 - inHand,
    size + 1 - random.number(inHand + 1),
    size + 1,
    2 * size,
    0x8000,
    -1,
    -size,
  ]);
  journal.note(() => `an index that jumps by ${step}, with ${inHand} in hand`);
  driver.setIndex(world.plain.position + step);
  // To serve is to give back first what is in hand.
  if (inHand > 0 || random.once(2)) world.pop();
  else world.serve(1);
  if (!world.plain.broken) world.pop();
  if (!world.plain.broken)
    throw deviation('device: an index that jumps is not found', setting, `by ${step}`);
}

/** A list that begins in free slots and goes on in those of lists in the device's hands. */
function crowd(world: DeviceWorld, random: Random): void {
  const { setting, driver } = world;
  const { size, place } = setting;
  for (let left = 1 + random.number(2); left > 0; left -= 1) add(world, random);
  driver.publish();
  for (let left = driver.inFlight; left > 0; left -= 1) world.pop();
  if (world.inHand === 0 || driver.room === 0) return;
  const slots = driver.room + 1;
  const site = driver.add(listBuffers(random, setting, 1, 1));
  const [first] = site?.ids ?? [];
  if (first === undefined || site?.indirectAt !== -1) return;
  for (let count = 1; count < slots; count += 1) {
    const at = place.table + 16 * ((first + count) % size);
    driver.setFlags(at, count + 1 < slots ? NEXT : 0);
  }
  const at = place.table + 16 * first;
  driver.setFlags(at, driver.flags(at) | NEXT);
  driver.publish();
  if (random.once(2) && !setting.features.inOrder) world.serve(1);
  else world.pop();
  if (!world.plain.broken)
    throw deviation('device: a list over others is not found', setting, `${slots} slots`);
}

/** A chain with one buffer more than the queue has descriptors. */
function tooLong(world: DeviceWorld, random: Random): void {
  const { setting, driver } = world;
  const { size } = setting;
  const site = driver.add(listBuffers(random, setting, size + 1, random.number(size + 2)));
  if (site === undefined) return;
  driver.publish();
  expectAfter(world, random, 'broken', 'a chain longer than the queue', site);
}

/** Live rings, of which bytes are changed now and then. */
function storm(world: DeviceWorld, random: Random): void {
  const { setting, driver } = world;
  const { place, bytes } = setting;
  const rate = 2 + random.number(10);
  for (let left = random.number(STEPS); left > 0; left -= 1) {
    const kind = random.number(rate);
    if (kind === 1) {
      const part = random.pick(['table', 'driver', 'table', 'device'] as const);
      const table = random.once(4) && setting.features.indirect;
      const from = table ? setting.tables : place[part];
      const at = from + random.number(table ? 16 * setting.tableEntries : bytes[part]);
      const old = world.copy[at]!; // In memory.
      const value = random.pick([
        old + 1,
        old ^ (1 << random.number(8)),
        random.number(256),
        old - 1,
      ]);
      driver.put8(at, value & 0xff);
    } else if (random.once(2)) add(world, random);
    else if (random.once(3)) driver.publish();
    else storminess(world, random);
  }
  driver.publish();
  world.drain();
}

/** A step that asks for nothing of the driver that a damaged ring does not have. */
function storminess(world: DeviceWorld, random: Random): void {
  switch (random.number(8)) {
    case 0:
    case 1:
      return world.pop();
    case 2:
      return world.serve(1 + random.number(3));
    case 3:
      return world.push();
    case 4:
      return world.publish();
    case 5:
      return world.look();
    case 6:
      return world.restore();
    default:
      return world.reclaim();
  }
}

/** A ring of any bytes, mostly such as lead somewhere. */
function raw(world: DeviceWorld, random: Random): void {
  const { setting, copy, driver } = world;
  const { memory, place, bytes, size, packed } = setting;
  const seed = random.number(0x1_0000);
  if (size > 256) return;
  for (const part of ['table', 'driver', 'device'] as const)
    scatter(copy.subarray(place[part], place[part] + bytes[part]), seed + place[part]);
  if (setting.features.indirect)
    scatter(copy.subarray(setting.tables, setting.tables + 64), seed + 1);
  memory.bytes.set(copy);
  // Addresses in memory, lengths that are short, flags that are known, and indices in the table, as often as not.
  const entries: number[] = [];
  for (let id = 0; id < size; id += 1) entries.push(place.table + 16 * id);
  for (let id = 0; id < 4; id += 1) entries.push(setting.tables + 16 * id);
  for (const at of entries) {
    const flags = random.number(4);
    const table = random.once(6);
    driver.put64(
      at,
      memory.base + BigInt(table ? setting.tables : random.number(memory.size - 64)),
    );
    driver.put32(at + 8, table ? 16 * (1 + random.number(3)) : random.number(64));
    const kind = table ? INDIRECT : flags;
    if (packed) driver.put16(at + 14, kind | random.pick([0x80, 0x8000, 0x80, 0x8000, 0, 0x8080]));
    else {
      driver.put16(at + 12, kind);
      driver.put16(at + 14, random.number(size + 1));
    }
  }
  if (!packed) {
    for (let slot = 0; slot < size; slot += 1)
      driver.put16(place.driver + 4 + 2 * slot, random.number(size + (random.once(8) ? 1 : 0)));
    driver.put16(
      place.driver + 2,
      setting.position + 1 + random.number(size + (random.once(8) ? 1 : 0)),
    );
  }
  for (let left = 2 + random.number(20); left > 0; left -= 1) storminess(world, random);
  world.drain();
}

function add({ driver, setting }: DeviceWorld, random: Random): Site | undefined {
  return driver.add(drawBuffers(random, setting, setting.size));
}

function expectWhole({ plain, setting }: DeviceWorld): void {
  // The plain one, too, has to take what is lawful.
  if (plain.broken)
    throw deviation('device: a lawful ring is broken', setting, `at ${plain.position}`);
}

/** What comes must be what was to come; of several chains the last but one or the last. */
function expectAfter(
  world: DeviceWorld,
  random: Random,
  verdict: string | undefined,
  name: string,
  site?: Site,
): void {
  const { plain, setting } = world;
  const found: (PlainChain | 'empty' | 'broken')[] = [];
  const pop = plain.pop.bind(plain);
  plain.pop = () => {
    const popped = pop();
    found.push(popped);
    return popped;
  };
  world.drain();
  for (let left = random.number(4); left > 0; left -= 1) storminess(world, random);
  const { plain: now } = world;
  const chain = found.find((one) => typeof one !== 'string' && one.id === site?.id);
  const right =
    verdict === undefined ||
    (verdict === 'broken' && now.broken) ||
    (verdict === 'empty' && !now.broken) ||
    ((verdict === 'chain' || verdict === 'unreachable') && !now.broken && (chain ?? true));
  // Both sides agree, so that it is the plain one that is wrong.
  if (!right) throw deviation(`device: ${name} is not found`, setting, JSON.stringify(found, big));
}

function big(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `0x${value.toString(16)}` : value;
}
