/** `viommu conform --side driver --monitor FILE`: the driver of a recording, judged by what it sent. */

import {
  type ConformanceReport,
  type StreamFinding,
  StreamMonitor,
  caseEvent,
  monitorReport,
} from '@viommu/conformance';
import type { Output } from '../output.ts';
import { readStream } from '../stream-file.ts';

/** Reads the recording to its end. @throws {Failure} if it is none. */
export async function monitor(
  file: string,
  output: Output,
  signal: AbortSignal,
): Promise<ConformanceReport> {
  const watch = new StreamMonitor();
  const findings: StreamFinding[] = [];
  const { name } = await readStream(
    file,
    (event, line) => {
      findings.push(...watch.take(event, line));
      return undefined;
    },
    signal,
  );
  const report = monitorReport(`${name}, ${watch.requests} requests`, watch, findings);
  for (const result of report.results) output.event(caseEvent(result));
  return report;
}
