/** Memory and a copy of it, in which a plain device does what the other one has to do. */

import type { PlainDevice } from './plain.ts';
import { type Setting, deviation } from './setting.ts';

export class ComparedMemory {
  readonly copy: Uint8Array<ArrayBuffer>;
  readonly #setting: Setting;

  constructor(setting: Setting) {
    this.#setting = setting;
    this.copy = new Uint8Array(setting.memory.size);
    this.copy.set(setting.memory.bytes);
  }

  /** Of both. */
  get views(): readonly DataView[] {
    return [this.#setting.memory.raw, new DataView(this.copy.buffer)];
  }

  /** Throws if memory is not what it has to be. */
  compare(call: string): void {
    const { memory } = this.#setting;
    if (Buffer.compare(memory.bytes, this.copy) === 0) return;
    const at = this.copy.findIndex((byte, index) => byte !== memory.bytes[index]);
    throw deviation(
      `device: ${call} leaves other bytes ${this.#areaOf(at)}`,
      this.#setting,
      `byte ${at} is ${memory.bytes[at]}, not ${this.copy[at]}`,
    );
  }

  /** What says whether notifications are wanted may be said in several ways: takes it over. */
  takeWish({ wish: [position, bytes] }: PlainDevice): void {
    this.copy.set(this.#setting.memory.bytes.subarray(position, position + bytes), position);
  }

  #areaOf(at: number): string {
    const { place, bytes, data } = this.#setting;
    for (const part of ['table', 'driver', 'device'] as const)
      if (at >= place[part] && at < place[part] + bytes[part]) return `in the ${part} area`;
    return at >= data ? 'in buffers' : 'elsewhere';
  }
}
