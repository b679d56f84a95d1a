export { Deviation, signatureOf } from './deviation.ts';
export { type Finding, annotateFinding } from './finding.ts';
export { type SavedFinding, decodeFinding, encodeFinding } from './finding-file.ts';
export { runHostile } from './hostile-device.ts';
export { FUZZERS, type Fuzzer } from './registry.ts';
export {
  type Origin,
  type SeedOptions,
  type StreamResult,
  runSeed,
  runStream,
} from './run-stream.ts';
export { type ShrinkOptions, shrink } from './shrink.ts';
export {
  type AccessStep,
  type ConfigStep,
  type PostStep,
  type RequestStep,
  type ResetStep,
  type SaveStep,
  type Setup,
  type Step,
  type Stream,
  annotateSteps,
  formatStep,
  stepOf,
} from './stream.ts';
export { type FuzzOptions, type FuzzReport, type Progress, fuzz } from './threads.ts';
