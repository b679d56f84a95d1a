/** `viommu inspect FILE`: what a recording, or a file of records, holds, without running anything. */

import { type StreamEvent, formatStatus } from '@viommu/common';
import { ExitCode, printable } from './failure.ts';
import { featureNames } from './features.ts';
import { STANDARD_INPUT } from './input.ts';
import { eventText } from './inspect/event-text.ts';
import { holdsRecords, inspectRecords } from './inspect/record-file.ts';
import { type DomainSummary, type EndpointSummary, RecordingSummary } from './inspect/summary.ts';
import {
  type Output,
  formatAddress,
  formatBytes,
  formatCount,
  formatNoun,
  formatRange,
} from './output.ts';
import { type StreamFile, readStream } from './stream-file.ts';

export interface InspectOptions {
  /** Every event after the summary. */
  readonly events: boolean;
}

/** Rows of a table beyond these are counted instead of shown. */
const ROWS_MAX = 64;

/** Prints the summary of `file`, and its events if they are wanted; the result is the exit code. */
export async function inspect(
  file: string,
  options: InspectOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  if (holdsRecords(file)) return inspectRecords(file, options.events, output);
  const summary = new RecordingSummary();
  // Standard input can be read once only; a file is read again, so that its size does not matter.
  const kept: [StreamEvent, number][] | undefined =
    options.events && file === STANDARD_INPUT ? [] : undefined;
  const stream = await readStream(
    file,
    (event, line) => {
      summary.add(event, line);
      kept?.push([event, line]);
      return undefined;
    },
    signal,
  );
  if (output.json) output.event(summaryEvent(stream, summary));
  else printSummary(stream, summary, output);
  if (!options.events) return ExitCode.OK;

  const print = (event: StreamEvent, line: number): undefined => {
    if (output.json) output.event({ event: event.kind, line, ...event, kind: undefined });
    else output.line(`${String(line).padStart(String(stream.lines).length)}  ${eventText(event)}`);
  };
  output.line();
  if (kept === undefined) await readStream(file, print, signal);
  else for (const [event, line] of kept) print(event, line);
  return ExitCode.OK;
}

function printSummary(stream: StreamFile, summary: RecordingSummary, output: Output): void {
  output.heading(printable(stream.name));
  output.line(`  viommu-stream version ${stream.version}, ${formatNoun(stream.lines, 'line')}`);
  for (const remark of stream.remarks) output.line(`  ${printable(remark)}`);
  printDevice(summary, output);
  printCounts(summary, output);
  printEndpoints([...summary.endpoints.values()], output);
  printDomains([...summary.domains.values()], output);
  printSizes(summary, output);
}

function printDevice({ features, config }: RecordingSummary, output: Output): void {
  output.line();
  output.heading('Device');
  const rows = [['features', featureNames(features).join(', ')]];
  if (config !== undefined)
    rows.push(
      [
        'page_size_mask',
        `${formatAddress(config.pageSizeMask)} (granule ${formatBytes(granuleOf(config.pageSizeMask))})`,
      ],
      ['input_range', formatRange(config.inputStart, config.inputLast)],
      ['domain_range', `${config.domainFirst}-${config.domainLast}`],
      ['probe_size', formatNoun(config.probeSize, 'byte')],
      ['bypass', String(config.bypass)],
    );
  output.table(
    [
      { title: '', align: 'left' },
      { title: '', align: 'left' },
    ],
    rows,
  );
}

/** What is counted, in the words of the standard. */
const COUNTED: readonly (readonly [StreamEvent['kind'], string])[] = [
  ['probe', 'PROBE'],
  ['probe-empty', 'PROBE without a region'],
  ['attach', 'ATTACH'],
  ['detach', 'DETACH'],
  ['map', 'MAP'],
  ['unmap', 'UNMAP'],
  ['refused', 'refused requests'],
  ['access', 'accesses'],
  ['fault', 'refused accesses'],
  ['device-reset', 'device resets'],
  ['system-reset', 'system resets'],
  ['bypass', 'writes of bypass'],
  ['notify', 'notifications'],
];

