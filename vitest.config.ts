import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{test,packages/*/test}/**/*.test.ts'],
    setupFiles: ['./vitest.setup.ts'],
    // Node itself loads tests, sources and worker threads: no transform, so
    // line numbers and V8 coverage are those of the files on disk.
    experimental: { viteModuleRunner: false },
    execArgv: ['--conditions=@viommu/source'],
  },
});
