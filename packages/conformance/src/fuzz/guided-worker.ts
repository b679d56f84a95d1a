/**
 * A thread of the fuzzer that learns from what its inputs reach: it instruments our packages before it loads them, and is
 * `shard-worker.ts` then.
 */

import { installHook } from './feedback/hook.ts';
import type runShardTask from './shard-worker.ts';

installHook();

const runTask: typeof runShardTask = (await import('./shard-worker.ts')).default;
export default runTask;
