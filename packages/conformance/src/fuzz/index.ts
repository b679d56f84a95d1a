export { type NamedDeviation, parseDeviations } from './against-deviation.ts';
export { type CorpusEntry } from './corpus-file.ts';
export { type MergeReport, mergeCorpora } from './corpus-minimise.ts';
export { type LoadedCorpus, loadCorpus, saveEntry } from './corpus.ts';
export { Deviation, signatureOf } from './deviation.ts';
export { type Finding, type FindingInput, annotateFinding } from './finding.ts';
export { type SavedFinding, decodeFinding, encodeFinding } from './finding-file.ts';
export { type Fuzzer, type Journal, type Outcome, type Tally, tryFuzzer } from './fuzzer.ts';
export { Random } from './random.ts';
export { CANARY, FUZZERS, fuzzerByName } from './registry.ts';
export {
  type FuzzResult,
  type Part,
  type Progress,
  decodeResult,
  encodeResult,
  mergeResults,
} from './result-file.ts';
export { type Origin, STREAM, type SeedOptions, runSeed, runStream } from './run-stream.ts';
export type { Subject } from './shard-worker.ts';
export { type Replay, type ShrinkOptions, shrink } from './shrink.ts';
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
export {
  type FuzzOptions,
  type FuzzReport,
  fuzz,
  fuzzersOf,
  minimiseCorpus,
  replay,
} from './threads.ts';
