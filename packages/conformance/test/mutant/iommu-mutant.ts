/** Wrong devices: features, configuration, domains, mappings, accesses, and what they report. */

import type { Mutant, MutantSection } from './mutant.ts';

type Change = readonly [name: string, caught: string, find: string, replace: string];

/** Mutants of one file of the device. */
function inFile(path: string, ...changes: readonly Change[]): readonly Mutant[] {
  const file = `device/src/${path}`;
  return changes.map(([name, caught, find, replace]) => ({ name, caught, file, find, replace }));
}

export const IOMMU_MUTANTS: readonly MutantSection[] = [
  {
    name: 'features, configuration, reset',
    mutants: [
      ...inFile(
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
      ...inFile(
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
        [
          'forgets nothing at a reset',
          'fact.iommu.reset-unattached',
          'this.iommu.reset();',
          '',
        ],
      ),
      ...inFile(
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
      ...inFile(
        'core/state.ts',
        [
          'keeps endpoints attached over a reset',
          'fact.iommu.reset-unattached',
          'for (const endpoint of this.endpoints.values()) endpoint.domain = undefined;',
          '',
        ],
        [
          'keeps domains over a reset',
          'fact.iommu.reset-unattached',
          'this.domains.clear();',
          '',
        ],
      ),
    ],
  },
  {
    name: 'ATTACH',
    mutants: [
      ...inFile(
        'core/attach.ts',
        [
          'overlooks undefined flags in the upper bytes',
          'iommu.dev.attach.flags-unknown',
          'if ((flags & ~known) !== 0) return Status.INVAL;',
          'if ((flags & 0xff & ~known) !== 0) return Status.INVAL;',
        ],
        [
          'says UNSUPP to undefined flags',
          'iommu.dev.attach.flags-unknown',
          'if ((flags & ~known) !== 0) return Status.INVAL;',
          'if ((flags & ~known) !== 0) return Status.UNSUPP;',
        ],
        [
          'leaves the old domain before it looks at the flags',
          'iommu.dev.attach.flags-unknown#moving',
          'if ((flags & ~known) !== 0) return Status.INVAL;',
          'if ((flags & ~known) !== 0) { const e = state.endpoints.get(endpointId); if (e?.domain) state.leave(e, e.domain); return Status.INVAL; }',
        ],
        [
          'has no last domain number',
          'iommu.dev.attach.accepted-means-attached#last-domain',
          'domain > last) return Status.RANGE;',
          'domain >= last) return Status.RANGE;',
        ],
        [
          'says INVAL to endpoints that do not exist',
          'iommu.dev.attach.endpoint-missing',
          'if (endpoint === undefined) return Status.NOENT;',
          'if (endpoint === undefined) return Status.INVAL;',
        ],
        [
          'attaches nothing and says OK',
          'iommu.dev.attach.accepted-means-attached',
          'state.enter(endpoint, domain, bypass);',
          '',
        ],
        [
          'takes a bypass domain for a plain one',
          'fact.iommu.bypass-identity',
          'state.enter(endpoint, domain, bypass);',
          'state.enter(endpoint, domain, false);',
        ],
        [
          'lets endpoints with the flag join a plain domain',
          'iommu.dev.attach.bypass-flag-mismatch#plain-domain',
          'if (to.bypass !== bypass) return Status.INVAL;',
          'if (to.bypass && !bypass) return Status.INVAL;',
        ],
        [
          'lets endpoints without the flag join a bypass domain',
          'iommu.dev.attach.bypass-flag-mismatch#bypass-domain',
          'if (to.bypass !== bypass) return Status.INVAL;',
          'if (!to.bypass && bypass) return Status.INVAL;',
        ],
        [
          'says INVAL to whom is there already',
          'open.2.1',
          'if (to === from) return Status.OK;',
          'if (to === from) return Status.INVAL;',
        ],
        [
          'says INVAL to a second endpoint',
          'iommu.dev.attach.shared-domain-refused',
          'if (to === from) return Status.OK;',
          'if (to === from) return Status.OK; if (to.endpoints.size > 0) return Status.INVAL;',
        ],
        [
          'says INVAL to an endpoint whose region is mapped',
          'iommu.dev.attach.incompatible-properties',
          'if (to.conflictsWith(endpoint)) return Status.UNSUPP;',
          'if (to.conflictsWith(endpoint)) return Status.INVAL;',
        ],
        [
          'keeps a domain whose last endpoint moves away',
          'iommu.dev.attach.move-acts-like-detach',
          'if (from !== undefined) state.leave(endpoint, from);',
          'from?.remove(endpoint);',
        ],
        [
          'ends a domain when one of two moves away',
          'iommu.dev.attach.move-acts-like-detach#shared',
          'if (from !== undefined) state.leave(endpoint, from);',
          'if (from !== undefined) { state.leave(endpoint, from); state.domains.delete(from.id); }',
        ],
        [
          'says OK to a move, and stays',
          'iommu.dev.attach.move-detaches-first',
          'if (from !== undefined) state.leave(endpoint, from);',
          'if (from !== undefined) return Status.OK;',
        ],
      ),
    ],
  },
  {
    name: 'DETACH',
    mutants: [
      ...inFile(
        'core/detach.ts',
        [
          'says INVAL to endpoints that are not there',
          'iommu.dev.detach.endpoint-missing',
          'if (endpoint === undefined) return Status.NOENT;',
          'if (endpoint === undefined) return Status.INVAL;',
        ],
        [
          'detaches from whatever domain, and says INVAL',
          'open.3.1',
          'if (from === undefined || from.id !== domain) return Status.INVAL;',
          'if (from === undefined || from.id !== domain) { if (from) state.leave(endpoint, from); return Status.INVAL; }',
        ],
        [
          'says NOENT where nothing is attached',
          'open.3.2',
          'if (from === undefined || from.id !== domain) return Status.INVAL;',
          'if (from === undefined || from.id !== domain) return Status.NOENT;',
        ],
        [
          'detaches nothing and says OK',
          'iommu.dev.detach.no-access-after',
          'state.leave(endpoint, from);',
          '',
        ],
      ),
      ...inFile('core/domain.ts', [
        'lets a detached endpoint use the mappings of the others',
        'iommu.dev.detach.no-access-after#shared',
        'endpoint.domain = undefined;',
        'if (this.endpoints.size === 0) endpoint.domain = undefined;',
      ]),
      ...inFile(
        'core/state.ts',
        [
          'keeps domains without endpoints',
          'fact.iommu.last-detach-destroys',
          'this.domains.delete(domain.id);',
          '',
        ],
        [
          'keeps mappings for the next who attaches',
          'open.3.4',
          'if (domain.endpoints.size > 0) return;',
          'return;',
        ],
        [
          'ends a domain that has an endpoint left',
          'open.3.3',
          'if (domain.endpoints.size > 0) return;',
          'if (domain.endpoints.size > 1) return;',
        ],
      ),
    ],
  },
  {
    name: 'MAP',
    mutants: [
      ...inFile(
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
      ...inFile('core/mapping-store.ts', [
        'does not see what follows',
        'iommu.dev.map.overlap#from-before',
        'if (after !== NONE && pool.startsUpTo(after, lastPage, lastOffset)) return false;',
        'if (after !== NONE && pool.startsUpTo(after, startPage, startOffset)) return false;',
      ]),
      ...inFile('core/reserved-region.ts', [
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
      ...inFile(
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
      ...inFile(
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
  {
    name: 'PROBE, reserved regions',
    mutants: [
      ...inFile(
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
      ...inFile(
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
      ...inFile('core/state.ts', [
        'knows PROBE without the feature',
        'iommu.dev.probe.not-offered-untouched',
        'this.probe = hasFeature(features, IommuFeature.PROBE);',
        'this.probe = true;',
      ]),
      ...inFile(
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
      ...inFile('core/map.ts', [
        'maps over reserved regions',
        'iommu.dev.resv.map-overlap-rejected',
        'if (domain.isReserved(startPage, startOffset, lastPage, lastOffset)) return INVAL;',
        '',
      ]),
      ...inFile(
        'core/domain.ts',
        [
          'maps what is in no region as a whole',
          'iommu.dev.resv.map-overlap-rejected#across-start',
          'if (pages.touches(startPage, startOffset, lastPage, lastOffset)) return true;',
          'if (pages.holds(startPage, startOffset, lastPage, lastOffset)) return true;',
        ],
      ),
      ...inFile(
        'core/translate.ts',
        [
          'lets accesses that bypass into reserved regions',
          'iommu.dev.resv.access-contained',
          'if (reservation !== undefined) {',
          'if (reservation !== undefined && !pass) {',
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
      ...inFile(
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
          'iommu.dev.req.unattached-no-access#unmapped',
          'else pass = domain.bypass;',
          'else pass = domain.bypass || state.bypass;',
        ],
      ),
      ...inFile(
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
      ...inFile(
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
          'says that all of the buffer was written',
          'open.8.5',
          'queue.push(chain, delivered ? FaultRecord.size : 0);',
          'queue.push(chain, delivered ? chain.writableBytes : 0);',
        ],
      ),
      ...inFile('core/translate.ts', [
        'reports a missing mapping as a missing domain',
        'open.8.9',
        'bytes = Math.min(bytes, before);\n      }',
        'bytes = Math.min(bytes, before);\n      }\n    if (!pass && domain?.mappings.find(page, offset) === NONE) return refuse(FaultReason.DOMAIN, page, offset, into);',
      ]),
      ...inFile('core/iommu.ts', [
        'reports accesses that are allowed',
        'open.8.1',
        'if (outcome === TranslateOutcome.FAULT) {',
        'if (outcome !== undefined) {',
      ]),
    ],
  },
];
