/** The driver's side as a whole: two drivers that are right, written by nobody who knew of the other. */

import {
  CLAUSES,
  type CaseResult,
  type ConformanceReport,
  DRIVER_CASES,
  type DriverTargetFactory,
  UNCOVERED,
  clauseOf,
  coreDriver,
  defineDriverCase,
  runDriverConformance,
} from '@viommu/conformance';
import { describe, expect, it } from 'vitest';
import { loadDriver } from '../../src/node/target-module.ts';
import { PlainDriver } from './plain-driver.ts';

const plainDriver: DriverTargetFactory = { name: 'plain', open: () => new PlainDriver() };

const worse = ({ results }: ConformanceReport): readonly string[] =>
  results
    .filter(({ result }) => result === 'fail' || result === 'warn')
    .map(({ id, evidence }) => [id, ...evidence].join('\n'));

describe('our driver', () => {
  it('passes without failure, warning or skipped case', async () => {
    const report = await runDriverConformance(coreDriver);
    expect(worse(report)).toEqual([]);
    expect(report.results.filter(({ result }) => result === 'skip')).toEqual([]);
    expect(report.conforms).toBe(true);
    expect(report.summary.pass).toBeGreaterThan(300);
    // All of the chapter's clauses that can be seen from outside.
    const driverSide = CLAUSES.filter(({ side, area }) => side === 'driver' && area === 'iommu');
    const covered = new Set(report.results.map(({ clause }) => clause));
    for (const { id, observable } of driverSide)
      if (observable === 'black-box') expect(covered, id).toContain(id);
      else if (!covered.has(id)) expect(UNCOVERED[id], id).toMatch(/^[A-Z].*\.$/);
    expect(report.summary.clauses).toEqual({ covered: 40, total: 43 });
  }, 30_000);
});

describe('a second driver', () => {
  it('passes too, and is told what it has nothing of', async () => {
    const report = await runDriverConformance(plainDriver);
    expect(worse(report)).toEqual([]);
    expect(report.summary.clauses.covered).toBe(40);
    for (const { id, result, evidence } of report.results)
      if (result === 'skip')
        expect(evidence[0], id).toMatch(/the driver (has nothing|did nothing|does not)/);
  }, 30_000);
});

describe('cases on the driver side', () => {
  it('have ids of their own, and titles', () => {
    const ids = DRIVER_CASES.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { id, title } of DRIVER_CASES) expect(title, id).toMatch(/.{8,}[^.]$/);
  });

  it('are never about the duty of a device', () => {
    const device = new Set(CLAUSES.filter(({ side }) => side === 'device').map(({ id }) => id));
    expect(DRIVER_CASES.filter(({ id }) => device.has(clauseOf(id)))).toEqual([]);
  });

  it('need a clause', () => {
    const text = { id: 'iommu.drv.nothing', title: 'nothing', run: () => undefined };
    expect(() => defineDriverCase(text)).toThrow('names no clause');
  });
});

describe('the template of a driver', () => {
  it('loads, and says that there is none', async () => {
    const { href } = new URL(
      '../../../../examples/conformance-target/driver-template.ts',
      import.meta.url,
    );
    const factory = await loadDriver({ module: href });
    const { results } = await runDriverConformance(factory, {
      only: 'iommu.drv.map.end-after-start',
    });
    expect(results[0]).toMatchObject({ how: 'crash' });
    expect(results[0]?.evidence[0]).toBe('the template has no driver');
  });
});

describe('a verdict', () => {
  const id = 'iommu.drv.map.end-after-start';
  const judge = async (factory: DriverTargetFactory, only = id): Promise<readonly CaseResult[]> =>
    (await runDriverConformance(factory, { only })).results;

  it('of a driver that throws is a crash', async () => {
    const open = (): PlainDriver => {
      throw new TypeError('no such luck');
    };
    const [result] = await judge({ name: 'crash', open });
    expect(result).toMatchObject({ result: 'fail', how: 'crash' });
    expect(result?.evidence[0]).toContain('no such luck');
  });

  it('of a driver that waits forever is a hang', async () => {
    const [result] = await judge(
      { name: 'hang', open: () => new PlainDriver({ patience: false }) },
      'open.11.22#silence',
    );
    expect(result).toMatchObject({ result: 'fail', how: 'hang' });
  });

  it('tells what was asked, and what was sent, byte by byte', async () => {
    const [result] = await judge({
      name: 'short',
      open: () => new PlainDriver({ mapEnd: (start) => start }),
    });
    expect(result?.result).toBe('fail');
    expect(result?.evidence.join('\n')).toMatch(
      /MAP of 0x200000\.\.0x200000.*map endpoint 8.*virtio_iommu_req_/s,
    );
  });

  it('counts what is seen in cases about something else', async () => {
    const bytes = (request: Uint8Array): Uint8Array => {
      request[1] = 1;
      return request;
    };
    const { results } = await runDriverConformance(
      { name: 'stray', open: () => new PlainDriver({ bytes }) },
      { cases: DRIVER_CASES.filter((one) => one.id === id) },
    );
    expect(results.map((one) => [one.id, one.result])).toEqual([
      [id, 'pass'],
      [`iommu.drv.req.head-reserved-zero#${id}`, 'warn'],
    ]);
  });

  it('is marked where a manifest lists it', async () => {
    const report = await runDriverConformance(
      { name: 'listed', open: () => new PlainDriver({ mapEnd: (start) => start }) },
      { only: id, manifest: { target: 'listed', divergences: [{ id, result: 'fail' }] } },
    );
    expect(report.results[0]).toMatchObject({ result: 'fail', expected: true });
    expect(report.conforms).toBe(true);
  });
});
