/** Warnings of the core: a line for a reader and a counter for a program. */

import type { Logger } from '@viommu/common';

/** What is counted. */
export const COUNTERS = {
  lateProbe: 'Devices whose IOMMU was found only after their driver was bound.',
  probeFailed: 'Devices that their IOMMU did not take on.',
  bindFailed: 'Drivers that waited and then failed.',
  listenerFailed: 'Listeners of groups that threw.',
  groupDomainLeft: 'Groups that ended while they had a domain.',
  groupMisuse: 'Calls that end what was never begun: detaching, releasing, unbinding.',
  undoFailed: 'Changes of a domain that could not be undone.',
  demandConflict: 'Groups whose devices demand different default domains.',
  domainRefused: 'Groups that have no default domain.',
  directSkipped: 'Regions best mapped to themselves, of devices whose IOMMU does not reach them.',
  domainFallback: 'Default domains of another type than asked for.',
  unmapShort: 'Unmaps that removed less than they were asked to.',
  unmapUnknown: 'Unmaps of addresses that lead nowhere.',
  iovaLeaked: 'IOVA ranges given up for good, since a device may still reach what was there.',
  flushFailed: 'Flushes that the IOMMU did not finish.',
  highAddresses: 'PCI devices that get addresses above 4 GiB, since there were none below.',
  dmaSetupFailed: 'Devices whose DMA operations stayed what they were.',
  pagesLeaked: 'Pages given up for good, since others may still reach them.',
  bounceFull: 'Buffers that found no place in the bounce pool.',
  bounceCut: 'Copies that would have left their bounced buffer.',
  bounceLeaked: 'Places in the bounce pool given up for good, since a device may still reach them.',
  grantBroken: 'Devices given up because a back-end kept a grant.',
  dependencyIgnored: 'Devices that stopped waiting for an IOMMU.',
  firmwareIgnored: 'Parts of the firmware description that make no sense.',
} as const;

/** The name of a counter. */
export type CounterName = keyof typeof COUNTERS;

/** The counters and the log of one guest. */
export class CoreLog {
  /** Every counter, from 0. */
  readonly counters: Record<CounterName, number>;
  readonly #logger: Logger | undefined;

  constructor(logger?: Logger) {
    this.counters = Object.fromEntries(Object.keys(COUNTERS).map((name) => [name, 0])) as Record<
      CounterName,
      number
    >; // Its keys are the names.
    this.#logger = logger;
  }

  /** Counts without a line. */
  count(counter: CounterName): void {
    this.counters[counter] += 1;
  }

  /** Counts and writes a line. */
  warn(counter: CounterName, message: string): void {
    this.count(counter);
    this.line(message);
  }

  /** Writes a line without counting. */
  line(message: string): void {
    this.#logger?.warn(`iommu: ${message}`);
  }
}
