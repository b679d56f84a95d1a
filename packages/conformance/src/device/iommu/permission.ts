/**
 * Permissions of mappings, at and around their ends: two side by side with all pairs of flags, made in either order, to
 * memory that is apart or in one piece. After each access all memory around is looked at, so that what goes astray shows.
 */

import { MapFlag } from '@viommu/common';
import { type DeviceCase, defineCase } from '../../case.ts';
import { readBytes, writeBytes } from '../../ring/bytes.ts';
import { mapUnit, memory, unit, unitBytes } from '../place.ts';
import type { Session } from '../session.ts';

const { READ, WRITE } = MapFlag;
const FLAGS = { none: 0, read: READ, write: WRITE, both: READ | WRITE } as const;
/** The left mapping is of this unit, the right one of the next. */
const LEFT = 3;
/** Units of memory: the mappings' own, and others around them. */
const ROOM = 5;
const VALUE = 0xc3;

/** Where accesses begin: bytes from the start of the left mapping, given the bytes of a unit; and how long they are. */
const ACCESSES: readonly (readonly [(size: bigint) => bigint, number])[] = [
  [() => 0n, 1],
  [() => 0n, 8],
  [(size) => size - 8n, 8],
  [(size) => size - 1n, 1],
  [(size) => size - 1n, 2],
  [(size) => size - 4n, 8],
  [(size) => size, 1],
  [(size) => size, 8],
  [(size) => 2n * size - 8n, 8],
  [(size) => 2n * size - 1n, 1],
];

interface Pair {
  readonly flags: readonly [number, number];
  readonly leftFirst: boolean;
  readonly inOnePiece: boolean;
}

/** Both mappings in place. */
interface Scene {
  readonly endpoint: number;
  readonly flags: readonly [number, number];
  /** All memory that is looked at, and the places of both mappings in it. */
  readonly room: bigint;
  readonly bytes: number;
  /** What is there when it is read. */
  readonly pattern: Uint8Array;
  readonly at: readonly [bigint, bigint];
}

export const PERMISSION_CASES: readonly DeviceCase[] = Object.entries(FLAGS).flatMap(
  ([leftName, left]) =>
    Object.entries(FLAGS).flatMap(([rightName, right]) => {
      const flags = [left, right] as const;
      const name = `${leftName}-beside-${rightName}`;
      const pair = `two mappings side by side, for ${leftName} and ${rightName}`;
      const each = (s: Session, judge: Judge): void => {
        const room = memory(s, ROOM);
        for (const leftFirst of [true, false])
          for (const inOnePiece of [false, true])
            sideBySide(s, room, { flags, leftFirst, inOnePiece }, judge);
      };
      const needs = ['dma', 'map-unmap'] as const;
      const cases = [
        defineCase({
          id: `fact.iommu.translate#${name}`,
          title: `of ${pair}, each leads to its own memory, to the last byte`,
          needs,
          run: (s) => each(s, checkTranslated),
        }),
      ];
      if ((left & right & WRITE) !== 0) return cases;
      return cases.concat(
        defineCase({
          id: `iommu.dev.map.write-needs-flag#${name}`,
          title: `of ${pair}, no byte is written without permission`,
          needs,
          run: (s) => each(s, checkForbidden),
        }),
      );
    }),
);

/** Makes one access, and judges what became of it. */
type Judge = (s: Session, scene: Scene, offset: bigint, length: number) => void;

function sideBySide(
  s: Session,
  room: bigint,
  { flags, leftFirst, inOnePiece }: Pair,
  judge: Judge,
): void {
  const endpoint = s.dma.endpoint();
  const domain = s.attached(endpoint);
  const size = unitBytes(s);
  const at = [room + size, room + (inOnePiece ? 2n : 3n) * size] as const;
  for (const side of leftFirst ? ([0, 1] as const) : ([1, 0] as const))
    s.setUp(mapUnit(s, domain, LEFT + side, at[side], { flags: flags[side] }));
  const bytes = ROOM * Number(size);
  const scene = { endpoint, flags, room, bytes, at, pattern: patternOf(bytes) };
  for (const [offsetOf, length] of ACCESSES) judge(s, scene, offsetOf(size), length);
}

