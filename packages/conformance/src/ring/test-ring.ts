/**
 * The driver's half of a queue, for tests: legal chains by one call, and every field open to a case that wants it wrong.
 *
 * Unlike the rings of `@viommu/ring` these keep no rule by themselves, trust nothing less than they must to be able to
 * say what the device did, and know nothing of speed.
 */

import type { QueueLayout } from '@viommu/ring';

/** One element of a chain. */
export interface ChainBuffer {
  /** Guest-physical. */
  readonly address: bigint;
  readonly length: number;
  /** The device writes it. */
  readonly writable: boolean;
}

/** A buffer that the device gave back. */
export interface Completion {
  /** The id that the device wrote: the chain's head in a split ring, the buffer id in a packed one. */
  readonly id: number;
  /** The used length, as the device wrote it. */
  readonly length: number;
  /** Packed rings only: the WRITE flag of the used descriptor. */
  readonly writeFlag?: boolean;
  /** With IN_ORDER: how many chains before this one the entry stands for as well. */
  readonly passed: number;
}

export interface OfferOptions {
  /** Puts the buffers from this one on into an indirect table; 0 for all of them. The table lies at `tableAt`. */
  readonly indirectFrom?: number;
  /** Guest-physical; room for 16 bytes a buffer. */
  readonly tableAt?: bigint;
}

/** One queue, of either format. */
export interface TestRing {
  readonly format: 'split' | 'packed';
  readonly layout: QueueLayout;
  readonly size: number;
  /** IN_ORDER is negotiated: one entry may stand for all chains up to the one that it names. */
  inOrder: boolean;
  /** What NOTIFICATION_DATA says beside the queue's number. */
  readonly position: number;
  /** Makes a chain available; the device may see it at once. Returns the id under which it comes back. */
  offer(buffers: readonly ChainBuffer[], options?: OfferOptions): number;
  /** True if the device has given back something that {@link take} has not returned. */
  ready(): boolean;
  /** The next buffer that was given back. */
  take(): Completion | undefined;
  /** Tells the device whether it should interrupt, by the flags (without EVENT_IDX). */
  wantInterrupts(wanted: boolean): void;
}
