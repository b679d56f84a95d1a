import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RowKind, type Script } from '../src/replay/script.ts';
import { type BatchMode, type Performer, RUN_MAX, walk } from '../src/replay/walk.ts';
import { scriptOf } from './script-of.ts';

/** What a walk does, one letter a row: requests and `|` for a sync, `t` for an access. */
function trace(script: Script, mode: BatchMode): string {
  const letters = ' ADMUP';
  let text = '';
  walk(script, mode, {
    queue: (row) => (text += letters[script.kind(row)] ?? '?'),
    sync: () => (text += '|'),
    access: (_row, count) => (text += 't'.repeat(count)),
    bypass: () => (text += 'b'),
    reset: (_row, kind) => (text += kind === 'device' ? 'z' : 'Z'),
  });
  return text;
}

const ATTACHED = 'A 1 8 0';
const MAP = 'M 1 1000 1fff a000 3';
const OTHER_MAP = 'M 1 2000 2fff b000 3';
const ACCESS = 'T 8 1000 r a000';
const OTHER_ACCESS = 'T 8 2000 r b000';
const UNMAP = 'U 1 1000 1fff 1000-1fff';

describe('lazy batches', () => {
  it('send MAPs up to the next access together', () => {
    expect(trace(scriptOf(ATTACHED, MAP, OTHER_MAP, ACCESS, ACCESS), 'lazy')).toBe('A|MM|tt');
  });

  it('let UNMAPs wait for the sync of the next MAPs', () => {
    const script = scriptOf(ATTACHED, MAP, OTHER_MAP, ACCESS, UNMAP, OTHER_ACCESS, MAP, ACCESS);
    expect(trace(script, 'lazy')).toBe('A|MM|tUtM|t');
  });

  it('send UNMAPs that wait for nothing at the end', () => {
    expect(trace(scriptOf(ATTACHED, MAP, ACCESS, UNMAP), 'lazy')).toBe('A|M|tU|');
  });

  it('wait for PROBE, ATTACH and DETACH, and for what was queued before them', () => {
    const script = scriptOf('P 8 1 f000 ffff', ATTACHED, MAP, 'A 2 9 0', UNMAP, 'D 1 8');
    expect(trace(script, 'lazy')).toBe('P|A|MA|UD|');
  });

  it('end before an access to what an UNMAP has just removed', () => {
    expect(trace(scriptOf(ATTACHED, MAP, UNMAP, ACCESS), 'lazy')).toBe('A|MU|t');
    expect(trace(scriptOf(ATTACHED, MAP, ACCESS, UNMAP, ACCESS), 'lazy')).toBe('A|M|tU|t');
    expect(trace(scriptOf(ATTACHED, MAP, ACCESS, UNMAP, 'T 8 1fff r a000'), 'lazy')).toBe(
      'A|M|tU|t',
    );
  });

  it('go on where the UNMAP was of another domain, or of other addresses', () => {
    const elsewhere = scriptOf(ATTACHED, MAP, ACCESS, 'U 2 1000 1fff', ACCESS);
    expect(trace(elsewhere, 'lazy')).toBe('A|M|tUt|');
    expect(trace(scriptOf(ATTACHED, MAP, ACCESS, UNMAP, 'T 8 2000 r a000'), 'lazy')).toBe(
      'A|M|tUt|',
    );
  });

  it('end before an access that was refused', () => {
    expect(trace(scriptOf(ATTACHED, MAP, ACCESS, UNMAP, 'X 8 9000 r 2'), 'lazy')).toBe('A|M|tU|t');
  });

  it('end before bypass is written and before a reset', () => {
    expect(trace(scriptOf(ATTACHED, MAP, 'B 0', MAP, 'Z device', 'Z system'), 'lazy')).toBe(
      'A|M|bM|zZ',
    );
  });

  it('do not let more UNMAPs wait for an access than a flush queue holds', () => {
    const many = Array.from({ length: 257 }, () => 'U 2 1000 1fff');
    expect(trace(scriptOf(...many.slice(1), ACCESS), 'lazy')).toBe(`${'U'.repeat(256)}t|`);
    expect(trace(scriptOf(...many, ACCESS), 'lazy')).toBe(`${'U'.repeat(257)}|t`);
  });

  it('cut long runs of accesses', () => {
    const script = scriptOf(...Array.from({ length: RUN_MAX + 3 }, () => ACCESS));
    const runs: number[] = [];
    walk(script, 'lazy', {
      queue: () => undefined,
      sync: () => undefined,
      access: (_row, count) => runs.push(count),
      bypass: () => undefined,
      reset: () => undefined,
    });
    expect(runs).toEqual([RUN_MAX, 3]);
  });
});

