/** Runs the guest beside our device: `node --conditions=@viommu/source examples/wasm-guest/main.ts` in a checkout. */

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { ControlPage } from '@viommu/transport';
import { CONTROL, MEMORY_BYTES } from './memory-map.ts';

const WASM_PAGE = 0x1_0000;

/** What happened: the guest's answers, and what the device saw. */
export async function runWasmGuest(): Promise<{ answers: number[]; seen: string[] }> {
  const memory = new WebAssembly.Memory({
    initial: MEMORY_BYTES / WASM_PAGE,
    maximum: 0x4000_0000 / WASM_PAGE,
    shared: true,
  });
  const { buffer } = memory;
  if (!(buffer instanceof SharedArrayBuffer)) throw new TypeError('the memory is not shared');
  const host = new Worker(new URL('host.ts', import.meta.url), { workerData: { buffer } });
  const seen: string[] = [];
  host.on('message', (text: string) => seen.push(text));
  await once(host, 'message');
  const guest = new Worker(new URL('guest.ts', import.meta.url), { workerData: { memory } });
  const [answers] = (await once(guest, 'message')) as [number[]];
  new ControlPage(buffer, CONTROL).stop();
  await once(host, 'exit');
  return { answers, seen };
}

if (import.meta.main) {
  const { answers, seen } = await runWasmGuest();
  console.log('the guest got', answers.join(' '));
  console.log(seen.join('\n'));
}
