import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const MAIN = fileURLToPath(new URL('./process/main.ts', import.meta.url));

/** What the process prints; it fails if it is not gone after 50 seconds. */
async function outputOf(...args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--conditions=@viommu/source', MAIN, ...args],
    { timeout: 50_000 },
  );
  return stdout;
}

describe('a process that runs a machine', { timeout: 60_000 }, () => {
  it.concurrent.each([
    ['a program that ends', ['export default () => 42'], 'value 42\n'],
    [
      'a program that leaves a timer and a server',
      [
        "import { createServer } from 'node:net'; export default () => { createServer().listen(0); setInterval(() => {}, 99); return 1; }",
      ],
      'value 1\n',
    ],
    [
      'a program that throws',
      ["export default () => { throw new Error('x'); }"],
      'error ESHUTDOWN\n',
    ],
    ['a program that spins', ['export default () => { for (;;); }', '200'], 'error ETIMEDOUT\n'],
  ])('ends by itself after %s', async (_, args, output) => {
    expect(await outputOf(...args)).toBe(output);
  });
});
