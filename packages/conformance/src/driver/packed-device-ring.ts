/** The device's half of a packed ring: section "Packed Virtqueues". */

import {
  DescriptorFlag,
  EventMode,
  EventSuppression,
  PackedDescriptor,
  PackedFlag,
  VirtioFeature,
  hasFeature,
} from '@viommu/common';
import { locate, readBytes, readStruct, writeStruct } from '../ring/bytes.ts';
import {
  type DeviceRing,
  type DeviceRingOptions,
  type DriverChain,
  ELEMENTS_MAX,
  type Element,
  type Snapshot,
  checkElements,
  located,
  snapshot,
  unchanged,
} from './device-ring.ts';

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;
const { AVAIL, USED } = PackedFlag;

interface Place {
  slot: number;
  wrap: boolean;
}

export class PackedDeviceRing implements DeviceRing {
  readonly layout: DeviceRing['layout'];
  readonly #options: DeviceRingOptions;
  readonly #indirect: boolean;
  #next: Place = { slot: 0, wrap: true };
  #used: Place = { slot: 0, wrap: true };
  readonly #waiting: DriverChain[] = [];
  #inFlight = 0;
  readonly #given: WeakSet<DriverChain> = new WeakSet();
  /** The device itself wrote where it must not, and cannot tell who changed a slot. */
  #spoilt = false;
  /** Chains in the device's hands, and what of them is free by now: used descriptors come in a row. */
  readonly #mine: Set<DriverChain> = new Set();
  readonly #overwritten: WeakSet<Snapshot> = new WeakSet();

