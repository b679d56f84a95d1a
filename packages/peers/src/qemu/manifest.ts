/** The divergences of QEMU's virtio-iommu that are known, by version. */

import { existsSync, readFileSync } from 'node:fs';
import { type Manifest, readManifest } from '@viommu/conformance';

/** The manifest for a version, `7.2.22` say, if there is one: they are kept for each minor version. */
export function qemuManifest(version: string): Manifest | undefined {
  const minor = /^\d+\.\d+/.exec(version)?.[0] ?? version;
  const place = new URL(`../../manifest/qemu-${minor}.json`, import.meta.url);
  return existsSync(place) ? readManifest(readFileSync(place, 'utf8')) : undefined;
}
