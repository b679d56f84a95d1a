import { type StreamEvent, StreamParser, streamHeader } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { type Run, linesOf, run } from './run.ts';

const DEVICE = {
  inputRange: { start: 0n, last: 0xffff_ffffn },
  domainRange: { first: 1, last: 99 },
  probeSize: 64,
  endpoints: [{ id: 8, reserved: [{ start: 0xfee0_0000n, last: 0xfeef_ffffn, type: 'msi' }] }],
} as const;

/** The events of a recorded run, read back as a file with its header would be. */
function eventsOf(result: Run): { version: number; events: StreamEvent[] } {
  const record = result.events.findLast((event) => event.type === 'record');
  const version = record?.version ?? 1;
  const parser = new StreamParser();
  const events: StreamEvent[] = [];
  for (const line of [streamHeader(version), ...linesOf(result)]) {
    const event = parser.line(line);
    if (event?.kind === 'error') throw new Error(`${event.line}: ${event.reason}`);
    if (event !== undefined) events.push(event);
  }
  expect(parser.end()).toBeUndefined();
  return { version, events };
}

describe('a recording', { timeout: 60_000 }, () => {
  it('of successes is of version 1 and has them in order, with their answers', async () => {
    const result = await run('recorded', { record: true, args: 'successes', device: DEVICE });
    const { version, events } = eventsOf(result);
    expect(version).toBe(1);
    const [low, high] = events.flatMap((event) => (event.kind === 'map' ? [event.physStart] : []));
    expect(linesOf(result).slice(1)).toEqual([
      'C fffffffffffff000 0 ffffffff 1 63 40 0',
      'P 8 1 fee00000 feefffff',
      'A 2 8 0',
      `M 2 100000 100fff ${low?.toString(16)} 3`,
      `M 2 101000 101fff ${high?.toString(16)} 3`,
      `T 8 100000 r ${low?.toString(16)}`,
      'T 8 fee00000 w =',
      // An access over two mappings, which do not lie side by side, is two lines.
      `T 8 100000 r ${low?.toString(16)}`,
      `T 8 100fff w ${((low ?? 0n) + 0xfffn).toString(16)}`,
      `T 8 101000 w ${high?.toString(16)}`,
      'U 2 100000 101fff 100000-100fff 101000-101fff',
      'D 2 8',
    ]);
    expect(high).not.toBe((low ?? 0n) + 0x1000n);
    expect(events[0]).toMatchObject({ kind: 'features' });
  });

  it('of refusals, resets and writes of bypass is of version 2', async () => {
    const result = await run('recorded', { record: true, device: DEVICE });
    const { version } = eventsOf(result);
    expect(version).toBe(2);
    expect(linesOf(result).slice(11)).toEqual([
      'X 8 0 r 2',
      'B 1',
      'R 4 D 9 8',
      'Z device',
      // Bypass outlives a device reset: the access goes through as it is.
      'T 8 40000000 r 40000000',
      'T 8 40000000 w 40000000',
    ]);
  });

  it('is made only if it is asked for', async () => {
    expect(linesOf(await run('recorded', { device: DEVICE }))).toEqual([]);
  });
});
