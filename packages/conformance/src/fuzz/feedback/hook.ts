/**
 * Instruments our own packages as a thread loads them. To be installed before anything is imported that imports one of
 * them: `guided-worker.ts` does nothing else.
 */

import * as nodeModule from 'node:module';
import { EDGES_MAX, Probe, probeOfThread, setProbe } from './probe.ts';
import { instrument } from './instrument.ts';

/** The packages that are tested. */
const PACKAGES = ['device', 'ring', 'transport', 'driver', 'common'] as const;

// Not there before Node 22.15, whatever the types say.
const { registerHooks } = nodeModule as Partial<typeof nodeModule>;

/** Why nothing can be instrumented here, if that is so: then only what can be seen from outside steers the fuzzer. */
export function hookObstacle(): string | undefined {
  if (registerHooks !== undefined) return undefined;
  return `Node ${process.versions.node} has no hooks for modules, 22.15 has them: edges are not counted`;
}

/** Instruments what is loaded from now on, if that can be done. */
export function installHook(): void {
  if (probeOfThread() !== undefined || registerHooks === undefined) return;
  const probe = new Probe();
  setProbe(probe);
  const folders = PACKAGES.map((name) => ({ name, url: folderOf(name) }));
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      const folder = folders.find((each) => url.startsWith(each.url));
      if (folder === undefined || loaded.source === undefined || loaded.source === null)
        return loaded;
      const { source, format } = loaded;
      const text = typeof source === 'string' ? source : new TextDecoder().decode(source);
      const script = format === 'module-typescript' ? stripped(text) : text;
      const first = { edge: probe.edges, comparison: probe.comparisons };
      const { code, edges, comparisons } = instrument(script, first);
      if (first.edge + edges > EDGES_MAX) return loaded;
      const path = url.slice(folder.url.length).replace(/\.[jt]s$/, '');
      probe.modules.push({
        name: `${folder.name}/${path}`,
        firstEdge: first.edge,
        edges,
        firstComparison: first.comparison,
      });
      probe.edges += edges;
      probe.comparisons += comparisons;
      return { ...loaded, format: 'module', source: code };
    },
  });
}

/** Where the sources of a package lie, with or without a build. */
function folderOf(name: (typeof PACKAGES)[number]): string {
  return new URL('.', import.meta.resolve(`@viommu/${name}`)).href;
}

/** The types are replaced by spaces. That this is new in Node need not be said in every thread. */
function stripped(text: string): string {
  const emitWarning = process.emitWarning.bind(process);
  process.emitWarning = () => undefined;
  try {
    return nodeModule.stripTypeScriptTypes(text);
  } finally {
    process.emitWarning = emitWarning;
  }
}
