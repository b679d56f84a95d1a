/** Wrong devices: rings and registers, as a driver of the IOMMU sees them. */

import { type MutantSection, inFile, packedInFile } from './change.ts';

export const VIRTIO_MUTANTS: readonly MutantSection[] = [
  {
    name: 'rings',
    mutants: [
      ...inFile(
        'ring/src/split-device-queue.ts',
        [
          'gives a used length of 0',
          'iommu.dev.req.status-ok',
          'memory.setUint32(element + USED_LENGTH, written);',
          'memory.setUint32(element + USED_LENGTH, 0);',
        ],
        [
          'gives a used length beyond what was written',
          'split.dev.used.len-bytes-written',
          'memory.setUint32(element + USED_LENGTH, written);',
          'memory.setUint32(element + USED_LENGTH, written + 4);',
        ],
        [
          'notifies who wants silence',
          'split.dev.used-notify.flags-one-silent',
          'return (flags & AvailableFlag.NO_INTERRUPT) === 0;',
          'return true;',
        ],
        [
          'notifies only who wants silence',
          'split.dev.used-notify.flags-zero-notify',
          'return (flags & AvailableFlag.NO_INTERRUPT) === 0;',
          'return (flags & AvailableFlag.NO_INTERRUPT) !== 0;',
        ],
        [
          'minds WRITE beside INDIRECT',
          'split.dev.indirect.write-flag-ignored',
          'else if ((word & NEXT) !== 0) this.#break(',
          'else if ((word & (NEXT | WRITE)) !== 0) this.#break(',
        ],
        [
          'wants all of a chain in a table, or nothing',
          'split.dev.indirect.chain-then-indirect',
          'table = this.#locateTable(low, high, length, word);\n        if (table < 0) return BROKEN;',
          "if (left < most) return this.#break('a table behind a buffer');\n        table = this.#locateTable(low, high, length, word);\n        if (table < 0) return BROKEN;",
        ],
      ),
      ...inFile(
        'ring/src/split-layout.ts',
        [
          'misses the event by one',
          'split.dev.used-notify.event-hit-notify',
          'return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);',
          'return ((now - event) & 0xffff) < ((now - before) & 0xffff);',
        ],
        [
          'notifies of each buffer, whatever used_event',
          'split.dev.used-notify.event-miss-silent',
          'return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);',
          'return true;',
        ],
      ),
      ...packedInFile(
        'ring/src/packed-device-queue.ts',
        [
          'takes the id of another descriptor than the last',
          'fact.packed.id-last#three',
          'chain.id = word & ID_MASK;\n        chain.slots = number;',
          'chain.id = firstWord & ID_MASK;\n        chain.slots = number;',
        ],
        [
          'moves on by one descriptor',
          'packed.dev.order.write-used-in-completion-order',
          'nextUsed += 2;',
          'nextUsed += 1;',
        ],
        [
          'does not say that it wrote',
          'fact.packed.write-flag',
          'const flags = writtenBytes > 0 ? lap | WRITE : lap;',
          'const flags = lap;',
        ],
        [
          'takes descriptors of the lap before',
          'packed.dev.desc.use-only-available',
          'if ((flags & (AVAIL | USED)) !== this.#lap) return false;',
          'if ((flags & USED) !== (this.#lap & USED)) return false;',
        ],
        [
          'minds NEXT in a table',
          'fact.packed.indirect-flags',
          "if ((flags & INDIRECT) !== 0) return this.#break('an indirect table inside another');",
          "if ((flags & NEXT) !== 0) return this.#break('an indirect table inside another');",
        ],
      ),
    ],
  },
  {
    name: 'status, registers',
    mutants: [
      ...inFile(
        'transport/src/mmio-device.ts',
        [
          'clears all of InterruptStatus at once',
          'fact.mmio.irq-level',
          'this.#registers.interruptStatus &= ~bits;',
          'this.#registers.interruptStatus = 0;',
        ],
        [
          'keeps queues ready over a reset',
          'mmio.dev.reg.reset-clears',
          'for (const queue of this.#queues) queue.reset();',
          '',
        ],
        [
          'calls itself version 1',
          'mmio.dev.reg.version',
          'window.store(MmioRegister.Version, MMIO_VERSION);',
          'window.store(MmioRegister.Version, 1);',
        ],
        [
          'begins to work with FEATURES_OK',
          'basic.dev.status.idle-before-driver-ok',
          'if ((added & DRIVER_OK) !== 0) this.#start();',
          'if ((added & FEATURES_OK) !== 0) this.#start();',
        ],
        [
          'needs a reset and does not say so',
          'basic.dev.status.set-needs-reset',
          'this.#registers.status |= DEVICE_NEEDS_RESET;',
          '',
        ],
        [
          'needs a reset without an interrupt',
          'basic.dev.status.needs-reset-notify',
          'if ((this.#registers.status & DRIVER_OK) !== 0) this.#interrupt(InterruptBit.CONFIG_CHANGE);',
          '',
        ],
        [
          'ignores QueueReset',
          'mmio.dev.reg.queue-reset-performs',
          'if (queue === undefined || value !== 1) return;',
          'if (queue === undefined || value !== 2) return;',
        ],
      ),
      ...inFile('device/src/iommu-device.ts', [
        'goes on with an event queue that was reset',
        'basic.dev.queue-reset.quiet-after#fault',
        'else if (index === IommuQueue.EVENT) this.#faults.stop();',
        '',
      ]),
      ...inFile('transport/src/feature-negotiation.ts', [
        'offers features again in further words',
        'open.11.8',
        'return selector < WORDS ? wordOf(this.offered, selector) : 0;',
        'return wordOf(this.offered, selector % WORDS);',
      ]),
    ],
  },
];
