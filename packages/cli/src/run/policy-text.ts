/** Results of policies, for people and for programs. */

import { type Column, formatBytes, formatCount } from '../output.ts';
import type { PolicyResult } from './policy-figure.ts';

/** A column for each policy. */
export function policyColumns(results: readonly PolicyResult[]): Column[] {
  return [
    { title: 'policy', align: 'left' },
    ...results.map(({ policy }): Column => ({ title: policy, align: 'right' })),
  ];
}

/** A row for each figure. */
export function policyRows(results: readonly PolicyResult[]): string[][] {
  const compared = results.some(({ ratio }) => ratio !== undefined);
  const rows = ROWS.filter((row) => compared || row.compares !== true);
  return rows.map(({ title, text }) => [title, ...results.map(text)]);
}

/** A result for programs; rates and ratios with as many digits as mean something. */
export function resultEvent(result: PolicyResult): Record<string, unknown> {
  const { ratio, quartiles, ...rest } = result;
  const rounded = Object.entries(rest).map(([name, value]) => [
    name,
    typeof value === 'number' ? Number(value.toPrecision(10)) : value,
  ]);
  return {
    event: 'policy',
    ...(Object.fromEntries(rounded) as typeof rest), // The same names.
    ratio: ratio === undefined ? null : Number(ratio.toFixed(4)),
    quartiles: quartiles?.map((value) => Number(value.toFixed(4))) ?? null,
    iommuRequestsPerNotification: perNotification(result) ?? null,
  };
}

interface Row {
  readonly title: string;
  readonly text: (of: PolicyResult) => string;
  /** It compares policies, so that a single one does without. */
  readonly compares?: true;
}

const ROWS: readonly Row[] = [
  { title: 'requests/s', text: (of) => formatCount(Math.round(of.requestsPerSecond)) },
  { title: 'MB/s', text: (of) => formatCount(Math.round(of.bytesPerSecond / 1e6)) },
  {
    title: 'of direct, %',
    compares: true,
    text: ({ ratio }) => (ratio === undefined ? '100.0' : (100 * ratio).toFixed(1)),
  },
  {
    title: '  quartiles',
    compares: true,
    text: ({ quartiles }) =>
      quartiles === undefined ? '' : quartiles.map((value) => (100 * value).toFixed(1)).join('-'),
  },
  { title: 'latency p50, µs', text: (of) => micro(of.p50Us) },
  { title: '  p95', text: (of) => micro(of.p95Us) },
  { title: '  p99', text: (of) => micro(of.p99Us) },
  { title: '  max', text: (of) => micro(of.maxUs) },
  { title: 'IOMMU requests', text: (of) => formatCount(of.iommuRequests) },
  { title: '  notifications', text: (of) => formatCount(of.iommuNotifications) },
  { title: '  requests each', text: (of) => perNotification(of)?.toFixed(1) ?? '' },
  { title: 'disk requests', text: (of) => formatCount(of.requests) },
  { title: '  notifications', text: (of) => formatCount(of.diskNotifications) },
  { title: 'queue flushes', text: (of) => formatCount(of.flushes) },
  { title: 'bounced', text: (of) => bytes(of.bouncedBytes) },
  { title: 'faults', text: (of) => formatCount(of.faults) },
  { title: 'failed requests', text: (of) => formatCount(of.errors) },
  { title: 'sectors checked', text: (of) => formatCount(of.sectorsChecked) },
  { title: '  wrong', text: (of) => formatCount(of.mismatches) },
];

/** IOMMU requests for each notification; `undefined` without any. */
function perNotification({ iommuRequests, iommuNotifications }: PolicyResult): number | undefined {
  return iommuNotifications === 0 ? undefined : iommuRequests / iommuNotifications;
}

function micro(us: number): string {
  return us < 100 ? us.toFixed(1) : formatCount(Math.round(us));
}

function bytes(count: number): string {
  return count === 0 ? '0' : formatBytes(BigInt(Math.round(count / 2 ** 20) * 2 ** 20));
}
