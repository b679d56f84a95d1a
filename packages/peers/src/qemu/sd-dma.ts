/**
 * An endpoint that does DMA when it is told to: an SD host controller (SD Host Controller Simplified Specification), and
 * a card whose blocks are a file.
 *
 * Most devices read descriptors or rings through the IOMMU before they touch anything else, or have no way to say which
 * bytes they write and to show those that they read. This one takes an address and a length from its registers. What is
 * to be written lies on the card, and so does what was read.
 */

import { closeSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { IommuError, PAGE_SIZE } from '@viommu/common';
import type { QemuDevice, QemuMachine } from './machine.ts';
import type { Width } from './qtest.ts';

/** The registers used here: offset and width in bytes. */
const Register = {
  SYSTEM_ADDRESS: [0x00, 4],
  BLOCK_SIZE: [0x04, 2],
  BLOCK_COUNT: [0x06, 2],
  ARGUMENT: [0x08, 4],
  /** Transfer mode, and the command in the high half, which starts it. */
  COMMAND: [0x0c, 4],
  RESPONSE: [0x10, 4],
  POWER: [0x29, 1],
  CLOCK: [0x2c, 2],
  /** Normal ones in the low half, errors in the high half; written ones are cleared. */
  INTERRUPTS: [0x30, 4],
  INTERRUPTS_ENABLED: [0x34, 4],
} as const satisfies Record<string, readonly [number, Width]>;

const POWER_ON = 0x0f;
const CLOCK_ON = 0x05;
const ALL = 0xffff_ffff;
const ERRORS = 0xffff_0000;
const TRANSFER_COMPLETE = 2;

/** Bits of a command, beside its number in bits 8 to 13. */
const Answer = { NONE: 0, LONG: 1, SHORT: 2 } as const;
const DATA_PRESENT = 0x20;
const TransferMode = { DMA: 0x01, READ: 0x10 } as const;

/** Commands of an SD card. */
const Command = {
  GO_IDLE: 0,
  ALL_SEND_ID: 2,
  SEND_ADDRESS: 3,
  SELECT: 7,
  SET_BLOCK_BYTES: 16,
  READ_BLOCK: 17,
  WRITE_BLOCK: 24,
  SEND_OPERATING_CONDITIONS: 41,
  APPLICATION: 55,
} as const;
/** Any voltage, and a card that counts bytes, not blocks. */
const CONDITIONS = 0x00ff_8000;
const CARD_READY = 0x8000_0000;
const POWER_UP_TRIES_MAX = 100;

/** A card counts bytes if it is small; a power of two. */
const CARD_BYTES = 1 << 20;
const BLOCK_BYTES_MAX = 512;
const POLLS_MAX = 10_000;
/** The controller's own delay is shorter. */
const DELAY_NANOSECONDS = 10_000;

/** The device to give to a machine, so that {@link SdDma} finds it in that slot. */
export function sdDmaDevice(slot: number): QemuDevice {
  const name = `dma${slot}`;
  return {
    slot,
    text: `sdhci-pci,id=${name}`,
    prepare(folder) {
      const file = openSync(imageOf(folder, slot), 'w');
      ftruncateSync(file, CARD_BYTES);
      closeSync(file);
    },
    files: [cardOf(slot)],
    args: (folder) => [
      '-drive',
      `if=none,id=${name}-image,format=raw,file=${imageOf(folder, slot)}`,
      '-device',
      `sd-card,drive=${name}-image,bus=pcie.0/${name}/sd-bus`,
    ],
  };
}

/** The longest single access of {@link SdDma.read} and {@link SdDma.write}. */
export const SD_DMA_BYTES_MAX: number = PAGE_SIZE;
/** The last address they reach: the controller has 32 bits for it. */
export const SD_DMA_LAST = 0xffff_ffffn;

/** The endpoint in one slot. Made anew after each reset of the machine. */
export class SdDma {
  readonly #machine: QemuMachine;
  readonly #base: bigint;
  readonly #image: number;

  /** Powers the card up. @throws {IommuError} `ENODEV` if there is no such device, `EIO` if the card does not work. */
  constructor(machine: QemuMachine, slot: number) {
    this.#machine = machine;
    const base = machine.bus.enable(slot).get(0);
    if (base === undefined) throw new IommuError('ENODEV', `There is no DMA in slot ${slot}.`);
    this.#base = base;
    this.#powerUp();
    this.#image = machine.process.file(cardOf(slot));
  }

  /** Reads `bytes.length` bytes at `iova`. What cannot be read is not told apart from zeros. */
  read(iova: bigint, bytes: Uint8Array): void {
    this.#inBlocks(iova, bytes, (address, block) => {
      this.#transfer(Command.WRITE_BLOCK, 0, address, block.length);
      readSync(this.#image, block, 0, block.length, 0);
    });
  }

  /** Writes `bytes` to `iova`. Whether they got there is not told. */
  write(iova: bigint, bytes: Uint8Array): void {
    this.#inBlocks(iova, bytes, (address, block) => {
      writeSync(this.#image, block, 0, block.length, 0);
      this.#transfer(Command.READ_BLOCK, TransferMode.READ, address, block.length);
    });
  }

  #inBlocks(
    iova: bigint,
    bytes: Uint8Array,
    each: (address: number, block: Uint8Array) => void,
  ): void {
    if (iova < 0n || iova + BigInt(bytes.length) > SD_DMA_LAST + 1n)
      throw new IommuError('ERANGE', 'The endpoint has 32 bits for an address.');
    const { memory } = this.#machine;
    memory.publish();
    const start = Number(iova);
    for (let at = 0; at < bytes.length; at += BLOCK_BYTES_MAX)
      each(start + at, bytes.subarray(at, at + BLOCK_BYTES_MAX));
    memory.refresh();
  }

  #transfer(command: number, mode: number, address: number, bytes: number): void {
    const word = (command << 8) | DATA_PRESENT | Answer.SHORT;
    this.#writeAll([
      ...commandWrites(Command.SET_BLOCK_BYTES, bytes, Answer.SHORT),
      [Register.SYSTEM_ADDRESS, address],
      [Register.BLOCK_SIZE, bytes],
      [Register.BLOCK_COUNT, 1],
      [Register.ARGUMENT, 0],
      [Register.COMMAND, ((word << 16) | mode | TransferMode.DMA) >>> 0],
    ]);
    for (let polls = 0; polls < POLLS_MAX; polls += 1) {
      const interrupts = this.#read(Register.INTERRUPTS);
      if ((interrupts & ERRORS) !== 0) break;
      // The next command clears it.
      if ((interrupts & TRANSFER_COMPLETE) !== 0) return;
      if (this.#machine.accelerator === 'qtest') this.#machine.qtest.stepClock(DELAY_NANOSECONDS);
    }
    throw new IommuError('EIO', 'The controller that does the DMA does not work.');
  }

  #powerUp(): void {
    this.#writeAll([
      [Register.POWER, POWER_ON],
      [Register.CLOCK, CLOCK_ON],
      [Register.INTERRUPTS_ENABLED, ALL],
    ]);
    this.#command(Command.GO_IDLE, 0, Answer.NONE);
    for (let tries = 0; !this.#isReady(); tries += 1)
      if (tries === POWER_UP_TRIES_MAX) throw new IommuError('EIO', 'The card does not start.');
    this.#command(Command.ALL_SEND_ID, 0, Answer.LONG);
    const card = this.#command(Command.SEND_ADDRESS, 0, Answer.SHORT) & 0xffff_0000;
    this.#command(Command.SELECT, card >>> 0, Answer.SHORT);
  }

  #isReady(): boolean {
    this.#command(Command.APPLICATION, 0, Answer.SHORT);
    const conditions = this.#command(Command.SEND_OPERATING_CONDITIONS, CONDITIONS, Answer.SHORT);
    return (conditions & CARD_READY) !== 0;
  }

  #command(command: number, argument: number, answer: number): number {
    this.#writeAll(commandWrites(command, argument, answer));
    return this.#read(Register.RESPONSE);
  }

  #read([offset, width]: readonly [number, Width]): number {
    return this.#machine.qtest.read(this.#base + BigInt(offset), width);
  }

  #writeAll(writes: readonly RegisterWrite[]): void {
    this.#machine.qtest.writeAll(
      writes.map(([[offset, width], value]) => [this.#base + BigInt(offset), width, value]),
    );
  }
}

type RegisterWrite = readonly [register: readonly [offset: number, width: Width], value: number];

/** Sends a command to the card, and clears what it announces. */
function commandWrites(command: number, argument: number, answer: number): RegisterWrite[] {
  return [
    [Register.ARGUMENT, argument],
    [Register.COMMAND, (((command << 8) | answer) << 16) >>> 0],
    [Register.INTERRUPTS, ALL],
  ];
}

function imageOf(folder: string, slot: number): string {
  return join(folder, cardOf(slot));
}

function cardOf(slot: number): string {
  return `card${slot}`;
}
