/** What can be wrong with one chain, by the rule that it breaks; and what looks wrong and is not. */

import type { Random } from '../random.ts';
import { INDIRECT, NEXT, type PlainDriver, type Site, WRITE } from './plain-driver.ts';
import type { Setting } from './setting.ts';

/** What a device has to find; undefined where it depends on what else is in the ring. */
export type Verdict = 'broken' | 'unreachable' | 'chain' | 'empty' | undefined;

export interface Wrong {
  readonly name: string;
  readonly format: 'split' | 'packed' | 'both';
  /** True if a chain can be spoilt like this. */
  readonly fits: (site: Site, setting: Setting) => boolean;
  readonly spoil: (site: Site, driver: PlainDriver, setting: Setting, random: Random) => void;
  readonly verdict: Verdict;
}

const LENGTH = 8;
/** `next` of a split descriptor; of a packed one its id. */
const NEXT_AT = 14;
const ID = 12;

const inTable = ({ indirectAt }: Site): boolean => indirectAt >= 0;
const direct = ({ indirectAt }: Site): boolean => indirectAt < 0;
const any = (): boolean => true;
const long = ({ at }: Site): boolean => at.length > 1;
const first = ({ at }: Site): number => at[0]!; // A chain has a buffer.
const last = ({ at }: Site): number => at.at(-1)!; // Likewise.
const some = ({ at }: Site, random: Random): number => random.pick(at);
const filled = ({ buffers }: Site): boolean => buffers.every(({ length }) => length > 0);

/** Adds flags to a descriptor. */
function mark(driver: PlainDriver, at: number, flags: number): void {
  driver.setFlags(at, driver.flags(at) | flags);
}

