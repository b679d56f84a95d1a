/** The device's half of a split ring: section "Split Virtqueues". */

import {
  AvailableRing,
  Descriptor,
  DescriptorFlag,
  RING_ENTRY_SIZE,
  UsedElement,
  UsedFlag,
  UsedRing,
  VirtioFeature,
  hasFeature,
} from '@viommu/common';
import { readStruct, writeStruct } from '../ring/bytes.ts';
import { locate } from '../ring/bytes.ts';
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

export class SplitDeviceRing implements DeviceRing {
  readonly layout: DeviceRing['layout'];
  readonly #options: DeviceRingOptions;
  readonly #available: number;
  readonly #used: number;
  readonly #indirect: boolean;
  readonly #eventIndex: boolean;
  readonly #inOrder: boolean;
  #seen = 0;
  #given = 0;
  #wanted = true;
  readonly #waiting: DriverChain[] = [];
  #inFlight = 0;

  constructor(options: DeviceRingOptions) {
    const { memory, layout, features, ledger } = options;
    this.#options = options;
    this.layout = layout;
    const { size } = layout;
    this.#available = locate(
      memory,
      layout.driverArea,
      AvailableRing.size + RING_ENTRY_SIZE * (size + 1),
    );
    this.#used = locate(
      memory,
      layout.deviceArea,
      UsedRing.size + UsedElement.size * size + RING_ENTRY_SIZE,
    );
    this.#indirect = hasFeature(features, VirtioFeature.INDIRECT_DESC);
    this.#eventIndex = hasFeature(features, VirtioFeature.EVENT_IDX);
    this.#inOrder = hasFeature(features, VirtioFeature.IN_ORDER);
    const { descriptorArea, driverArea, deviceArea } = layout;
    ledger.check(
      'split.drv.layout.part-alignment',
      descriptorArea % 16n === 0n && driverArea % 2n === 0n && deviceArea % 4n === 0n,
      `the parts lie at 0x${descriptorArea.toString(16)}, 0x${driverArea.toString(16)}, 0x${deviceArea.toString(16)}`,
    );
    ledger.check(
      'split.drv.avail-notify.used-flags-initial-zero',
      memory.getUint16(this.#used) === 0,
      'used.flags is not zero when the queue is enabled',
    );
    ledger.check(
      'fact.split.idx-start',
      memory.getUint16(this.#used + UsedRing.offset.idx) === 0,
      'used.idx is not zero when the queue is enabled',
    );
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get position(): number {
    return this.#options.memory.loadUint16(this.#available + AvailableRing.offset.idx);
  }

  look(): void {
    const { memory, ledger } = this.#options;
    const { size } = this.layout;
    this.#checkFlags();
    const steps = (this.position - this.#seen) & 0xffff;
    if (steps === 0) return;
    const fits = ledger.check(
      'split.drv.avail.idx-never-back',
      steps <= size - this.#inFlight,
      `avail.idx goes from ${this.#seen} to ${this.position} with ${this.#inFlight} of ${size} chains in flight`,
    );
    if (!fits) return;
    for (let step = 0; step < steps; step += 1) {
      const slot = this.#available + AvailableRing.size + RING_ENTRY_SIZE * (this.#seen % size);
      this.#waiting.push(this.#chain(memory.getUint16(slot)));
      this.#seen = (this.#seen + 1) & 0xffff;
      this.#inFlight += 1;
    }
    this.#arm();
  }

  take(): DriverChain | undefined {
    return this.#waiting.shift();
  }

  give(
    chain: DriverChain,
    usedBytes: number,
    id: number = chain.id,
    place: number = this.#given,
  ): void {
    const { memory, ledger } = this.#options;
    const { size, deviceArea } = this.layout;
    ledger.check(
      'basic.drv.cleanup.no-alter-exposed',
      chain.snapshots.every((one) => unchanged(memory, one)),
      `descriptors of chain ${chain.id} changed while the device had it`,
    );
    const at = deviceArea + BigInt(UsedRing.size + UsedElement.size * ((place & 0xffff) % size));
    writeStruct(memory, UsedElement, at, { id, len: usedBytes });
    this.#given = (this.#given + 1) & 0xffff;
    if (id === chain.id) this.#inFlight -= 1;
    memory.storeUint16(this.#used + UsedRing.offset.idx, this.#given);
  }

  giveBatch(chains: readonly DriverChain[], usedBytes: number): void {
    const last = chains.at(-1);
    if (last === undefined) return;
    this.#given = (this.#given + chains.length - 1) & 0xffff;
    this.#inFlight -= chains.length - 1;
    // The entry stands in the slot of the first.
    this.give(last, usedBytes, last.id, this.#given - chains.length + 1);
  }

  wantNotifications(wanted: boolean): void {
    this.#wanted = wanted;
    if (!this.#eventIndex) this.flags(wanted ? 0 : UsedFlag.NO_NOTIFY);
    this.#arm();
  }

  /** Writes `used.flags`, whatever it is. */
  flags(value: number): void {
    this.#options.memory.setUint16(this.#used, value);
  }

  /** Writes `avail_event`, whatever it is. */
  availableEvent(value: number): void {
    const at = this.#used + UsedRing.size + UsedElement.size * this.layout.size;
    this.#options.memory.setUint16(at, value & 0xffff);
  }

  /** With EVENT_IDX, a notification of the next chain, or of one that is far off. */
  #arm(): void {
    if (this.#eventIndex) this.availableEvent(this.#wanted ? this.#seen : this.#seen - 1);
  }

  #checkFlags(): void {
    const { memory, ledger } = this.#options;
    const flags = memory.getUint16(this.#available);
    if (this.#eventIndex)
      ledger.check(
        'split.drv.used-notify.flags-zero-with-event-idx',
        flags === 0,
        `avail.flags is ${flags}`,
      );
    else ledger.check('split.drv.used-notify.flags-range', flags <= 1, `avail.flags is ${flags}`);
  }

  /** Takes a chain apart. What cannot be followed ends it. */
  #chain(head: number): DriverChain {
    const { ledger, memory } = this.#options;
    const { size, descriptorArea } = this.layout;
    const elements: Element[] = [];
    const snapshots: Snapshot[] = [];
    const visited = new Set<number>();
    for (let index = head; ;) {
      const fresh = index < size && !visited.has(index);
      ledger.check(
        'split.drv.desc.chain-total-length',
        fresh,
        `a chain comes to descriptor ${index} again, or outside the table`,
      );
      if (!fresh) break;
      visited.add(index);
      const at = descriptorArea + BigInt(Descriptor.size * index);
      const { addr, len, flags, next } = readStruct(memory, Descriptor, at);
      snapshots.push(snapshot(memory, at, Descriptor.size));
      if ((flags & INDIRECT) === 0)
        elements.push({ address: addr, length: len, writable: (flags & WRITE) !== 0 });
      else {
        ledger.check(
          'split.drv.indirect.needs-feature',
          this.#indirect,
          'INDIRECT without the feature',
        );
        ledger.check(
          'split.drv.indirect.not-with-next',
          (flags & NEXT) === 0,
          'INDIRECT with NEXT',
        );
        this.#table(addr, len, elements, snapshots);
      }
      if (!this.#indirect)
        ledger.check(
          'split.drv.indirect.needs-feature',
          (flags & INDIRECT) === 0,
          'INDIRECT without the feature',
        );
      if ((flags & NEXT) === 0) break;
      if (this.#inOrder)
        ledger.check(
          'split.drv.desc.in-order-next',
          next === (index + 1) % size,
          `${next} follows ${index}`,
        );
      index = next;
    }
    ledger.check(
      'split.drv.indirect.chain-max-queue-size',
      elements.length <= size,
      `a chain of ${elements.length} buffers in a queue of ${size}`,
    );
    checkElements('split', elements, this.#options);
    return { id: head, elements, slots: 1, snapshots };
  }

  #table(address: bigint, length: number, elements: Element[], snapshots: Snapshot[]): void {
    const { ledger, memory } = this.#options;
    const count = Math.min(Math.floor(length / Descriptor.size), ELEMENTS_MAX);
    if (!located(memory, address, count * Descriptor.size)) return;
    snapshots.push(snapshot(memory, address, count * Descriptor.size));
    for (let index = 0, steps = 0; steps < count; steps += 1) {
      const entry = readStruct(memory, Descriptor, address + BigInt(Descriptor.size * index));
      ledger.check(
        'split.drv.indirect.no-nesting',
        (entry.flags & INDIRECT) === 0,
        'a table in a table',
      );
      elements.push({
        address: entry.addr,
        length: entry.len,
        writable: (entry.flags & WRITE) !== 0,
      });
      if ((entry.flags & NEXT) === 0) return;
      if (this.#inOrder)
        ledger.check(
          'split.drv.indirect.in-order-sequential',
          entry.next === index + 1,
          `${entry.next} follows ${index} in a table`,
        );
      if (entry.next >= count) return;
      index = entry.next;
    }
  }
}
