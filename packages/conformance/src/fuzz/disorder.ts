/** Drivers that break rules: rings and requests with one thing wrong, or made of random bytes. */

import {
  Descriptor,
  DescriptorFlag,
  IommuQueue,
  PackedDescriptor,
  PackedFlag,
} from '@viommu/common';
import { BATCH_MAX, Place, READABLE_MAX } from './limit.ts';
import type { Random } from './random.ts';
import type { PokeStep, RequestStep, Setup, Step } from './stream.ts';

const EDGES = [0n, 1n, 0xffffn, 0x7fff_ffffn, 0xffff_ffffn, 1n << 53n, 0xffff_ffff_ffff_ffffn];
const RING_BYTES = Place.TABLES - Place.REQUEST_RING;

/** A whole excursion: fresh rings, requests, something wrong about them, and a reset at the end. */
export function* disorder(
  random: Random,
  setup: Setup,
  window: { readonly start: bigint; readonly bytes: number },
  request: () => RequestStep,
): Generator<Step, void, undefined> {
  // Fresh rings: what is poked lies at their start.
  yield { kind: 'reset', of: 'device', refuse: setup.refuse };
  yield { kind: 'wild' };
  const count = random.pick([1, 2, 3, 8]);
  for (let turn = random.number(4); turn > 0; turn -= 1) yield { kind: 'post', bytes: 24 };
  for (let turn = 0; turn < count; turn += 1) yield { ...request(), held: false };
  if (random.once(3)) yield* noise(random);
  else yield oneThing(random, setup, window, count);
  yield { kind: 'kick', queue: random.once(4) ? IommuQueue.EVENT : IommuQueue.REQUEST };
  if (random.once(3)) yield { kind: 'kick', queue: random.pick([0, 0, 1, 2, 0xffff]) };
  yield { kind: 'reset', of: 'device', refuse: setup.refuse };
}

/** One field of a descriptor or of a ring's head, set to something that it must not be. */
function oneThing(
  random: Random,
  { format, queueSize }: Setup,
  window: { readonly start: bigint; readonly bytes: number },
  count: number,
): PokeStep {
  const layout = format === 'packed' ? PackedDescriptor : Descriptor;
  const field = random.pick(layout.fields);
  const index = random.number(2 * count + 1);
  const driverArea = Place.REQUEST_RING + queueSize * layout.size;
  if (random.once(4)) {
    // The index or an entry of the available ring, or what suppresses events.
    const bytes = word(random.pick([0n, 1n, BigInt(queueSize), 0x7fffn, 0x8000n, 0xffffn]), 2);
    return { kind: 'poke', at: driverArea + 2 * random.number(count + 2), bytes };
  }
  let value = random.pick(EDGES);
  if (field.name === 'addr') {
    const edge = random.pick([0n, BigInt(window.bytes) - 1n, BigInt(window.bytes), -1n, 8n]);
    value = random.once(2) ? value : BigInt.asUintN(64, window.start + edge);
  } else if (field.name === 'flags') value = BigInt(random.number(FLAGS_MAX));
  else if (field.name === 'next')
    value = BigInt(random.pick([0, 0xffff, queueSize, 2 * queueSize]));
  else if (random.once(2)) value = BigInt(random.number(2 * queueSize));
  const at = Place.REQUEST_RING + index * layout.size + field.offset;
  return { kind: 'poke', at, bytes: word(value, field.width) };
}

/** Random bytes over rings, tables and requests. */
function* noise(random: Random): Generator<PokeStep, void, undefined> {
  for (let turn = random.pick([1, 3, 10]); turn > 0; turn -= 1) {
    const length = random.pick([1, 2, 8, 16, 64, 256]);
    const bytes = Uint8Array.from({ length }, () =>
      random.once(2) ? random.number(256) : random.pick([0, 0, 1, 2, 3, 4, 0x80, 0xff]),
    );
    const at = random.pick([
      Place.REQUEST_RING + random.number(64),
      Place.REQUEST_RING + random.number(RING_BYTES),
      Place.EVENT_RING + random.number(RING_BYTES),
      Place.TABLES + random.number(256),
      Place.REQUESTS + random.number(BATCH_MAX * READABLE_MAX),
    ]);
    yield { kind: 'poke', at, bytes };
  }
}

const FLAGS_MAX =
  2 *
  (DescriptorFlag.NEXT |
    DescriptorFlag.WRITE |
    DescriptorFlag.INDIRECT |
    PackedFlag.AVAIL |
    PackedFlag.USED);

function word(value: bigint, width: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes.slice(0, width);
}
