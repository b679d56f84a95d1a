/** Makes a command out of the stand-in for QEMU, and finds the real ones. */

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findQemus } from '@viommu/peers';

/** How the stand-in behaves; see `fake-qemu.ts`. */
export type Mode = 'well' | 'tcg' | 'loud';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const PROGRAM = fileURLToPath(new URL('fake-qemu.ts', import.meta.url));

/** A folder with a command for each mode. */
export class FakeQemus {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'viommu-fake-'));

  /** The path of a program that behaves so. */
  path(mode: Mode): string {
    const path = join(this.folder, mode);
    const node = `"${process.execPath}" --conditions=@viommu/source "${PROGRAM}"`;
    writeFileSync(path, `#!/bin/sh\nexec ${node} ${mode} "$@"\n`);
    chmodSync(path, 0o755);
    return path;
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The real QEMUs of this machine. */
export function realQemus(): readonly string[] {
  const found = findQemus(ROOT);
  if (found.length === 0)
    console.warn('no QEMU here: its tests are skipped; see scripts/install-peers.sh');
  return found;
}