function printCounts(summary: RecordingSummary, output: Output): void {
  output.line();
  output.heading('Events');
  const rows = COUNTED.filter(([kind]) => summary.count(kind) > 0).map(([kind, name]) => [
    name,
    formatCount(summary.count(kind)),
  ]);
  for (const [status, count] of summary.refusals)
    rows.push([`  refused with ${formatStatus(status)}`, formatCount(count)]);
  output.table(
    [
      { title: '', align: 'left' },
      { title: '', align: 'right' },
    ],
    rows,
  );
  const { batches } = summary;
  if (batches.count > 0)
    output.line(
      `  ${formatNoun(batches.count, 'batch', 'batches')} of requests between accesses:` +
        ` ${(batches.requests / batches.count).toFixed(1)} requests each,` +
        ` the longest ${formatCount(batches.longest)} from line ${batches.longestLine} on`,
    );
}

function printEndpoints(endpoints: readonly EndpointSummary[], output: Output): void {
  if (endpoints.length === 0) return;
  output.line();
  output.heading('Endpoints');
  output.table(
    ['endpoint', 'probes', 'attached', 'detached', 'reads', 'writes', 'both', 'untranslated']
      .concat('refused', 'domain at the end')
      .map((title) => ({ title, align: 'right' })),
    endpoints
      .slice(0, ROWS_MAX)
      .map((one) => [
        String(one.endpoint),
        ...[one.probes, one.attaches, one.detaches].map(formatCount),
        ...[one.accesses.r, one.accesses.w, one.accesses.rw].map(formatCount),
        ...[one.untranslated, one.faults].map(formatCount),
        one.domain === undefined ? 'none' : String(one.domain),
      ]),
  );
  printRest(endpoints.length, output);
}

function printDomains(domains: readonly DomainSummary[], output: Output): void {
  if (domains.length === 0) return;
  output.line();
  output.heading('Domains');
  output.table(
    ['domain', 'attached', 'MAPs', 'UNMAPs', 'removed', 'mappings at the end', 'at most']
      .concat('mapped at most')
      .map((title) => ({ title, align: 'right' })),
    domains
      .slice(0, ROWS_MAX)
      .map((one) => [
        String(one.domain),
        ...[one.attaches, one.maps, one.unmaps, one.removed].map(formatCount),
        ...[one.live, one.liveMost].map(formatCount),
        formatBytes(one.liveBytesMost),
      ]),
  );
  printRest(domains.length, output);
}

function printRest(count: number, output: Output): void {
  if (count > ROWS_MAX) output.line(`  and ${formatCount(count - ROWS_MAX)} more`);
}

function printSizes(summary: RecordingSummary, output: Output): void {
  if (summary.sizes.size === 0) return;
  output.line();
  output.heading('Mappings');
  output.table(
    [
      { title: 'size up to', align: 'right' },
      { title: 'MAPs', align: 'right' },
    ],
    summary.sizeClasses().map(({ atMost, count }) => [formatBytes(atMost), formatCount(count)]),
  );
  output.line(`  at most ${formatNoun(summary.liveMost, 'mapping')} alive at one time`);
}

/** The smallest size of a mapping: the lowest bit of the mask. */
function granuleOf(pageSizeMask: bigint): bigint {
  return pageSizeMask & -pageSizeMask;
}

/** The summary as one object for programs. */
function summaryEvent(stream: StreamFile, summary: RecordingSummary): Record<string, unknown> {
  const { config, batches } = summary;
  return {
    event: 'recording',
    file: stream.name,
    version: stream.version,
    lines: stream.lines,
    remarks: stream.remarks,
    features: summary.features,
    featureNames: featureNames(summary.features),
    config: config === undefined ? undefined : { ...config, kind: undefined },
    counts: Object.fromEntries(summary.counts),
    refusals: Object.fromEntries(
      [...summary.refusals].map(([status, count]) => [formatStatus(status), count]),
    ),
    endpoints: [...summary.endpoints.values()],
    domains: [...summary.domains.values()].map((one) => ({
      ...one,
      endpoints: [...one.endpoints],
    })),
    mappingSizes: summary.sizeClasses(),
    mappingsMost: summary.liveMost,
    mappingsAtEnd: summary.live,
    batches,
  };
}
