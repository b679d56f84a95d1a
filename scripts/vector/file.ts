/** The files of vectors, as text. */

import { accessVectors } from './access.ts';
import { DEVICES, number } from './device.ts';
import { headerOf } from './header.ts';
import { requestVectors } from './request.ts';
import { ringVectors } from './ring.ts';

/** The text of each file, by its name. */
export function vectorFiles(): ReadonlyMap<string, string> {
  const requests = requestVectors();
  return new Map([
    ['requests.json', jsonOf('requests', requests)],
    ['accesses.json', jsonOf('accesses', accessVectors())],
    ['rings.json', jsonOf('rings', ringVectors())],
    ['vectors.h', headerOf(requests)],
  ]);
}

function jsonOf(kind: string, vectors: readonly unknown[]): string {
  return `${JSON.stringify({ format: 'viommu-vectors', version: 1, kind, devices: devices(), vectors }, null, 1)}\n`;
}

function devices(): unknown {
  const entries = Object.entries(DEVICES).map(([name, device]) => [
    name,
    JSON.parse(
      JSON.stringify(device, (_, value: unknown) =>
        typeof value === 'bigint' ? number(value) : value,
      ),
    ),
  ]);
  return Object.fromEntries(entries);
}
