/** The disk images of the long run, as they are on the file system. */

import { readFile } from 'node:fs/promises';
import { blockBytes } from '../kit/traffic.ts';
import { BLOCKS, BLOCK_BYTES, TRAFFIC_SEED, tablesOf } from './plan.ts';

/** Blocks that hold nothing that they should. */
export async function wrongBlocks(
  file: string,
  tables: SharedArrayBuffer,
  name: string,
): Promise<number[]> {
  const bytes = await readFile(file);
  const { generations, issued } = tablesOf(tables, name);
  const expected = new Int32Array(BLOCK_BYTES / 4);
  const expectedBytes = new Uint8Array(expected.buffer);
  const wrong: number[] = [];
  for (let block = 0; block < BLOCKS; block += 1) {
    const found = bytes.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
    const last = issued[block] ?? 0;
    let right = false;
    for (let times = generations[block] ?? 0; times <= last && !right; times += 1) {
      blockBytes(expected, TRAFFIC_SEED, block, times);
      right = found.equals(expectedBytes);
    }
    if (!right) wrong.push(block);
  }
  return wrong;
}
