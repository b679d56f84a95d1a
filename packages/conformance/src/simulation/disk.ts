/** A disk of the guest and its traffic: every byte that comes back is known. */

import { type BlkDriver, BlkRequestType } from '@viommu/blk';
import { IommuError, addressAt, guestPhysical } from '@viommu/common';
import type { SystemDisk } from '@viommu/machine';
import type { Guest } from './guest.ts';

const { IN, OUT } = BlkRequestType;
const BLOCK = 2048;
const SECTORS = BLOCK / 512;
const BLOCKS = 8;
const BUFFERS = 4;
const CONTEXT = { cpu: 0 };
const UNKNOWN = -1;

interface Flight {
  readonly type: typeof IN | typeof OUT;
  readonly block: number;
  readonly value: number;
  readonly buffer: number;
}

export class Disk {
  readonly #guest: Guest;
  /** What each block is full of. */
  readonly #content: number[] = Array.from({ length: BLOCKS }, () => 0);
  readonly #flights: Map<number, Flight> = new Map();
  readonly #page: number;
  #disk: SystemDisk | undefined = undefined;

  constructor(guest: Guest) {
    this.#guest = guest;
    this.#page = guest.system.ram.allocatePages(BUFFERS);
  }

  /** Requests are under way. */
  get busy(): boolean {
    return this.#flights.size > 0;
  }

  plug(): void {
    const { system, plan } = this.#guest;
    const { pollsMax = 0 } = plan.driver;
    this.#disk = system.plugDisk('disk', { depth: 8, segmentsMax: 4, pollsMax });
  }

  unplug(): void {
    const disk = this.#disk;
    const driver = disk?.driver;
    if (disk === undefined) return;
    this.#disk = undefined;
    this.#guest.system.unplugDisk(disk);
    if (driver !== undefined) while (this.#reap(driver, true));
    this.#flights.clear();
  }

  end(): void {
    this.#guest.system.ram.freePages(this.#page);
  }

  /** Some requests; a few may still be under way when this returns. */
  go(): void {
    const driver = this.#disk?.driver;
    if (driver === undefined) return;
    const { random } = this.#guest.stage;
    for (let count = 1 + random.number(8); count > 0 && driver.lost === undefined; count -= 1) {
      while (this.#flights.size === BUFFERS && this.#await(driver));
      const block = random.number(BLOCKS);
      const busy = [...this.#flights.values()];
      const buffer = [0, 1, 2, 3].find((one) => busy.every((other) => other.buffer !== one));
      if (buffer === undefined || busy.some((other) => other.block === block)) continue;
      const value = 1 + random.number(255);
      const type = random.once(2) ? IN : OUT;
      this.#bytes(buffer).fill(type === OUT ? value : 0);
      const offset = (buffer % 2) * BLOCK;
      const page = this.#page + (buffer >> 1);
      const token = driver.submit(CONTEXT, type, block * SECTORS, page, offset, BLOCK);
      if (typeof token === 'number') this.#flights.set(token, { type, block, value, buffer });
      else if (token !== 'ENOMEM' && token !== 'EBUSY') this.#failed(token);
    }
    driver.kick();
    if (random.once(2)) this.settle();
    if (driver.lost !== undefined) this.#failed(driver.lost);
  }

  /** Waits for all that is under way. */
  settle(): void {
    const driver = this.#disk?.driver;
    if (driver === undefined) return;
    while (this.#flights.size > 0 && this.#await(driver));
  }

  #await(driver: BlkDriver): boolean {
    if (this.#reap(driver, false)) return true;
    if (driver.wait(5000)) return true;
    this.#failed('it does not answer');
    return false;
  }

  #reap(driver: BlkDriver, removed: boolean): boolean {
    const token = driver.reap(CONTEXT);
    const flight = this.#flights.get(token);
    if (flight === undefined) return false;
    this.#flights.delete(token);
    const { stage } = this.#guest;
    const { type, block, value, buffer } = flight;
    if (driver.error !== undefined) {
      if (type === OUT) this.#content[block] = UNKNOWN;
      if (!removed && driver.error !== 'ENOMEM') this.#failed(driver.error);
      return true;
    }
    const known = this.#content[block];
    if (type === OUT) this.#content[block] = value;
    else if (known !== UNKNOWN && !stage.excused)
      stage.check(
        this.#bytes(buffer).every((byte) => byte === known),
        'data',
        'a disk reads other bytes than were written',
      );
    return true;
  }

  /** That is a finding, unless something was done to the disk or its IOMMU. */
  #failed(reason: string): void {
    const { stage } = this.#guest;
    if (stage.excused) throw new IommuError('EIO', reason);
    stage.fail('disk', 'a disk fails and nothing was done to it', reason);
  }

  #bytes(buffer: number): Uint8Array {
    const address = guestPhysical(addressAt(this.#page, 0) + BigInt(buffer * BLOCK));
    return this.#guest.memory.bytes(address, BLOCK);
  }
}
