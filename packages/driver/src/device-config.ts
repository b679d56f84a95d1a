/** What the device's configuration space says, understood: section "Device configuration layout". */

import {
  ADDRESS_MAX,
  IommuConfig,
  IommuError,
  IommuFeature,
  MapFlag,
  PAGE_SIZE,
  type Range,
  hasFeature,
} from '@viommu/common';
import type { DriverTransport } from '@viommu/transport';

/** The properties of one IOMMU. */
export interface DeviceConfig {
  readonly pageSizeBitmap: bigint;
  readonly aperture: Range;
  readonly firstDomain: number;
  readonly lastDomain: number;
  readonly probeSize: number;
  readonly mapFlags: number;
}

/** More properties than this nobody has: 2,730 reserved regions of one endpoint. */
const PROBE_SIZE_MAX = 0x1_0000;
const U32_MAX = 0xffff_ffff;
const GRANULE_MIN = BigInt(PAGE_SIZE);
const at = IommuConfig.offset;

/**
 * Reads the fields whose feature was negotiated; the others have the values that the standard gives them.
 *
 * @throws {IommuError} `EINVAL` if the device has no page size, a range that ends before it starts, or more probe
 * properties than anybody could have.
 */
export function readDeviceConfig(transport: DriverTransport, features: bigint): DeviceConfig {
  const has = (bit: number): boolean => hasFeature(features, bit);
  const config = transport.readConfigStable(() => ({
    pageSizeMask: transport.readConfig64(at.pageSizeMask),
    aperture: has(IommuFeature.INPUT_RANGE)
      ? {
          start: transport.readConfig64(at.inputRangeStart),
          last: transport.readConfig64(at.inputRangeEnd),
        }
      : { start: 0n, last: ADDRESS_MAX },
    domains: has(IommuFeature.DOMAIN_RANGE)
      ? {
          first: transport.readConfig(at.domainRangeStart, 4),
          last: transport.readConfig(at.domainRangeEnd, 4),
        }
      : { first: 0, last: U32_MAX },
    probeSize: has(IommuFeature.PROBE) ? transport.readConfig(at.probeSize, 4) : 0,
  }));
  const { pageSizeMask, aperture, domains, probeSize } = config;
  if (pageSizeMask === 0n) throw new IommuError('EINVAL', 'The IOMMU has no page size.');
  if (aperture.last < aperture.start)
    throw new IommuError('EINVAL', 'The input range of the IOMMU ends before it starts.');
  if (domains.last < domains.first)
    throw new IommuError('EINVAL', 'The domain range of the IOMMU ends before it starts.');
  if (probeSize > PROBE_SIZE_MAX)
    throw new IommuError('EINVAL', `The IOMMU wants ${probeSize} bytes for probe properties.`);
  return {
    pageSizeBitmap: wholePages(pageSizeMask),
    aperture,
    firstDomain: domains.first,
    lastDomain: domains.last,
    probeSize,
    mapFlags: MapFlag.READ | MapFlag.WRITE | (has(IommuFeature.MMIO) ? MapFlag.MMIO : 0),
  };
}

/** True if two devices, or one at two times, can serve the same domains and mappings. */
export function sameConfig(a: DeviceConfig, b: DeviceConfig): boolean {
  return (
    a.pageSizeBitmap === b.pageSizeBitmap &&
    a.aperture.start === b.aperture.start &&
    a.aperture.last === b.aperture.last &&
    a.firstDomain === b.firstDomain &&
    a.lastDomain === b.lastDomain &&
    a.probeSize === b.probeSize
  );
}

/** A granule below a page serves a page: it divides it. */
function wholePages(pageSizeMask: bigint): bigint {
  const small = pageSizeMask & (GRANULE_MIN - 1n);
  return small === 0n ? pageSizeMask : (pageSizeMask - small) | GRANULE_MIN;
}
