/** The guest's thread: loads guest.wasm into the shared memory and calls it. */

import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { ControlHead } from '@viommu/transport';
import { CONTROL, ENDPOINT, RAM, RAM_BASE, WINDOW } from './memory-map.ts';

/** What guest.c exports; a request answers with its status, or -1 if the device broke the protocol. */
interface Guest {
  start(window: number, block: number, hostBell: number, ram: number, ramBase: number): number;
  attach(domain: number, endpoint: number): number;
  detach(domain: number, endpoint: number): number;
  map(domain: number, start: bigint, end: bigint, physStart: bigint, flags: number): number;
  unmap(domain: number, start: bigint, end: bigint): number;
}

const { memory } = workerData as { memory: WebAssembly.Memory };
const module = new WebAssembly.Module(readFileSync(new URL('guest.wasm', import.meta.url)));
const { exports } = new WebAssembly.Instance(module, { env: { memory } });
const guest = exports as unknown as Guest; // The exports of guest.c, by its source.

const block = CONTROL + ControlHead.size;
const hostBell = CONTROL + ControlHead.offset.hostBell;
const answers = [
  guest.start(WINDOW, block, hostBell, RAM, Number(RAM_BASE)),
  guest.attach(1, ENDPOINT),
  guest.map(1, 0x1000n, 0x1fffn, 0xa000n, 3),
  guest.map(1, 0x1000n, 0x1fffn, 0xa000n, 3),
  guest.map(1, 0xffff_ffff_ffff_f000n, 0xffff_ffff_ffff_ffffn, 0xb000n, 1),
  guest.unmap(1, 0n, 0xffff_ffff_ffff_ffffn),
  guest.attach(2, ENDPOINT + 1),
  guest.detach(1, ENDPOINT),
];
parentPort?.postMessage(answers);
