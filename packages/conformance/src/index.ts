export { type CaseText, type DeviceCase, defineCase } from './case.ts';
export {
  CLAUSES,
  FACTS,
  OPEN_POINTS,
  UNCOVERED,
  type Clause,
  type Entry,
  type Fact,
  type Level,
  type OpenPoint,
  type Side,
  clauseOf,
  entryOf,
} from './catalogue.ts';
export { type Share, type Summary, summarize } from './coverage.ts';
export { Session } from './device/session.ts';
export { type RingFormat, type StartOptions } from './device/start.ts';
export { DEVICE_CASES } from './device/suite.ts';
export {
  type DriverAction,
  type DriverEnvironment,
  type DriverOutcome,
  type DriverTarget,
  type DriverTargetFactory,
} from './driver-target.ts';
export { type DriverCase, type DriverCaseText, defineDriverCase } from './driver/case.ts';
export { type Finding, Ledger } from './driver/ledger.ts';
export { monitorReport } from './driver/monitor-report.ts';
export {
  Monitor,
  type MonitoredDevice,
  type MonitoredRegion,
  type MonitoredRequest,
} from './driver/monitor.ts';
export {
  type DriverConformanceOptions,
  driverCasesOf,
  runDriverConformance,
} from './driver/run.ts';
export { type StreamFinding, StreamMonitor } from './driver/stream-monitor.ts';
export { DRIVER_CASES } from './driver/suite.ts';
export { type Divergence, type Manifest, readManifest } from './manifest.ts';
export { type Need } from './need.ts';
export { runCase, type RunCaseOptions } from './run-case.ts';
export { htmlOf } from './report/html.ts';
export { junitOf } from './report/junit.ts';
export { type JsonEvent, caseEvent, closingEvents } from './report/json.ts';
export {
  type ConformanceOptions,
  type ConformanceReport,
  casesOf,
  reportOf,
  runConformance,
} from './run.ts';
export {
  TargetFailure,
  type DeviceTarget,
  type DeviceTargetFactory,
  type DmaDirection,
  type DmaOutcome,
  type ResetKind,
  type TargetEndpoint,
  type TargetInterrupts,
  type TargetRegion,
  type TargetRegisters,
  type TargetWish,
} from './target.ts';
export { coreTarget, createCore } from './targets/core.ts';
export { coreDriver, coreDriverWith } from './targets/driver-core.ts';
export { MmioRegisters } from './targets/mmio-registers.ts';
export { overrideTarget } from './targets/override.ts';
export { type VirtioDeviceParts, virtioDeviceTarget } from './targets/virtio-device-target.ts';
export { type CaseResult, type Result } from './verdict.ts';
