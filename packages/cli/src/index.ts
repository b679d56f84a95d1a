export { ExitCode, Failure } from './failure.ts';
export { RecordingSummary } from './inspect/summary.ts';
export type { BatchSummary, DomainSummary, EndpointSummary, SizeClass } from './inspect/summary.ts';
export type { Mismatch } from './replay/findings.ts';
export {
  readRecording,
  type RecordedCounts,
  type RecordedEndpoint,
  type RecordedRegion,
  type Recording,
} from './replay/recording.ts';
export { ReplaySession, type ReplayResult } from './replay/session.ts';
export { Script } from './replay/script.ts';
export { BATCH_MODES, type BatchMode } from './replay/walk.ts';
export { readStream, type EventTaker, type StreamFile } from './stream-file.ts';
