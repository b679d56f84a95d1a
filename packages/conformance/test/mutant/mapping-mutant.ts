/** Wrong devices: what is mapped. */

import { type MutantSection, inDevice } from './change.ts';

export const MAPPING_MUTANTS: readonly MutantSection[] = [
  {
    name: 'MAP',
    mutants: [
      ...inDevice(
        'core/map.ts',
        [
          'overlooks undefined flags of MAP',
          'iommu.dev.map.flags-unknown',
          'if ((flags & ~known) !== 0) return INVAL;',
          'if ((flags & 0xffff & ~known) !== 0) return INVAL;',
        ],
        [
          'maps although it says that flags are undefined',
          'iommu.dev.map.flags-unknown',
          'if ((flags & ~known) !== 0) return INVAL;',
          'if ((flags & ~known) !== 0) { map(state, domainId, startPage, startOffset, lastPage, lastOffset, physPage, physOffset, flags & known); return INVAL; }',
        ],
        [
          'does not know the MMIO flag',
          'iommu.dev.req.status-ok#mmio',
          'const known = state.mmio ? READ_AND_WRITE | MMIO : READ_AND_WRITE;',
          'const known = READ_AND_WRITE;',
        ],
        [
          'maps from the end to the start',
          'open.4.2',
          'if (isBefore(lastPage, lastOffset, startPage, startOffset)) return INVAL; // 4.2',
          'if (isBefore(lastPage, lastOffset, startPage, startOffset)) return map(state, domainId, lastPage, 0, startPage, 4095, physPage, physOffset, flags);',
        ],
        [
          'does not look at the input range',
          'fact.iommu.input-range-fails',
          'if (!state.input.holds(startPage, startOffset, lastPage, lastOffset)) return RANGE;',
          '',
        ],
        [
          'says INVAL to domains that do not exist',
          'iommu.dev.map.domain-missing',
          'if (domain === undefined) return NOENT;',
          'if (domain === undefined) return INVAL;',
        ],
        [
          'maps in bypass domains',
          'iommu.dev.map.bypass-domain',
          'if (domain.bypass) return INVAL;',
          '',
        ],
        [
          'maps to physical addresses within a granule',
          'iommu.dev.map.unaligned#phys-start',
          '!startsGranule(state, physPage, physOffset) ||',
          '',
        ],
        [
          'maps up to addresses within a granule',
          'iommu.dev.map.unaligned#virt-end',
          '!endsGranule(state, lastPage, lastOffset)',
          'false',
        ],
        [
          'maps pages of large granules',
          'iommu.dev.map.unaligned#large-granule',
          '(state.granulePages === 1 || page % state.granulePages === 0)',
          'true',
        ],
        [
          'says OK to an overlap',
          'iommu.dev.map.overlap',
          'return inserted ? OK : INVAL;',
          'return OK;',
        ],
        [
          'replaces what was mapped',
          'iommu.dev.map.overlap#translated',
          'return inserted ? OK : INVAL;',
          'if (!inserted) { mappings.removeInside(startPage, startOffset, lastPage, lastOffset); mappings.insert(startPage, startOffset, lastPage, lastOffset, physPage, physOffset, flags); } return inserted ? OK : INVAL;',
        ],
      ),
      ...inDevice('core/mapping-store.ts', [
        'does not see what follows',
        'iommu.dev.map.overlap#from-before',
        'if (after !== NONE && pool.startsUpTo(after, lastPage, lastOffset)) return false;',
        'if (after !== NONE && pool.startsUpTo(after, startPage, startOffset)) return false;',
      ]),
      ...inDevice('core/reserved-region.ts', [
        'refuses the last page of the input range',
        'iommu.dev.req.status-ok#input-last',
        '!isBefore(this.lastPage, this.lastOffset, lastPage, lastOffset)',
        'isBefore(lastPage, lastOffset, this.lastPage, this.lastOffset)',
      ]),
    ],
  },
  {
    name: 'UNMAP',
    mutants: [
      ...inDevice(
        'core/unmap.ts',
        [
          'unmaps from the end to the start',
          'open.5.2',
          'if (isBefore(lastPage, lastOffset, startPage, startOffset)) return INVAL; // 5.2',
          'if (isBefore(lastPage, lastOffset, startPage, startOffset)) return unmap(state, domainId, lastPage, 0, startPage, 4095, removed);',
        ],
        [
          'says OK where there is no domain',
          'iommu.dev.unmap.domain-missing',
          'if (domain === undefined) return NOENT;',
          'if (domain === undefined) return OK;',
        ],
        [
          'says OK in bypass domains',
          'iommu.dev.unmap.bypass-domain',
          'if (domain.bypass) return INVAL;',
          'if (domain.bypass) return OK;',
        ],
        [
          'says INVAL to a split',
          'iommu.dev.unmap.split-status',
          'lastOffset)) return RANGE; // iommu.dev.unmap.split-status',
          'lastOffset)) return INVAL; // iommu.dev.unmap.split-status',
        ],
        [
          'says OK to a split, and removes nothing',
          'iommu.dev.unmap.split-status',
          'lastOffset)) return RANGE; // iommu.dev.unmap.split-status',
          'lastOffset)) return OK; // iommu.dev.unmap.split-status',
        ],
      ),
      ...inDevice(
        'core/mapping-store.ts',
        [
          'removes a mapping that begins before the range',
          'iommu.dev.unmap.split-removes-nothing',
          '          if (before !== NONE && pool.reaches(before, startPage, startOffset)) return false;',
          '          if (before !== NONE && pool.reaches(before, startPage, startOffset)) return this.removeInside(pool.startPage(before), pool.startOffset(before), pool.lastPage(before), pool.lastOffset(before));',
        ],
        [
          'removes a mapping that ends behind the range',
          'iommu.dev.unmap.split-removes-nothing',
          'if (reachesBeyond(pool, final, lastPage, lastOffset)) return false;',
          '',
        ],
        [
          'removes what comes before a split',
          'iommu.dev.unmap.split-removes-nothing#first-too',
          'if (reachesBeyond(pool, final, lastPage, lastOffset)) return false;',
          'if (reachesBeyond(pool, final, lastPage, lastOffset)) { if (end - index > 1) { const removed = pool.kill(leaf, index, end - 1); this.size -= removed; pool.mappings -= removed; } return false; }',
        ],
        [
          'looks at where a mapping starts only',
          'fact.iommu.unmap-examples',
          '!this.#pool.endsAt(leaf * FANOUT + index, lastPage, lastOffset)',
          'false',
        ],
        [
          'removes the first of several',
          'iommu.dev.unmap.partial-coverage-ok',
          'while (end < count && pool.startsUpTo(leaf * FANOUT + end, lastPage, lastOffset)) end += 1;',
          '',
        ],
        [
          'refuses ranges without a mapping',
          'iommu.dev.unmap.partial-coverage-ok#nothing',
          'if (!pool.startsUpTo(slot, lastPage, lastOffset)) return true;',
          'if (!pool.startsUpTo(slot, lastPage, lastOffset)) return false;',
        ],
      ),
    ],
  },
];
