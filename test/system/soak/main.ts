/**
 * The long run: `npm run soak -- [--minutes 10] [--seed 1]`.
 *
 * Machines that work, change and die, one after the other, on the same disk images, while an eye is kept on memory; then
 * every block is looked at. Exits with 1 if anything is not as it should be.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { IommuError } from '@viommu/common';
import { type EndpointOptions } from '@viommu/machine';
import { createMachine } from '@viommu/machine/node';
import { DEVICE } from '../kit/disks.ts';
import type { Reached } from '../kit/reach.ts';
import { PROBER, type ReachArgs } from '../program/reach.ts';
import { moduleOf, run } from '../run.ts';
import { wrongBlocks } from './image.ts';
import { MemoryWatch } from './memory-watch.ts';
import {
  BLOCKS,
  BLOCK_BYTES,
  SOAK_DISKS,
  type SoakArgs,
  type SoakReport,
  tablesBytes,
} from './plan.ts';

const OPERATIONS = 1_000_000;
/** How long a machine lives. */
const LIFE_MS = 8000;
const WAYS_TO_DIE = ['stop', 'guest', 'host', 'abort'] as const;
const SAMPLE_MS = 10_000;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
  },
});
const minutes = Number(values.minutes);
const seed = Number(values.seed);
const failures: string[] = [];
const totals = { lives: 0, requests: 0, errors: 0, resets: 0, plugs: 0, switches: 0 };
const deaths = { stop: 0, guest: 0, host: 0, abort: 0 };
const memory = new MemoryWatch();

await reachStage();
await diskStage();
failures.push(...memory.findings());
console.log(memory.table());
console.log(`lives ${JSON.stringify(totals)}`);
console.log(`machines ended by ${JSON.stringify(deaths)}`);
for (const failure of failures) console.error(`FAILED  ${failure}`);
console.log(failures.length === 0 ? 'all is well' : `${failures.length} failures`);
process.exitCode = failures.length === 0 ? 0 : 1;

/** An endpoint that keeps trying, over a million maps and unmaps under each policy. */
async function reachStage(): Promise<void> {
  const endpoints: Record<string, EndpointOptions> = {
    prober: { kind: 'module', module: moduleOf('prober'), id: PROBER },
  };
  // A single queue as it is usually would keep the pages of such a small guest for a second each.
  for (const way of [
    'strict=1',
    'strict=0',
    'strict=0 iommu.fq=single iommu.fqSize=1024 iommu.fqTimeout=50',
  ]) {
    const args: ReachArgs = { operations: OPERATIONS, commandLines: [`iommu.${way}`] };
    const { value, seconds } = await run('reach', { args, endpoints, timeoutMs: 1_200_000 });
    const [reached] = value as Reached[]; // What the program returns.
    console.log(`iommu.${way}: ${seconds.toFixed(1)} s, ${JSON.stringify(reached)}`);
    const { late = 0, violations = 1, reused = 0 } = reached ?? {};
    if (violations > 0 || reused > 0 || (way === 'strict=1' && late > 0))
      failures.push(`iommu.${way}: the endpoint got through`);
  }
}

async function diskStage(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'viommu-soak-'));
  const tables = new SharedArrayBuffer(tablesBytes());
  const end = performance.now() + minutes * 60_000;
  const sample = setInterval(() => memory.sample(), SAMPLE_MS);
  try {
    for (let machine = 0; performance.now() < end; machine += 1)
      await oneMachine(folder, tables, machine, Math.min(LIFE_MS, end - performance.now()));
    for (const name of Object.keys(SOAK_DISKS)) {
      const wrong = await wrongBlocks(join(folder, name), tables, name);
      console.log(`image ${name}: ${BLOCKS} blocks, ${wrong.length} wrong`);
      if (wrong.length > 0)
        failures.push(`${name}: blocks ${wrong.slice(0, 10).join(' ')} are wrong`);
    }
  } finally {
    clearInterval(sample);
    await rm(folder, { recursive: true, force: true });
  }
}

/** A machine from its start to its end, whatever that is. */
async function oneMachine(
  folder: string,
  tables: SharedArrayBuffer,
  number: number,
  lifeMs: number,
): Promise<void> {
  const way = WAYS_TO_DIE[number % WAYS_TO_DIE.length] ?? 'stop';
  const isProtected = number % 5 === 4;
  const endpoints: Record<string, EndpointOptions> = {};
  for (const [name, disk] of Object.entries(SOAK_DISKS))
    endpoints[name] = { ...disk, file: join(folder, name), sizeBytes: BLOCKS * BLOCK_BYTES };
  if (way === 'host')
    endpoints['killer'] = {
      kind: 'module',
      module: new URL('./killer.ts', import.meta.url),
      data: lifeMs,
    };
  const dieMs = way === 'guest' ? lifeMs : 0;
  const args: SoakArgs = { tables, seed: seed + number * 100, isProtected, dieMs };
  const abort = new AbortController();
  let pages: number | undefined;
  const machine = createMachine({
    program: new URL('./guest.ts', import.meta.url),
    memoryBytes: 64 << 20,
    driver: 'manual',
    device: DEVICE,
    args,
    endpoints,
    signal: abort.signal,
    onEvent(event) {
      if (event.type !== 'report') return;
      const report = event.event as unknown as SoakReport; // The guest's own.
      count(report);
      pages ??= report.freePages;
      if (report.freePages !== pages)
        failures.push(`machine ${number}: ${report.freePages} free pages, and ${pages} before`);
    },
  });
  const timer = setTimeout(
    () => {
      if (way === 'abort') abort.abort();
      else void machine.stop();
    },
    way === 'stop' || way === 'abort' ? lifeMs : lifeMs + 30_000,
  );
  try {
    await machine.run();
  } catch (error) {
    // The end that was meant for it, and no other.
    const code = error instanceof IommuError ? error.code : undefined;
    const text = String(error);
    const meant = { stop: 'stopped', abort: 'aborted', guest: 'exit code 3', host: 'exit code 4' };
    if (code !== 'ESHUTDOWN' || !text.includes(meant[way]))
      failures.push(`machine ${number} (${way}): ${text}`);
  } finally {
    clearTimeout(timer);
  }
  deaths[way] += 1;
}

function count(report: SoakReport): void {
  totals.lives += 1;
  totals.requests += report.requests;
  totals.errors += report.errors;
  totals.resets += report.resets;
  totals.plugs += report.plugs;
  totals.switches += report.switches;
  memory.guest(report.heapBytes);
  if (report.wrong > 0) failures.push(`${report.commandLine}: ${report.wrong} reads were wrong`);
}
