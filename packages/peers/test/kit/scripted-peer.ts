/**
 * A process that speaks qtest over its pipes and knows no machine: reads give the address back, and a write misbehaves
 * as its value says. Started as `scripted-peer.ts START -qtest pipe:…`.
 */

import { closeSync, openSync, readSync, writeSync } from 'node:fs';

/** What a write of this value does. */
export const Misdeed = {
  /** Leaves, with a complaint and a status. */
  EXIT: 1,
  /** Ends by a signal. */
  ABORT: 2,
  /** Never answers. */
  HANG: 3,
  /** Answers with something else. */
  GARBAGE: 4,
  /** Refuses. */
  FAIL: 5,
  /** Answers without an end of the line. */
  ENDLESS: 6,
  /** Answers twice. */
  TWICE: 7,
  /** Tells of interrupts before it answers, and after. */
  LOUD: 8,
  /** Tells of nothing but interrupts. */
  NOISE: 9,
  /** Answers in pieces. */
  SLOW: 10,
  /** Closes the pipe of replies, and stays. */
  CLOSE: 11,
  /** Works and works, and never answers. */
  SPIN: 12,
} as const;

if (process.argv.includes('-qtest')) start(process.argv[2]);

function start(how: string | undefined): void {
  if (how === 'refuse') leave('nothing works here');
  if (how === 'mute') sleep(60_000);
  const pipe = process.argv.at(-1)?.replace('pipe:', '') ?? '';
  const commands = openSync(`${pipe}.in`, 'r+');
  const replies = openSync(`${pipe}.out`, 'r+');
  if (how === 'babble') writeSync(replies, 'Hello, who is there?\n');
  if (how === 'early') writeSync(replies, 'IRQ raise 1\n');
  serve(commands, replies);
}

function serve(commands: number, replies: number): never {
  const buffer = Buffer.alloc(4096);
  for (let text = ''; ;) {
    text += buffer.toString('latin1', 0, readSync(commands, buffer));
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      const [verb = '', address = '', value = ''] = text.slice(0, end).split(' ');
      text = text.slice(end + 1);
      if (/^(?:read|in)/.test(verb)) writeSync(replies, `OK 0x${digits(address)}\n`);
      else misbehave(Number(value), replies);
    }
  }
}

function misbehave(value: number, replies: number): void {
  const say = (text: string): void => void writeSync(replies, text);
  switch (value) {
    case Misdeed.EXIT:
      return leave('assertion failed');
    case Misdeed.ABORT:
      process.kill(process.pid, 'SIGKILL');
      return sleep(60_000);
    case Misdeed.HANG:
      return sleep(60_000);
    case Misdeed.GARBAGE:
      return say('OK? \u0007 said the sphinx\n');
    case Misdeed.FAIL:
      return say('FAIL Unknown command\n');
    case Misdeed.ENDLESS:
      return say('O'.repeat(10_000));
    case Misdeed.TWICE:
      return say('OK\nOK\n');
    case Misdeed.LOUD:
      return say('IRQ raise 3\nIRQ lower 3\nOK\nIRQ raise 4\n');
    case Misdeed.NOISE:
      for (let round = 0; round < 2000; round += 1) say('IRQ raise 3\n'.repeat(100));
      return undefined;
    case Misdeed.SLOW:
      for (const piece of ['IRQ ra', 'ise 1\nO', 'K', '\n']) {
        say(piece);
        sleep(5);
      }
      return undefined;
    case Misdeed.CLOSE:
      closeSync(replies);
      return sleep(60_000);
    case Misdeed.SPIN:
      for (;;);
    default:
      return say('OK\n');
  }
}

function digits(text: string): string {
  return text.replace('0x', '').padStart(16, '0');
}

function leave(text: string): never {
  writeSync(2, `first line\nscripted: ${text}\n`);
  process.exit(3);
}

function sleep(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
