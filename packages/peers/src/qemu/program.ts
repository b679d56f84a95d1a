/** Which QEMUs there are, and what each of them can do. */

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { IommuError } from '@viommu/common';

/** A QEMU for x86 that can be started. */
export interface QemuProgram {
  /** The program, and arguments that come before all others. */
  readonly command: readonly string[];
  /** `7.2.22` */
  readonly version: string;
  /** The names of the devices it can be given. */
  readonly devices: ReadonlySet<string>;
  /** The names of the options of its virtio-iommu. */
  readonly iommuOptions: ReadonlySet<string>;
}

const PROGRAM = 'qemu-system-x86_64';
/** What `scripts/install-peers.sh` writes, from the root of the project. */
const ENVIRONMENT_FILE = join('.cache', 'peers', 'env');
const ANSWER_MS_MAX = 20_000;

const known = new Map<string, QemuProgram>();

/**
 * Asks a QEMU what it is.
 *
 * @param command - the path of a program, or a command line of words without quotes, such as `chroot tree qemu`.
 * @throws {IommuError} `ENOENT` if that is no QEMU, or one without a virtio-iommu.
 */
export function qemuProgram(command: string): QemuProgram {
  const found = known.get(command);
  if (found !== undefined) return found;
  const words = existsSync(command) ? [command] : command.split(/\s+/).filter(Boolean);
  const version = /version (\d+(?:\.\d+)+)/.exec(answer(words, ['-version']))?.[1];
  if (version === undefined) throw new IommuError('ENOENT', `${command} is no QEMU.`);
  const list = answer(words, ['-device', 'help']);
  const devices = new Set([...list.matchAll(/^name "([\w.-]+)"/gm)].map(([, name = '']) => name));
  if (!devices.has('virtio-iommu-pci'))
    throw new IommuError('ENOENT', `QEMU ${version} has no virtio-iommu.`);
  const help = answer(words, ['-device', 'virtio-iommu-pci,help']);
  const options = [...help.matchAll(/^ {2}([\w-]+)=/gm)].map(([, name = '']) => name);
  const program = { command: words, version, devices, iommuOptions: new Set(options) };
  known.set(command, program);
  return program;
}

/**
 * The QEMUs of this machine, as command lines: the one that the variable VIOMMU_QEMU names, and nothing else then; else
 * those that `scripts/install-peers.sh` installed below `root`; else the one on the path.
 */
export function findQemus(root: string = process.cwd()): string[] {
  const chosen = process.env['VIOMMU_QEMU'];
  if (chosen !== undefined) return chosen === '' ? [] : [chosen];
  const file = join(root, ENVIRONMENT_FILE);
  const lines = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const installed = [...lines.matchAll(/^QEMU_\w+=(.+)$/gm)].map(([, path = '']) => path);
  const there = installed.filter((path) => existsSync(path));
  if (there.length > 0) return there;
  return answer([PROGRAM], ['-version']) === '' ? [] : [PROGRAM];
}

/**
 * The QEMU that a name means: `qemu` is the first that there is, `qemu:7.2` the first of that version, and what else is
 * behind the colon the path of a program, or a command line of words without quotes.
 *
 * @param root - the folder below which `scripts/install-peers.sh` installed some.
 * @throws {IommuError} `ENOENT` if there is none.
 */
export function qemuByName(name: string, root?: string): QemuProgram {
  const wanted = name.slice(name.indexOf(':') + 1);
  const version = /^\d+(?:\.\d+)*$/.test(wanted) ? wanted : undefined;
  if (name.includes(':') && version === undefined) return qemuProgram(wanted);
  for (const command of findQemus(root)) {
    const program = qemuProgram(command);
    if (version === undefined || `${program.version}.`.startsWith(`${version}.`)) return program;
  }
  throw new IommuError(
    'ENOENT',
    'There is no such QEMU: scripts/install-peers.sh installs some, and qemu:PATH names yours.',
  );
}

function answer([program = '', ...before]: readonly string[], args: readonly string[]): string {
  const options = { encoding: 'utf8', timeout: ANSWER_MS_MAX } as const;
  return spawnSync(program, [...before, ...args], options).stdout ?? '';
}
