/** Wrong devices: properties of endpoints, their accesses, and reports of these. */

import { type MutantSection, inDevice } from './change.ts';

export const ACCESS_MUTANTS: readonly MutantSection[] = [
  {
    name: 'PROBE, reserved regions',
    mutants: [
      ...inDevice(
        'core/probe.ts',
        [
          'says INVAL to a PROBE of nobody',
          'iommu.dev.probe.endpoint-missing',
          'if (endpoint === undefined) return Status.NOENT;',
          'if (endpoint === undefined) return Status.INVAL;',
        ],
        [
          'fills the rest with 255',
          'iommu.dev.probe.fill-zero',
          'into.fill(0, 0, state.probeSize);',
          'into.fill(255, 0, state.probeSize);',
        ],
        [
          'leaves properties of another endpoint there',
          'iommu.dev.req.status-ok#probe-regions',
          'into.fill(0, 0, state.probeSize);',
          '',
        ],
      ),
      ...inDevice(
        'iommu-device.ts',
        [
          'answers PROBE with whatever room there is',
          'iommu.dev.probe.too-small-inval',
          'if (written < answer.length || endpoint === undefined) answer.fill(0);',
          'if (endpoint === undefined) answer.fill(0);',
        ],
        [
          'writes properties where there is too little room',
          'iommu.dev.probe.too-small-no-property',
          'if (written < answer.length || endpoint === undefined) answer.fill(0);',
          'if (endpoint === undefined) answer.fill(0); else if (written < answer.length) this.iommu.probe(endpoint, answer);',
        ],
        [
          'says RANGE to a PROBE with too little room',
          'iommu.dev.probe.too-small-inval',
          'let status: Status = Status.INVAL; // 1.4',
          'let status: Status = Status.RANGE;',
        ],
      ),
      ...inDevice('core/state.ts', [
        'knows PROBE without the feature',
        'iommu.dev.probe.not-offered-untouched',
        'this.probe = hasFeature(features, IommuFeature.PROBE);',
        'this.probe = true;',
      ]),
      ...inDevice(
        'core/reserved-region.ts',
        [
          'sets reserved bits of the type of a property',
          'iommu.dev.probe.property-reserved-zero',
          'type: ProbeType.RESV_MEM,',
          'type: ProbeType.RESV_MEM | 0x1000,',
        ],
        [
          'counts the header of a property',
          'iommu.dev.probe.property-length',
          'length: ReservedMemory.size - ReservedMemory.offset.subtype,',
          'length: ReservedMemory.size,',
        ],
        [
          'sets reserved bytes of a region',
          'iommu.dev.resv.reserved-zero',
          'start: region.start,',
          'start: region.start, reserved: new Uint8Array([0, 0, 1]),',
        ],
        [
          'calls every region MSI',
          'iommu.dev.resv.single-msi',
          'subtype: msi ? ReservedMemoryType.MSI',
          'subtype: true ? ReservedMemoryType.MSI',
        ],
        [
          'has all regions begin at 0',
          'iommu.dev.resv.no-overlap',
          'start: region.start,',
          'start: 0n,',
        ],
        [
          'names the address behind a region',
          'iommu.dev.req.status-ok#probe-regions',
          'end: region.last,',
          'end: region.last + 1n,',
        ],
      ),
      ...inDevice('core/map.ts', [
        'maps over reserved regions',
        'iommu.dev.resv.map-overlap-rejected',
        'if (domain.isReserved(startPage, startOffset, lastPage, lastOffset)) return INVAL;',
        '',
      ]),
      ...inDevice('core/domain.ts', [
        'maps what is in no region as a whole',
        'iommu.dev.resv.map-overlap-rejected#across-start',
        'if (pages.touches(startPage, startOffset, lastPage, lastOffset)) return true;',
        'if (pages.holds(startPage, startOffset, lastPage, lastOffset)) return true;',
      ]),
      ...inDevice(
        'core/translate.ts',
        [
          'lets accesses that bypass into reserved regions',
          'iommu.dev.resv.access-contained',
          'if (reservation !== undefined) {',
          'if (reservation !== undefined && !pass) {',
        ],
        [
          'lets an access run into a region',
          'iommu.dev.resv.access-contained#edges',
          'bytes = Math.min(bytes, before);',
          '',
        ],
        [
          'overlooks the last byte of a region',
          'iommu.dev.resv.access-contained',
          'if (!isBefore(lastPage, lastOffset, page, offset)) return reservation;',
          'if (isBefore(page, offset, lastPage, lastOffset)) return reservation;',
        ],
      ),
    ],
  },
  {
    name: 'translation, bypass',
    mutants: [
      ...inDevice(
        'core/translate.ts',
        [
          'wants READ for a write',
          'iommu.dev.map.write-needs-flag',
          '(pool.flags(slot) & access) !== access',
          '(pool.flags(slot) & MapFlag.READ) === 0',
        ],
        [
          'looks at no flags',
          'iommu.dev.map.write-needs-flag',
          '(pool.flags(slot) & access) !== access',
          'false',
        ],
        [
          'goes on behind the end of a mapping',
          'fact.iommu.translate',
          'distance(page, offset, pool.lastPage(slot), pool.lastOffset(slot)) + 1,',
          'distance(page, offset, pool.lastPage(slot), pool.lastOffset(slot)) + PAGE_SIZE,',
        ],
        [
          'takes the first page of a mapping for all',
          'fact.iommu.translate',
          'pool.physPage(slot) + (page - pool.startPage(slot)) + carry,',
          'pool.physPage(slot) + carry,',
        ],
        [
          'looks at the permission of the first mapping only',
          'iommu.dev.map.write-needs-flag#both-beside-read',
          'if (slot === NONE || (pool.flags(slot) & access) !== access)',
          'if (slot === NONE || (into.count === 0 && (pool.flags(slot) & access) !== access))',
        ],
        [
          'lets attached endpoints bypass as well',
          'fact.iommu.translate#unmapped',
          'else pass = domain.bypass;',
          'else pass = domain.bypass || state.bypass;',
        ],
      ),
      ...inDevice(
        'core/state.ts',
        [
          'lets everybody bypass',
          'iommu.dev.req.unattached-no-access',
          "return this.bypassControl === 'config' ? this.bypass : this.legacyBypass;",
          'return true;',
        ],
        [
          'lets nobody bypass',
          'fact.iommu.bypass-identity',
          "return this.bypassControl === 'config' ? this.bypass : this.legacyBypass;",
          'return false;',
        ],
        [
          'goes by bypass once the feature is accepted',
          'fact.iommu.bypass-unnegotiated',
          "return this.bypassControl === 'config' ? this.bypass : this.legacyBypass;",
          'return this.bypassConfig && this.bypass;',
        ],
      ),
    ],
  },
  {
    name: 'events',
    mutants: [
      ...inDevice(
        'fault-queue.ts',
        [
          'sets reserved bytes of a record',
          'iommu.dev.fault.reserved-zero',
          'view.setUint8(offset.reason, reason);',
          'view.setUint32(offset.reason, reason | 0x100, true);',
        ],
        [
          'sets an undefined flag of a record',
          'iommu.dev.fault.flags-undefined-zero',
          '(FaultFlag.READ | FaultFlag.WRITE)) | FaultFlag.ADDRESS;',
          '(FaultFlag.READ | FaultFlag.WRITE)) | FaultFlag.ADDRESS | 0x80;',
        ],
        [
          'takes reads for writes',
          'open.8.7',
          'const flags = (access & (FaultFlag.READ',
          'const flags = (~access & (FaultFlag.READ',
        ],
        [
          'blames another endpoint',
          'iommu.dev.fault.endpoint-valid',
          'view.setUint32(offset.endpoint, endpoint, true);',
          'view.setUint32(offset.endpoint, endpoint + 1, true);',
        ],
        [
          'writes part of a record into a short buffer',
          'iommu.dev.fault.older-format',
          'delivered = chain.reachable && chain.writableBytes >= FaultRecord.size;',
          'delivered = chain.reachable;',
        ],
        [
          'reports 32 bits of an address',
          'open.8.8#above-4g',
          'view.setUint32(offset.address + 4, highWord(page), true);',
          '',
        ],
        [
          'says that all of the buffer was written',
          'open.8.5',
          'queue.push(chain, delivered ? FaultRecord.size : 0);',
          'queue.push(chain, delivered ? chain.writableBytes : 0);',
        ],
      ),
      ...inDevice('core/translate.ts', [
        'reports a missing mapping as a missing domain',
        'open.8.9',
        'bytes = Math.min(bytes, before);\n      }',
        'bytes = Math.min(bytes, before);\n      }\n    if (!pass && domain?.mappings.find(page, offset) === NONE) return refuse(FaultReason.DOMAIN, page, offset, into);',
      ]),
      ...inDevice('core/iommu.ts', [
        'reports accesses that are allowed',
        'open.8.1',
        'if (outcome === TranslateOutcome.FAULT) {',
        'if (outcome !== undefined) {',
      ]),
    ],
  },
];
