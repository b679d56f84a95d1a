/** Doorbells: where devices write to raise an interrupt. Behind an IOMMU they need a mapping like memory. */

import {
  type Concurrency,
  type Context,
  IommuError,
  Protection,
  addressAt,
  offsetInPage,
  pageOf,
} from '@viommu/common';
import type { Device } from './device.ts';
import type { DmaCookie } from './dma-cookie.ts';
import type { Domain } from './domain.ts';
import { mapRange, unmapRange } from './map.ts';

const DOORBELL = Protection.WRITE | Protection.NOEXEC | Protection.MMIO;

/**
 * What a device has to write to in order to reach a doorbell; the mapping stays as long as the domain.
 *
 * `domain` is the device's, `undefined` without an IOMMU.
 *
 * @throws {IommuError} `ENOMEM` if no address is left, `EINVAL` if the IOMMU cannot map registers or the domain's owner
 * has to, and what the mapping was refused with.
 */
export function prepareMsi(
  concurrency: Concurrency,
  context: Context,
  domain: Domain | undefined,
  device: Device,
  doorbell: bigint,
): bigint {
  if (domain === undefined || !domain.paging) return doorbell;
  const { cookie } = domain;
  if (cookie === undefined)
    throw new IommuError('EINVAL', 'The owner of the domain maps its doorbells.');
  const page = pageOf(doorbell);
  if (cookie.isDoorbell(page)) return doorbell;
  const mapped =
    cookie.doorbells.get(page) ?? mapDoorbell(concurrency, context, cookie, device, page);
  return addressAt(mapped, offsetInPage(doorbell));
}

function mapDoorbell(
  concurrency: Concurrency,
  context: Context,
  cookie: DmaCookie,
  device: Device,
  doorbellPage: number,
): number {
  const { domain, doorbells } = cookie;
  const page = cookie.allocate(context, device, 1, device.dmaLastPage);
  if (page === 0) throw new IommuError('ENOMEM', `${device.name} has no address for a doorbell.`);
  try {
    concurrency.at('msi:afterIova');
    mapRange(domain, page, doorbellPage, 1, DOORBELL);
  } catch (error) {
    cookie.free(context, page, 1);
    throw error;
  }
  // Another context may have been here meanwhile. Everybody keeps what came first.
  const first = doorbells.get(doorbellPage);
  if (first === undefined) {
    doorbells.set(doorbellPage, page);
    return page;
  }
  unmapRange(domain, page, 1);
  cookie.free(context, page, 1);
  return first;
}
