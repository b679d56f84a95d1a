export { type TargetExport, type TargetSpec, loadTarget } from './node/target-module.ts';
export { type ThreadOptions, runInThreads } from './node/threads.ts';
export { workerTarget } from './targets/worker.ts';