  constructor(options: DeviceRingOptions) {
    const { memory, layout, features, ledger } = options;
    this.#options = options;
    this.layout = layout;
    this.#indirect = hasFeature(features, VirtioFeature.INDIRECT_DESC);
    const { descriptorArea, driverArea, deviceArea, size } = layout;
    // They must be there before anything is watched.
    for (const [area, bytes] of [
      [descriptorArea, PackedDescriptor.size * size],
      [driverArea, EventSuppression.size],
      [deviceArea, EventSuppression.size],
    ] as const)
      locate(memory, area, bytes);
    ledger.check(
      'packed.drv.layout.part-alignment',
      descriptorArea % 16n === 0n && driverArea % 4n === 0n && deviceArea % 4n === 0n,
      `the parts lie at 0x${descriptorArea.toString(16)}, 0x${driverArea.toString(16)}, 0x${deviceArea.toString(16)}`,
    );
    const fresh = readBytes(memory, descriptorArea, PackedDescriptor.size * size);
    ledger.check(
      'fact.packed.zero-start',
      fresh.every((byte) => byte === 0),
      'the ring is not zero when it is enabled',
    );
    this.wantNotifications(true);
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** The slot and, above 15 bits, the wrap counter of what the device has not seen yet. */
  get position(): number {
    this.look();
    return this.#next.slot | (this.#next.wrap ? 0x8000 : 0);
  }

  look(): void {
    const { size } = this.layout;
    // One lap at most: more than that is not in a ring.
    for (let turns = 0; turns < size && this.#isAvailable(this.#next); turns += 1) this.#list();
  }

  take(): DriverChain | undefined {
    return this.#waiting.shift();
  }

  give(chain: DriverChain, usedBytes: number, id: number = chain.id): void {
    const { memory, ledger } = this.#options;
    if (id !== chain.id || this.#given.has(chain)) this.#spoilt = true;
    this.#given.add(chain);
    const same =
      this.#spoilt ||
      chain.snapshots.every((one) => this.#overwritten.has(one) || unchanged(memory, one));
    for (const clause of [
      'packed.drv.desc.no-change-after-avail',
      'packed.drv.desc.reuse-only-used',
      'basic.drv.cleanup.no-alter-exposed',
    ])
      ledger.check(clause, same, `slots of buffer ${chain.id} changed while the device had it`);
    const { slot, wrap } = this.#used;
    const flags = (usedBytes > 0 ? WRITE : 0) | (wrap ? AVAIL | USED : 0);
    const at = this.#slotAt(slot);
    const { addr } = readStruct(memory, PackedDescriptor, at);
    this.#mine.delete(chain);
    // All slots of the list are free then, whoever had them: the driver may describe others there.
    const freed = new Set(
      Array.from({ length: chain.slots }, (_, ahead) =>
        this.#slotAt(this.#ahead(this.#used, ahead).slot),
      ),
    );
    for (const { snapshots } of this.#mine)
      for (const one of snapshots) if (freed.has(one.address)) this.#overwritten.add(one);
    writeStruct(memory, PackedDescriptor, at, {
      addr,
      len: usedBytes,
      id,
      flags: wrap ? 0 : AVAIL | USED,
    });
    memory.storeUint16(locate(memory, at + BigInt(PackedDescriptor.offset.flags), 2), flags);
    this.#used = this.#ahead(this.#used, chain.slots);
    if (id === chain.id) this.#inFlight -= 1;
  }

  giveBatch(chains: readonly DriverChain[], usedBytes: number): void {
    const last = chains.at(-1);
    if (last === undefined) return;
    const slots = chains.reduce((sum, chain) => sum + chain.slots, 0);
    this.#inFlight -= chains.length - 1;
    for (const chain of chains) this.#mine.delete(chain);
    this.give({ ...last, slots }, usedBytes);
  }

  wantNotifications(wanted: boolean): void {
    const flags = wanted ? EventMode.ENABLE : EventMode.DISABLE;
    writeStruct(this.#options.memory, EventSuppression, this.layout.deviceArea, { desc: 0, flags });
  }

  /** Takes the list that begins at the next slot. */
  #list(): void {
    const { memory, ledger } = this.#options;
    const { size } = this.layout;
    const elements: Element[] = [];
    const snapshots: Snapshot[] = [];
    let tables = 0;
    let slots = 0;
    let id = 0;
    for (let place = this.#next; ; place = this.#ahead(place, 1)) {
      slots += 1;
      const at = this.#slotAt(place.slot);
      const descriptor = readStruct(memory, PackedDescriptor, at);
      const { flags } = descriptor;
      snapshots.push(snapshot(memory, at, PackedDescriptor.size));
      ledger.check(
        'packed.drv.sg.first-last',
        this.#isAvailable(place),
        `slot ${place.slot} of a list is not available, and its first is`,
      );
      const indirect = (flags & INDIRECT) !== 0;
      if (!this.#indirect)
        ledger.check(
          'packed.drv.indirect.needs-feature',
          !indirect,
          'INDIRECT without the feature',
        );
      if (indirect) {
        tables += 1;
        this.#table(descriptor.addr, descriptor.len, elements, snapshots);
      } else
        elements.push({
          address: descriptor.addr,
          length: descriptor.len,
          writable: (flags & WRITE) !== 0,
        });
      id = descriptor.id;
      if ((flags & NEXT) === 0) break;
      // It would bite its own tail.
      if (slots > size) break;
    }
    // An IOMMU has no limit of its own.
    for (const clause of [
      'packed.drv.sg.list-within-queue-size',
      'packed.drv.sg.list-within-device-limit',
    ])
      ledger.check(clause, slots <= size, `a list has more than ${size} slots`);
    if (tables > 0)
      ledger.check(
        'packed.drv.indirect.list-within-device-limit',
        elements.length <= size,
        `a table has ${elements.length} entries for a queue of ${size}`,
      );
    ledger.check(
      'packed.drv.sg.space-before-first',
      this.#slotsInFlight() + slots <= size,
      'a list begins where the device still has others',
    );
    for (const clause of ['packed.drv.indirect.no-indirect-in-chain', 'fact.packed.no-mixing'])
      ledger.check(clause, tables === 0 || slots === 1, 'a table is part of a longer list');
    checkElements('packed', elements, this.#options);
    this.#next = this.#ahead(this.#next, slots);
    this.#inFlight += 1;
    const chain = { id, elements, slots, snapshots };
    this.#mine.add(chain);
    this.#waiting.push(chain);
  }

  #table(address: bigint, length: number, elements: Element[], snapshots: Snapshot[]): void {
    const { memory, ledger } = this.#options;
    const count = Math.min(Math.floor(length / PackedDescriptor.size), ELEMENTS_MAX);
    if (!located(memory, address, count * PackedDescriptor.size)) return;
    snapshots.push(snapshot(memory, address, count * PackedDescriptor.size));
    for (let index = 0; index < count; index += 1) {
      const { addr, len, flags } = readStruct(
        memory,
        PackedDescriptor,
        address + BigInt(PackedDescriptor.size * index),
      );
      ledger.check(
        'packed.drv.indirect.table-flags-write-only',
        (flags & ~WRITE) === 0,
        `flags 0x${flags.toString(16)} in a table`,
      );
      elements.push({ address: addr, length: len, writable: (flags & WRITE) !== 0 });
    }
  }

  /** Slots between what was given back and what comes next. */
  #slotsInFlight(): number {
    const laps = this.#next.wrap === this.#used.wrap ? 0 : this.layout.size;
    return this.#next.slot - this.#used.slot + laps;
  }

  #isAvailable({ slot, wrap }: Place): boolean {
    const { memory } = this.#options;
    const at = this.#slotAt(slot) + BigInt(PackedDescriptor.offset.flags);
    const flags = memory.loadUint16(locate(memory, at, 2));
    return ((flags & AVAIL) !== 0) === wrap && ((flags & USED) !== 0) !== wrap;
  }

  #ahead({ slot, wrap }: Place, slots: number): Place {
    const sum = slot + slots;
    const { size } = this.layout;
    return sum < size ? { slot: sum, wrap } : { slot: sum - size, wrap: !wrap };
  }

  #slotAt(slot: number): bigint {
    return this.layout.descriptorArea + BigInt(PackedDescriptor.size * slot);
  }
}
