/**
 * An endpoint in the host worker of a machine whose accesses the suite makes: a module for `EndpointOptions`. Its
 * buffer is in guest memory, out of the window that the suite uses for cases.
 */

import { guestPhysical } from '@viommu/common';
import type { HostContext, HostEndpoint } from '@viommu/machine';
import { readBytes, writeBytes } from '../ring/bytes.ts';
import { ACCESS_BYTES_MAX, AccessGo, AccessRegisters, AccessStatus } from './access-register.ts';
import { translatedAccess } from './translated-access.ts';

const { offset: At } = AccessRegisters;

export default function accessEndpoint(host: HostContext): HostEndpoint {
  const words = new Map<number, number>();
  const word = (offset: number): bigint => BigInt(words.get(offset) ?? 0);
  const go = (value: number): void => {
    if (value === AccessGo.SYSTEM_RESET) {
      host.systemReset();
      return;
    }
    const iova = word(At.iovaLow) | (word(At.iovaHigh) << 32n);
    const buffer = guestPhysical(word(At.bufferLow) | (word(At.bufferHigh) << 32n));
    const length = Math.min(Number(word(At.length)), ACCESS_BYTES_MAX);
    const direction = value === AccessGo.READ ? 'read' : 'write';
    const bytes = readBytes(host.memory, buffer, length);
    const endpoint = host.id ?? 0;
    const outcome = translatedAccess(host.iommu, host.memory, { endpoint, direction, iova, bytes });
    if (direction === 'read') writeBytes(host.memory, buffer, bytes);
    host.registers.store(At.status, outcome === 'done' ? AccessStatus.DONE : AccessStatus.REFUSED);
  };
  return {
    write(offset, width, value) {
      if (width !== 4) return;
      if (offset === At.go) go(value);
      else words.set(offset, value);
    },
  };
}