describe('strict batches', () => {
  it('send MAPs in a row together and each UNMAP alone', () => {
    const script = scriptOf(ATTACHED, MAP, OTHER_MAP, UNMAP, UNMAP, ACCESS, MAP, ACCESS, UNMAP);
    expect(trace(script, 'strict')).toBe('A|MM|U|U|tM|tU|');
  });
});

describe('every batch mode', () => {
  /** Requests on two domains with one endpoint each, and accesses, over four pages. */
  const line = fc.oneof(
    fc.record({ kind: fc.constantFrom('M', 'U', 'T', 'T'), who: fc.nat(1), page: fc.nat(3) }),
    fc.record({ kind: fc.constantFrom('A', 'D'), who: fc.nat(1), page: fc.nat(1) }),
  );
  const toText = ({ kind, who, page }: { kind: string; who: number; page: number }): string => {
    const range = `${page}000 ${page}fff`;
    if (kind === 'A' || kind === 'D') return `${kind} ${page} ${who}${kind === 'A' ? ' 0' : ''}`;
    if (kind === 'T') return `T ${who} ${page}800 r 0`;
    return kind === 'M' ? `M ${who} ${range} 0 3` : `U ${who} ${range}`;
  };

  /** A device of sorts: what a queued row does happens at the sync. The outcome of each access, in order. */
  function outcomes(script: Script, run: (performer: Performer) => void): string[] {
    const mapped = new Set<string>();
    const domains = new Map<number, number>();
    const queued: number[] = [];
    const seen: string[] = [];
    const apply = (row: number): void => {
      const key = `${script.domain(row)}:${script.startPage(row)}`;
      const kind = script.kind(row);
      if (kind === RowKind.MAP) mapped.add(key);
      else if (kind === RowKind.UNMAP) mapped.delete(key);
      else if (kind === RowKind.ATTACH) domains.set(script.endpoint(row), script.domain(row));
      else domains.delete(script.endpoint(row));
    };
    run({
      queue: (row) => queued.push(row),
      sync: () => queued.splice(0).forEach(apply),
      access: (row, count) => {
        for (let at = row; at < row + count; at += 1) {
          const domain = domains.get(script.endpoint(at));
          seen.push(`${at} ${mapped.has(`${domain}:${script.startPage(at)}`)}`);
        }
      },
      bypass: () => undefined,
      reset: () => undefined,
    });
    return seen;
  }

  it('gives each access what it would find if every request were sent alone', () => {
    fc.assert(
      fc.property(fc.array(line, { maxLength: 40 }), (lines) => {
        const script = scriptOf(...lines.map(toText));
        const alone = outcomes(script, (performer) => {
          for (let row = 0; row < script.length; row += 1)
            if (script.kind(row) === RowKind.ACCESS) performer.access(row, 1);
            else {
              performer.queue(row);
              performer.sync();
            }
        });
        for (const mode of ['lazy', 'strict'] as const)
          expect(outcomes(script, (performer) => walk(script, mode, performer))).toEqual(alone);
      }),
      { seed: 4, numRuns: 500 },
    );
  });
});
