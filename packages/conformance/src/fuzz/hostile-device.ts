/**
 * A driver in front of a device that breaks rules: what the device writes into shared memory is changed before the driver
 * reads it, and so is what registers say. The driver may give up, and must neither fall over nor wait for ever; with an
 * honest device it then starts anew.
 */

import { IommuQueue, MmioRegister } from '@viommu/common';
import type { DriverAction, DriverEnvironment, DriverTargetFactory } from '../driver-target.ts';
import type { DeviceTarget, DeviceTargetFactory, TargetRegisters } from '../target.ts';
import { Deviation } from './deviation.ts';
import type { Journal } from './fuzzer.ts';
import { randomSetup } from './platform.ts';
import type { Random } from './random.ts';

/** Drivers one after the other, and what each of them is asked to do. */
const LIVES = 8;
const ACTIONS = 10;
/** Turns that one action may wait: more than any bound of a driver. */
const TURNS_MAX = 20_000;
const BUSY_MS = 1;
const IDLE_MS = 50;
const PAGE = 4096n;
const VALUES = [0, 1, 2, 3, 4, 0x7f, 0x80, 0xff, 0xffff, 0x8000, 0x7fff_ffff, 0xffff_ffff] as const;

/** Lets a driver act. `device` is honest, and its target has registers. */
export async function runHostile(
  driver: DriverTargetFactory,
  device: DeviceTargetFactory,
  random: Random,
  journal: Journal,
): Promise<void> {
  const setup = randomSetup(random);
  const target = await device.open(setup.wish);
  try {
    const world = new World(target, random);
    const { environment } = world;
    const present = target.endpoints.filter(({ role }) => role === 'present');
    for (let life = 0; life < LIVES; life += 1) {
      // Honest at first, so that the driver comes to where it has something to lose.
      world.hostile = 0;
      target.reset?.('system');
      const subject = await driver.open();
      world.turns = 0;
      const honest = subject.start(environment);
      if (honest.result !== 'ok')
        throw new Deviation('driver', 'it does not start with an honest device', honest.result);
      for (const { id } of present) subject.perform({ kind: 'attach', endpoint: id });
      world.hostile = random.pick([1, 2, 8, 40]);
      for (let count = 0; count < ACTIONS; count += 1) {
        world.turns = 0;
        subject.perform(randomAction(random, target));
        journal.requests += 1;
      }
      world.turns = 0;
      subject.perform({ kind: 'remove' });
      subject.dispose();
    }
  } finally {
    target.dispose();
  }
}

class World {
  /** One in so many turns and reads is changed; 0 for none. */
  hostile = 4;
  /** Turns since the action began. */
  turns = 0;
  readonly #target: DeviceTarget;
  readonly #registers: TargetRegisters;
  readonly #random: Random;
  readonly #position: number;
  /** Where queues were put, by the register that says so. */
  readonly #areas = new Map<number, number>();
  #queue = 0;
  #nowMs = 0;

  constructor(target: DeviceTarget, random: Random) {
    const { memory, window, registers } = target;
    if (registers === undefined) throw new Error('The device has no registers.');
    this.#target = target;
    this.#registers = registers;
    this.#random = random;
    const low = Number(window.start & 0xffff_ffffn);
    this.#position = memory.locate(low, Number(window.start >> 32n), window.bytes);
  }

  /** What the driver is given. */
  get environment(): DriverEnvironment {
    const { memory, window } = this.#target;
    return {
      memory,
      window,
      registers: {
        read: (offset, width) => this.#read(offset, width),
        write: (offset, width, value) => {
          if (offset === MmioRegister.QueueSel) this.#queue = value;
          // The request queue's: there a driver waits.
          if (AREAS.has(offset) && this.#queue === IommuQueue.REQUEST)
            this.#areas.set(offset, value);
          this.#registers.write(offset, width, value);
        },
      },
      interrupted: () => this.#registers.read(MmioRegister.InterruptStatus, 4) !== 0,
      work: () => this.#work(),
      now: () => this.#nowMs,
    };
  }

  #work(): boolean {
    this.turns += 1;
    if (this.turns > TURNS_MAX) throw new Deviation('driver', 'it waits for ever', '');
    let worked = false;
    this.#target.wait(() => {
      const again = worked;
      worked = true;
      return again;
    }, 0);
    if (this.#strikes()) this.#forge();
    this.#nowMs += this.turns % 4 === 0 ? IDLE_MS : BUSY_MS;
    return true;
  }

  /** Changes some bytes of what the device wrote, mostly in the parts of queues that are the device's. */
  #forge(): void {
    const random = this.#random;
    const { memory, window } = this.#target;
    const low = Number(window.start & 0xffff_ffffn);
    const areas = [...this.#areas.values()];
    const area = areas.length === 0 || random.once(6) ? low : random.pick(areas);
    const at = area - low + 2 * random.number(random.pick([2, 8, 40, 600]));
    if (at < 0 || at + 4 > window.bytes / 2) return;
    const position = this.#position + at;
    const aligned = position - (position % 4);
    if (random.once(2)) memory.setUint16(position, random.pick(VALUES) & 0xffff);
    else memory.setUint32(aligned, random.pick(VALUES));
  }

  #read(offset: number, width: number): number {
    const value = this.#registers.read(offset, width);
    // What cannot change while a device lives would be another device.
    if (offset < MmioRegister.DeviceFeatures || !this.#strikes()) return value;
    return this.#random.pick(VALUES) % 2 ** (8 * width);
  }

  #strikes(): boolean {
    return this.hostile > 0 && this.#random.once(this.hostile);
  }
}

const AREAS: ReadonlySet<number> = new Set<number>([
  MmioRegister.QueueDescLow,
  MmioRegister.QueueDeviceLow,
]);

function randomAction(random: Random, { endpoints, window }: DeviceTarget): DriverAction {
  const { id: endpoint } = random.pick(endpoints);
  const iova = PAGE * BigInt(random.pick([0, 16, 17, 18, 19, 1 << 20]));
  const bytes = PAGE * BigInt(random.pick([1, 1, 2, 8]));
  switch (random.number(12)) {
    case 0:
      return { kind: 'probe', endpoint };
    case 1:
    case 2:
      return { kind: 'attach', endpoint, ...(random.once(3) && { domain: 'shared' }) };
    case 3:
      return { kind: 'detach', endpoint };
    case 4:
    case 5:
      return { kind: 'unmap', endpoint, iova, bytes };
    case 6:
      return { kind: 'interrupt' };
    case 7:
      return random.once(2)
        ? { kind: 'reset-queue', queue: random.number(2) }
        : { kind: 'bypass', value: random.once(2) };
    default: {
      const phys = window.start + BigInt(window.bytes / 2);
      return { kind: 'map', endpoint, iova, phys, bytes, write: random.once(2) };
    }
  }
}
