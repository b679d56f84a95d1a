import { StreamParser, domainId, endpointId } from '@viommu/common';
import { describe, expect, it } from 'vitest';
import { RecordingSummary } from '../src/inspect/summary.ts';

function summaryOf(...lines: readonly string[]): RecordingSummary {
  const parser = new StreamParser();
  const summary = new RecordingSummary();
  const head = ['# viommu-stream 2', 'F 100000077', 'C 1000 0 ffffffffffffffff 0 ffffffff 40 1'];
  for (const text of [...head, ...lines]) {
    const event = parser.line(text);
    if (event?.kind === 'error') throw new Error(`${event.line}: ${event.reason}`);
    if (event !== undefined) summary.add(event, parser.lines);
  }
  return summary;
}

const domain = (summary: RecordingSummary, id: number) => summary.domains.get(domainId(id));

describe('a summary', () => {
  it('follows the mappings that are alive', () => {
    const summary = summaryOf(
      'A 1 8 0',
      'M 1 1000 1fff 0 3',
      'M 1 2000 3fff 0 3',
      'U 1 0 ffff 1000-1fff 2000-3fff',
      'M 1 1000 1fff 0 3',
    );
    expect([summary.live, summary.liveMost]).toEqual([1, 2]);
    expect(domain(summary, 1)).toMatchObject({ maps: 3, unmaps: 1, removed: 2, live: 1 });
    expect(domain(summary, 1)?.liveBytesMost).toBe(0x3000n);
  });

  it('ends a domain, and its mappings, with its last endpoint', () => {
    const mapped = ['A 1 8 0', 'A 1 9 0', 'M 1 1000 1fff 0 3'];
    expect(summaryOf(...mapped, 'D 1 8').live).toBe(1);
    expect(summaryOf(...mapped, 'D 1 8', 'D 1 9').live).toBe(0);
    expect(summaryOf(...mapped, 'A 2 8 0', 'A 2 9 0').live).toBe(0);
    expect(summaryOf(...mapped, 'Z device').live).toBe(0);
    expect(summaryOf(...mapped, 'A 1 8 0').live).toBe(1);
  });

  it('sorts mapping sizes by the power of two that they fit', () => {
    const summary = summaryOf(
      'M 1 1000 1fff 0 3',
      'M 1 2000 4fff 0 3',
      'M 1 5000 8fff 0 3',
      'M 2 0 ffffffffffffffff 0 3',
    );
    expect(summary.sizeClasses()).toEqual([
      { atMost: 0x1000n, count: 1 },
      { atMost: 0x4000n, count: 2 },
      { atMost: 1n << 64n, count: 1 },
    ]);
  });

  it('measures the requests between accesses', () => {
    const summary = summaryOf(
      'A 1 8 0',
      'T 8 0 r =',
      'M 1 0 fff 0 3',
      'K 0',
      'U 1 0 fff',
      'X 8 0 r 2',
    );
    expect(summary.batches).toEqual({ count: 2, requests: 3, longest: 2, longestLine: 6 });
  });

  it('counts what each endpoint did', () => {
    const summary = summaryOf('T 8 0 r =', 'T 8 0 w 0', 'T 8 0 rw 0', 'X 8 0 r 1', 'R 6 A 1 9 0');
    expect(summary.endpoints.get(endpointId(8))).toMatchObject({
      accesses: { r: 1, w: 1, rw: 1 },
      untranslated: 1,
      faults: 1,
    });
    expect(summary.refusals.get(6)).toBe(1);
    expect(summary.endpoints.has(endpointId(9))).toBe(true);
  });
});
