/**
 * What one side of a queue knows apart from shared memory, as a plain value: it can be cloned, sent, or written as JSON.
 *
 * A state may come from anywhere. It is checked as a whole before a queue takes it over, and what it says can be true
 * of a queue then. Positions that follow from others are not part of it, so that they cannot contradict each other.
 */

import {
  DescriptorFlag,
  EVENT_OFFSET_MASK,
  IommuError,
  checkSaved,
  isUint32,
} from '@viommu/common';
import type { QueueFeatures } from './queue.ts';

/** The version of the states that this package writes and reads. */
export const QUEUE_STATE_VERSION = 1;

/** The `fault` of a queue that was broken when it was saved. */
export const BROKEN_BEFORE = 'the ring was damaged before the queue was saved';

/** What both sides know. For the device's side this is all: it is saved while no chain is in its hands. */
export interface QueueState {
  readonly version: number;
  readonly size: number;
  readonly features: Required<QueueFeatures>;
  /**
   * Where the next chain becomes available: the index in the available ring, or the slot and, in the highest of 16
   * bits, its wrap counter.
   */
  readonly position: number;
  /** True if the other side broke the queue. */
  readonly broken: boolean;
}

/** The device's side of a queue. */
export type DeviceQueueState = QueueState;

/** One chain that the driver has not taken back. */
export interface ChainState {
  /** 0..2^31 - 1. */
  readonly token: number;
  /** Bytes in its writable buffers. */
  readonly writableBytes: number;
  /** Its descriptors from the head on; of a packed queue its buffer id alone. */
  readonly ids: readonly number[];
  /** Descriptors, or slots of a packed ring, that it holds. */
  readonly slots: number;
}

/** The driver's side of a queue. Every descriptor, or buffer id, is either free or in one chain. */
export interface DriverQueueState extends QueueState {
  /** Entries of an indirect table; 0 without tables. */
  readonly buffersPerTable: number;
  /** Free descriptors, or buffer ids, in the order in which they are used next. */
  readonly free: readonly number[];
  /** Published chains, with IN_ORDER as they became available; then those not published, in their order. */
  readonly chains: readonly ChainState[];
  /** How many of the chains, from the end, are not published. */
  readonly unpublished: number;
  /** Packed: the flags of the first descriptor not published, but AVAIL and USED; else 0. */
  readonly heldFlags: number;
  /** With IN_ORDER: a used entry for several chains, some of them taken: whom it names, and the length in it. */
  readonly batch?: { readonly last: number; readonly bytes: number };
}

/** What both sides save; `packed` is the format, whatever the features say. */
export function queueState(
  { size, fault }: { readonly size: number; readonly fault: string | undefined },
  features: QueueFeatures,
  packed: boolean,
  position: number,
): QueueState {
  const { indirect, eventIndex, inOrder = false } = features;
  return {
    version: QUEUE_STATE_VERSION,
    size,
    features: { indirect, eventIndex, inOrder, packed },
    position,
    broken: fault !== undefined,
  };
}

/** Refuses to save what the device has not given back. @throws {IommuError} `EBUSY`. */
export function checkIdle(idle: boolean): void {
  if (!idle) throw new IommuError('EBUSY', 'A chain of the queue is in the hands of the device.');
}

/** @throws {IommuError} `EINVAL` for a state that no queue of this size, format and features can be in. */
export function checkQueueState(
  state: QueueState,
  size: number,
  features: QueueFeatures,
  packed: boolean,
): void {
  checkSaved(isObject(state) && state.version === QUEUE_STATE_VERSION, 'another version wrote it');
  const { features: saved, position } = state;
  checkSaved(state.size === size, 'its queue has another size');
  checkSaved(
    isObject(saved) &&
      saved.packed === packed &&
      FEATURES.every((name) => saved[name] === (features[name] ?? false)),
    'its queue has another format or other features',
  );
  checkSaved(
    isBelow(position, POSITIONS) && (!packed || (position & EVENT_OFFSET_MASK) < size),
    'its position lies outside the ring',
  );
  checkSaved(typeof state.broken === 'boolean', 'it does not say whether the queue is broken');
}

