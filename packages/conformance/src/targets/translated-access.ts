/** An endpoint of our device reads or writes memory. */

import { MapFlag, offsetInPage, pageOf } from '@viommu/common';
import { type Iommu, PieceKind, TranslateOutcome, Translation } from '@viommu/device';
import type { GuestMemory } from '@viommu/ring';
import type { DmaDirection, DmaOutcome } from '../target.ts';

/** Used by one access after the other. */
const TRANSLATION = new Translation();

/** One access: all of it or nothing. */
export function translatedAccess(
  iommu: Iommu,
  memory: GuestMemory,
  access: {
    readonly endpoint: number;
    readonly direction: DmaDirection;
    readonly iova: bigint;
    readonly bytes: Uint8Array;
  },
): DmaOutcome {
  const { endpoint, direction, iova, bytes } = access;
  const right = direction === 'read' ? MapFlag.READ : MapFlag.WRITE;
  const translation = TRANSLATION;
  const outcome = iommu.translate(
    endpoint,
    pageOf(iova),
    offsetInPage(iova),
    bytes.length,
    right,
    translation,
  );
  if (outcome !== TranslateOutcome.OK) return 'refused';
  let at = 0;
  for (let piece = 0; piece < translation.count; piece += 1) {
    const length = translation.length[piece] ?? 0;
    // A doorbell goes to the interrupt controller, which is no part of the suite.
    if (translation.kind[piece] !== PieceKind.MSI) {
      const address = translation.address(piece);
      const position = memory.locate(
        Number(address & 0xffff_ffffn),
        Number(address >> 32n),
        length,
      );
      if (position < 0) return 'refused';
      if (direction === 'read') memory.read(position, bytes, at, length);
      else memory.write(position, bytes, at, length);
    }
    at += length;
  }
  return 'done';
}
