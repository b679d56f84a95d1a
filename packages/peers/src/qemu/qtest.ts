/**
 * The qtest protocol of QEMU: reads and writes of a machine's memory and ports from outside, without a guest.
 *
 * One line is a command, one line its reply. QEMU trusts this channel, and a malformed command ends it: so a command is
 * made of a word from a fixed list and of numbers, and no text from anywhere else reaches the channel.
 */

import { readSync, writeSync } from 'node:fs';
import { IommuError, assert } from '@viommu/common';

/** Bytes in one access. */
export type Width = 1 | 2 | 4;

/** What ends a command: `b`, `w` or `l`, by width. */
const SUFFIX = { 1: 'b', 2: 'w', 4: 'l' } as const;

/** The longest line that is taken as a reply. */
const LINE_MAX = 4096;
/** Lines about interrupts that may come before a reply. */
const IRQ_LINES_MAX = 100_000;
const NEWLINE = 10;
/** Commands sent at once. */
const WRITES_MAX = 32;

/** One write: address, width and value. */
export type QtestWrite = readonly [address: bigint, width: Width, value: number];

export interface QtestOptions {
  /** Where commands go to: a descriptor open for writing. */
  readonly commands: number;
  /** Where replies come from: a descriptor open for reading, which blocks. */
  readonly replies: number;
  /** The error to throw once the peer is gone. */
  readonly lost: () => Error;
  /** Hears when a command goes out, and when its reply is there. */
  readonly watch?: QtestWatch | undefined;
}

/** Somebody who looks after the time that commands take. */
export interface QtestWatch {
  begun(): void;
  done(): void;
}

/** The controlling end of a qtest channel. Every call waits for the reply. */
export class Qtest {
  /** Commands sent so far. */
  commandCount = 0;
  readonly #options: QtestOptions;
  readonly #bytes: Buffer = Buffer.alloc(LINE_MAX);
  /** The part of `#bytes` that was received and not yet used. */
  #start = 0;
  #end = 0;
  /** Why the channel cannot be used any more: what comes next is the reply to nobody knows what. */
  #broken: IommuError | undefined = undefined;

  constructor(options: QtestOptions) {
    this.#options = options;
  }

  /** Reads guest memory or a register in it. @throws {PeerLost} if the peer ends; `EIO` if it does not understand. */
  read(address: bigint, width: Width): number {
    return this.#number(`read${SUFFIX[width]} ${hexAddress(address)}\n`, width);
  }

  /** Writes guest memory or a register in it. @throws {PeerLost} as {@link read}. */
  write(address: bigint, width: Width, value: number): void {
    this.#done(`write${SUFFIX[width]} ${hexAddress(address)} ${hex(value, width)}\n`);
  }

  /** Reads an I/O port. @throws {PeerLost} as {@link read}. */
  readPort(port: number, width: Width): number {
    return this.#number(`in${SUFFIX[width]} ${hex(port, 2)}\n`, width);
  }

  /** Writes an I/O port. @throws {PeerLost} as {@link read}. */
  writePort(port: number, width: Width, value: number): void {
    this.#done(`out${SUFFIX[width]} ${hex(port, 2)} ${hex(value, width)}\n`);
  }

  /**
   * Lets virtual time pass, with all timers in it. Only under the accelerator `qtest`.
   *
   * @throws {PeerLost} as {@link read}.
   */
  stepClock(nanoseconds: number): void {
    assert(Number.isSafeInteger(nanoseconds) && nanoseconds > 0, 'time passes in nanoseconds');
    this.#command(`clock_step ${nanoseconds}\n`);
  }

