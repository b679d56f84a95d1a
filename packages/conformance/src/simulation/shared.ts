/** What host and guest share, with a look at each access: memory and the bells of interrupts. */

import { Bell, type GuestMemory } from '@viommu/ring';
import type { Stage } from './stage.ts';

/** A sleep that nothing explains. */
const LONG_MS = 1000;

/** Calls `visit` before each access to memory by calls. */
export function watchMemory(memory: GuestMemory, visit: () => void): void {
  const plain = {
    getUint8: memory.getUint8.bind(memory),
    getUint16: memory.getUint16.bind(memory),
    getUint32: memory.getUint32.bind(memory),
    setUint8: memory.setUint8.bind(memory),
    setUint16: memory.setUint16.bind(memory),
    setUint32: memory.setUint32.bind(memory),
    loadUint16: memory.loadUint16.bind(memory),
    storeUint16: memory.storeUint16.bind(memory),
  };
  for (const name of ['getUint8', 'getUint16', 'getUint32', 'loadUint16'] as const) {
    const read = plain[name];
    memory[name] = (position) => {
      visit();
      return read(position);
    };
  }
  for (const name of ['setUint8', 'setUint16', 'setUint32', 'storeUint16'] as const) {
    const write = plain[name];
    memory[name] = (position, value) => {
      visit();
      write(position, value);
    };
  }
}

/** The bell of a device's interrupts: rings later than it should, or twice, and lets others act while the guest sleeps. */
export class StageBell extends Bell {
  readonly #stage: Stage;
  readonly #name: string;

  constructor(stage: Stage, name: string) {
    super(new Int32Array(new SharedArrayBuffer(4)), 0);
    this.#stage = stage;
    this.#name = name;
  }

  override ring(): void {
    this.#stage.deliver(`an interrupt of ${this.#name}`, () => super.ring());
  }

  override wait(seen: number, timeoutMs: number): boolean {
    const stage = this.#stage;
    const excused = stage.excused;
    const sinceMs = stage.nowMs;
    // Who looks at a bell does so at the cost of some time, even if it has rung.
    stage.visit();
    const rang = stage.wait(() => this.value() !== seen, timeoutMs);
    // All that is late together is not as late as this.
    const long = stage.nowMs - sinceMs >= LONG_MS;
    stage.check(excused || stage.excused || !long, 'wait', 'somebody sleeps and is not woken');
    return rang;
  }
}