/** @throws {IommuError} `EINVAL` for a state that no queue of this size, features and tables can be in. */
export function checkDriverQueueState(
  state: DriverQueueState,
  size: number,
  features: QueueFeatures,
  packed: boolean,
  buffersPerTable: number,
): void {
  checkQueueState(state, size, features, packed);
  const { free, chains, unpublished } = state;
  checkSaved(state.buffersPerTable === buffersPerTable, 'its indirect tables have another size');
  checkSaved(
    Array.isArray(free) && Array.isArray(chains) && free.length + chains.length <= size,
    'it has more descriptors and chains than the queue',
  );
  const known = new Uint8Array(size);
  let count = 0;
  const claim = (id: number): void => {
    checkSaved(
      isBelow(id, size) && known[id] === 0,
      'a descriptor lies outside the ring, or twice in it',
    );
    known[id] = 1;
    count += 1;
  };
  for (const id of free) claim(id);
  let slots = 0;
  for (const chain of chains) {
    checkSaved(isChain(chain, size, packed), 'one of its chains is none');
    for (const id of chain.ids) claim(id);
    slots += chain.slots;
  }
  checkSaved(count === size && slots <= size, 'descriptors are lost, or there are too many');
  checkSaved(isBelow(unpublished, chains.length + 1), 'it has fewer chains than it says');
  const published = chains.length - unpublished;
  checkSaved(isHeld(state, chains[published]), 'its next descriptor has impossible flags');
  const { batch } = state;
  if (batch === undefined) return;
  checkSaved(
    features.inOrder === true &&
      isObject(batch) &&
      isUint32(batch.bytes) &&
      chains.slice(0, published).some(({ ids }) => ids[0] === batch.last),
    'it has an impossible batch',
  );
}

/**
 * The chains in flight, by head or buffer id, in the order of a saved state. `tokens` is negative where none is.
 * `latest` names as many, as they became available: all those in flight with IN_ORDER, else the unpublished ones only.
 */
export function chainsInFlight(
  tokens: Int32Array,
  latest: readonly number[],
  unpublished: number,
  inOrder: boolean,
): readonly number[] {
  if (inOrder) return latest;
  const held = new Set(latest.slice(latest.length - unpublished));
  const published = [...tokens.keys()].filter((id) => tokens[id]! >= 0 && !held.has(id)); // A key.
  return [...published, ...held];
}

const { NEXT, WRITE, INDIRECT } = DescriptorFlag;
const FEATURES = ['indirect', 'eventIndex', 'inOrder'] as const;
/** Positions have 16 bits. */
const POSITIONS = 0x1_0000;
const TOKENS = 2 ** 31;

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}

function isBelow(value: number, bound: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < bound;
}

function isChain(chain: ChainState, size: number, packed: boolean): boolean {
  if (!isObject(chain) || !isBelow(chain.token, TOKENS) || !isUint32(chain.writableBytes))
    return false;
  const { ids, slots } = chain;
  if (!Array.isArray(ids) || !isBelow(slots, size + 1)) return false;
  return slots > 0 && ids.length === (packed ? 1 : slots);
}

/** True if the flags that a packed queue holds back can be those of `chain`, or are 0 if there is none. */
function isHeld(
  { features, buffersPerTable, heldFlags }: DriverQueueState,
  chain: ChainState | undefined,
): boolean {
  if (!features.packed || chain === undefined) return heldFlags === 0;
  if (heldFlags === INDIRECT) return buffersPerTable > 0 && chain.slots === 1;
  const next = chain.slots > 1 ? NEXT : 0;
  return heldFlags === next || heldFlags === (next | WRITE);
}
