/** The monitor on recordings: a real guest passes, and what is planted is found. */

import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { StreamParser } from '@viommu/common';
import { type StreamFinding, StreamMonitor, monitorReport } from '@viommu/conformance';
import { describe, expect, it } from 'vitest';

const RECORDING = new URL('../../../../recordings/linux-6.12-lazy.stream.gz', import.meta.url);
/** All features but the old BYPASS; pages of 4 KiB, addresses from 0x100000 on, domains 3 to 9. */
const HEAD = ['# viommu-stream 2', 'F 100000077', 'C fffffffffffff000 100000 ffffffff 3 9 40 1'];
/** An endpoint with a window at 0x8000000, and two domains, of which 4 is a bypass domain. */
const SCENE = ['P 8 1 8000000 80fffff', 'E 9', 'E 10', 'A 3 8 0', 'A 4 9 1'];

function watch(lines: readonly string[]): { findings: StreamFinding[]; monitor: StreamMonitor } {
  const parser = new StreamParser();
  const monitor = new StreamMonitor();
  const findings = lines.flatMap((text, index) => {
    const event = parser.line(text);
    if (event?.kind === 'error') throw new Error(`${event.reason}: ${text}`);
    return event === undefined ? [] : monitor.take(event, index + 1);
  });
  return { findings, monitor };
}

/** The clauses that `lines` break, after the scene. */
function broken(...lines: readonly string[]): readonly string[] {
  const { findings } = watch([...HEAD, ...SCENE, ...lines]);
  for (const { line } of findings) expect(line).toBeGreaterThan(HEAD.length + SCENE.length);
  return findings.map(({ clause }) => clause);
}