  /**
   * Several {@link write}s, in their order: one system call each way where it takes as many as there are writes.
   *
   * @throws {PeerLost} as {@link read}.
   */
  writeAll(writes: readonly QtestWrite[]): void {
    const commands = writes.map(
      ([address, width, value]) =>
        `write${SUFFIX[width]} ${hexAddress(address)} ${hex(value, width)}\n`,
    );
    // No more than fit the pipe, as the peer may not read on before somebody reads what it says.
    for (let from = 0; from < commands.length; from += WRITES_MAX) {
      const some = commands.slice(from, from + WRITES_MAX);
      this.#exchange(some.join(''), some.length, (reply) => {
        if (reply !== 'OK') throw this.#breaks(`The peer answered a write with "${shown(reply)}".`);
      });
    }
  }

  /** Nothing is sent from now on. */
  close(): void {
    this.#broken = new IommuError('ESHUTDOWN', 'The peer was ended.');
  }

  #number(command: string, width: Width): number {
    const reply = this.#command(command);
    const digits = /^OK 0x([\da-f]{1,16})$/.exec(reply)?.[1];
    const value = digits === undefined ? Number.NaN : Number.parseInt(digits, 16);
    if (value < 2 ** (8 * width)) return value;
    throw misunderstood(command, reply);
  }

  #done(command: string): void {
    const reply = this.#command(command);
    if (reply !== 'OK') throw misunderstood(command, reply);
  }

  #command(command: string): string {
    let answer = '';
    this.#exchange(command, 1, (reply) => (answer = reply));
    if (answer.startsWith('OK')) return answer;
    throw misunderstood(command, answer);
  }

  /** Sends some commands, and hands over the reply to each. */
  #exchange(commands: string, count: number, take: (reply: string) => void): void {
    if (this.#broken !== undefined) throw this.#broken;
    this.#checkSilence();
    this.commandCount += count;
    const { watch } = this.#options;
    watch?.begun();
    try {
      this.#send(commands);
      for (let replies = 0; replies < count; replies += 1) take(this.#reply());
    } finally {
      watch?.done();
    }
  }

  #send(commands: string): void {
    try {
      writeSync(this.#options.commands, commands);
    } catch (error) {
      throw this.#gone(error);
    }
  }

  /** The next line that is no news of an interrupt. */
  #reply(): string {
    for (let lines = 0; lines <= IRQ_LINES_MAX; lines += 1) {
      const line = this.#line();
      if (!line.startsWith('IRQ ')) return line;
    }
    throw this.#breaks('The peer reports interrupts without end.');
  }

  #line(): string {
    for (;;) {
      const end = this.#bytes.subarray(0, this.#end).indexOf(NEWLINE, this.#start);
      if (end >= 0) {
        const line = this.#bytes.toString('latin1', this.#start, end);
        this.#start = end + 1;
        return line;
      }
      this.#receive();
    }
  }

  /** Waits for more bytes. Each round adds some, and the buffer has an end. */
  #receive(): void {
    this.#bytes.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
    if (this.#end === LINE_MAX) throw this.#breaks('The peer sent a line without an end.');
    const room = LINE_MAX - this.#end;
    const count = readSync(this.#options.replies, this.#bytes, this.#end, room, null);
    if (count === 0) throw this.#options.lost();
    this.#end += count;
  }

  /** A reply that nobody asked for would be taken for that to the next command. */
  #checkSilence(): void {
    while (this.#start < this.#end) {
      const line = this.#line();
      if (!line.startsWith('IRQ '))
        throw this.#breaks(`The peer said "${shown(line)}" when it was not asked.`);
    }
  }

  #breaks(message: string): IommuError {
    this.#broken = new IommuError('EIO', message);
    return this.#broken;
  }

  #gone(error: unknown): Error {
    const code = (error as { code?: unknown }).code; // of a system call
    return code === 'EPIPE' ? this.#options.lost() : (error as Error); // what it is otherwise
  }
}

function misunderstood(command: string, reply: string): IommuError {
  return new IommuError('EIO', `The peer answered "${command.trim()}" with "${shown(reply)}".`);
}

/** What the other side wrote, for a message. */
function shown(text: string): string {
  return text.slice(0, 80).replaceAll(/[^ -~]/g, '?');
}

function hex(value: number, width: Width): string {
  assert(
    Number.isInteger(value) && value >= 0 && value < 2 ** (8 * width),
    'a value fits its access',
  );
  return `0x${value.toString(16)}`;
}

function hexAddress(address: bigint): string {
  assert(address >= 0n && address < 1n << 64n, 'an address has 64 bits');
  return `0x${address.toString(16)}`;
}
