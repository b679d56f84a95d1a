/** Copies of the package's sources with one fault planted, to show that the explorer finds it. */

import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type * as ring from '@viommu/ring';
import type { QueueMakers } from './programs.ts';

const PACKAGE = fileURLToPath(new URL('../../', import.meta.url));

export interface Fault {
  readonly name: string;
  /** Source file below `src`. */
  readonly file: string;
  /** A text that stands in it exactly once, and what takes its place. */
  readonly before: string;
  readonly after: string;
}

/** The queues of a copy that has the fault. The copy lies beside the sources, so that its imports resolve. */
export async function plant({ name, file, before, after }: Fault): Promise<QueueMakers> {
  const directory = join(PACKAGE, '.cache', 'planted', name.replaceAll(/\W+/g, '-'));
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  cpSync(join(PACKAGE, 'src'), directory, { recursive: true });
  const source = readFileSync(join(directory, file), 'utf8');
  const parts = source.split(before);
  if (parts.length !== 2)
    throw new Error(`${file} holds the text of "${name}" ${parts.length - 1} times`);
  writeFileSync(join(directory, file), parts.join(after));
  // The copy has the exports of the package.
  const copy = (await import(pathToFileURL(join(directory, 'index.ts')).href)) as Pick<
    typeof ring,
    'createDeviceQueue' | 'createDriverQueue' | 'Waiter'
  >;
  return { device: copy.createDeviceQueue, driver: copy.createDriverQueue, Waiter: copy.Waiter };
}

const RECHECK = 'return !this.ready();';

/** One fault for each way in which a side can lose, tear or publish too early. */
export const FAULTS: readonly Fault[] = [
  {
    name: 'split driver publishes before it fills',
    file: 'split-driver-queue.ts',
    before: '    const slot = position & this.#mask;\n',
    after:
      '    const slot = position & this.#mask;\n' +
      '    this.#memory.storeUint16(this.#available + 2, (position + 1) & 0xffff);\n',
  },
  {
    name: 'split device publishes before it fills',
    file: 'split-device-queue.ts',
    before: '    this.#memory.setUint32(element + USED_ID, chain.id);\n',
    after:
      '    this.#memory.storeUint16(this.#used + 2, (this.#nextUsed + 1) & 0xffff);\n' +
      '    this.#memory.setUint32(element + USED_ID, chain.id);\n',
  },
  {
    name: 'split device publishes in a burst before it fills',
    file: 'split-device-queue.ts',
    before: '      memory.setUint32(element + USED_ID, head);\n',
    after:
      '      memory.storeUint16(this.#used + 2, (used + 1) & 0xffff);\n' +
      '      memory.setUint32(element + USED_ID, head);\n',
  },
  {
    name: 'packed driver publishes before it fills',
    file: 'packed-driver-queue.ts',
    before: '      memory.setUint32(at + LOW, low);\n',
    after:
      '      memory.storeUint16(at + FLAGS, firstFlags);\n' +
      '      memory.setUint32(at + LOW, low);\n',
  },
  {
    name: 'packed device publishes before it fills',
    file: 'packed-device-queue.ts',
    before: '    memory.setUint16(at + ID, id);\n',
    after: '    memory.storeUint16(at + FLAGS, flags);\n    memory.setUint16(at + ID, id);\n',
  },
  {
    name: 'packed device publishes in a burst before it fills',
    file: 'packed-device-queue.ts',
    before: '          written = handler.handlePair(readable, readableBytes, writable, length);\n',
    after:
      '          memory.storeUint16(ring + nextUsed * SLOT_BYTES + FLAGS, usedLap);\n' +
      '          written = handler.handlePair(readable, readableBytes, writable, length);\n',
  },
  {
    name: 'packed device shows a batch before its last list is in it',
    file: 'packed-device-queue.ts',
    before: '    this.#heldAt = at;\n',
    after: '    this.#heldAt = at;\n    memory.storeUint16(at + FLAGS, flags);\n',
  },
  ...['split-driver', 'split-device', 'packed-driver', 'packed-device'].flatMap((side): Fault[] => [
    {
      name: `${side} does not look again before it sleeps`,
      file: `${side}-queue.ts`,
      before: RECHECK,
      after: 'return true;',
    },
    {
      name: `${side} writes its event after the last look`,
      file: `${side}-queue.ts`,
      before: '  armNotification(): boolean {\n    this.#armed = true;\n',
      after:
        '  armNotification(): boolean {\n    const idle = !this.ready();\n    this.#arm();\n    return idle;\n  }\n' +
        '  #arm(): boolean {\n    this.#armed = true;\n',
    },
  ]),
];
