/** Whether a chain that a device gets is the one that the driver made: its numbers, where it lies, and its bytes. */

import type { Chain } from '@viommu/ring';
import type { Random } from '../random.ts';
import type { PlainBuffer, PlainChain } from './plain.ts';
import { type Setting, deviation } from './setting.ts';

/** Bytes that one access reads or writes. */
const BYTES_MAX = 48;
const scratch = new Uint8Array(BYTES_MAX + 8);
const answer = new Uint8Array(BYTES_MAX);

/** Compares a chain with the plain one, and uses it: what it reads is in `copy`, what it writes is written there, too. */
export function lookInto(
  setting: Setting,
  copy: Uint8Array,
  random: Random,
  chain: Chain,
  plain: PlainChain,
): void {
  const { memory } = setting;
  const wrong = (matter: string, evidence: string): Error =>
    deviation(`device: a chain has ${matter}`, setting, evidence);
  const buffers = plain.buffers.filter(({ length }) => length > 0);
  const positions = buffers.map(({ address, length }) => positionOf(setting, address, length));
  const reachable = positions.every((position) => position >= 0);
  const readable = buffers.filter(({ writable }) => !writable);
  const writable = buffers.filter((buffer) => buffer.writable);
  const readableBytes = sum(readable);
  const writableBytes = sum(writable);
  if (chain.id !== plain.id) throw wrong('another id', `${chain.id} for ${plain.id}`);
  if (chain.reachable !== reachable)
    throw wrong(reachable ? 'no way to its memory' : 'memory that is none', positions.join(' '));
  if (chain.readableBytes !== readableBytes || chain.writableBytes !== writableBytes)
    throw wrong(
      'other sums of bytes',
      `${chain.readableBytes}+${chain.writableBytes} for ${readableBytes}+${writableBytes}`,
    );
  const first = positions[0] ?? -1;
  const wanted = random.number(8) * random.number(8);
  const contiguous = chain.contiguous(wanted);
  const inOne =
    reachable && memory.view !== undefined && readable.length > 0 && readable[0]!.length >= wanted; // There is one.
  if (contiguous !== (inOne ? first : -1))
    throw wrong('another first piece', `${contiguous} for ${wanted} bytes`);
  if (!reachable) return;
  if (chain.count !== buffers.length || chain.readableCount !== readable.length)
    throw wrong('another count of buffers', `${chain.readableCount} of ${chain.count}`);
  for (const [index, { length }] of buffers.entries())
    if (chain.position(index) !== positions[index] || chain.length(index) !== length)
      throw wrong(
        'other buffers',
        `number ${index} at ${chain.position(index)}, ${chain.length(index)} bytes`,
      );

  const offset = offsetIn(random, readable);
  const length = random.number(BYTES_MAX);
  const source = spread(readable, positions);
  scratch.fill(0xee);
  const count = chain.read(offset, scratch, 1, length);
  const expected = source.slice(offset, offset + length);
  const due = expected.map((at) => copy[at]);
  if (count !== due.length || due.some((byte, index) => byte !== scratch[1 + index]))
    throw wrong('other bytes to read', `${count} of ${length} from ${offset}`);
  if (scratch[0] !== 0xee || scratch[1 + due.length] !== 0xee)
    throw wrong('more bytes than it should', `from ${offset}, ${length}`);

  const target = spread(writable, positions.slice(readable.length));
  if (writableBytes >= 4 && random.once(2)) {
    const word = random.next();
    const at = Math.min(offsetIn(random, writable), writableBytes - 4);
    chain.writeWord(at, word);
    for (let byte = 0; byte < 4; byte += 1) copy[target[at + byte]!] = word >>> (8 * byte); // There is room.
    return;
  }
  for (let index = 0; index < BYTES_MAX; index += 1) answer[index] = random.number(2) + 7 * index;
  write(random, chain, copy, writable, target, wrong);
}

/** As {@link lookInto}, for a chain of one readable and one writable buffer: their positions and bytes. */
export function expectPair(
  setting: Setting,
  copy: Uint8Array,
  random: Random,
  { buffers }: PlainChain,
  got: readonly [readable: number, readableBytes: number, writable: number, writableBytes: number],
): void {
  const { memory } = setting;
  const [first, second] = buffers;
  const pair = first !== undefined && second !== undefined && buffers.length === 2;
  const expected = pair
    ? [
        positionOf(setting, first.address, first.length),
        first.length,
        positionOf(setting, second.address, second.length),
        second.length,
      ]
    : [];
  const right =
    pair &&
    !first.writable &&
    second.writable &&
    !expected.some((value) => value <= 0 && value !== 0);
  if (!right || got.some((value, index) => value !== expected[index]))
    throw deviation(
      'device: a pair is another',
      setting,
      `${got.join(' ')} for ${expected.join(' ')}`,
    );
  if (first.length === 0 || second.length === 0 || expected[0]! < 0 || expected[2]! < 0)
    // There are four.
    throw deviation('device: a pair without memory', setting, got.join(' '));
  const [readable, readableBytes, writable, writableBytes] = got;
  const read = Math.min(readableBytes, BYTES_MAX);
  memory.read(readable, scratch, 0, read);
  for (let index = 0; index < read; index += 1)
    if (scratch[index] !== copy[readable + index])
      throw deviation('device: a pair has other bytes', setting, `byte ${index}`);
  const written = random.number(Math.min(writableBytes, 9) + 1);
  for (let index = 0; index < written; index += 1) {
    const byte = random.number(256);
    memory.setUint8(writable + index, byte);
    copy[writable + index] = byte;
  }
}

function write(
  random: Random,
  chain: Chain,
  copy: Uint8Array,
  writable: readonly PlainBuffer[],
  target: readonly number[],
  wrong: (matter: string, evidence: string) => Error,
): void {
  const offset = offsetIn(random, writable);
  const from = random.number(4);
  const length = random.number(BYTES_MAX - from);
  const places = target.slice(offset, offset + length);
  const count = chain.write(offset, answer, from, length);
  if (count !== places.length)
    throw wrong(
      'another room to write',
      `${count} of ${length} from ${offset}, not ${places.length}`,
    );
  for (const [index, at] of places.entries()) copy[at] = answer[from + index]!; // Below the length.
}

/** The positions of the first bytes of some buffers, one by one. */
function spread(buffers: readonly PlainBuffer[], positions: readonly number[]): number[] {
  const places: number[] = [];
  for (const [index, { length }] of buffers.entries())
    for (let byte = 0; byte < length && places.length < 600; byte += 1)
      places.push(positions[index]! + byte); // There are as many.
  return places;
}

/** An offset in buffers, mostly near where one ends; not far enough for {@link spread} to matter. */
function offsetIn(random: Random, buffers: readonly PlainBuffer[]): number {
  let offset = 0;
  for (let index = random.number(Math.min(buffers.length, 4) + 1); index > 0; index -= 1)
    offset += buffers[index - 1]!.length; // Below the count.
  return Math.min(500, Math.max(0, offset + random.number(7) - 3));
}

function positionOf({ memory }: Setting, address: bigint, length: number): number {
  const position = address - memory.base;
  const inside = position >= 0n && position + BigInt(length) <= BigInt(memory.size);
  return inside ? Number(position) : -1;
}

function sum(buffers: readonly PlainBuffer[]): number {
  let bytes = 0;
  for (const { length } of buffers) bytes += length;
  return bytes;
}
