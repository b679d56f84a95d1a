/** Defects to plant in rings, both formats and both sides, each of which a fuzzer of rings must show. */

import type { Defect } from './list.ts';

export interface RingDefect extends Defect {
  /** Who has to find it. */
  readonly fuzzer: 'ring-device' | 'ring-driver' | 'ring-rewrite' | 'ring-memory';
}

type Change = readonly [name: string, find: string, replace: string];

function plant(
  fuzzer: RingDefect['fuzzer'],
  file: string,
  ...changes: readonly Change[]
): RingDefect[] {
  return changes.map(([name, find, replace]) => ({
    name,
    file: file.includes('/') ? file : `ring/src/${file}`,
    find,
    replace,
    fuzzer,
  }));
}

export const RING_DEFECTS: readonly RingDefect[] = [
  ...plant(
    'ring-device',
    'split-device-queue.ts',
    [
      'the available index does not wrap',
      '#nextAvailable = (next + 1) & 0xffff;',
      '#nextAvailable = next + 1;',
    ],
    [
      'the used index does not wrap',
      'this.#nextUsed = (this.#nextUsed + 1) & 0xffff;',
      'this.#nextUsed = this.#nextUsed + 1;',
    ],
    [
      'an index may be ahead by one more',
      'if (ahead + inFlight > this.size)',
      'if (ahead + inFlight > this.size + 1)',
    ],
    ['chains in hand do not count', 'if (ahead + inFlight > this.size)', 'if (ahead > this.size)'],
    [
      'the first head outside the table is popped',
      'if (head >= size) return this.#break(HEAD_OUTSIDE);',
      'if (head > size) return this.#break(HEAD_OUTSIDE);',
    ],
    ['the first head outside the table is served', 'if (head >= size) {', 'if (head > size) {'],
    [
      'a burst stops one chain early',
      'count < most && next !== seen',
      'count < most && next !== ((seen - 1) & 0xffff)',
    ],
    [
      'a readable buffer may follow a writable one',
      "if (writing && !writable) return this.#break('a readable buffer behind a writable one');",
      '',
    ],
    [
      'a table may be in a table',
      "if (!direct) return this.#break('an indirect table inside another');",
      '',
    ],
    [
      'a table may be followed by a descriptor',
      "else if ((word & NEXT) !== 0) this.#break('an indirect descriptor with a next one');",
      '',
    ],
    [
      'a table may have half a descriptor',
      'length === 0 || length % ENTRY_BYTES !== 0',
      'length === 0',
    ],
    [
      'a table may have nothing',
      'length === 0 || length % ENTRY_BYTES !== 0',
      'length % ENTRY_BYTES !== 0',
    ],
    [
      'tables come without the feature',
      "if (!this.#features.indirect) this.#break('an indirect table without the feature');",
      'if (false) {}',
    ],
    [
      'a next index may be that behind the table',
      "if (index >= entries) return this.#break('a next index outside its table');",
      "if (index > entries) return this.#break('a next index outside its table');",
    ],
    [
      'a chain may be one longer than the queue',
      'for (let left = most; left > 0;) {',
      'for (let left = most + 1; left > 0;) {',
    ],
    [
      'the entries of a table are those of the ring',
      'entries = length / ENTRY_BYTES;\n        direct = false;',
      'direct = false;',
    ],
    [
      'a batch begins where it ends',
      'const slot = this.#batchUsed ? this.#publishedUsed : this.#nextUsed;',
      'const slot = this.#nextUsed;',
    ],
    [
      'a batch that is served begins where it ends',
      'const slot = batchUsed ? batchSlot : used;',
      'const slot = used;',
    ],
    [
      'a chain has the length of its answer as id',
      'memory.setUint32(element + USED_ID, head);',
      'memory.setUint32(element + USED_ID, second);',
    ],
    [
      'the wish is read before the index is written',
      'this.#memory.storeUint16(this.#used + UsedRing.offset.idx, now);\n    this.#publishedUsed = now;',
      'const wish = this.#memory.loadUint16(this.#usedEvent);\n    this.#memory.storeUint16(this.#used + UsedRing.offset.idx, now);\n    this.#publishedUsed = now;\n    if (this.#features.eventIndex) return passesEvent(wish, now, before);',
    ],
    [
      'interrupts are suppressed by another flag',
      '(flags & AvailableFlag.NO_INTERRUPT) === 0',
      '(flags & 2) === 0',
    ],
    ['any flag suppresses interrupts', '(flags & AvailableFlag.NO_INTERRUPT) === 0', 'flags === 0'],
    [
      'the event index is one too early',
      'this.#memory.storeUint16(this.#availableEvent, this.#nextAvailable);',
      'this.#memory.storeUint16(this.#availableEvent, (this.#nextAvailable - 1) & 0xffff);',
    ],
    [
      'arming does not look again',
      'return !this.ready();',
      'return this.#seenAvailable === this.#nextAvailable;',
    ],
    [
      'arming is not remembered',
      'this.#armed = true;\n    // Before the load below',
      '// Before the load below',
    ],
    ['a saved queue forgets its fault', 'if (state.broken) this.fault = BROKEN_BEFORE;', ''],
    ['a restored queue uses from 0', 'this.#nextUsed = state.position;', ''],
    [
      'a queue is saved with what it holds back',
      'this.#nextUsed === position && this.#publishedUsed === position',
      'this.#nextUsed === position',
    ],
    [
      'an unreachable pair is served',
      'length !== 0 && readable >= 0 && writable >= 0',
      'length !== 0 && readable >= -1 && writable >= 0',
    ],
  ),
  ...plant(
    'ring-device',
    'packed-device-queue.ts',
    [
      'the lap turns one slot late',
      'if (this.#next >= this.size) {',
      'if (this.#next > this.size) {',
    ],
    [
      'used descriptors keep their lap',
      'if (this.#nextUsed >= this.size) {\n      this.#nextUsed -= this.size;\n      this.#usedLap ^= AVAIL | USED;',
      'if (this.#nextUsed >= this.size) {\n      this.#nextUsed -= this.size;',
    ],
    [
      'chains in hand do not count',
      'if (this.#inFlight + slots > this.size) {',
      'if (slots > this.size) {',
    ],
    [
      'a table may be longer than the ring',
      'if (bytes > this.size * SLOT_BYTES)',
      'if (bytes > (this.size + 1) * SLOT_BYTES)',
    ],
    [
      'a table may stand in a longer list',
      'if (number > 1 || (word & (NEXT << 16)) !== 0)',
      'if ((word & (NEXT << 16)) !== 0)',
    ],
    [
      'a table may be followed by a slot',
      'if (number > 1 || (word & (NEXT << 16)) !== 0)',
      'if (number > 1)',
    ],
    [
      'a table in a table is a buffer',
      "if ((flags & INDIRECT) !== 0) return this.#break('an indirect table inside another');",
      '',
    ],
    [
      'the id is that of the first slot',
      'chain.id = word & ID_MASK;\n        chain.slots = number;',
      'chain.id = number > 1 ? memory.getUint16(this.#ring + this.#next * SLOT_BYTES + ID) : word & ID_MASK;\n        chain.slots = number;',
    ],
    [
      'used descriptors never say that something was written',
      'const flags = writtenBytes > 0 ? lap | WRITE : lap;',
      'const flags = lap;',
    ],
    [
      'the flags of a later chain show it too early',
      'if (!first && !this.#batchUsed) {',
      'if (!this.#batchUsed) {',
    ],
    [
      'a batch keeps the flags of its first',
      '(this.#heldFlags & (AVAIL | USED)) | (flags & WRITE)',
      'this.#heldFlags',
    ],
    [
      'publishing asks for one slot less',
      'this.#usedLap !== 0,\n      count,',
      'this.#usedLap !== 0,\n      count - 1,',
    ],
    [
      'publishing goes by the wrong lap',
      'this.#usedLap !== 0,\n      count,',
      'this.#lap === AVAIL,\n      count,',
    ],
    [
      'the position is saved without its lap',
      'this.#next | (this.#lap === AVAIL ? EVENT_WRAP : 0),',
      'this.#next | EVENT_WRAP,',
    ],
    ['what was served still counts as in hand', 'this.#inFlight -= slots;', 'this.#inFlight -= 1;'],
  ),
  ...plant(
    'ring-device',
    'packed-layout.ts',
    ['an event of the lap before is not found', '((word & WRAP) !== 0) === wrap ? 0 : size', '0'],
    [
      'the first slot of several is no event',
      'back >= 1 && back <= count',
      'back >= 1 && back < count',
    ],
    [
      'the slot behind the last is an event',
      'back >= 1 && back <= count',
      'back >= 0 && back <= count',
    ],
    ['a driver that wants nothing is notified', 'if (mode === DISABLE) return false;', ''],
  ),
  ...plant(
    'ring-device',
    'split-layout.ts',
    [
      'the event rule is off by one',
      '((now - event - 1) & 0xffff) < ((now - before) & 0xffff)',
      '((now - event) & 0xffff) < ((now - before) & 0xffff)',
    ],
    [
      'the event rule does not wrap',
      '((now - event - 1) & 0xffff) < ((now - before) & 0xffff)',
      'now - event - 1 < now - before && now > event',
    ],
  ),
  ...plant(
    'ring-device',
    'chain.ts',
    [
      'a read ends where the first buffer ends',
      'done += piece;\n      skip = 0;\n    }\n    return done;\n  }\n\n  /** Copies bytes of',
      'done += piece;\n      skip = 0;\n      break;\n    }\n    return done;\n  }\n\n  /** Copies bytes of',
    ],
    [
      'a write begins with the readable buffers',
      'let index = this.#readableCount; index < this.#count',
      'let index = 0; index < this.#count',
    ],
    [
      'a word is written over the end of its buffer',
      'if (this.#length[first]! >= offset + 4) {',
      'if (this.#length[first]! > offset) {',
    ],
    [
      'the first piece may be too short',
      'return this.#length[0]! >= length ? this.#position[0]! : -1;',
      'return this.#position[0]!;',
    ],
    ['a chain stays unreachable', 'this.reachable = true;', ''],
    [
      'bytes that cannot be reached do not count',
      'if (writable) this.writableBytes += length;',
      'if (writable) this.writableBytes += position < 0 ? 0 : length;',
    ],
  ),
  ...plant(
    'ring-device',
    'shared-memory.ts',
    [
      'a buffer may end one byte behind memory',
      'length > this.size - position',
      'length > this.size - position + 1',
    ],
    ['the high half of an address does not matter', 'high !== this.#baseHigh || ', ''],
  ),
  ...plant(
    'ring-driver',
    'split-driver-queue.ts',
    [
      'a used index may be ahead by what is held back',
      '(this.#publishedAvailable - this.#nextUsed) & 0xffff)',
      '(this.#nextAvailable - this.#nextUsed) & 0xffff)',
    ],
    [
      'the first id outside the table is taken',
      'if (head >= this.size) return',
      'if (head > this.size) return',
    ],
    [
      'an id that is not in flight is taken',
      "if (token < 0) return this.#break('a used id that is no head in flight');",
      "if (token < -1) return this.#break('a used id that is no head in flight');",
    ],
    [
      'an id that is held back is taken',
      'this.#publishedAvailable !== this.#nextAvailable && this.#isHeldBack(head)',
      'false',
    ],
    [
      'the number in flight does not wrap',
      'return (this.#nextAvailable - this.#nextUsed) & 0xffff;',
      'return this.#nextAvailable - this.#nextUsed;',
    ],
    [
      'the wish is read before the index is written',
      'this.#memory.storeUint16(this.#available + AVAILABLE_INDEX, now);\n    this.#publishedAvailable = now;',
      'const wish = this.#memory.loadUint16(this.#availableEvent);\n    this.#memory.storeUint16(this.#available + AVAILABLE_INDEX, now);\n    this.#publishedAvailable = now;\n    if (this.#features.eventIndex) return passesEvent(wish, now, before);',
    ],
    [
      'the index is published by adding',
      'this.#nextAvailable = (position + 1) & 0xffff;\n    return true;',
      'this.#nextAvailable = (position + 1) & 0xffff;\n    this.#memory.storeUint16(this.#available + AVAILABLE_INDEX, this.#nextAvailable);\n    return true;',
    ],
    [
      'a batch may end behind the used index',
      "if (!last && ((next + 1) & 0xffff) === this.#seenUsed)\n      return this.#break('a batch that ends behind the used index');",
      '',
    ],
    [
      'those that a batch passes over have its length',
      'last ? this.#usedBytes : this.#chains.writableBytes(head)',
      'this.#usedBytes',
    ],
    [
      'arming does not look again',
      'return !this.ready();',
      'return this.#seenUsed === this.#nextUsed;',
    ],
    [
      'the event index is that of the available ring',
      'this.#memory.storeUint16(this.#usedEvent, this.#nextUsed);',
      'this.#memory.storeUint16(this.#usedEvent, this.#nextAvailable);',
    ],
    [
      'suppressing writes the flags with EVENT_IDX, too',
      'if (this.#features.eventIndex)\n      this.#memory.storeUint16(this.#usedEvent, (this.#nextUsed - 1) & 0xffff);\n    else',
      '',
    ],
    ['available entries are known after a restore', 'this.#entries.fill(NO_HEAD);', ''],
    [
      'what is held back is published by a restore',
      'this.#publishedAvailable = (position - unpublished) & 0xffff;',
      'this.#publishedAvailable = position;',
    ],
    [
      'a batch is not saved',
      '...(this.#batchLast !== NONE && {',
      '...(this.#batchLast === -9 && {',
    ],
    [
      'a new queue does not clear its used ring',
      'clearArea(memory, this.#used, bytes.deviceArea);',
      '',
    ],
  ),
  ...plant(
    'ring-driver',
    'split-chain-book.ts',
    [
      'a list that has changed is not described again',
      'entries[entry | REVISION] !== buffers.revision ||\n      ',
      '',
    ],
    [
      'another list is taken for the one before',
      ' ||\n      entries[entry | LIST] !== buffers.serial',
      '',
    ],
    [
      'a descriptor inside a chain is taken for its last list',
      'this.#entries[(id << ENTRY_SHIFT) | LIST] = 0; // As a head it has to be described anew.',
      '',
    ],
    [
      'free descriptors are one too many',
      'this.#freeCount += entries[entry | COUNT]!;',
      'this.#freeCount += entries[entry | COUNT]! + 1;',
    ],
    [
      'freed descriptors are not behind the others',
      'if (this.#freeCount === 0) this.#freeFirst = head;\n    else',
      '',
    ],
    [
      'a chain of as many buffers as a table goes elsewhere',
      'count <= tables.buffersMax ? 1 : count',
      'count < tables.buffersMax ? 1 : count',
    ],
    [
      'the end of a chain has a next one',
      '(flags & NEXT) === 0 ? flags : flags | (next << 16)',
      'flags | NEXT | (next << 16)',
    ],
    ['an ended chain keeps its token', 'entries[entry | TOKEN] = FREE;\n    if', 'if'],
    [
      'there is room for one more',
      'if (this.#freeCount < count) return FREE;',
      'if (this.#freeCount < count - 1) return FREE;',
    ],
  ),
  ...plant(
    'ring-driver',
    'descriptor-table.ts',
    [
      'a descriptor with another length is taken for the same',
      'this.#length[index] === length &&\n',
      '',
    ],
    ['the flags of a descriptor stay', 'this.#lastWord[index] === lastWord &&\n      ', ''],
    ['what is in memory counts as known', 'else this.#lastWord.fill(UNKNOWN);', ''],
    [
      'tables lie one over the other',
      'return index * this.#entriesPerTable;',
      'return index * (this.#entriesPerTable - 1);',
    ],
    ['the carry of a table is lost', '> 0xffff_ffff ? 1 : 0', '> 0xffff_ffff ? 0 : 0'],
  ),
  ...plant(
    'ring-driver',
    'packed-driver-queue.ts',
    [
      'the lap turns one slot late',
      'if (slot === size) {\n        slot = 0;\n        lap ^= AVAIL | USED;',
      'if (slot === size) {\n        slot = 0;',
    ],
    [
      'a table keeps the lap',
      'this.#next = 0;\n      this.#lap ^= AVAIL | USED;',
      'this.#next = 0;',
    ],
    [
      'used laps do not turn',
      'this.#nextUsed = next - this.size;\n      this.#usedLap ^= AVAIL | USED;',
      'this.#nextUsed = next - this.size;',
    ],
    [
      'any flags are used ones',
      '(flags & (AVAIL | USED)) !== this.#usedLap ||',
      '(flags & USED) !== (this.#usedLap & USED) ||',
    ],
    ['an answer is taken with nothing in flight', ' || !this.#lists.awaited', ''],
    ['the length counts without WRITE', '(this.#seenFlags & WRITE) === 0 ? 0 : bytes', 'bytes'],
    ['the first id outside the ring is taken', 'if (id >= this.size)', 'if (id > this.size)'],
    ['an id that is held back is taken', 'if (this.#lists.isHeld(id))', 'if (false)'],
    [
      'an id that is not in flight is taken',
      'if (this.#lists.token(id) < 0)',
      'if (this.#lists.token(id) < -1)',
    ],
    ['a slot is freed for a whole list', 'this.#freeSlots += slots;', 'this.#freeSlots += 1;'],
    [
      'the first list is shown by adding',
      'this.#heldAt = first + FLAGS;\n',
      'this.#heldAt = first + FLAGS;\n      this.#memory.setUint16(first + FLAGS, flags);\n',
    ],
    [
      'publishing counts lists instead of slots',
      'this.#addedSlots += slots;\n    return true;',
      'this.#addedSlots += 1;\n    return true;',
    ],
    [
      'NEXT stays in tables',
      'words[word + 3]! & (WRITE << 16), // Neither',
      'words[word + 3]!, // Neither',
    ],
    [
      'the flags that are held back are not saved',
      'unpublished === 0 ? 0 : this.#heldFlags & ~(AVAIL | USED)',
      '0',
    ],
    [
      'a restored queue is in the first lap',
      'this.#lap = (position & EVENT_WRAP) === 0 ? USED : AVAIL;',
      'this.#lap = AVAIL;',
    ],
    [
      'arming names the next list',
      'this.#nextUsed,\n      this.#usedLap !== 0,',
      'this.#next,\n      this.#usedLap !== 0,',
    ],
    ['a batch in the middle is not ready', ' || this.#batchLast !== NONE', ''],
  ),
  ...plant(
    'ring-driver',
    'packed-list-book.ts',
    [
      'ids are given out again in flight',
      'this.#freeFirst = at + 1 === this.#size ? 0 : at + 1;\n    const entries',
      'this.#freeFirst = at + 1 === this.#size ? 0 : at;\n    const entries',
    ],
    ['an ended list keeps its token', 'entries[entry | TOKEN] = FREE;\n    const at', 'const at'],
    [
      'writable bytes are those of another',
      'entries[entry | WRITABLE] = writableBytes;\n    return id;',
      'entries[entry | WRITABLE] = slots;\n    return id;',
    ],
    ['the order of a restored queue is lost', 'this.#oldest = free.length % this.#size;', ''],
  ),
  ...plant(
    'ring-driver',
    'buffer-list.ts',
    [
      'a list that is appended to has the same revision',
      'this.count += 1;\n    this.revision = (this.revision + 1) | 0;',
      'this.count += 1;',
    ],
    ['the sum of writable bytes stays', 'this.writableBytes = 0;\n    this.#bytes', 'this.#bytes'],
    [
      'the last buffer but one has no next',
      'if (at > 0) words[at - 1]!',
      'if (at > 4) words[at - 1]!',
    ],
  ),
  ...plant('ring-driver', 'queue-area.ts', [
    'an area is cleared but for its end',
    'new Uint8Array(bytes), 0, bytes)',
    'new Uint8Array(bytes), 0, bytes - 1)',
  ]),
  ...plant(
    'ring-rewrite',
    'device/src/request.ts',
    [
      'the type of a request is read twice',
      'switch (type) {',
      'switch (view.getUint8(at + TYPE)) {',
    ],
    [
      'the start of a MAP is read twice',
      'start & OFFSET_MASK,\n        pageOfWords(last, lastHigh),\n        last & OFFSET_MASK,\n        pageOfWords(phys',
      'view.getUint32(at + MAP_START, true) & OFFSET_MASK,\n        pageOfWords(last, lastHigh),\n        last & OFFSET_MASK,\n        pageOfWords(phys',
    ],
    [
      'the domain of an UNMAP is read twice',
      'if (bytes < UNMAP_BYTES) return INVAL;',
      'if (bytes < UNMAP_BYTES || view.getUint32(at + UNMAP_DOMAIN, true) > 1000) return INVAL;',
    ],
  ),
  ...plant(
    'ring-rewrite',
    'split-device-queue.ts',
    [
      'a head is read again when it is used',
      'memory.setUint32(element + USED_ID, head);',
      'memory.setUint32(element + USED_ID, memory.getUint16(heads + (next & mask) * AVAILABLE_ENTRY_BYTES));',
    ],
    [
      'the length of a buffer is read again when it is written',
      'handler.handlePair(readable, readableBytes, writable, length);',
      'handler.handlePair(readable, readableBytes, writable, memory.getUint32(at + LENGTH));',
    ],
    [
      'the available index is read again when it is believed',
      'else this.#seenAvailable = available;',
      'else this.#seenAvailable = this.#memory.loadUint16(this.#available + AVAILABLE_INDEX);',
    ],
  ),
  ...plant(
    'ring-rewrite',
    'packed-device-queue.ts',
    [
      'the flags of a list are read again',
      'const word = this.#seenFlags << 16;',
      'const word = memory.getUint16(at + FLAGS) << 16;',
    ],
    [
      'the flags of a list that is served are read again',
      'let word = flags << 16;',
      'let word = memory.getUint16(at + FLAGS) << 16;',
    ],
    [
      'flags in a table are read again',
      'const writable = (flags & WRITE) !== 0;\n      if (writing',
      'const writable = (memory.getUint16(at + FLAGS) & WRITE) !== 0;\n      if (writing',
    ],
    [
      'the second slot is read again',
      'written = handler.handlePair(readable, readableBytes, writable, length);',
      'written = handler.handlePair(readable, readableBytes, writable, memory.getUint32(second + LENGTH));',
    ],
  ),
  ...plant('ring-rewrite', 'packed-layout.ts', [
    'an event is read again',
    'const back = next - (word & OFFSET_MASK) + lap;',
    'const back = next - (memory.loadUint16(event + DESC) & OFFSET_MASK) + lap;',
  ]),
  ...plant(
    'ring-rewrite',
    'split-driver-queue.ts',
    [
      'a used id is read again when it is freed',
      'this.takenBytes = bytes;\n    this.#end(head);',
      'this.takenBytes = bytes;\n    this.#end(this.#memory.getUint32(element + USED_ID) & this.#mask);',
    ],
    [
      'the used index is read again when it is believed',
      'else this.#seenUsed = used;',
      'else this.#seenUsed = this.#memory.loadUint16(this.#used + USED_INDEX);',
    ],
  ),
  ...plant(
    'ring-rewrite',
    'packed-driver-queue.ts',
    [
      'a used id is read again behind its checks',
      "return this.#break('a used id that was not available yet');\n    return id;",
      "return this.#break('a used id that was not available yet');\n    return memory.getUint16(at + ID);",
    ],
    [
      'used flags are read again',
      '(this.#seenFlags & WRITE) === 0 ? 0 : bytes',
      '(memory.getUint16(at + FLAGS) & WRITE) === 0 ? 0 : bytes',
    ],
  ),
  ...plant(
    'ring-memory',
    'translated-memory.ts',
    [
      'translations outlive their generation',
      'if (this.#translator.generation !== this.#generation) {',
      'if (false) {',
    ],
    ['a page that may be read may be written', '(access === WRITE ? 1 : 0);', '0;'],
    [
      'translations for writes outlive their mapping',
      'const last = 2 * lastPage + 1;',
      'const last = 2 * lastPage;',
    ],
    [
      'a kept translation leads past its page',
      'this.#kept[slot] = at - offset;',
      'this.#kept[slot] = at;',
    ],
    [
      'a word leaves its page',
      '> PAGE_SIZE - 4) return this.#getWord',
      '> PAGE_SIZE - 2) return this.#getWord',
    ],
    [
      'a word is written over the end of its page',
      '> PAGE_SIZE - 2) return this.#setWord',
      '> PAGE_SIZE - 1) return this.#setWord',
    ],
    ['a rule about bytes is kept for a page', 'this.#translator.wholePages && ', ''],
    ['memory off a page is kept as a page', ' && (at & OFFSET_MASK) === offset', ''],
    [
      'translations outlive their translator',
      'this.#generation = translator.generation;\n    this.invalidateAll();',
      'this.#generation = translator.generation;',
    ],
    ['pieces that are refused cast doubt on the ring', 'this.faulted = before;', ''],
    [
      'a refused access reads what was there',
      'if (real < 0) target.fill(0, at, at + length);',
      'if (real < 0) return;',
    ],
    [
      'pieces of a write are all from the start',
      'this.#memory.write(this.#locatePiece(piece), source, done, bytes);',
      'this.#memory.write(this.#locatePiece(piece), source, at, bytes);',
    ],
    ['a fatal refusal is forgotten', 'if (outcome === Translated.FATAL) this.fatal = true;', ''],
    [
      'a reset leaves a fault',
      'this.faulted = false;\n    this.fatal = false;',
      'this.fatal = false;',
    ],
    [
      'an access that is partly nowhere is made',
      'if (this.#locatePiece(piece) < 0)',
      'if (piece === 0 && this.#locatePiece(piece) < 0)',
    ],
  ),
  ...plant(
    'ring-memory',
    'position-table.ts',
    [
      'a buffer may end behind the last address',
      'page + pages - 1 > PAGE_MAX',
      'page + pages - 2 > PAGE_MAX',
    ],
    [
      'a buffer may not end with the last address',
      'page + pages - 1 > PAGE_MAX',
      'page + pages > PAGE_MAX',
    ],
    [
      'a page that a buffer touches does not count',
      '(offset + Math.max(length, 1) - 1) / PAGE_SIZE) + 1',
      '(offset + Math.max(length, 1) - 2) / PAGE_SIZE) + 1',
    ],
    ['a known area may be too short', 'if (count >= pages && this.#areas', 'if (this.#areas'],
    [
      'areas lie over each other',
      'this.#areaCount = first + pages;',
      'this.#areaCount = first + 1;',
    ],
    [
      'a search stops one too early',
      'if (this.#buffers[middle]! <= positionPage)',
      'if (this.#buffers[middle]! < positionPage)',
    ],
    [
      'the offset into a buffer is lost',
      'this.#bufferPages[index]! + (positionPage - this.#buffers[index]!)',
      'this.#bufferPages[index]!',
    ],
  ),
  ...plant('ring-memory', 'view-list.ts', [
    'the bytes of a list add up',
    'this.#count = 0;\n    this.sizeBytes = 0;',
    'this.#count = 0;',
  ]),
  ...plant(
    'ring-driver',
    'queue-state.ts',
    ['slots of saved chains do not add up', 'slots += chain.slots;', 'slots = chain.slots;'],
    [
      'a descriptor may be saved twice',
      'isBelow(id, size) && known[id] === 0',
      'isBelow(id, size)',
    ],
    ['a state may lose descriptors', 'count === size && slots <= size', 'slots <= size'],
    ['saved numbers may be fractions', 'Number.isInteger(value) && value >= 0', 'value >= 0'],
    [
      'what is held back is saved as published',
      'latest.slice(latest.length - unpublished)',
      'latest.slice(latest.length)',
    ],
  ),
];
