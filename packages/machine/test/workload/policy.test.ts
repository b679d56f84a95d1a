import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  POLICIES,
  POLICY_SETUPS,
  type Policy,
  WORKLOAD_DISK,
  type WorkloadArgs,
  type WorkloadEvent,
  WorkloadGate,
  WorkloadTask,
} from '@viommu/machine';
import { WORKLOAD, createMachine } from '@viommu/machine/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const BLOCK_BYTES = 16 << 10;
const DISK_BYTES = 1 << 20;
const DEPTH = 8;

interface Run {
  readonly events: WorkloadEvent[];
}

/** Runs a machine to its end; each task is ordered when the one before has been reported. */
async function run(
  policy: Policy,
  tasks: readonly WorkloadTask[],
  file?: string,
  before: (task: WorkloadTask) => void = () => undefined,
): Promise<Run> {
  const gate = new WorkloadGate(1);
  const { disk, system } = POLICY_SETUPS[policy];
  const args: WorkloadArgs = {
    gate: gate.buffer,
    place: 0,
    system,
    workload: 'mixed',
    blockBytes: BLOCK_BYTES,
    depth: DEPTH,
    seed: 11,
  };
  const events: WorkloadEvent[] = [];
  const left = [...tasks];
  const machine = createMachine({
    program: WORKLOAD,
    memoryBytes: 32 << 20,
    driver: 'manual',
    device: { inputRange: { start: 0n, last: (1n << 48n) - 1n }, bypass: true },
    endpoints: {
      [WORKLOAD_DISK]: { kind: 'disk', ...disk, sizeBytes: DISK_BYTES, ...(file && { file }) },
    },
    args,
    timeoutMs: 20_000,
    onEvent(event) {
      if (event.type !== 'report') return;
      events.push(event.event as unknown as WorkloadEvent); // What our program reports.
      const task = left.shift() ?? WorkloadTask.END;
      before(task);
      gate.order(0, task, 40);
    },
  });
  await machine.run();
  return { events };
}

describe('a disk', { timeout: 30_000 }, () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'viommu-policy-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(POLICIES)(
    'keeps every sector under the policy %s, and is reached by its means',
    async (policy) => {
      const { FILL, WINDOW, VERIFY } = WorkloadTask;
      const { events } = await run(policy, [FILL, WINDOW, VERIFY]);
      expect(events.map(({ workload }) => workload)).toEqual([
        'ready',
        'filled',
        'window',
        'verified',
      ]);
      const [ready, filled, window, verified] = events.map(({ figures }) => figures);
      if (
        ready === undefined ||
        filled === undefined ||
        window === undefined ||
        verified === undefined
      )
        throw new Error('There are four.');
      expect(filled.requests).toBe(DISK_BYTES / BLOCK_BYTES);
      expect(window.requests).toBeGreaterThan(0);
      expect(window.bytes).toBe(window.requests * BLOCK_BYTES);
      expect(verified.sectorsChecked).toBe(DISK_BYTES / 512);
      for (const { errors, mismatches, faults } of [ready, filled, window, verified])
        expect([errors, mismatches, faults]).toEqual([0, 0, 0]);
      const { p50Us, p95Us, p99Us, maxUs } = window;
      expect([p50Us, p95Us, p99Us, maxUs]).toEqual(
        [p50Us, p95Us, p99Us, maxUs].toSorted((a, b) => a - b),
      );

      const translated = policy === 'strict' || policy === 'lazy' || policy === 'lazy-single';
      // A MAP and an UNMAP for each request; the UNMAPs of the last may not be there yet.
      if (translated) expect(window.iommuRequests).toBe(2 * window.requests);
      else expect(window.iommuRequests).toBe(0);
      expect(window.iommuNotifications).toBeLessThanOrEqual(window.iommuRequests);
      expect(window.bouncedBytes >= window.bytes).toBe(policy === 'bounce');
      if (policy !== 'lazy' && policy !== 'lazy-single') expect(window.flushes).toBe(0);
      // Its timer is 10 ms, and its ring has 255 entries.
      if (policy === 'lazy') expect(window.flushes).toBeGreaterThan(0);
    },
  );

  it('whose file was changed behind its back is found out', async () => {
    const path = join(folder, 'disk');
    const { FILL, VERIFY } = WorkloadTask;
    const { events } = await run('strict', [FILL, VERIFY], path, (task) => {
      // One byte of the stamp at the end of the ninth sector.
      if (task !== VERIFY) return;
      const opened = openSync(path, 'r+');
      writeSync(opened, Uint8Array.of(0xa5), 0, 1, 9 * 512 - 1);
      closeSync(opened);
    });
    expect(events.at(-1)?.figures).toMatchObject({ errors: 0, mismatches: 1 });
  });
});
