/** MAP and UNMAP as other devices do them. */

import { ADDRESS_MAX, MapFlag, MapRequest, Status, UnmapRequest, iova } from '@viommu/common';
import type { Iommu } from '../core/iommu.ts';
import { handle } from '../request.ts';
import type { Habits } from './habit.ts';

const { OK, INVAL, RANGE } = Status;

/** Does the MAP at the start of `view`, which is nobody else's. */
export function map(iommu: Iommu, habits: Habits, view: DataView): number {
  const { offset, size } = MapRequest;
  const start = view.getBigUint64(offset.virtStart, true);
  const last = view.getBigUint64(offset.virtEnd, true);
  const flags = view.getUint32(offset.flags, true);
  const access = flags & (MapFlag.READ | MapFlag.WRITE);
  const { mapInverted, mapToEnd, mapNoAccess, mapWriteOnly } = habits;
  if (last < start && mapInverted !== undefined) return Status[mapInverted];
  if (last >= start && last === ADDRESS_MAX && mapToEnd !== undefined) return Status[mapToEnd];
  if (access === 0 && mapNoAccess !== undefined) return Status[mapNoAccess];
  if (access === MapFlag.WRITE && mapWriteOnly !== undefined) {
    if (mapWriteOnly !== 'readable') return Status[mapWriteOnly];
    view.setUint32(offset.flags, flags | MapFlag.READ, true);
  }
  return handle(iommu, view, 0, size);
}

/** Does the UNMAP at the start of `view`; `input` is the input range that the driver sees. */
export function unmap(
  iommu: Iommu,
  habits: Habits,
  view: DataView,
  input: { readonly start: bigint; readonly last: bigint },
): number {
  const { offset, size } = UnmapRequest;
  const start = view.getBigUint64(offset.virtStart, true);
  const last = view.getBigUint64(offset.virtEnd, true);
  const { unmapInverted, unmapEverything, unmapOutside, unmapCutRemoves, unmapReserved } = habits;
  const reserved = view.getUint32(offset.reserved1, true) !== 0;
  if (reserved && unmapReserved === 'INVAL') return INVAL;
  if (last < start && unmapInverted !== undefined) return Status[unmapInverted];
  if (start === 0n && last === ADDRESS_MAX) {
    if (unmapEverything !== undefined) return Status[unmapEverything];
  } else if ((start < input.start || last > input.last) && unmapOutside !== undefined) {
    return Status[unmapOutside];
  }

  const status = handle(iommu, view, 0, size);
  if (status === OK) return reserved && unmapReserved !== undefined ? INVAL : OK;
  if (status !== RANGE || unmapCutRemoves === undefined) return status;
  const domain = view.getUint32(offset.domain, true);
  const cut = firstCut(iommu, domain, start, last);
  if (cut > start) iommu.unmapRange(domain, { start: iova(start), last: iova(cut - 1n) });
  return status;
}

/** Where the first mapping begins that the range would cut. */
function firstCut(iommu: Iommu, domain: number, start: bigint, last: bigint): bigint {
  for (const { virt } of iommu.mappings(domain)) {
    const touched = virt.start <= last && virt.last >= start;
    if (touched && (virt.start < start || virt.last > last)) return virt.start;
  }
  return 0n;
}
