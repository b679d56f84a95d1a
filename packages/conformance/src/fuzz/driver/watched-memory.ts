/**
 * Guest memory as a driver under test reaches it: every access is looked at, and the device may run before it.
 *
 * A driver writes only into memory that it was given, nowhere into what belongs to the device, and not into what it has
 * handed over; of what the device answers it reads each byte once.
 */

import type { SharedMemory } from '@viommu/ring';
import { ObservedMemory } from '../observed-memory.ts';

/** Whose a byte is. */
export const Owner = {
  /** Not given to the driver. */
  NOBODY: 0,
  DRIVER: 1,
  /** An area that only the device writes. */
  DEVICE: 2,
  /** A buffer that the device has for now. */
  LENT: 3,
} as const;

export type Owner = (typeof Owner)[keyof typeof Owner];

const NAMES = [
  'outside its memory',
  'its own',
  "into the device's area",
  'into what the device has',
];
/** How often a byte of an answer was read. */
const [ANY, UNREAD, READ] = [0, 1, 2];
/** Accesses of one call that no driver needs: each of its requests takes some forty. */
const ACCESSES_MAX = 400_000;

export interface WatchedMemoryOptions {
  readonly memory: SharedMemory;
  /** Told what the driver does wrong; does not return. */
  readonly fail: (matter: string, evidence: string) => never;
  /** The device's chance to run; called every now and then between two accesses, if {@link WatchedMemory.gap} says so. */
  readonly race: () => number;
}

export class WatchedMemory extends ObservedMemory {
  readonly view: DataView | undefined = undefined;
  /** Accesses until the device has its next chance; 0 for none, and while it has it. */
  gap = 0;
  /** The device has its chances at all. */
  races = false;
  /** Accesses since this was set to 0. */
  accesses = 0;
  readonly #owners: Uint8Array;
  readonly #answers: Uint8Array;
  readonly #options: WatchedMemoryOptions;
  /** Behind all that was ever given to anybody. */
  #end = 0;

  constructor(options: WatchedMemoryOptions) {
    super(options.memory);
    this.#options = options;
    this.#owners = new Uint8Array(options.memory.size);
    this.#answers = new Uint8Array(options.memory.size);
  }

  /** Whose the bytes are from now on. */
  give(position: number, length: number, owner: Owner): void {
    this.#owners.fill(owner, position, position + length);
    this.#end = Math.max(this.#end, position + length);
  }

  /** True if all bytes are `owner`'s. */
  areOf(position: number, length: number, owner: Owner): boolean {
    return this.#owners.subarray(position, position + length).every((each) => each === owner);
  }

  /** The device wrote an answer there. */
  answered(position: number, length: number): void {
    this.#answers.fill(UNREAD, position, position + length);
  }

  /** Anything may be read there, as often as anybody likes. */
  unwatch(position: number, length: number): void {
    this.#answers.fill(ANY, position, position + length);
  }

  /** What the device has is the driver's again, and answers may be read as often as anybody likes. */
  relax(): void {
    const owners = this.#owners;
    for (let at = 0; at < this.#end; at += 1)
      if (owners[at] === Owner.LENT) owners[at] = Owner.DRIVER;
    this.#answers.fill(ANY, 0, this.#end);
  }

  protected override beforeRead(position: number, length: number): void {
    this.#count();
    const answers = this.#answers;
    for (let at = position; at < position + length; at += 1) {
      if (answers[at] === ANY) continue;
      if (answers[at] === READ)
        this.#options.fail('it reads a byte of an answer twice', `at ${hex(at)}`);
      answers[at] = READ;
    }
  }

  protected override beforeWrite(position: number, length: number): void {
    this.#count();
    const owners = this.#owners;
    for (let at = position; at < position + length; at += 1)
      if (owners[at] !== Owner.DRIVER)
        this.#options.fail(
          `it writes ${NAMES[owners[at] ?? 0]}`,
          `${length} bytes at ${hex(position)}`,
        );
    this.unwatch(position, length);
  }

  #count(): void {
    this.accesses += 1;
    if (this.accesses > ACCESSES_MAX)
      this.#options.fail('one call accesses memory without an end', '');
    if (this.gap === 0) return;
    this.gap -= 1;
    if (this.gap === 0) this.gap = this.#options.race();
  }
}

function hex(position: number): string {
  return `0x${position.toString(16)}`;
}
