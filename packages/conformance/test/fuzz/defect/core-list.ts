/** Defects of how host and guest go on together: each of them some simulation must show. */

import type { Defect } from './list.ts';

function plant(file: string, ...changes: readonly (readonly [string, string, string])[]): Defect[] {
  return changes.map(([name, find, replace]) => ({ name, file, find, replace }));
}

export const CORE_DEFECTS: readonly Defect[] = [
  ...plant(
    'iommu/src/flush-queue.ts',
    [
      'an address is free as soon as a flush begins',
      'isBefore(this.#flush[this.#head]!, finished)',
      'true',
    ],
    [
      'a flush that began before the unmap counts',
      'ring.append(page, pages, this.#started);',
      'ring.append(page, pages, this.#started - 1);',
    ],
    ['a full ring loses its oldest addresses', 'if (!lossy) return false;', ''],
    ['the timer of a flush queue flushes nothing', '    this.#flush();\n    for', '    for'],
  ),
  ...plant(
    'iommu/src/iova-mapper.ts',
    [
      'addresses are given back before the device lost them',
      'if (queue === undefined) return Unmapped.QUEUED;',
      'if (queue === undefined) {\n this.#cookie.free(context, start, pages);\n return Unmapped.PARKED;\n }',
    ],
    [
      'a mapping is used before the device knows it',
      'if (!later) syncMap(domain, start, pages);\n    } catch (error) {\n      this.release(context, start, pages, true);\n      if (!(error instanceof IommuError)) throw error;\n      return 0;',
      '} catch (error) {\n      this.release(context, start, pages, true);\n      if (!(error instanceof IommuError)) throw error;\n      return 0;',
    ],
  ),
  ...plant(
    'iommu/src/iommu-dma.ts',
    [
      'what lies beside a bounced buffer is not cleared',
      'if (within > 0) ram.clear(poolPage, 0, within);\n    if (end < pages * PAGE_SIZE)',
      'if (end < 0)',
    ],
    ['any device may write', 'return direction | more;', 'return direction | more | 2;'],
    [
      'a bounced buffer is never given back',
      'poolPage, offset, sizeBytes, direction, skipsCopy, !free',
      'poolPage, offset, sizeBytes, direction, skipsCopy, free',
    ],
    [
      'a buffer across pages is unmapped in part',
      'const pages = pagesTouched(within, sizeBytes);\n    this.#unmap(',
      'const pages = pagesTouched(0, sizeBytes);\n    this.#unmap(',
    ],
  ),
  ...plant(
    'iommu/src/bounce-pool.ts',
    [
      'bounced buffers are copied back the wrong way',
      'if (toDevice) ram.copy(page',
      'if (!toDevice) ram.copy(page',
    ],
    [
      'what a device wrote is not copied back',
      'if (!skipCopy && (direction & Direction.FROM_DEVICE) !== 0)',
      'if (!skipCopy && direction === Direction.FROM_DEVICE)',
    ],
    [
      'a part of a bounced buffer is synchronised at its start',
      'const from = this.#positionOf(page, offset) - start;',
      'const from = 0 * (this.#positionOf(page, offset) - start);',
    ],
  ),
  ...plant('iommu/src/iova-tree.ts', [
    'addresses end above what a device reaches',
    'Math.min(end, limit) + 1 - pages',
    'end + 1 - pages',
  ]),
  ...plant('iommu/src/iova-cache.ts', [
    'addresses are kept in the class above',
    'const index = IovaCache.classOf(pages);',
    'const index = Math.min(5, IovaCache.classOf(pages) + 1);',
  ]),
  ...plant(
    'iommu/src/dma-cookie.ts',
    [
      'reserved regions are given out',
      'this.space.reserve(pageOf(start), pageOf(last));',
      'this.space.reserve(pageOf(start), pageOf(start));',
    ],
    [
      'the device mask is forgotten',
      'Math.min(limitPage, device.busLastPage, this.lastPage)',
      'Math.min(device.busLastPage, this.lastPage)',
    ],
  ),
  ...plant(
    'iommu/src/group-attach.ts',
    [
      'an owner takes a group that still reaches memory',
      'setGroupDomain(group, blockingDomainOf(group));',
      'blockingDomainOf(group);',
    ],
    [
      'a group does not come back from its owner',
      'restoreGroupDomain(group, group.defaultDomain);\n  });',
      '});',
    ],
  ),
  ...plant('iommu/src/map.ts', [
    'runs of a list are mapped over each other',
    'mapNoSync(domain, startPage + done, runs',
    'mapNoSync(domain, startPage, runs',
  ]),
  ...plant(
    'driver/src/attach.ts',
    [
      'mappings are not replayed into a domain without endpoints',
      'if (!isKnown(domain) && !domain.bypass) {',
      'if (domain.attached.size > 99 && !domain.bypass) {',
    ],
    [
      'a device that was reset gets its endpoints, not its mappings',
      'const error = replay(instance, domain);\n  if (error',
      'const error = undefined;\n  if (error',
    ],
    [
      'an endpoint leaves with its first number only',
      'for (const id of endpoint.ids) {\n    const { error } = sendDetach',
      'for (const id of endpoint.ids.slice(0, 1)) {\n    const { error } = sendDetach',
    ],
  ),
  ...plant(
    'driver/src/request-queue.ts',
    [
      'a sync returns before the last answer',
      'while (this.inFlight > 0) {\n      if (!this.#waiter',
      'while (this.inFlight > 1) {\n      if (!this.#waiter',
    ],
    [
      'what the device was shown earlier is not told about',
      'if (this.#queue.publish()) this.#untold = true;',
      'this.#untold = this.#queue.publish();',
    ],
  ),
  ...plant('driver/src/iommu-driver.ts', [
    'memory of a removed driver is lost',
    'this.#dma.release();\n  }\n\n  #renew',
    '}\n\n  #renew',
  ]),
  ...plant(
    'driver/src/event-queue.ts',
    [
      'faults that came during the last look wait for the next',
      'return this.#queue.armNotification() || count > 0 ? count : this.#drain();',
      'return count;',
    ],
    ['a buffer for events is not put back', 'this.#queue.add(buffers, index);\n    if', 'if'],
  ),
  ...plant('driver/src/queue-pair.ts', [
    'the memory of a ring that was reset is lost',
    'if (unused !== undefined) dma.giveBack(unused);\n    dma.giveBack(old.piece);',
    '',
  ]),
  ...plant('ring/src/split-driver-queue.ts', [
    'the driver sleeps though the device was faster',
    'return !this.ready();',
    'return true;',
  ]),
  ...plant('ring/src/waiter.ts', [
    'a sleeper does not ask to be woken',
    'if (target.armNotification()) {',
    'if (!target.ready()) {',
  ]),
  ...plant(
    'transport/src/mmio-device.ts',
    [
      'the device never interrupts',
      'if (this.#live) this.#interrupt(InterruptBit.USED_BUFFER);',
      '',
    ],
    [
      'a restored device has no features',
      'this.#registers = state;',
      'this.#registers = { ...state, features: 0n };',
    ],
    [
      'a reset leaves the queues',
      'for (const queue of this.#queues) queue.reset();\n    this.#registers',
      'this.#registers',
    ],
    ['a queue that is reset goes on', 'this.#stopQueue(queue);\n    queue.reset();', ''],
  ),
  ...plant('transport/src/mmio-queue.ts', [
    'a restored queue starts from the beginning',
    'position, broken: broken === 1',
    'position: 0, broken: broken === 1',
  ]),
  ...plant(
    'device/src/iommu-device.ts',
    [
      'an interrupt is sent for the last part of a burst only',
      'if (queue.publish()) wanted = true;',
      'wanted = queue.publish();',
    ],
    ['faults that were dropped are not saved', 'this.#faults.dropped = dropped;', ''],
    [
      'a device that was reset keeps its mappings',
      'this.#faults.reset();\n    this.iommu.reset();',
      'this.#faults.reset();',
    ],
    [
      'the device sleeps without a look at its queue',
      'return this.#queue === undefined || this.#queue.armNotification();',
      'this.#queue?.armNotification();\n    return true;',
    ],
  ),
];
