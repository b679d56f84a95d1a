/** An SD host controller with a card, as far as DMA of single blocks needs them, behind our own IOMMU. */

import { readSync, writeSync } from 'node:fs';
import { MapFlag, iova } from '@viommu/common';
import { type IommuDevice, TranslateOutcome } from '@viommu/device';
import type { MirrorMemory } from '../../../packages/peers/src/qemu/mirror-memory.ts';

const Register = { ADDRESS: 0, SIZE: 4, ARGUMENT: 8, COMMAND: 0xc, RESPONSE: 0x10, POWER: 0x29 };
const INTERRUPTS = 0x30;
const READ = 0x10;

export interface FakeCardOptions {
  readonly device: IommuDevice;
  readonly memory: MirrorMemory;
  readonly endpoint: number;
  readonly file: number;
}

export class FakeCard {
  readonly #options: FakeCardOptions;
  #registers: Map<number, number> = new Map();
  #blockBytes = 0;
  /** Cards take their time: asked once, this one is not ready. */
  #asked = 0;
  #selected = false;

  constructor(options: FakeCardOptions) {
    this.#options = options;
  }

  reset(): void {
    this.#registers = new Map();
    this.#asked = 0;
    this.#selected = false;
  }

  read(offset: number): number {
    return this.#registers.get(offset) ?? 0;
  }

  write(offset: number, value: number): void {
    if (offset === INTERRUPTS) this.#registers.set(offset, this.read(offset) & ~value);
    else this.#registers.set(offset, value);
    if (offset === Register.COMMAND) this.#obey((value >>> 24) & 63, (value & READ) !== 0);
  }

  #obey(command: number, read: boolean): void {
    const argument = this.read(Register.ARGUMENT);
    let response = 0x900;
    let interrupts = 1;
    if (this.read(Register.POWER) === 0) interrupts = 0x1_8000;
    else if (command === 41) response = this.#asked++ === 0 ? 0xff_8000 : 0x80ff_8000;
    else if (command === 3) response = 0x4567_0500;
    else if (command === 7) this.#selected = argument === 0x4567_0000;
    else if (command === 16) this.#blockBytes = argument;
    else if (command === 17 || command === 24) {
      const good = this.#selected && this.read(Register.SIZE) === this.#blockBytes;
      if (good && read === (command === 17)) this.#move(command === 17 ? 'write' : 'read');
      interrupts = good ? 3 : 0x1_8000;
    }
    this.#registers.set(Register.RESPONSE, response);
    this.#registers.set(INTERRUPTS, interrupts);
  }

  /** `direction`: what the endpoint does to memory. */
  #move(direction: 'read' | 'write'): void {
    const { device, memory, endpoint, file } = this.#options;
    const bytes = new Uint8Array(this.#blockBytes);
    const address = iova(BigInt(this.read(Register.ADDRESS)));
    const access = direction === 'read' ? MapFlag.READ : MapFlag.WRITE;
    if (direction === 'write') readSync(file, bytes, 0, bytes.length, 0);
    const { outcome, translation } = device.iommu.translateRange(
      endpoint,
      address,
      bytes.length,
      access,
    );
    let at = 0;
    for (let piece = 0; outcome === TranslateOutcome.OK && piece < translation.count; piece += 1) {
      const length = translation.length[piece] ?? 0;
      const position = memory.locate(Number(translation.address(piece) & 0xffff_ffffn), 0, length);
      if (position >= 0) {
        if (direction === 'read') memory.read(position, bytes, at, length);
        else memory.write(position, bytes, at, length);
      }
      at += length;
    }
    if (direction === 'read') writeSync(file, bytes, 0, bytes.length, 0);
  }
}
