/** The guest of the long run: boots, works, changes everything that can be changed, shuts down, and boots again. */

import type { BlkDriver } from '@viommu/blk';
import { type GuestContext, GuestSystem, type SystemDisk } from '@viommu/machine';
import { driverOf } from '../kit/disks.ts';
import { Traffic } from '../kit/traffic.ts';
import {
  BLOCKS,
  SOAK_DISKS,
  type SoakArgs,
  type SoakReport,
  TRAFFIC_SEED,
  tablesOf,
} from './plan.ts';

const COMMAND_LINES = [
  'iommu.strict=1',
  'iommu.strict=0',
  'iommu.strict=0 iommu.fq=single',
  'iommu.passthrough=1',
  'iommu.strict=1 swiotlb=1024,force',
];
/** Lives of one system, in turns. */
const TURNS = 40;
const REQUESTS = 60;
const DEPTH = 12;
const TYPES = ['identity', 'DMA', 'DMA-FQ', 'auto'];
const ROOT = { administrator: true };

export default function soak(context: GuestContext): void {
  const args = context.args as SoakArgs; // What the creator passes.
  const dieAt = args.dieMs > 0 ? context.clock.now() + args.dieMs : Infinity;
  for (let life = 0; !context.stopped(); life += 1) {
    const commandLine = COMMAND_LINES[(args.seed + life) % COMMAND_LINES.length] ?? '';
    new Life(context, args, commandLine, args.seed + life, dieAt).run();
  }
}

/** A disk and what goes on with it. */
interface Busy {
  readonly name: string;
  disk: SystemDisk;
  driver: BlkDriver;
  traffic: Traffic;
}

/** One system from its boot to its end. */
class Life {
  readonly #context: GuestContext;
  readonly #args: SoakArgs;
  readonly #commandLine: string;
  readonly #seed: number;
  readonly #dieAt: number;
  readonly #system: GuestSystem;
  readonly #disks: Busy[] = [];
  #requests = 0;
  #errors = 0;
  #wrong = 0;
  #resets = 0;
  #plugs = 0;
  #switches = 0;

  constructor(
    context: GuestContext,
    args: SoakArgs,
    commandLine: string,
    seed: number,
    dieAt: number,
  ) {
    this.#context = context;
    this.#args = args;
    this.#commandLine = commandLine;
    this.#seed = seed;
    this.#dieAt = dieAt;
    const { isProtected } = args;
    this.#system = new GuestSystem(context, {
      commandLine,
      xen: !isProtected,
      protected: isProtected,
    });
  }

  run(): void {
    for (const name of Object.keys(SOAK_DISKS))
      // A protected guest has no grants: its node waits for a back-end that is not for it.
      if (name !== 'grant' || !this.#args.isProtected) this.#disks.push(this.#plug(name));
    for (let turn = 0; turn < TURNS && !this.#context.stopped(); turn += 1) {
      for (const busy of this.#disks) busy.traffic.mix(REQUESTS);
      this.#change(turn);
      // Dies as it is: requests under way, mappings in place, locks of the host's in nobody's hand.
      if (this.#context.clock.now() > this.#dieAt) process.exit(3);
    }
    for (const busy of this.#disks) this.#unplug(busy);
    this.#end();
  }

  #change(turn: number): void {
    const busy = this.#disks[turn % this.#disks.length];
    if (busy === undefined) return;
    const { context } = this.#system;
    const what = busy.traffic.random(6);
    if (what === 0) {
      busy.driver.reset(context);
      this.#resets += 1;
    } else if (what === 1) {
      this.#unplug(busy);
      Object.assign(busy, this.#plug(busy.name));
      this.#plugs += 1;
    } else if (what === 2) this.#switchType(busy);
    else if (what === 3) busy.driver.flushSync(context);
  }

  /** To lazy under the disk's requests; to anything else between two drivers. */
  #switchType(busy: Busy): void {
    const { disk, traffic } = busy;
    const { core } = this.#system;
    const { group, driver: blk } = disk.device;
    const type = TYPES[traffic.random(TYPES.length)] ?? 'auto';
    if (group === undefined || blk === undefined) return;
    const path = `${group.path}/type`;
    this.#switches += 1;
    if (type === 'DMA-FQ' && core.directory.read(path) === 'DMA\n') {
      core.directory.write(path, type, ROOT);
      return;
    }
    traffic.settle();
    core.unbind(disk.device);
    core.directory.write(path, type, ROOT);
    core.bind(disk.device, blk);
    busy.driver = driverOf(disk);
    traffic.driver = busy.driver;
  }

  #plug(name: string): Busy {
    const { memory } = this.#context;
    const queues = name === 'second' ? 2 : 1;
    const disk = this.#system.plugDisk(name, { queues });
    const driver = driverOf(disk);
    const tables = tablesOf(this.#args.tables, name);
    const order = this.#seed * 16 + this.#plugs + 1;
    const options = { system: this.#system, memory, driver, depth: DEPTH, ...tables };
    const traffic = new Traffic({ ...options, blocks: BLOCKS, seed: TRAFFIC_SEED, order });
    return { name, disk, driver, traffic };
  }

  /** With requests under way. */
  #unplug({ disk, traffic }: Busy): void {
    this.#system.unplugDisk(disk);
    traffic.settle();
    this.#requests += traffic.requests;
    this.#errors += traffic.errors;
    this.#wrong += traffic.wrong;
    traffic.end();
  }

  /** Shuts down, so that the next system finds everything as this one did. */
  #end(): void {
    const { core, driver, pool, ram } = this.#system;
    core.unregisterInstance(driver);
    driver.remove();
    if (pool !== undefined) ram.freePages(pool.firstPage);
    globalThis.gc?.();
    const report: SoakReport = {
      commandLine: this.#commandLine,
      requests: this.#requests,
      errors: this.#errors,
      wrong: this.#wrong,
      resets: this.#resets,
      plugs: this.#plugs,
      switches: this.#switches,
      heapBytes: process.memoryUsage().heapUsed,
      freePages: this.#context.memory.pages.freePages,
    };
    this.#context.report({ ...report });
  }
}
