import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{test,packages/*/test}/**/*.test.ts'],
    setupFiles: ['./vitest.setup.ts'],
    // Node itself loads tests, sources and worker threads: no transform, so
    // line numbers and V8 coverage are those of the files on disk.
    experimental: { viteModuleRunner: false },
    execArgv: ['--conditions=@viommu/source'],
    // A process for several files: no test changes what it did not make, and starting one for each costs more than
    // most of them run.
    isolate: false,
    // Tests start threads and processes; on a busy machine these take their time, and that is no failure.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