/** What each byte of an access leads to: where in the room, and with which flags. */
function leads(
  s: Session,
  { flags, at, room }: Scene,
  offset: bigint,
  length: number,
): { readonly place: number; readonly flags: number }[] {
  const size = unitBytes(s);
  return Array.from({ length }, (_, index) => {
    const byte = offset + BigInt(index);
    const side = byte < size ? 0 : 1;
    return { place: Number(at[side] - room + (byte % size)), flags: flags[side] };
  });
}

/** Writes, and returns the room afterwards, which was all zeros. */
function written(s: Session, scene: Scene, offset: bigint, length: number): Uint8Array {
  const { endpoint, room, bytes } = scene;
  writeBytes(s.target.memory, room, new Uint8Array(bytes));
  const iova = unit(s, LEFT).virtStart + offset;
  s.dma.access(endpoint, 'write', iova, new Uint8Array(length).fill(VALUE));
  return readBytes(s.target.memory, room, bytes);
}

/** An access of which no byte may be written, or only some: nothing changes but these. */
function checkForbidden(s: Session, scene: Scene, offset: bigint, length: number): void {
  const targets = leads(s, scene, offset, length);
  const allowed = targets.filter((to) => (to.flags & WRITE) !== 0);
  if (allowed.length === length) return;
  const places = allowed.map(({ place }) => place);
  const stray = strayIn(written(s, scene, offset, length), places);
  s.check(
    stray < 0,
    `a write ${nameOf(scene, offset, length)} changed byte ${stray} of the memory`,
  );
}

/** An access that is allowed: it arrives, and what is read is what is there. */
function checkTranslated(s: Session, scene: Scene, offset: bigint, length: number): void {
  const targets = leads(s, scene, offset, length);
  const what = nameOf(scene, offset, length);
  const places = targets.map(({ place }) => place);
  if (targets.every(({ flags }) => (flags & WRITE) !== 0)) {
    const after = written(s, scene, offset, length);
    const stray = strayIn(after, places);
    s.must(stray < 0, `a write ${what} changed byte ${stray} of the memory`);
    s.check(
      places.every((place) => after[place] === VALUE),
      `a write ${what} does not arrive`,
    );
  }
  const { endpoint, room, pattern } = scene;
  writeBytes(s.target.memory, room, pattern);
  const got = new Uint8Array(length);
  s.dma.access(endpoint, 'read', unit(s, LEFT).virtStart + offset, got);
  for (const [index, { flags, place }] of targets.entries()) {
    // What may be written only may be read as well, and is what it is then.
    if (flags === 0) s.check(got[index] === 0, `a read ${what} goes through`);
    else if (got[index] !== 0)
      s.must(got[index] === pattern[place], `a read ${what} sees other memory`);
  }
  if (targets.every(({ flags }) => (flags & READ) !== 0))
    s.check(
      places.every((place, index) => got[index] === pattern[place]),
      `a read ${what} does not arrive`,
    );
}

function nameOf({ flags }: Scene, offset: bigint, length: number): string {
  return `of ${length} bytes at ${offset} from the start of flags ${flags.join(' and ')}`;
}

/** The first byte that was written, besides those that may be; -1 if there is none. */
export function strayIn(after: Uint8Array, allowed: readonly number[]): number {
  for (let place = 0; place < after.length; place += 1)
    if (after[place] !== 0 && !allowed.includes(place)) return place;
  return -1;
}

/** No byte is 0, and those near each other are different. */
function patternOf(bytes: number): Uint8Array {
  const pattern = new Uint8Array(bytes);
  for (let place = 0; place < bytes; place += 1)
    pattern[place] = 1 + ((place * 7 + (place >> 8)) % 255);
  return pattern;
}