describe('the monitor', () => {
  it('finds nothing in what a Linux guest did', () => {
    const lines = gunzipSync(readFileSync(RECORDING)).toString('utf8').trimEnd().split('\n');
    const { findings, monitor } = watch(lines);
    expect(findings).toEqual([]);
    expect(monitor.requests).toBe(56_645);
    const report = monitorReport('linux', monitor, findings);
    expect(report.conforms).toBe(true);
    expect(report.summary).toMatchObject({ fail: 0, warn: 0, skip: 0 });
    expect(report.summary.clauses.covered).toBe(12);
    // As many as there are MAPs.
    const map = report.results.find(({ id }) => id === 'iommu.drv.map.end-after-start');
    expect(map?.evidence).toEqual(['kept 33035 times']);
  });

  it('finds nothing in a life without reproach', () => {
    expect(
      broken(
        'M 3 200000 201fff 40000000 3',
        'M 3 202000 202fff 40008000 1',
        'U 3 200000 202fff 200000-201fff 202000-202fff',
        'M 3 200000 200fff 40000000 3',
        'A 3 10 0',
        'D 3 8',
        'A 5 8 0',
        'B 0',
        'Z device',
        'A 3 8 0',
        'M 3 200000 200fff 40000000 3',
      ),
    ).toEqual([]);
  });

  it.each([
    ['an endpoint that was not probed', 'iommu.drv.init.probe-before-attach', ['A 3 11 0']],
    ['a domain below the range', 'iommu.drv.req.domain-range', ['A 2 10 0']],
    ['a domain above the range', 'iommu.drv.req.domain-range', ['A 10 10 0']],
    ['addresses below the range', 'iommu.drv.req.input-range', ['M 3 fe000 100fff 40000000 3']],
    [
      'addresses above the range',
      'iommu.drv.req.input-range',
      ['M 3 fffff000 100000fff 40000000 3'],
    ],
    [
      'an UNMAP above the range',
      'iommu.drv.req.input-range',
      ['M 3 200000 200fff 0 1', 'U 3 200000 100000000 200000-200fff'],
    ],
    [
      'BYPASS for a translated domain',
      'iommu.drv.attach.no-bypass-flag-existing-normal',
      ['R 4 A 3 10 1'],
    ],
    [
      'no BYPASS for a bypass domain',
      'iommu.drv.attach.bypass-flag-existing-bypass',
      ['R 4 A 4 10 0'],
    ],
    ['undefined flags', 'iommu.drv.map.flags-undefined-zero', ['M 3 200000 200fff 0 9']],
    [
      'registers without the feature',
      'iommu.drv.map.mmio-flag-needs-feature',
      ['Z device', 'A 3 8 0', 'M 3 200000 200fff 0 5'],
      'F 100000057',
    ],
    [
      'a MAP in a bypass domain',
      'iommu.drv.map.not-on-bypass-domain',
      ['R 4 M 4 200000 200fff 0 3'],
    ],
    ['a MAP that ends at its start', 'iommu.drv.map.end-after-start', ['M 3 200000 200000 0 3']],
    [
      'a MAP that ends before its start',
      'iommu.drv.map.end-after-start',
      ['R 4 M 3 201000 200fff 0 3'],
    ],
    [
      'a MAP into a reserved region',
      'iommu.drv.resv.no-map-in-region',
      ['M 3 80ff000 8100fff 0 3'],
    ],
    [
      'an UNMAP in a bypass domain',
      'iommu.drv.unmap.not-on-bypass-domain',
      ['R 4 U 4 200000 200fff'],
    ],
    [
      'an UNMAP from the middle',
      'iommu.drv.unmap.start-on-boundary',
      ['M 3 200000 201fff 0 3', 'R 5 U 3 201000 201fff'],
    ],
    [
      'an UNMAP to the middle',
      'iommu.drv.unmap.end-on-boundary',
      ['M 3 200000 201fff 0 3', 'R 5 U 3 200000 200fff'],
    ],
    ['an UNMAP of nothing', 'iommu.drv.unmap.covers-contiguous-mappings', ['U 3 200000 200fff']],
    [
      'an UNMAP over a hole',
      'iommu.drv.unmap.covers-contiguous-mappings',
      ['M 3 200000 200fff 0 3', 'M 3 202000 202fff 0 3', 'U 3 200000 202fff'],
    ],
    ['a bypass of 2', 'iommu.drv.config.bypass-write-value', ['B 2']],
    [
      'a MAP over a mapping',
      'advice.map.overlap',
      ['M 3 200000 201fff 0 3', 'R 4 M 3 201000 202fff 0 3'],
    ],
    ['half a page', 'advice.map.alignment', ['M 3 200000 2007ff 0 3']],
    ['a page that leads between two', 'advice.map.alignment', ['M 3 200000 200fff 800 3']],
    ['a domain that is not there', 'advice.map.domain', ['R 6 M 7 200000 200fff 0 3']],
    ['a domain that ended', 'advice.unmap.domain', ['D 3 8', 'R 6 U 3 200000 200fff']],
    ['a DETACH from elsewhere', 'advice.detach.attached', ['R 4 D 4 8']],
    ['undefined flags of ATTACH', 'advice.attach.flags', ['R 4 A 5 10 6']],
  ] as const)('finds %s: %s', (_, clause, lines, features = HEAD[1]) => {
    const { findings } = watch([HEAD[0] ?? '', features ?? '', HEAD[2] ?? '', ...SCENE, ...lines]);
    // Without MMIO the scene stays as it is.
    expect(
      [...new Set(findings.map((one) => one.clause))].filter(
        (one) => !one.startsWith('advice.attach.bypass'),
      ),
    ).toContain(clause);
    const [finding] = findings.filter((one) => one.clause === clause);
    expect(finding?.message).toBeTruthy();
    expect(['fail', 'warn']).toContain(finding?.result);
  });

  it('forgives what a driver cannot have known', () => {
    // MAP and UNMAP were on their way together.
    expect(broken('R 8 M 3 200000 200fff 0 3', 'U 3 200000 200fff')).toEqual([]);
    // Who was refused an UNMAP may try anything.
    expect(
      broken('M 3 200000 200fff 0 3', 'R 3 U 3 200000 200fff', 'R 4 M 3 200000 200fff 0 3'),
    ).toEqual([]);
  });

  it('says how bad it is', () => {
    const { findings, monitor } = watch([
      ...HEAD,
      ...SCENE,
      'M 3 200000 200000 0 3',
      'U 3 300000 300fff',
    ]);
    expect(
      findings.map(({ clause, result, level, line }) => [clause, result, level, line]),
    ).toEqual([
      ['iommu.drv.map.end-after-start', 'fail', 'MUST', 9],
      ['advice.map.alignment', 'warn', 'MAY', 9],
      ['iommu.drv.unmap.covers-contiguous-mappings', 'warn', 'SHOULD', 10],
    ]);
    const report = monitorReport('planted', monitor, findings);
    expect(report.conforms).toBe(false);
    const worst = report.results.find(({ result }) => result === 'fail');
    expect(worst?.evidence).toEqual([
      'broken 1 of 1 times',
      'line 9: MAP of 0x200000..0x200000 in domain 3',
    ]);
  });
});