export const WRONGS: readonly Wrong[] = [
  {
    name: 'a buffer behind the end of memory',
    format: 'both',
    fits: filled,
    spoil: (site, driver, { memory }, random) => {
      driver.put64(some(site, random), memory.base + BigInt(memory.size));
    },
    verdict: 'unreachable',
  },
  {
    name: 'a buffer that ends one byte behind memory',
    format: 'both',
    fits: ({ buffers }) => buffers.every(({ length }) => length > 0),
    spoil: ({ at, buffers }, driver, { memory }, random) => {
      const index = random.number(at.length);
      const { length } = buffers[index]!; // There are as many.
      driver.put64(at[index]!, memory.base + BigInt(memory.size - length + 1)); // Likewise.
    },
    verdict: 'unreachable',
  },
  {
    name: 'a buffer before memory',
    format: 'both',
    fits: filled,
    spoil: (site, driver, { memory }, random) => {
      driver.put64(some(site, random), memory.base - 1n);
    },
    verdict: 'unreachable',
  },
  {
    name: 'a buffer 4 GiB further',
    format: 'both',
    fits: filled,
    spoil: ({ at, buffers }, driver, _setting, random) => {
      const index = random.number(at.length);
      driver.put64(at[index]!, buffers[index]!.address + (random.once(2) ? 1n << 32n : 1n << 63n)); // There are as many.
    },
    verdict: 'unreachable',
  },
  {
    name: 'a buffer that ends behind the last address',
    format: 'both',
    fits: any,
    spoil: (site, driver, _setting, random) => {
      const at = some(site, random);
      driver.put64(at, 0xffff_ffff_ffff_fff0n);
      driver.put32(at + LENGTH, 0x20);
    },
    verdict: 'unreachable',
  },
  {
    name: 'buffers of more than 4 GiB together',
    format: 'both',
    fits: long,
    spoil: ({ at }, driver) => {
      for (const descriptor of at) driver.put32(descriptor + LENGTH, 0xffff_ff00);
    },
    verdict: 'unreachable',
  },
  {
    name: 'an empty buffer',
    format: 'both',
    fits: any,
    spoil: (site, driver, _setting, random) => {
      driver.put32(some(site, random) + LENGTH, 0);
    },
    verdict: 'chain',
  },
  {
    name: 'an empty buffer outside memory',
    format: 'both',
    fits: filled,
    spoil: (site, driver, _setting, random) => {
      const at = some(site, random);
      driver.put32(at + LENGTH, 0);
      driver.put64(at, 0xffff_ffff_ffff_ffffn);
    },
    verdict: 'chain',
  },
  {
    name: 'flags that nobody knows',
    format: 'both',
    fits: any,
    spoil: (site, driver, _setting, random) => {
      mark(driver, some(site, random), 0x7f78 & (random.number(0x1_0000) | 8));
    },
    verdict: 'chain',
  },
  {
    name: 'a table without the feature',
    format: 'both',
    fits: (_site, { features }) => !features.indirect,
    spoil: (site, driver, { memory }, random) => {
      const at = some(site, random);
      driver.put64(at, memory.base);
      driver.put32(at + LENGTH, 16);
      driver.setFlags(at, (driver.flags(at) & ~(NEXT | WRITE)) | INDIRECT);
    },
    verdict: 'broken',
  },
  {
    name: 'a table in a table',
    format: 'both',
    fits: inTable,
    spoil: ({ at, tableFrom }, driver, { memory }, random) => {
      const entry = at[tableFrom + random.number(at.length - tableFrom)]!; // Below the count.
      driver.put64(entry, memory.base);
      driver.put32(entry + LENGTH, 32);
      driver.setFlags(entry, INDIRECT);
    },
    verdict: 'broken',
  },
  {
    name: 'a table with a next descriptor',
    format: 'both',
    fits: inTable,
    spoil: ({ indirectAt }, driver) => {
      mark(driver, indirectAt, NEXT);
    },
    verdict: 'broken',
  },
  {
    name: 'a table of no whole descriptors',
    format: 'both',
    fits: inTable,
    spoil: ({ at, tableFrom, indirectAt }, driver, _setting, random) => {
      const step = random.pick([1, 8, -1, -15]);
      driver.put32(indirectAt + LENGTH, 16 * (at.length - tableFrom) + step);
    },
    verdict: 'broken',
  },
  {
    name: 'a table of nothing',
    format: 'both',
    fits: inTable,
    spoil: ({ indirectAt }, driver) => {
      driver.put32(indirectAt + LENGTH, 0);
    },
    verdict: 'broken',
  },
  {
    name: 'a table outside memory',
    format: 'both',
    fits: inTable,
    spoil: ({ indirectAt, at, tableFrom }, driver, { memory }, random) => {
      const bytes = 16 * (at.length - tableFrom);
      const address = random.pick([
        memory.base + BigInt(memory.size - bytes + 1),
        memory.base - 1n,
        0xffff_ffff_ffff_fff0n,
        memory.base + (1n << 32n),
      ]);
      driver.put64(indirectAt, address);
    },
    verdict: 'broken',
  },
  {
    name: 'a table that is written by the device',
    format: 'both',
    fits: inTable,
    spoil: ({ indirectAt }, driver) => {
      mark(driver, indirectAt, WRITE);
    },
    verdict: 'chain',
  },
  {
    name: 'a readable buffer behind a writable one',
    format: 'both',
    fits: long,
    spoil: (site, driver) => {
      mark(driver, first(site), WRITE);
      driver.setFlags(last(site), driver.flags(last(site)) & ~WRITE);
    },
    verdict: 'broken',
  },
  {
    name: 'a loop',
    format: 'split',
    fits: any,
    spoil: ({ at, ids, tableFrom }, driver, _setting, random) => {
      const inside = tableFrom < at.length;
      const from = inside ? tableFrom : 0;
      const to = random.number(at.length - from);
      mark(driver, at.at(-1)!, NEXT); // A chain has a buffer.
      driver.put16(at.at(-1)! + NEXT_AT, inside ? to : ids[to]!); // Likewise.
    },
    verdict: 'broken',
  },
  {
    name: 'a next index outside its table',
    format: 'split',
    fits: any,
    spoil: ({ at, tableFrom }, driver, { size }, random) => {
      const entries = tableFrom < at.length ? at.length - tableFrom : size;
      mark(driver, at.at(-1)!, NEXT); // A chain has a buffer.
      driver.put16(at.at(-1)! + NEXT_AT, random.pick([entries, entries + 1, 0xffff])); // Likewise.
    },
    verdict: 'broken',
  },
  {
    name: 'a head outside the table',
    format: 'split',
    fits: any,
    spoil: (_site, driver, { size }, random) => {
      driver.put16(driver.lastEntry, random.pick([size, size + 1, 0xffff, size | 0x8000]));
    },
    verdict: 'broken',
  },
  {
    name: 'a next index behind the end of a chain',
    format: 'split',
    fits: any,
    spoil: (site, driver) => {
      driver.put16(last(site) + NEXT_AT, 0xffff);
    },
    verdict: 'chain',
  },
  {
    name: 'a list that begins with a table',
    format: 'packed',
    fits: (site) => direct(site) && site.at.length > 1,
    spoil: (site, driver, { memory }, random) => {
      const at = random.once(2) ? first(site) : last(site);
      driver.put64(at, memory.base);
      driver.put32(at + LENGTH, 16);
      mark(driver, at, INDIRECT);
    },
    verdict: 'broken',
  },
  {
    name: 'a table longer than the ring',
    format: 'packed',
    fits: inTable,
    spoil: ({ indirectAt }, driver, { size, memory }) => {
      driver.put64(indirectAt, memory.base);
      driver.put32(indirectAt + LENGTH, 16 * (size + 1));
    },
    verdict: 'broken',
  },
  {
    name: 'a list without an end',
    format: 'packed',
    fits: direct,
    spoil: ({ at, ids }, driver, { size, place }) => {
      mark(driver, at.at(-1)!, NEXT); // A list has a buffer.
      const held = new Set(ids);
      for (let slot = 0; slot < size; slot += 1)
        if (!held.has(slot)) driver.put16(place.table + 16 * slot + NEXT_AT, NEXT | WRITE);
    },
    // It may have taken away another that is not there yet.
    verdict: undefined,
  },
  {
    name: 'an id outside the ring',
    format: 'packed',
    fits: any,
    spoil: (site, driver, { size }, random) => {
      const at = site.indirectAt < 0 ? last(site) : site.indirectAt;
      driver.put16(at + ID, random.pick([size, 0xffff, 0x8000]));
    },
    verdict: 'chain',
  },
  {
    name: 'flags that are neither available nor used',
    format: 'packed',
    fits: any,
    spoil: (site, driver, _setting, random) => {
      const at = site.indirectAt < 0 ? first(site) : site.indirectAt;
      const flags = driver.flags(at);
      driver.setFlags(at, random.once(2) ? flags | 0x8080 : flags & ~0x8080);
    },
    verdict: 'empty',
  },
];
