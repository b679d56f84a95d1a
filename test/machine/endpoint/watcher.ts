/**
 * An endpoint of a test's own: makes the accesses that the guest asks for in its registers, and watches what UNMAPs
 * remove.
 */

import { MapFlag, type Range } from '@viommu/common';
import { PieceKind, TranslateOutcome, Translation } from '@viommu/device';
import type { HostContext, HostEndpoint } from '@viommu/machine';

/** What the guest writes: an address in pages, then the number of an endpoint, which starts the access. */
export const Register = {
  PAGE: 0,
  GO: 4,
  OUTCOME: 8,
  PHYSICAL_PAGE: 12,
  SYSTEM_RESET: 16,
} as const;

/** What the options pass. */
export interface WatcherData {
  readonly greeting: string;
}

export default function watcher(host: HostContext, data: WatcherData): HostEndpoint {
  const translation = new Translation();
  const removed: Range[] = [];
  let page = 0;
  let serves = 0;
  host.log(data.greeting);
  host.observe({ unmapped: (_, __, ranges) => void removed.push(...ranges) });
  return {
    write(offset, _, value) {
      if (offset === Register.PAGE) page = value;
      else if (offset === Register.SYSTEM_RESET) host.systemReset();
      else if (offset === Register.GO) access(value);
    },
    serve() {
      serves += 1;
      return false;
    },
    close() {
      host.report({ removed, name: host.name, id: host.id, served: serves > 0 });
    },
  };

  function access(endpoint: number): void {
    const outcome = host.iommu.translate(endpoint, page, 0, 4, MapFlag.WRITE, translation);
    const memory = outcome === TranslateOutcome.OK && translation.kind[0] !== PieceKind.MSI;
    if (memory) host.registers.store(Register.PHYSICAL_PAGE, translation.physPage[0] ?? 0);
    host.registers.store(Register.OUTCOME, outcome);
    host.interrupt();
  }
}
