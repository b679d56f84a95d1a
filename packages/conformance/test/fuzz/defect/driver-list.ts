/** Defects of the driver's side: its requests, its books, its rings and its transport. A fuzzer of drivers shows each. */

import type { Defect } from './list.ts';

function plant(file: string, ...changes: readonly (readonly [string, string, string])[]): Defect[] {
  return changes.map(([name, find, replace]) => ({ name, file, find, replace }));
}

export const DRIVER_DEFECTS: readonly Defect[] = [
  ...plant(
    'driver/src/request-queue.ts',
    [
      'a wrong used length is no matter',
      'const written = queue.takenBytes === slots.writableBytes(slot);',
      'const written = queue.takenBytes >= 0;',
    ],
    [
      'any used length but none will do',
      'const written = queue.takenBytes === slots.writableBytes(slot);',
      'const written = queue.takenBytes > 0;',
    ],
    [
      'a sync is over with the first answer',
      'while (this.inFlight > 0) {\n      if (!this.#waiter.poll',
      'if (this.inFlight > 0) {\n      if (!this.#waiter.poll',
    ],
    ['a long batch forgets that the device sleeps', 'this.#untold = true;', 'void 0;'],
    ['a notification is sent twice', '    this.#untold = false;\n  }', '  }'],
    [
      'what is lost is not told to its owners',
      '    this.unsent = 0;\n    this.#endSent();',
      '    this.unsent = 0;',
    ],
    [
      'a lost queue takes requests',
      'if (this.broken !== undefined) throw this.#brokenError();',
      '',
    ],
    [
      'one request more than there is room for',
      'return this.inFlight >= this.#slots.count ||',
      'return this.inFlight > this.#slots.count ||',
    ],
    [
      'a second PROBE does not wait for the first',
      '(probe && !this.#slots.probeFree)',
      '(probe && this.#slots.probeFree)',
    ],
    [
      'a damaged ring is taken for an empty one',
      "if (taken === BROKEN_RING) this.giveUp(this.#queue.fault ?? 'the ring is damaged');",
      '',
    ],
    [
      'an owner hears of a slot that is taken again',
      '    pending[slot] = 0;\n    this.inFlight -= 1;\n    this.#slots.release(slot);',
      '    pending[slot] = 0;\n    this.inFlight -= 1;\n    if (status >= 0) this.#slots.release(slot);',
    ],
    [
      'a reset of the queue ends what was not shown',
      'if (pending[slot] === 1 && !unsent.has(slot))',
      'if (pending[slot] === 1)',
    ],
    [
      'an asynchronous sync waits for none that came before',
      'this.#book.set(slot, type, readableBytes, owner, startPage, lastPage, this.#epoch);',
      'this.#book.set(slot, type, readableBytes, owner, startPage, lastPage, this.#epoch + 1);',
    ],
    [
      'answers that were there before a reset of the queue are lost',
      'while (this.#takeOne() >= 0);',
      '',
    ],
    [
      'progress does not count in an asynchronous wait',
      'if (now < owed) since = this.#clock.now();',
      '',
    ],
    [
      'a driver that is awake asks for interrupts',
      '    this.#queue.suppressNotification();\n    this.#port.acknowledge();',
      '    this.#port.acknowledge();',
    ],
    [
      'a new ring keeps waiting requests out',
      'for (const slot of this.#unsent.subarray(0, this.unsent)) this.#enter(slot);',
      '',
    ],
  ),
  ...plant(
    'driver/src/request-slot.ts',
    ['a tail is not cleared', 'this.#memory.setUint32(this.#tail(slot), UNWRITTEN);', ''],
    [
      'properties of the last PROBE are left',
      'if (slot === this.probe) this.#clearProperties();',
      '',
    ],
    [
      'MAP loses the high half of its target',
      'memory.setUint32(at + MAP_PHYS + 4, highWord(physPage));',
      '',
    ],
    [
      'MAP ends a byte too early',
      'memory.setUint32(at + MAP_END, lowWord(lastPage, LAST_OFFSET));',
      'memory.setUint32(at + MAP_END, lowWord(lastPage, LAST_OFFSET - 1));',
    ],
    ['UNMAP keeps reserved bytes of a MAP', 'memory.setUint32(at + UNMAP_RESERVED, 0);', ''],
    [
      'the first freed slot is given out twice',
      'this.#freeFirst = this.#freeFirst + 1 === this.count ? 0 : this.#freeFirst + 1;',
      'this.#freeFirst = this.#freeFirst + 1 >= this.count - 1 ? 0 : this.#freeFirst + 1;',
    ],
    [
      'a PROBE has room for one byte less',
      'return slot === this.probe ? this.#probeSize + TAIL_BYTES : TAIL_BYTES;',
      'return slot === this.probe ? this.#probeSize + TAIL_BYTES - 1 : TAIL_BYTES;',
    ],
  ),
  ...plant(
    'driver/src/completion.ts',
    ['RANGE is told as INVAL', "'ERANGE', // RANGE", "'EINVAL', // RANGE"],
    ['an unknown status counts as done', "(ERRORS[status] ?? 'EIO')", 'ERRORS[status]'],
    [
      'an unclear answer counts as a refusal',
      'status < 0 || status >= ERRORS.length',
      'status < 0',
    ],
  ),
  ...plant(
    'driver/src/mapping.ts',
    [
      'a page behind the aperture can be mapped',
      'lastPage <= instance.lastPage) ||',
      'lastPage <= instance.lastPage + 1) ||',
    ],
    [
      'reserved pages can be mapped',
      'if (domain.touchesReserved(startPage, lastPage))',
      'if (domain.touchesReserved(startPage, startPage))',
    ],
    [
      'a mapping that could not be queued stays',
      '    mappings.remove(startPage, lastPage);\n    throw error;',
      '    throw error;',
    ],
    [
      'MMIO is sent without its feature',
      '(flags & ~instance.mapFlags) !== 0',
      '(flags & ~7) !== 0',
    ],
    [
      'a failed MAP is told though it is unmapped',
      'if (domain.failedMaps.length > 0) domain.takeFailures(startPage, lastPage);',
      '',
    ],
    [
      'an UNMAP names all that was asked for',
      'instance.requests.addUnmap(domain, id, startPage, lastPage);',
      'instance.requests.addUnmap(domain, id, startPage, startPage + pageCount - 1);',
    ],
    [
      'a sync without endpoints is no sync at all',
      'const some = attached.size > 0;',
      'const some = attached.size > 1;',
    ],
    [
      'a refused MAP is nobody’s',
      'if (error !== undefined)\n    throw new IommuError(error, `The IOMMU refused',
      'if (error === null)\n    throw new IommuError(error, `The IOMMU refused',
    ],
  ),
  ...plant(
    'driver/src/mapping-tree.ts',
    [
      'a run ends with its chunk',
      'const next = this.#chunks[chunkAt];\n        if (next === undefined) return last;',
      'const next = this.#chunks[chunkAt];\n        if (next !== null) return last;',
    ],
    [
      'a split leaves one mapping in both chunks',
      'chunk.append(full, from);\n    full.count = from;',
      'chunk.append(full, from);\n    full.count = from + 1;',
    ],
    [
      'a mapping is found by its start only',
      'columns[LAST + this.#entry] === lastPage;',
      'columns[LAST + this.#entry]! >= startPage;',
    ],
    [
      'the last page of a mapping leads nowhere',
      'if (columns[LAST + entry]! < page) return -1;',
      'if (columns[LAST + entry]! <= page) return -1;',
    ],
  ),
  ...plant(
    'driver/src/attach.ts',
    [
      'mappings are not brought along',
      'if (!isKnown(domain) && !domain.bypass) {',
      'if (isKnown(domain) && !domain.bypass) {',
    ],
    [
      'an endpoint that is stuck counts as one that is there',
      'for (const { stuck } of attached) if (!stuck) return true;',
      'for (const { stuck } of attached) if (!stuck || stuck) return true;',
    ],
    [
      'a replay is over when all is queued',
      'return requests.syncReq() ?? outcome.error;',
      'return outcome.error;',
    ],
    [
      'a domain that maps reserved pages takes the endpoint',
      'if (domain.mappings.touches(pageOf(start), pageOf(last)))',
      'if (domain.mappings.touches(pageOf(start), pageOf(start)))',
    ],
    [
      'numbers that moved are left there',
      '      moveBack(domain, endpoint, moved);\n      throw refusal',
      '      throw refusal',
    ],
    ['the old domain keeps the endpoint', '  old?.leave(endpoint);\n', ''],
    [
      'what an endpoint is stuck in is forgotten',
      '      if (unclear) markStuck(domain, endpoint);\n',
      '',
    ],
    [
      'an endpoint that could not move is in no domain',
      '      old?.join(endpoint);\n      throw',
      '      throw',
    ],
    [
      'an endpoint that moves at last is stuck for ever',
      '  endpoint.domain = domain;\n  endpoint.stuck = false;\n}',
      '  endpoint.domain = domain;\n}',
    ],
    [
      'a replay forgets what was refused first',
      'this.error ??= errorOfStatus(status);',
      'this.error = errorOfStatus(status);',
    ],
    [
      'a refused DETACH leaves no trace',
      '    domain.heldByDevice = true;\n    instance.log.warn',
      '    instance.log.warn',
    ],
    [
      'a bypass domain is asked for without its flag',
      'domain.bypass ? AttachFlag.BYPASS : 0',
      'domain.bypass ? 0 : 0',
    ],
  ),
  ...plant(
    'driver/src/domain.ts',
    ['a domain keeps failures of before', 'if (this.#attached.size === 0) this.forget();', ''],
    [
      'ranges that touch stay apart',
      'if (other.startPage <= last + 1 && other.lastPage >= start - 1) {',
      'if (other.startPage <= last && other.lastPage >= start) {',
    ],
    [
      'the number of a domain that the device holds is used again',
      'if (id !== undefined && !domain.heldByDevice) instance',
      'if (id !== undefined) instance',
    ],
    [
      'reserved pages end a page early',
      'reserved[at + 1]! >= startPage) return true;',
      'reserved[at + 1]! > startPage) return true;',
    ],
  ),
  ...plant(
    'driver/src/domain-id.ts',
    [
      'one number too many',
      'if (this.#next > this.#last) return undefined;',
      'if (this.#next > this.#last + 1) return undefined;',
    ],
    [
      'not the lowest number',
      'this.#free.findIndex((free) => free < id)',
      'this.#free.findIndex((free) => free > id)',
    ],
  ),
  ...plant(
    'driver/src/event-queue.ts',
    [
      'a record of 23 bytes counts',
      'if (written < RECORD_BYTES) log',
      'if (written < RECORD_BYTES - 1) log',
    ],
    [
      'a buffer is not put back',
      '    this.#queue.add(buffers, index);\n    if (written',
      '    if (written >= RECORD_BYTES) this.#queue.add(buffers, index);\n    if (written',
    ],
    [
      'reserved bytes of a record do not matter',
      'if (reserved.some((byte) => byte !== 0)) {',
      'if (reserved.every((byte) => byte !== 0)) {',
    ],
    ['unknown flags are told', 'flags: flags & DEFINED_FLAGS,', 'flags,'],
    [
      'an address that is not there is told',
      '(flags & FaultFlag.ADDRESS) === 0 ? undefined : address',
      '(flags & FaultFlag.READ) === 0 ? undefined : address',
    ],
    [
      'no interrupt is asked for',
      'return this.#queue.armNotification() || count > 0 ? count : this.#drain();',
      'return count;',
    ],
    [
      'buffers go back one by one',
      'if (this.#queue.publish()) this.#options.notify',
      'if (!this.#queue.publish()) this.#options.notify',
    ],
  ),
  ...plant(
    'driver/src/probe.ts',
    [
      'a region behind the end of the list counts',
      'if (next > bytes.length || header.length < REGION_LENGTH)',
      'if (header.length < REGION_LENGTH)',
    ],
    [
      'regions that end before they start',
      "if (end < start || (start === 0n && end === ADDRESS_MAX)) return 'EOVERFLOW';",
      '',
    ],
    [
      'the length of a property is not believed',
      'const next = at + HEADER_BYTES + header.length;',
      'const next = at + HEADER_BYTES + 20;',
    ],
    [
      'an unknown property ends the list',
      '      skipped += 1;\n      at = next;\n      continue;',
      '      skipped += 1;\n      break;',
    ],
    ['regions are in no order', 'regions.sort(', '[...regions].sort('],
  ),
  ...plant(
    'driver/src/device-config.ts',
    ['a page size mask of zero is taken', 'if (pageSizeMask === 0n)', 'if (pageSizeMask < 0n)'],
    [
      'a probe size without bound is taken',
      'if (probeSize > PROBE_SIZE_MAX)',
      'if (probeSize > 0x7fff_ffff)',
    ],
    [
      'a domain range that ends before it starts is taken',
      'if (domains.last < domains.first)',
      'if (domains.last < 0)',
    ],
    [
      'fields without their feature are read',
      'aperture: has(IommuFeature.INPUT_RANGE)',
      'aperture: has(IommuFeature.MAP_UNMAP)',
    ],
    [
      'a small granule stays small',
      'return small === 0n ? pageSizeMask',
      'return small >= 0n ? pageSizeMask',
    ],
  ),
  ...plant(
    'driver/src/iommu-driver.ts',
    [
      'the aperture ends with a part of a page',
      'this.lastPage = whole === undefined ? -1 : pageOf(whole.last);',
      'this.lastPage = whole === undefined ? -1 : pageOf(config.aperture.last);',
    ],
    [
      'a frozen driver did not wait',
      "if (this.requests.syncReq() !== undefined) throw new IommuError('EIO', 'The IOMMU is lost.');",
      '',
    ],
    ['endpoints are not brought back', 'for (const domain of domains) reattach(this, domain);', ''],
    [
      'a removed driver leaves endpoints attached',
      'for (const endpoint of attached) releaseDevice(endpoint);',
      '',
    ],
    [
      'a device that needs a reset goes on',
      "this.requests.giveUp('the device needs a reset');",
      'void 0;',
    ],
    [
      'memory is given back before the reset',
      'this.#transport.reset();\n    this.requests.giveUp',
      'this.#dma.release();\n    this.#transport.reset();\n    this.requests.giveUp',
    ],
  ),
  ...plant(
    'driver/src/queue-pair.ts',
    [
      'a queue of another size keeps its slots',
      'if (next.layout.size !== old.layout.size) {',
      'if (next.layout.size === 0) {',
    ],
    [
      'too many requests for a small ring',
      'return indirect ? size : Math.floor(size / REQUEST_BUFFERS);',
      'return size;',
    ],
    [
      'the memory of a ring is lost',
      '    dma.giveBack(old.piece);\n  }\n\n  /** See `IommuDriver.resetEventQueue`',
      '  }\n\n  /** See `IommuDriver.resetEventQueue`',
    ],
  ),
  ...plant('driver/src/dma-memory.ts', [
    'memory is not cleared',
    'this.memory.write(position, new Uint8Array(sizeBytes), 0, sizeBytes);',
    '',
  ]),
  ...plant('driver/src/wait.ts', [
    'interrupts are asked for after the look',
    'if (target.armNotification()) await',
    'if (!target.ready()) await',
  ]),
  ...plant('ring/src/waiter.ts', [
    'a sleeper asks for no notification',
    'if (target.armNotification()) {',
    'if (!target.ready()) {',
  ]),
  ...plant(
    'ring/src/split-driver-queue.ts',
    [
      'a used id outside the table is looked up',
      "if (head >= this.size) return this.#break('a used id lies outside the descriptor table');",
      '',
    ],
    [
      'a used index that jumps is believed',
      'if (ahead > ((this.#publishedAvailable - this.#nextUsed) & 0xffff))',
      'if (ahead > 0xffff)',
    ],
    [
      'the token of another chain',
      'const token = this.#tokenOf(head);',
      'const token = this.#tokenOf(this.#entries[next & this.#mask]!);',
    ],
    [
      'the length is read twice',
      'this.takenBytes = bytes;',
      'this.takenBytes = this.#memory.getUint32(element + USED_LENGTH);',
    ],
    [
      'the index is published before it is written',
      'this.#memory.storeUint16(this.#available + AVAILABLE_INDEX, now);',
      'this.#memory.storeUint16(this.#available + AVAILABLE_INDEX, (now - 1) & 0xffff);',
    ],
    [
      'the driver asks for the interrupt of one too late',
      'this.#memory.storeUint16(this.#usedEvent, this.#nextUsed);',
      'this.#memory.storeUint16(this.#usedEvent, (this.#nextUsed + 1) & 0xffff);',
    ],
    [
      'a wish for no notification is taken for its opposite',
      'return (flags & UsedFlag.NO_NOTIFY) === 0;',
      'return (flags & UsedFlag.NO_NOTIFY) !== 0;',
    ],
    [
      'a chain of a batch counts as not written',
      'this.takenBytes = last ? this.#usedBytes : this.#chains.writableBytes(head);',
      'this.takenBytes = last ? this.#usedBytes : 0;',
    ],
  ),
  ...plant('ring/src/split-layout.ts', [
    'an event index just passed is missed',
    '((now - event - 1) & 0xffff) <',
    '((now - event) & 0xffff) <',
  ]),
  ...plant(
    'ring/src/split-chain-book.ts',
    [
      'a token stays when its chain ends',
      'entries[entry | TOKEN] = FREE;\n    if (this',
      'if (this',
    ],
    [
      'a chain gives back its head only',
      'this.#freeLast = entries[entry | LAST]!;',
      'this.#freeLast = head;',
    ],
    [
      'a list that changed is taken for described',
      'entries[entry | REVISION] !== buffers.revision ||',
      '',
    ],
    [
      'a descriptor too many is free',
      'this.#freeCount += entries[entry | COUNT]!;',
      'this.#freeCount += entries[entry | COUNT]! + 1;',
    ],
  ),
  ...plant(
    'ring/src/descriptor-table.ts',
    ['a length that changed is not written', '      this.#length[index] === length &&\n', ''],
    [
      'the table of another chain',
      'return (this.#low + this.first(index) * Descriptor.size) | 0;',
      'return (this.#low + (index >> 1) * 2 * this.#entriesPerTable * Descriptor.size) | 0;',
    ],
  ),
  ...plant(
    'ring/src/packed-driver-queue.ts',
    [
      'a used id that was not shown yet is taken',
      "if (this.#lists.isHeld(id)) return this.#break('a used id that was not available yet');",
      '',
    ],
    [
      'a used id outside the ring is looked up',
      "if (id >= this.size) return this.#break('a used id lies outside the ring');",
      '',
    ],
    [
      'a used id of nobody is taken',
      "if (this.#lists.token(id) < 0) return this.#break('a used id that is not in flight');",
      '',
    ],
    [
      'a length without WRITE counts',
      'this.#usedBytes = (this.#seenFlags & WRITE) === 0 ? 0 : bytes;',
      'this.#usedBytes = bytes;',
    ],
    [
      'the lap of used descriptors does not turn',
      'this.#nextUsed = next - this.size;\n      this.#usedLap ^= AVAIL | USED;',
      'this.#nextUsed = next - this.size;',
    ],
    [
      'the position has no lap',
      'return this.#next | (this.#lap === AVAIL ? EVENT_WRAP : 0);',
      'return this.#next;',
    ],
    [
      'a table loses its second buffer',
      'memory.setUint32(at + LENGTH, count * Descriptor.size);',
      '',
    ],
  ),
  ...plant(
    'ring/src/packed-layout.ts',
    ['a wish for silence is not heard', 'if (mode === DISABLE) return false;', ''],
    [
      'the slot of the other lap is asked about',
      'const lap = ((word & WRAP) !== 0) === wrap ? 0 : size;',
      'const lap = ((word & WRAP) !== 0) === wrap ? size : 0;',
    ],
    [
      'the slot just done is not counted',
      'return back >= 1 && back <= count;',
      'return back >= 1 && back < count;',
    ],
  ),
  ...plant(
    'ring/src/packed-list-book.ts',
    [
      'a token stays when its list ends',
      'entries[entry | TOKEN] = FREE;\n    const at',
      'const at',
    ],
    [
      'ids come back in another order',
      'this.#oldest = at + 1 === this.#size ? 0 : at + 1;',
      'this.#oldest = at + 2 >= this.#size ? 0 : at + 1;',
    ],
  ),
  ...plant(
    'transport/src/mmio-transport.ts',
    [
      'the high half of an address is lost',
      'this.#write(MmioRegister.QueueDriverHigh, wordOf(layout.driverArea, 1));',
      '',
    ],
    [
      'a queue is programmed while it is reset',
      'this.#awaitZero(MmioRegister.QueueReset, `reset queue ${index}`);',
      '',
    ],
    [
      'fields of two configurations are mixed',
      'if (this.#read(MmioRegister.ConfigGeneration) === generation) return fields;',
      'return fields;',
    ],
    [
      'an interrupt is not acknowledged',
      'else if (events !== 0) this.#write(MmioRegister.InterruptACK, events);',
      '',
    ],
    [
      'features are taken that nobody offers',
      'const chosen = offered & (wanted | needed);',
      'const chosen = wanted | needed;',
    ],
    [
      'refused features are taken for accepted',
      'if ((this.status() & FEATURES_OK) === 0)',
      'if (this.status() === 0)',
    ],
    [
      'a position goes along that was not negotiated',
      'this.#notificationData ? (queue | (position << 16)) >>> 0 : queue',
      '!this.#notificationData ? (queue | (position << 16)) >>> 0 : queue',
    ],
    ['a reset is not waited for', "this.#awaitZero(MmioRegister.Status, 'reset');", ''],
  ),
];
