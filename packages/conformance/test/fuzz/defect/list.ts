/** Defects to plant: small changes of our own sources, each of which some stream must show. */

export interface Defect {
  /** In a phrase: what is wrong then. */
  readonly name: string;
  /** Below `packages/`. */
  readonly file: string;
  /** Text that stands there once, and what is put in its place. */
  readonly find: string;
  readonly replace: string;
}

function plant(file: string, ...changes: readonly (readonly [string, string, string])[]): Defect[] {
  return changes.map(([name, find, replace]) => ({ name, file, find, replace }));
}

export const DEFECTS: readonly Defect[] = [
  ...plant(
    'device/src/core/map.ts',
    ['MAP takes flags that nobody knows', '(flags & ~known) !== 0', 'flags > 0xffff'],
    ['MAP takes a range that ends before it starts', 'return INVAL; // 4.2', 'return OK;'],
    [
      'MAP forgets the carry of the physical end',
      'physPage + (lastPage - startPage) + carry > PAGE_MAX',
      'physPage + (lastPage - startPage) > PAGE_MAX',
    ],
    ['MAP takes a bypass domain for one without mappings', 'if (domain.bypass) return INVAL;', ''],
    [
      'MAP looks at the start of reserved regions only',
      'domain.isReserved(startPage, startOffset, lastPage, lastOffset)',
      'domain.isReserved(startPage, startOffset, startPage, startOffset)',
    ],
    [
      'MAP does not look whether the physical address is aligned',
      '!startsGranule(state, physPage, physOffset) ||',
      '',
    ],
    [
      'MAP of large granules is checked within a page only',
      '(state.granulePages === 1 || (page + 1) % state.granulePages === 0)',
      'true',
    ],
  ),
  ...plant(
    'device/src/core/unmap.ts',
    ['UNMAP of a bypass domain succeeds', 'if (domain.bypass) return INVAL;', ''],
    [
      'UNMAP that would cut a mapping is INVAL',
      'lastOffset)) return RANGE;',
      'lastOffset)) return INVAL;',
    ],
  ),
  ...plant(
    'device/src/core/attach.ts',
    ['ATTACH takes the first number outside the range', 'domain > last', 'domain > last + 1'],
    [
      'ATTACH mixes bypass and other endpoints',
      'if (to.bypass !== bypass) return Status.INVAL;',
      '',
    ],
    [
      'ATTACH does not look at mappings in reserved regions',
      'if (to.conflictsWith(endpoint)) return Status.UNSUPP;',
      '',
    ],
    [
      'ATTACH does not leave the domain before',
      'if (from !== undefined) state.leave(endpoint, from);',
      '',
    ],
    ['ATTACH again drops the mappings', 'if (to === from) return Status.OK;', ''],
  ),
  ...plant('device/src/core/detach.ts', [
    'DETACH from any domain',
    'if (from === undefined || from.id !== domain)',
    'if (from === undefined)',
  ]),
  ...plant(
    'device/src/core/state.ts',
    ['a domain outlives its last endpoint', 'this.domains.delete(domain.id);', ''],
    [
      'a reset keeps attachments',
      'for (const endpoint of this.endpoints.values()) endpoint.domain = undefined;',
      '',
    ],
    [
      'the older bypass rules unasked',
      "return this.bypassControl === 'config' ? this.bypass : this.legacyBypass;",
      "return this.bypassControl === 'config' ? this.bypass : this.bypassControl === 'legacy';",
    ],
  ),
  ...plant('device/src/core/domain.ts', [
    'regions of an endpoint that left still guard',
    'guard.endpoints -= 1;',
    '',
  ]),
  ...plant(
    'device/src/core/mapping-store.ts',
    [
      'an overlap with the mapping behind is not seen',
      'if (after !== NONE && pool.startsUpTo(after, lastPage, lastOffset)) return false;',
      '',
    ],
    [
      'UNMAP cuts a mapping at its end',
      'if (reachesBeyond(pool, final, lastPage, lastOffset)) return false;',
      '',
    ],
    ['mappings behind the first leaf are left', 'if (!more) return true;', 'return true;'],
  ),
  ...plant(
    'device/src/core/translate.ts',
    [
      'READ is enough for any access',
      '(pool.flags(slot) & access) !== access',
      '(pool.flags(slot) & (access | 1)) === 0',
    ],
    [
      'an access goes on behind its mapping',
      'distance(page, offset, pool.lastPage(slot), pool.lastOffset(slot)) + 1,',
      'distance(page, offset, pool.lastPage(slot), pool.lastOffset(slot)) + 2,',
    ],
    [
      'the carry into the physical page is lost',
      'pool.physPage(slot) + (page - pool.startPage(slot)) + carry',
      'pool.physPage(slot) + (page - pool.startPage(slot))',
    ],
    ['interrupts may be read', '!msi || access !== MapFlag.WRITE', '!msi'],
    ['a fault names the wrong reason', 'refuse(FaultReason.DOMAIN', 'refuse(FaultReason.MAPPING'],
  ),
  ...plant(
    'device/src/request.ts',
    [
      'a MAP one byte short is served',
      'if (bytes < MAP_BYTES) return INVAL;',
      'if (bytes < MAP_BYTES - 1) return INVAL;',
    ],
    [
      'the high half of a physical address is dropped',
      'pageOfWords(phys, physHigh)',
      'pageOfWords(phys, 0 * physHigh)',
    ],
    [
      'reserved bytes of ATTACH do not matter',
      'if (view.getUint32(at + reserved1, true) !== 0) return INVAL;',
      '',
    ],
  ),
  ...plant(
    'device/src/fault-queue.ts',
    [
      'a short event buffer gets a record',
      'chain.writableBytes >= FaultRecord.size',
      'chain.writableBytes >= 8',
    ],
    [
      'only one event buffer is looked at',
      'chains < queue.size && !delivered',
      'chains < 1 && !delivered',
    ],
    ['fault records carry no flags', '| FaultFlag.ADDRESS;', '& 0;'],
  ),
  ...plant('device/src/core/saved-state.ts', [
    'flags of mappings are not saved',
    'flags: pool.flags(slot),',
    'flags: 3,',
  ]),
  ...plant(
    'ring/src/split-device-queue.ts',
    ['a head outside the table is used', 'if (head >= size) {', 'if (head > 0xffff) {'],
    [
      'a next index outside its table is followed',
      "if (index >= entries) return this.#break('a next index outside its table');",
      '',
    ],
    [
      'a writable buffer outside memory is written',
      'length !== 0 && readable >= 0 && writable >= 0',
      'length !== 0 && readable >= 0',
    ],
    [
      'an indirect table loses its last descriptor',
      'entries = length / ENTRY_BYTES;\n        low',
      'entries = length / ENTRY_BYTES - 1;\n        low',
    ],
    [
      'the used index skips one at its end',
      'used = (used + 1) & 0xffff;',
      'used = (used + (used === 999 ? 2 : 1)) & 0xffff;',
    ],
  ),
  ...plant(
    'ring/src/packed-device-queue.ts',
    [
      'the lap does not turn',
      'lap ^= AVAIL | USED;\n          }\n          nextUsed',
      '}\n          nextUsed',
    ],
    [
      'a second slot is taken from behind the ring',
      'next + 1 === size ? ring : at + SLOT_BYTES',
      'at + SLOT_BYTES',
    ],
  ),
  ...plant('ring/src/chain.ts', [
    'a write skips a byte between pieces',
    'this.#memory.write(this.#position[index]! + skip, source, at + done, piece);',
    'this.#memory.write(this.#position[index]! + skip, source, at + done + (done > 0 ? 1 : 0), piece);',
  ]),
  ...plant(
    'ring/src/split-driver-queue.ts',
    [
      'the driver writes an entry only if the slot is new',
      'if (this.#entries[slot] !== head) {',
      'if (position <= this.#mask) {',
    ],
    [
      'the driver takes the length of the entry behind',
      'const bytes = this.#memory.getUint32(element + USED_LENGTH);',
      'const bytes = this.#memory.getUint32(element + USED_LENGTH - USED_ELEMENT_BYTES);',
    ],
  ),
  ...plant(
    'ring/src/packed-driver-queue.ts',
    [
      'the driver counts one free slot too many',
      'this.#freeSlots -= slots;\n    const id',
      'this.#freeSlots -= slots > 2 ? slots - 1 : slots;\n    const id',
    ],
    [
      'the driver makes the first of a batch available too early',
      'this.#memory.storeUint16(this.#heldAt, this.#heldFlags);',
      '',
    ],
  ),
];
