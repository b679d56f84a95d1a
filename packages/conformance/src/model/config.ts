/** The configuration space: section "IOMMU Device / Device configuration layout". */

import { IommuConfig, IommuFeature } from '@viommu/common';
import type { Choices } from './choice.ts';
import type { State } from './state.ts';

/** Its 40 bytes. Fields of features that are not offered are zero (7.12). */
export function configBytes(state: State): Uint8Array {
  const { pageSizeMask, inputRange, domainRange, probeSize } = state.platform;
  const input = state.offered(IommuFeature.INPUT_RANGE);
  const domains = state.offered(IommuFeature.DOMAIN_RANGE);
  return IommuConfig.encode({
    pageSizeMask,
    inputRangeStart: input ? inputRange.start : 0n,
    inputRangeEnd: input ? inputRange.last : 0n,
    domainRangeStart: domains ? domainRange.first : 0,
    domainRangeEnd: domains ? domainRange.last : 0,
    probeSize: state.offered(IommuFeature.PROBE) ? probeSize : 0,
    // iommu.dev.config.bypass-presented-value
    bypass: state.offered(IommuFeature.BYPASS_CONFIG) && state.bypass ? 1 : 0,
  });
}

/** The driver writes `width` bytes at `offset`. False if the device shows DEVICE_NEEDS_RESET for it. */
export function writeConfig(
  state: State,
  choices: Choices,
  offset: number,
  width: number,
  value: number,
): boolean {
  const { bypass } = IommuConfig.offset;
  // 7.6: there is one byte to write.
  if (!state.offered(IommuFeature.BYPASS_CONFIG)) return true;
  if (offset > bypass || offset + width <= bypass) return true;
  // 7.7
  if (width !== 1 && choices.bypassWidth === 'ignored') return true;
  const byte = Math.floor(value / 2 ** (8 * (bypass - offset))) % 256;
  if (!state.accepted(IommuFeature.BYPASS_CONFIG)) {
    // 7.4
    if (choices.bypassUnaccepted === 'needsReset') return false;
    if (choices.bypassUnaccepted === 'ignored') return true;
  }
  if (byte > 1) {
    // 7.5
    if (choices.bypassValue === 'needsReset') return false;
    if (choices.bypassValue === 'ignored') return true;
  }
  state.bypass = (byte & 1) === 1; // 7.9: at once.
  return true;
}
