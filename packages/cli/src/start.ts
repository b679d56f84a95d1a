/** `viommu` without a command, which `npm start` is: the demonstration, and then the recorded Linux stream. */

import { existsSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ExitCode } from './failure.ts';
import type { Output } from './output.ts';
import { replay } from './replay.ts';
import { run } from './run.ts';

export interface StartOptions {
  /** Where to write what the demonstration does. */
  readonly record?: string | undefined;
}

/** Lies in the repository, and not in the package. */
const RECORDING = new URL('../../../recordings/linux-6.12-lazy.stream.gz', import.meta.url);

/** Runs the demonstration and replays the recording; the result is the exit code. */
export async function start(
  options: StartOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const exitCode = await run(options, output, signal);
  if (exitCode !== ExitCode.OK) return exitCode;
  const path = fileURLToPath(RECORDING);
  if (!existsSync(path)) {
    output.note('viommu: the recorded Linux stream is in the repository only; replay takes others');
    return exitCode;
  }
  if (!output.json) {
    output.line();
    output.line('What a Linux guest asked of a real virtio-iommu, asked again of this one:');
  }
  return replay([relative(process.cwd(), path)], { batch: 'lazy' }, output, signal);
}
