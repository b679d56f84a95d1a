import { BlkRequestType } from '@viommu/blk';
import type { ErrorCode } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { Workload, type WorkloadDriver } from '../../src/workload/workload.ts';

const BLOCK_BYTES = 4096;
const BLOCKS = 32;
const DEPTH = 4;
const PAGE_BYTES = 4096;
const FIRST_PAGE = 1000;

/** A disk that does what it is asked for when it is waited for, or something else. */
class ScriptedDisk implements WorkloadDriver {
  readonly capacity: number;
  readonly lost = undefined;
  error: ErrorCode | undefined = undefined;
  /** The most requests that were in flight. */
  most = 0;
  /** What becomes of request number `n`. */
  readonly fate: (n: number, writes: boolean) => 'well' | 'fails' | 'lies' | 'misses' | 'shifts';
  readonly #content: Uint8Array = new Uint8Array(BLOCKS * BLOCK_BYTES);
  readonly #ram: Uint8Array;
  readonly #waiting: (() => ErrorCode | undefined)[] = [];
  readonly #tokens: number[] = [];
  #next = 0;

  constructor(ram: Uint8Array, fate: ScriptedDisk['fate'], blocks: number) {
    this.capacity = (blocks * BLOCK_BYTES) / 512;
    this.#ram = ram;
    this.fate = fate;
  }

  get outstanding(): number {
    return this.#waiting.length;
  }

  submit(
    _context: unknown,
    type: number,
    sector: number,
    page: number,
    offset: number,
    size: number,
  ): number {
    const token = [0, 1, 2, 3].find((free) => !this.#tokens.includes(free)) ?? -1;
    const n = this.#next;
    this.#next += 1;
    this.#tokens.push(token);
    this.#waiting.push(() => {
      const writes = type === BlkRequestType.OUT;
      const fate = this.fate(n, writes);
      if (fate === 'fails') return 'EIO';
      if (fate === 'lies') return undefined;
      const at = (page - FIRST_PAGE) * PAGE_BYTES + offset;
      const place = fate === 'shifts' ? (sector + 1) * 512 : sector * 512;
      const bytes = fate === 'misses' ? size - 512 : size;
      if (writes) this.#content.set(this.#ram.subarray(at, at + bytes), place);
      else this.#ram.set(this.#content.subarray(place, place + bytes), at);
      return undefined;
    });
    this.most = Math.max(this.most, this.#waiting.length);
    return token;
  }

  kick(): void {}

  wait(): boolean {
    return this.#waiting.length > 0;
  }

  reap(): number {
    const work = this.#waiting.shift();
    if (work === undefined) return -1;
    this.error = work();
    return this.#tokens.shift() ?? -1;
  }
}

/** A workload on such a disk, whose clock goes on by 1 ms with each look. */
function workloadOn(
  fate: ScriptedDisk['fate'],
  blocks = BLOCKS,
  depth = DEPTH,
): { workload: Workload; disk: ScriptedDisk } {
  const ram = new SharedArrayBuffer(DEPTH * PAGE_BYTES);
  const disk = new ScriptedDisk(new Uint8Array(ram), fate, blocks);
  let now = 0;
  let page = FIRST_PAGE;
  const workload = new Workload({
    system: {
      context: { cpu: 0 },
      poll: () => undefined,
      ram: { firstPage: FIRST_PAGE, allocatePages: (count) => (page += count) - count },
    },
    driver: disk,
    clock: { now: () => (now += 1) },
    ram: new Int32Array(ram),
    blockBytes: BLOCK_BYTES,
    depth,
    seed: 5,
    tokens: DEPTH,
  });
  return { workload, disk };
}

describe('workload', () => {
  it('finds every block as it was written last, and keeps so many requests in flight', () => {
    const { workload, disk } = workloadOn(() => 'well');
    workload.sweep('write');
    expect(workload.requests).toBe(BLOCKS);
    workload.run('mixed', 2000);
    const { requests, sectorsChecked } = workload;
    expect(requests).toBeGreaterThan(2 * BLOCKS);
    expect(sectorsChecked).toBeGreaterThan(0);
    workload.sweep('read');
    expect(workload.sectorsChecked - sectorsChecked).toBe(disk.capacity);
    expect([workload.errors, workload.mismatches, disk.outstanding]).toEqual([0, 0, 0]);
    expect(disk.most).toBe(DEPTH);
    expect(workload.latency.count).toBe(workload.requests);
  });

  it('does not check what was never written', () => {
    const { workload } = workloadOn(() => 'well');
    workload.sweep('read');
    expect([workload.sectorsChecked, workload.mismatches]).toEqual([0, 0]);
  });

  // The request after the fill is the first of the second sweep.
  const second = (n: number): boolean => n === BLOCKS;

  it('notices a write that was not done', () => {
    const { workload } = workloadOn((n) => (second(n) ? 'lies' : 'well'));
    workload.sweep('write');
    workload.sweep('write');
    workload.sweep('read');
    expect([workload.errors, workload.mismatches]).toEqual([0, BLOCK_BYTES / 512]);
  });

  it('notices a write without its last sector', () => {
    const { workload } = workloadOn((n) => (second(n) ? 'misses' : 'well'));
    workload.sweep('write');
    workload.sweep('write');
    workload.sweep('read');
    expect(workload.mismatches).toBe(1);
  });

  it('notices a read that brought nothing, also if the buffer has the block from before', () => {
    // One buffer, and two blocks: it often has the right one.
    const { workload } = workloadOn((n) => (n >= 4 ? 'lies' : 'well'), 2, 1);
    workload.sweep('write');
    workload.sweep('read');
    const { sectorsChecked } = workload;
    workload.run('randread', 200);
    expect(workload.requests).toBeGreaterThan(20);
    expect(workload.mismatches).toBe(workload.sectorsChecked - sectorsChecked);
  });

  it('notices a read from another place', () => {
    const { workload } = workloadOn((n) => (second(n) ? 'shifts' : 'well'));
    workload.sweep('write');
    workload.sweep('read');
    expect(workload.mismatches).toBe(BLOCK_BYTES / 512);
  });

  it('counts requests that fail, and believes nothing of a block whose write did', () => {
    const { workload } = workloadOn((n) => (second(n) ? 'fails' : 'well'));
    workload.sweep('write');
    workload.sweep('write');
    workload.sweep('read');
    expect([workload.errors, workload.mismatches]).toEqual([1, 0]);
    expect(workload.sectorsChecked).toBe((BLOCKS - 1) * (BLOCK_BYTES / 512));
  });

  it('needs more blocks than it has requests in flight', () => {
    expect(() => workloadOn(() => 'well', DEPTH)).toThrowError(/too small/);
  });
});
