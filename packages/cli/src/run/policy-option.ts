/** The options of `viommu run --policy`, checked and complete. */

import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { POLICIES, type Policy, WORKLOADS, type WorkloadName } from '@viommu/machine';
import { usageFailure } from '../failure.ts';
import { formatBytes } from '../output.ts';
import type { RingFormat } from '../ring-format.ts';

/** As the command line has them. */
export interface PolicyFlags {
  readonly policy: string;
  readonly workload?: string | undefined;
  readonly blockSize?: number | undefined;
  readonly depth?: number | undefined;
  readonly seconds?: number | undefined;
  /** A file, or `memory`. */
  readonly disk?: string | undefined;
  readonly diskSize?: number | undefined;
  readonly ring?: RingFormat | undefined;
}

export interface PolicyOptions {
  readonly policies: readonly Policy[];
  readonly workload: WorkloadName;
  readonly blockBytes: number;
  readonly depth: number;
  /** How long is measured, of all policies together. */
  readonly seconds: number;
  /** `undefined` for a temporary file. */
  readonly disk: string | undefined;
  readonly diskBytes: number;
  readonly ramBytes: number;
  readonly ring: RingFormat;
}

/** `--disk` for a disk that is no file. */
export const MEMORY_DISK = 'memory';

const SECTOR_BYTES = 512;
const BLOCK_BYTES = 64 << 10;
const BLOCK_BYTES_MAX = 1 << 20;
const DEPTH = 16;
/** Of all requests in flight: half of what a protected guest bounces in. */
const FLIGHT_BYTES_MAX = 32 << 20;
const RAM_BYTES_MIN = 64 << 20;
const DISK_BYTES = 32 << 20;
const DISK_BYTES_MAX = 2 ** 30;
const SECONDS_ONE = 5;
const SECONDS_ALL = 30;

/** @throws {Failure} for options that are wrong, or do not go together. */
export function policyOptions(flags: PolicyFlags): PolicyOptions {
  const names = flags.policy === 'all' ? POLICIES : flags.policy.split(',');
  const unknown = names.find((name) => !POLICIES.some((policy) => policy === name));
  if (unknown !== undefined)
    throw usageFailure(
      `there is no policy ${unknown}; there are ${[...POLICIES, 'all'].join(', ')}`,
    );
  const policies = POLICIES.filter((policy) => names.includes(policy));
  const { blockSize: blockBytes = BLOCK_BYTES, depth = DEPTH, disk, ring = 'split' } = flags;
  const workload = WORKLOADS.find((name) => name === (flags.workload ?? 'randwrite'));
  if (workload === undefined)
    throw usageFailure(`there is no workload ${flags.workload}; there are ${WORKLOADS.join(', ')}`);
  if (!Number.isInteger(depth)) throw usageFailure('--depth is a whole number of requests');
  if (blockBytes % SECTOR_BYTES !== 0 || blockBytes > BLOCK_BYTES_MAX)
    throw usageFailure('--block-size is a multiple of 512 bytes up to 1 MiB');
  const flightBytes = depth * blockBytes;
  if (flightBytes > FLIGHT_BYTES_MAX)
    throw usageFailure(
      '--depth blocks of --block-size are more than 32 MiB; make one of them smaller',
    );
  const diskBytes = flags.diskSize ?? Math.max(DISK_BYTES, 4 * flightBytes);
  if (diskBytes % SECTOR_BYTES !== 0 || diskBytes > DISK_BYTES_MAX)
    throw usageFailure('--disk-size is a multiple of 512 bytes up to 1 GiB');
  if (diskBytes < flightBytes + blockBytes)
    throw usageFailure(
      `--disk-size has to be at least ${formatBytes(BigInt(flightBytes + blockBytes))}, a block more than are in flight`,
    );
  if (disk !== undefined && disk !== MEMORY_DISK) checkPlace(disk);
  return {
    policies,
    workload,
    blockBytes,
    depth,
    seconds: flags.seconds ?? (policies.length > 1 ? SECONDS_ALL : SECONDS_ONE),
    disk,
    diskBytes,
    ramBytes: Math.max(RAM_BYTES_MIN, 2 ** Math.ceil(Math.log2(8 * flightBytes))),
    ring,
  };
}

/** The file of a policy's disk. Several policies have one each. */
export function diskFile(disk: string, policy: Policy, several: boolean): string {
  return several ? `${disk}.${policy}` : disk;
}

function checkPlace(disk: string): void {
  const folder = statSync(dirname(disk), { throwIfNoEntry: false });
  if (folder?.isDirectory() !== true)
    throw usageFailure(`--disk ${disk}: there is no such directory`);
  const file = statSync(disk, { throwIfNoEntry: false });
  if (file !== undefined && !file.isFile()) throw usageFailure(`--disk ${disk}: it is not a file`);
}
