/**
 * An endpoint that never gives up: it writes to every address that it ever heard of, again and again, whether or not
 * that leads anywhere.
 */

import { MapFlag, highWord, lowWord } from '@viommu/common';
import { TranslateOutcome, Translation } from '@viommu/device';
import type { HostContext, HostEndpoint } from '@viommu/machine';

/** What the guest writes: the page with the list of addresses and its length, which starts it; what it reads. */
export const ProberRegister = { LIST: 0, COUNT: 4, HITS: 8, REFUSALS: 12 } as const;

const TRIES_AT_ONCE = 16;

export default function prober(host: HostContext): HostEndpoint {
  const translation = new Translation();
  const { memory, registers, iommu, id = 0 } = host;
  let list = 0;
  let count = 0;
  let next = 0;
  let hits = 0;
  let refusals = 0;
  return {
    write(offset, _, value) {
      if (offset === ProberRegister.LIST) list = value;
      else if (offset === ProberRegister.COUNT) count = value;
    },
    serve() {
      if (count === 0) return false;
      const at = memory.locate(lowWord(list, 0), highWord(list), count * 4);
      for (let tries = 0; tries < TRIES_AT_ONCE; tries += 1) {
        next = next + 1 < count ? next + 1 : 0;
        attempt(memory.getUint32(at + 4 * next));
      }
      registers.store(ProberRegister.HITS, hits);
      registers.store(ProberRegister.REFUSALS, refusals);
      // It tries whenever the host looks for work, and does not keep it from sleeping.
      return false;
    },
  };

  /** The access is made in here, so that its address is as fresh as that of any device. */
  function attempt(page: number): void {
    if (page === 0) return;
    if (iommu.translate(id, page, 0, 4, MapFlag.WRITE, translation) !== TranslateOutcome.OK) {
      refusals = (refusals + 1) >>> 0;
      return;
    }
    hits = (hits + 1) >>> 0;
    const frame = translation.physPage[0] ?? 0;
    const position = memory.locate(lowWord(frame, 0), highWord(frame), 4);
    if (position >= 0) memory.setUint32(position, hits | 1);
  }
}
