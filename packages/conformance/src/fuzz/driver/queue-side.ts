/** One queue as the device in front of a driver has it: its ring, and how far the two have come. */

import {
  EventMode,
  EventSuppression,
  RING_ENTRY_SIZE,
  UsedElement,
  UsedRing,
  VirtioFeature,
  hasFeature,
} from '@viommu/common';
import type { QueueLayout, SharedMemory } from '@viommu/ring';
import { type DeviceRing, type DriverChain, located } from '../../driver/device-ring.ts';
import type { Ledger } from '../../driver/ledger.ts';
import { PackedDeviceRing } from '../../driver/packed-device-ring.ts';
import { SplitDeviceRing } from '../../driver/split-device-ring.ts';
import { locate, writeStruct } from '../../ring/bytes.ts';
import type { Random } from '../random.ts';
import { type Span, UsedPlace } from './used-place.ts';
import { Owner, type WatchedMemory } from './watched-memory.ts';

/** How far from the next one an event buffer may be used. */
const OUT_OF_ORDER_MAX = 4;

export interface QueueSideOptions {
  readonly memory: SharedMemory;
  readonly watched: WatchedMemory;
  readonly layout: QueueLayout;
  readonly features: bigint;
  readonly ledger: Ledger;
  readonly fail: (kind: string, matter: string, evidence: string) => never;
}

export class QueueSide {
  readonly layout: QueueLayout;
  readonly ring: DeviceRing;
  readonly used: UsedPlace;
  /** The device looks by itself; asleep it does when it is told. */
  awake = true;
  /** What the device wants to be told, and whether it has not since the call began. */
  wanted = true;
  unwanted = false;
  /** Chains that were there at the last notification. */
  notifiedOf = 0;
  /** Chains taken so far. */
  #taken = 0;
  protected readonly options: QueueSideOptions;
  readonly #packed: boolean;

  constructor(options: QueueSideOptions) {
    const { memory, layout, features } = options;
    this.options = options;
    this.layout = layout;
    this.#packed = hasFeature(features, VirtioFeature.RING_PACKED);
    this.ring = this.#packed ? new PackedDeviceRing(options) : new SplitDeviceRing(options);
    this.used = new UsedPlace(memory, layout, features);
    this.#own(Owner.DEVICE);
  }

  /** Chains that the driver made available so far. */
  get available(): number {
    this.ring.look();
    return this.#taken + this.ring.waiting;
  }

  /** Takes all chains that are there; `count` is given if the device itself may have written over them. */
  takeAll(take: (chain: DriverChain) => void, count?: number): void {
    this.ring.look();
    for (;;) {
      const chain = this.ring.take();
      if (chain === undefined) return;
      this.#taken += 1;
      if (count === undefined || this.#isWhole(chain, count)) take(chain);
    }
  }

  /** The buffers of a chain become the device's. Returns where they are. */
  lend({ elements }: DriverChain, lawless: boolean): Span[] {
    const { memory, watched, fail } = this.options;
    return elements.map(({ address, length }) => {
      const position = locate(memory, address, length);
      if (lawless) return [position, length];
      if (!watched.areOf(position, length, Owner.DRIVER))
        fail(
          'memory',
          'it hands over memory that is not its own',
          `${length} bytes at ${position}`,
        );
      watched.give(position, length, Owner.LENT);
      return [position, length];
    });
  }

  /** Gives a chain back. */
  giveBack(chain: DriverChain, bytes: number, lawless: boolean): void {
    const spans = this.used.spans();
    this.ring.give(chain, bytes);
    this.used.advance(1, chain.slots);
    if (lawless) return;
    for (const [position, length] of spans) this.options.watched.answered(position, length);
  }

  /** Says whether the device wants to be told of new chains. */
  want(wanted: boolean): void {
    this.ring.wantNotifications(wanted);
    this.wanted = wanted;
    if (wanted) this.unwanted = false;
    const { memory, features } = this.options;
    // With EVENT_IDX a packed ring can name the one that it wants to hear of.
    if (!wanted || !this.#packed || !hasFeature(features, VirtioFeature.EVENT_IDX)) return;
    const desc = this.ring.position;
    const flags = EventMode.DESCRIPTOR;
    writeStruct(memory, EventSuppression, this.layout.deviceArea, { desc, flags });
  }

  /** The queue is the driver's alone again, and so are the buffers of these chains. */
  end(chains: readonly DriverChain[] = []): void {
    this.#own(Owner.DRIVER);
    const { memory, watched } = this.options;
    for (const { elements } of chains)
      for (const { address, length } of elements)
        watched.give(locate(memory, address, length), length, Owner.DRIVER);
  }

  #own(owner: Owner): void {
    const { memory, watched } = this.options;
    const { size, deviceArea } = this.layout;
    const bytes = this.#packed
      ? EventSuppression.size
      : UsedRing.size + UsedElement.size * size + RING_ENTRY_SIZE;
    watched.give(locate(memory, deviceArea, bytes), bytes, owner);
  }

  #isWhole({ elements }: DriverChain, count: number): boolean {
    return (
      elements.length === count &&
      elements.every(
        ({ address, length, writable }, at) =>
          writable === (at === count - 1) &&
          length > 0 &&
          located(this.options.memory, address, length),
      )
    );
  }
}

/** The event queue: buffers that wait for something to report. */
export class EventSide extends QueueSide {
  #chains: DriverChain[] = [];

  /** How many the device has. */
  buffers(lawless: boolean): number {
    this.takeAll(
      (chain) => {
        const { elements } = chain;
        if (elements.length !== 1 || elements[0]?.writable !== true)
          this.options.fail('request', 'an event buffer is not one writable buffer', '');
        this.lend(chain, lawless);
        this.#chains.push(chain);
      },
      lawless ? 1 : undefined,
    );
    return this.#chains.length;
  }

  /** Puts a record into one of them. False if there is none. */
  inject(record: Uint8Array, usedBytes: number, lawless: boolean, random: Random): boolean {
    const { memory, watched, features } = this.options;
    const count = Math.min(this.buffers(lawless), OUT_OF_ORDER_MAX);
    const inOrder = count === 0 || hasFeature(features, VirtioFeature.IN_ORDER);
    const [chain] = this.#chains.splice(inOrder ? 0 : random.number(count), 1);
    const [element] = chain?.elements ?? [];
    if (chain === undefined || element === undefined || element.length < record.length)
      return false;
    const position = locate(memory, element.address, element.length);
    memory.write(position, record, 0, record.length);
    if (!lawless) watched.answered(position, element.length);
    watched.give(position, element.length, Owner.DRIVER);
    this.giveBack(chain, usedBytes, lawless);
    return true;
  }

  override end(): void {
    super.end(this.#chains);
  }
}
