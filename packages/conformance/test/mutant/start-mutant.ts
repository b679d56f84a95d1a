/** Wrong devices: what it offers, its configuration, and what a reset leaves of it. */

import { type MutantSection, inDevice } from './change.ts';

export const START_MUTANTS: readonly MutantSection[] = [
  {
    name: 'features, configuration, reset',
    mutants: [
      ...inDevice(
        'feature-offer.ts',
        [
          'does not offer MAP_UNMAP',
          'iommu.dev.features.offer-map-unmap',
          '[IommuFeature.MAP_UNMAP, offer.mapUnmap ?? true],',
          '[IommuFeature.MAP_UNMAP, false],',
        ],
        [
          'offers BYPASS instead of BYPASS_CONFIG',
          'iommu.dev.features.no-legacy-bypass',
          '[IommuFeature.BYPASS_CONFIG, bypassConfig],',
          '[IommuFeature.BYPASS, bypassConfig],',
        ],
        [
          'offers both ways of bypass',
          'iommu.dev.features.not-both-bypass',
          '[IommuFeature.BYPASS, legacyBypass],',
          '[IommuFeature.BYPASS, true],',
        ],
        [
          'offers a bit without meaning',
          'basic.dev.features.offer-only-supported',
          '[VirtioFeature.VERSION_1, true],',
          '[VirtioFeature.VERSION_1, true], [55, true],',
        ],
      ),
      ...inDevice(
        'iommu-device.ts',
        [
          'insists on PROBE',
          'basic.dev.features.accept-subsets',
          'this.iommu.negotiate(features);',
          'this.iommu.negotiate(features); if (!hasFeature(features, IommuFeature.PROBE)) return false;',
        ],
        [
          'shows no page size',
          'iommu.dev.config.page-size-mask-nonzero',
          'const { pageSizeMask, inputRange,',
          'const pageSizeMask = 0n; const { inputRange,',
        ],
        [
          'shows a bypass of 255',
          'iommu.dev.config.bypass-presented-value',
          'this.config[IommuConfig.offset.bypass] = this.iommu.bypass ? 1 : 0;',
          'this.config[IommuConfig.offset.bypass] = this.iommu.bypass ? 255 : 0;',
        ],
        [
          'shows no written bypass',
          'iommu.dev.config.bypass-presented-value',
          'this.config[IommuConfig.offset.bypass] = this.iommu.bypass ? 1 : 0;',
          '',
        ],
        [
          'takes writes anywhere for bypass',
          'open.7.6',
          'if (offset !== IommuConfig.offset.bypass || width !== 1) return false;',
          'if (width !== 1) return false;',
        ],
        [
          'lets the driver write page_size_mask',
          'open.7.6',
          'if (offset !== IommuConfig.offset.bypass || width !== 1) return false;',
          'if (offset !== IommuConfig.offset.bypass) { this.config[offset] = value; return true; }',
        ],
        [
          'shows a larger probe_size than it fills',
          'iommu.dev.req.status-ok#probe',
          'IommuFeature.PROBE) ? probeSize : 0,',
          'IommuFeature.PROBE) ? probeSize + 8 : 0,',
        ],
        [
          'takes back bypass with a device reset',
          'iommu.dev.config.bypass-kept-on-device-reset',
          'this.iommu.reset();',
          'this.iommu.systemReset(); this.#showBypass();',
        ],
        ['forgets nothing at a reset', 'fact.iommu.reset-unattached', 'this.iommu.reset();', ''],
      ),
      ...inDevice(
        'core/iommu.ts',
        [
          'takes any byte for bypass',
          'iommu.dev.config.bypass-presented-value',
          'state.bypass = value === 1; // 7.9: at once.',
          'state.bypass = value === 0;',
        ],
        [
          'keeps bypass over a system reset',
          'iommu.dev.config.bypass-restored-on-system-reset',
          'this.#state.bypass = this.#state.initialBypass;',
          '',
        ],
      ),
      ...inDevice(
        'core/state.ts',
        [
          'keeps endpoints attached over a reset',
          'fact.iommu.reset-unattached#access-1',
          'for (const endpoint of this.endpoints.values()) endpoint.domain = undefined;',
          '',
        ],
        ['keeps domains over a reset', 'fact.iommu.reset-unattached', 'this.domains.clear();', ''],
      ),
    ],
  },
];
